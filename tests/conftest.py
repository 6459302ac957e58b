"""Real servers as fixtures; what is missing skips with one line, and fails where CI is true."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import psutil
import pytest

from tests import databases, servers

# Machines under load are slow, and CI draws the same examples every time: no result hangs on luck.
hypothesis.settings.register_profile(
    "default",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "inner", hypothesis.settings.get_profile("default"), max_examples=10
)
hypothesis.settings.load_profile("default")


TEMPORARY = "PYTEST_DEBUG_TEMPROOT"
OWN_ROOT = "andon-pytest-{pid}-"


def pytest_configure(config: pytest.Config) -> None:
    """Give each run of root's a root of its own for temporary directories.

    All runs of a user share one, which each of them closes to others when it starts. Root's
    database servers run as another user, and could no longer find their way to their data.
    """
    if os.geteuid() != 0 or config.option.basetemp:
        return
    base = Path(os.environ.get(TEMPORARY) or tempfile.gettempdir())
    for old in base.glob(OWN_ROOT.format(pid="*")):
        if not psutil.pid_exists(int(old.name.split("-")[2])):
            shutil.rmtree(old, ignore_errors=True)  # kept for whoever wanted to look into it
    root = tempfile.mkdtemp(prefix=OWN_ROOT.format(pid=os.getpid()), dir=base)
    os.environ[TEMPORARY] = root


def pytest_sessionfinish(exitstatus: int) -> None:
    """Leave nothing behind when all is well."""
    root = Path(os.environ.get(TEMPORARY, ""))
    if root.name.startswith(OWN_ROOT.format(pid=os.getpid())) and exitstatus == 0:
        shutil.rmtree(root, ignore_errors=True)


def _lacking(what: object) -> NoReturn:
    pytest.skip(str(what))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Turn a skip into a failure in CI: a test that did not run proves nothing."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr[2]}"
    return report


# The fixtures that stand for servers, and those through which test modules choose one of them.
NEEDS_SERVERS = {
    "timescale", "embedded", "own_timescale", "own_embedded", "database_url", "start_mosquitto",
    "nats_mqtt", "mqtt_url", "chromium_path", "broker", "plc", "server", "site", "receiver", "guarded", "local",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need servers, so that the inner loop can leave them out."""
    for item in items:
        if item.path.parent.name == "store" or NEEDS_SERVERS & set(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.servers)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a function that gives a loopback port nobody uses."""
    return servers.free_port


def _own(installation: Callable[[], databases.PostgresInstallation]) -> databases.Postgres:
    try:
        return databases.Postgres(installation()).start()
    except servers.Missing as missing:
        _lacking(missing)


@pytest.fixture(scope="session")
def timescale() -> Iterator[databases.Postgres | databases.GivenPostgres]:
    """TimescaleDB for the whole run: its own server, or the one that is given."""
    url = os.environ.get("ANDON_TEST_DATABASE_URL")
    server = databases.GivenPostgres(url) if url else _own(databases.timescale_installation)
    yield server
    server.close()


@pytest.fixture(scope="session")
def embedded() -> Iterator[databases.Postgres]:
    """Plain PostgreSQL from the wheel, for the whole run."""
    server = _own(databases.embedded_installation)
    yield server
    server.close()


@pytest.fixture
def timescale_url(timescale: databases.Postgres) -> Iterator[str]:
    """A fresh, empty database on TimescaleDB."""
    url = timescale.create_database()
    yield url
    timescale.drop_database(url)


@pytest.fixture
def embedded_url(embedded: databases.Postgres) -> Iterator[str]:
    """A fresh, empty database on plain PostgreSQL."""
    url = embedded.create_database()
    yield url
    embedded.drop_database(url)


@pytest.fixture(params=["embedded", "timescale"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, empty database; the test runs once on plain PostgreSQL and once on TimescaleDB."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def own_timescale() -> Iterator[databases.Postgres]:
    """A TimescaleDB server of the test's own, that it may stop, kill and freeze."""
    server = _own(databases.timescale_installation)
    yield server
    server.close()


@pytest.fixture
def own_embedded() -> Iterator[databases.Postgres]:
    """A plain PostgreSQL server of the test's own, that it may stop, kill and freeze."""
    server = _own(databases.embedded_installation)
    yield server
    server.close()


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[Callable[..., servers.Mosquitto]]:
    """Return a function that starts a Mosquitto with the given configuration lines."""
    running: list[servers.Mosquitto] = []

    def start(*options: str) -> servers.Mosquitto:
        directory = tmp_path / f"mosquitto-{len(running)}"
        directory.mkdir()
        try:
            broker = servers.Mosquitto(directory, options or servers.Mosquitto.DEFAULTS)
        except servers.Missing as missing:
            _lacking(missing)
        running.append(broker)
        return broker.start()

    yield start
    for broker in running:
        broker.stop()


@pytest.fixture
def mosquitto(start_mosquitto: Callable[..., servers.Mosquitto]) -> servers.Mosquitto:
    """A Mosquitto of the test's own, that it may stop, kill and freeze."""
    return start_mosquitto()


@pytest.fixture
def nats_mqtt(tmp_path: Path) -> Iterator[servers.Nats]:
    """The NATS server's MQTT gateway, of the test's own."""
    directory = tmp_path / "nats"
    directory.mkdir()
    try:
        broker = servers.Nats(directory).start()
    except servers.Missing as missing:
        _lacking(missing)
    yield broker
    broker.stop()


@pytest.fixture
def mqtt_url(request: pytest.FixtureRequest) -> str:
    """A broker's address: the given one, or a Mosquitto of the test's own."""
    given = os.environ.get("ANDON_TEST_MQTT_URL")
    return given or str(request.getfixturevalue("mosquitto").url)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser's program."""
    try:
        return servers.chromium()
    except servers.Missing as missing:
        _lacking(missing)
