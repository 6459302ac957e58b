"""The real service and the servers around it, as processes of their own with their CPU time."""

import os
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.databases import GivenPostgres, Postgres, embedded_installation, timescale_installation
from tests.servers import Missing, Mosquitto, Server, dying_with_us

CENTER, SIGMA, DECIMALS = 25.0, 0.01, 4
CHARACTERISTIC = """
[[characteristic]]
id = "{name}"
chart = "{chart}"
decimals = 4
spec = {{ lower = 24.9, upper = 25.1 }}
limits = {{ center = 25.0, sigma = 0.01 }}
{more}
"""


def characteristic(name: str, chart: str = "i_mr", more: str = "") -> str:
    """A table of plant.toml with limits, a specification and the rules that are the default."""
    return CHARACTERISTIC.format(name=name, chart=chart, more=more)


def calm(rows: int, seed: int) -> list[float]:
    """Values of a process in control, one above and one below the center: nothing signals.

    What an alarm costs is not what a reading costs.
    """
    import numpy as np  # noqa: PLC0415 - children that only talk to a broker need no numpy

    away = np.abs(np.random.default_rng(seed).normal(0.0, 0.6 * SIGMA, rows))
    side = np.where(np.arange(rows) % 2, 1.0, -1.0)
    return [round(value, DECIMALS) for value in (CENTER + side * away).clip(24.98, 25.02).tolist()]


def cpu_of(pid: int) -> float:
    """Seconds of user and system time that all threads of a process have taken so far."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if threads:  # Linux: to the nanosecond, not to the clock tick
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


class Andon(Server):
    """``andon serve`` on a plant file; without a database's URL it brings its embedded one."""

    name = "andon"

    def __init__(self, directory: Path, plant: str, database: str | None) -> None:
        super().__init__(directory)
        self.plant = directory / "plant.toml"
        self.plant.write_text(plant)
        self._environment = [f"ANDON_DATA_DIR={directory / 'data'}"]
        if database is not None:
            self._environment.append(f"ANDON_DATABASE_URL={database}")

    def command(self) -> list[str]:
        program = Path(sysconfig.get_path("scripts")) / "andon"
        serve = [str(program), "serve", "--port", str(self.port), "--plant", str(self.plant)]
        return [*dying_with_us(), "env", *self._environment, *serve]

    def ready(self) -> bool:
        try:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == HTTPStatus.OK
        except OSError:
            return False

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def cpu(self) -> float:
        """Seconds of CPU time that the service has taken; an embedded database is not in it."""
        return cpu_of(self.pid)


@contextmanager
def directory() -> Iterator[Path]:
    """A directory that is gone afterwards."""
    with TemporaryDirectory(prefix="andon-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def andon(plant: str, database: str | None = None) -> Iterator[Andon]:
    """The service, ready."""
    with directory() as place:
        service = Andon(place, plant, database).start()
        try:
            yield service
        finally:
            service.stop()


@contextmanager
def mosquitto() -> Iterator[Mosquitto]:
    """A broker.

    Raises:
        Missing: this machine has none.
    """
    with directory() as place:
        broker = Mosquitto(place).start()
        try:
            yield broker
        finally:
            broker.stop()


@contextmanager
def postgres(kind: str) -> Iterator[Postgres | GivenPostgres]:
    """A database server: "timescale", or "embedded", which is plain PostgreSQL.

    Raises:
        Missing: this machine has none of that kind.
    """
    given = os.environ.get("ANDON_TEST_DATABASE_URL")
    if kind == "timescale" and given:
        yield GivenPostgres(given)
        return
    install = timescale_installation if kind == "timescale" else embedded_installation
    server = Postgres(install())
    try:
        yield server.start()
    finally:
        server.close()


@contextmanager
def database(server: Postgres | GivenPostgres) -> Iterator[str]:
    """The URL of an empty database."""
    url = server.create_database()
    try:
        yield url
    finally:
        server.drop_database(url)


__all__ = [
    "Andon",
    "Missing",
    "andon",
    "calm",
    "characteristic",
    "cpu_of",
    "database",
    "directory",
    "mosquitto",
    "postgres",
]
