"""Install the servers that tests run against, on Debian 12 and 13, as root and without Docker.

TimescaleDB comes from Debian 13's packages. On Debian 12 they live in a root of their own below the
cache directory, made once per machine; ``tests/servers.py`` starts and stops every server by itself.
What is already here is left alone, and nothing is started or changed on the machine beyond packages.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TIMESCALE_PACKAGE = "postgresql-17-timescaledb"
TIMESCALE_LIBRARY = Path("usr/lib/postgresql/17/lib/timescaledb.so")
TRIXIE = "trixie"  # Debian 13
MAY_DENY_STARTS = Path("/usr/sbin/policy-rc.d")
CLUSTER_DEFAULTS = Path("/etc/postgresql-common/createcluster.d/andon-test.conf")
ANY_ERROR = 1


@dataclass(frozen=True)
class Need:
    """One thing that tests use: where to see it, and what installs it."""

    name: str
    paths: tuple[str, ...]  # patterns below /: any of them shows that it is here
    packages: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether it is here."""
        here = any(any(Path("/").glob(path)) for path in self.paths)
        return here or shutil.which(Path(self.paths[0]).name) is not None


NEEDS = (
    Need("Mosquitto", ("usr/sbin/mosquitto", "usr/bin/mosquitto"), ("mosquitto",)),
    Need("Chromium", ("usr/bin/chromium",), ("chromium",)),
    Need("fonts", ("usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",), ("fonts-dejavu-core",)),
    Need("OpenSSL", ("usr/bin/openssl",), ("openssl",)),
    Need("libmodbus", ("usr/lib/*/libmodbus.so.5",), ("libmodbus5",)),
)


def cache_dir() -> Path:
    """Return where that is kept which is slow to make, shared by all clones of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ANDON_TEST_CACHE") or Path(base) / "andon-test")


def timescale_root() -> Path | None:
    """Return the root directory that TimescaleDB is installed in, or None when it is nowhere."""
    for root in (Path("/"), cache_dir() / f"timescaledb-17-{TRIXIE}"):
        if (root / TIMESCALE_LIBRARY).exists():
            return root
    return None


def debian() -> int | None:
    """Return the version of Debian that this is, or None."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return None
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    if release.get("ID") != "debian":
        return None
    version = release.get("VERSION_ID", "").strip('"')
    return int(version) if version.isdigit() else None


@contextmanager
def alone() -> Iterator[None]:
    """Keep a second run on this machine waiting."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def nothing_starts() -> Iterator[None]:
    """Keep the packages' own services from being started, and a database cluster from being made."""
    made = [path for path in (MAY_DENY_STARTS, CLUSTER_DEFAULTS) if not path.exists()]
    try:
        if MAY_DENY_STARTS in made:
            MAY_DENY_STARTS.write_text("#!/bin/sh\nexit 101\n")
            MAY_DENY_STARTS.chmod(0o755)
        if CLUSTER_DEFAULTS in made:
            CLUSTER_DEFAULTS.parent.mkdir(parents=True, exist_ok=True)
            CLUSTER_DEFAULTS.write_text("create_main_cluster = false\n")
        yield
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def run(*command: str | Path) -> None:
    """Run a command of the system, its output shown only when it fails."""
    print("  " + " ".join(map(str, command)), flush=True)
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:])
        raise SystemExit(f"{command[0]} failed; the tests' servers are not complete")


def apt_install(packages: list[str]) -> None:
    """Install packages of the machine's own Debian."""
    if not packages:
        return
    run("apt-get", "update", "-q")
    with nothing_starts():
        run("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages)


def make_timescale_root(root: Path) -> None:
    """Make a Debian 13 root that holds TimescaleDB; whole or not at all."""
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    mirror = os.environ.get("ANDON_TEST_DEBIAN_MIRROR")
    source = [mirror] if mirror else []
    run(
        "debootstrap",
        "--variant=minbase",
        f"--include={TIMESCALE_PACKAGE}",
        TRIXIE,
        partial,
        *source,
    )
    for package in (partial / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    partial.rename(root)


def install() -> None:
    """Install whatever is missing."""
    packages = [package for need in NEEDS if not need.met for package in need.packages]
    in_own_root = debian() != 13 and timescale_root() is None
    if in_own_root and not shutil.which("debootstrap"):
        packages.append("debootstrap")
    elif not in_own_root and timescale_root() is None:
        packages.append(TIMESCALE_PACKAGE)
    apt_install(packages)
    if in_own_root:
        make_timescale_root(cache_dir() / f"timescaledb-17-{TRIXIE}")


def report() -> list[str]:
    """Return one line for each thing that is still missing."""
    lines = [
        f"{need.name} is missing (Debian: {' '.join(need.packages)})"
        for need in NEEDS
        if not need.met
    ]
    if timescale_root() is None and not os.environ.get("ANDON_TEST_DATABASE_URL"):
        lines.append("TimescaleDB is missing; ANDON_TEST_DATABASE_URL may name a server to test on")
    return lines


def main() -> int:
    """Install what is missing where that is possible, and say what is not."""
    if debian() in (12, 13) and os.geteuid() == 0:
        with alone():
            install()
    missing = report()
    for line in missing:
        print(f"{line}: the tests that need it are skipped")
    return ANY_ERROR if missing and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
