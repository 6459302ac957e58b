"""Carry out the Dockerfile in clean Debian 13 roots, where there is no container engine.

    sudo python3 deploy/cleanroom.py build/cleanroom

Each stage gets a root of its own, made by debootstrap in place of the image that FROM names; then its
COPY, RUN, ENV and USER lines are done with cp and chroot. What is printed last starts the result.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

PROJECT = Path(__file__).resolve().parent.parent
BASES = {"node:24-slim": "nodejs npm", "python:3.13-slim": "python3 python3-venv"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A network that inspects TLS needs its certificates inside, too.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
FROM_OUTSIDE = ("PIP_CERT", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")


@dataclass
class Stage:
    """One stage of the build: its root, and what ENV, USER, WORKDIR and CMD have set."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM_PATH, "HOME": "/root"})
    user: str = "root"
    workdir: str = "/"
    command: list[str] = field(default_factory=list)

    def inside(self, path: str) -> Path:
        """Return a path of the stage as this process sees it."""
        return self.root / Path(self.workdir, path).relative_to("/")

    def enter(self, *command: str) -> list[str]:
        """Return the command line that runs a command in the stage."""
        settings = [f"{key}={value}" for key, value in self.env.items()]
        outside = [f"{key}={os.environ[key]}" for key in FROM_OUTSIDE if key in os.environ]
        change = f'cd {shlex.quote(self.workdir)} && exec "$@"'
        user = [f"--userspec={self.user}:{self.user}"]
        # fmt: off
        return ["chroot", *user, str(self.root), "/usr/bin/env", "-i", *outside, *settings,
                "/bin/sh", "-c", change, "sh", *command]
        # fmt: on


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with their arguments, continued lines joined."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = kept.replace("\\\n", " ").splitlines()
    return [
        (word, rest.strip()) for line in lines if line for word, _, rest in [line.partition(" ")]
    ]


def copy_root(source: Path, root: Path) -> None:
    """Copy a whole root, with what the network needs of this machine."""
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(root)], check=True)
    for path in (Path("/etc/resolv.conf"), Path("/etc/hosts"), CERTIFICATES):
        if path.exists():
            (root / path.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / path.relative_to("/"))


def make_base(directory: Path, image: str) -> Path:
    """Return a root that stands for the image, made once."""
    bare, base = directory / "base", directory / f"base-{image.partition(':')[0]}"
    partial = directory / "partial"
    if not bare.exists():
        shutil.rmtree(partial, ignore_errors=True)
        make = ["debootstrap", "--variant=minbase", "trixie", str(partial)]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        partial.rename(bare)
    if not base.exists():
        copy_root(bare, partial)
        install = "apt-get update -q && apt-get install -q -y --no-install-recommends"
        stage = Stage(partial)
        stage.env["DEBIAN_FRONTEND"] = "noninteractive"
        script = f"{install} ca-certificates {BASES[image]}"
        subprocess.run(stage.enter("/bin/sh", "-c", script), check=True, stdout=subprocess.DEVNULL)
        partial.rename(base)
    return base


def begin(directory: Path, image: str, name: str) -> Stage:
    """Return a new stage on a copy of its base."""
    root = directory / f"stage-{name}"
    copy_root(make_base(directory, image), root)
    return Stage(root)


def ignored(path: Path) -> bool:
    """Return whether the build's context leaves a path out, by the last rule that speaks of it."""
    name, out = str(path.relative_to(PROJECT)), False
    for line in (PROJECT / ".dockerignore").read_text().split():
        rule = line.lstrip("!").removeprefix("**/")
        parts = name.split("/")
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        tails = parts if "**/" in line else []
        if any(fnmatch.fnmatch(head, rule) for head in (*heads, *tails)):
            out = not line.startswith("!")
    return out


def copy(stage: Stage, stages: dict[str, Stage], arguments: str) -> None:
    """Carry out COPY: from the project without what is ignored, or from another stage."""
    words = arguments.split()
    origin = stages[words.pop(0).partition("=")[2]].root if words[0].startswith("--from") else None
    *sources, target = words
    destination = stage.inside(target)
    for source in sources:
        path = origin / source.lstrip("/") if origin else PROJECT / source
        if path.is_dir():
            listed = sorted(p for p in path.rglob("*") if not p.is_dir() or p.is_symlink())
            pairs = [(item, destination / item.relative_to(path)) for item in listed]
        else:
            into = target.endswith("/") or len(sources) > 1
            pairs = [(path, destination / path.name if into else destination)]
        for item, place in pairs:
            if origin or not ignored(item):
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(item, place, follow_symlinks=False)


def carry_out(directory: Path) -> Stage:
    """Carry out the whole Dockerfile and return its last stage."""
    stages: dict[str, Stage] = {}
    stage = Stage(directory)
    for word, arguments in instructions((PROJECT / "Dockerfile").read_text()):
        print(f"{word} {arguments}", flush=True)
        match word:
            case "FROM":
                image, _, name = arguments.partition(" AS ")
                stage = stages[name or "last"] = begin(directory, image, name or "last")
            case "WORKDIR":
                stage.workdir = arguments
                stage.inside(".").mkdir(parents=True, exist_ok=True)
            case "ENV":
                for pair in shlex.split(arguments):
                    key, _, value = pair.partition("=")
                    stage.env[key] = Template(value).substitute(stage.env)
            case "USER":
                stage.user = arguments
                passwd = (stage.root / "etc/passwd").read_text()
                [home] = re.findall(rf"^{arguments}:(?:[^:]*:){{4}}([^:]*)", passwd, re.MULTILINE)
                stage.env["HOME"] = home
            case "COPY":
                copy(stage, stages, arguments)
            case "RUN":
                subprocess.run(stage.enter("/bin/sh", "-c", arguments), check=True)
            case "CMD":
                stage.command = json.loads(arguments)
    return stage


def main() -> None:
    """Build, and say how to start the result."""
    if len(sys.argv) != 2 or os.geteuid() != 0:
        raise SystemExit("usage, as root: cleanroom.py DIRECTORY")
    directory = Path(sys.argv[1]).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        stage = carry_out(directory)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"failed with exit code {error.returncode}") from None
    print("built; it starts with:")
    print(shlex.join(stage.enter(*stage.command)))


if __name__ == "__main__":
    main()
