"""How the service starts, is refused, is guarded, and ends."""

import json
import re
import signal
import socket
import subprocess
from contextlib import suppress
from datetime import UTC, datetime

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app.store.embedded import EmbeddedPostgres
from tests.system.load import loaded, plant
from tests.system.running import WAIT_S, Andon, receiving, until

pytestmark = pytest.mark.slow

BORE = """
[[characteristic]]
id = "bore"
limits = { center = 25.0, sigma = 0.004 }
"""
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is refused, or guarded
TOKEN = "correct-horse-battery"
KEY = "staple-of-the-mes-1"


@pytest.fixture
def start(tmp_path):
    """A function that gives services, all of which are gone afterwards."""
    made: list[Andon] = []

    def make(text: str = BORE, database: str | None = None, **settings: str) -> Andon:
        made.append(Andon(tmp_path / f"andon-{len(made)}", text, database, **settings))
        return made[-1]

    yield make
    for one in made:
        with suppress(Exception):
            one.close()


def reading() -> dict:
    return {"characteristic": "bore", "value": 25, "time": datetime.now(UTC).isoformat()}


def refused(service: Andon) -> str:
    """What a service says that does not start: one sentence, and it ends with 1."""
    done = subprocess.run(
        service.command(),
        env=service.environment(),
        cwd=service.directory,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    sentence = done.stderr.strip().splitlines()[-1]
    assert sentence.startswith("andon: ")
    return sentence


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_whole(start, mosquitto, how):
    """Under load: everything acknowledged is there again, and nothing is left running."""
    with receiving() as receiver:
        service = start(plant(mosquitto.url, receiver.url)).start()
        family = [
            psutil.Process(service.pid),
            *psutil.Process(service.pid).children(recursive=True),
        ]
        database = psutil.Process(EmbeddedPostgres(service.data).pid())
        family += [database, *database.children(recursive=True)]
        with loaded(service, mosquitto.port, seed=1) as load:
            until("posts are answered", lambda: len(load.answered) > 20)
            assert service.end(how) == 0
            assert [process for process in family if process.is_running()] == []
            assert EmbeddedPostgres(service.data).pid() is None
            service.start()
            load.stop()
        load.check()
        assert service.end() == 0
        service.assert_calm()


def test_a_database_that_was_left_running_is_taken_over(start):
    service = start().start()
    assert service.post([reading()]).json()["accepted"] == 1
    service.strike()
    left = EmbeddedPostgres(service.data).pid()
    assert left is not None
    service.start()
    assert EmbeddedPostgres(service.data).pid() == left
    assert service.rows("SELECT count(*) FROM reading")[0][0] == 1
    assert service.end() == 0
    assert EmbeddedPostgres(service.data).pid() is None


def test_the_second_on_the_same_data_is_told_who_holds_it(start):
    first = start().start()
    second = start(data_dir=str(first.data))
    sentence = refused(second)
    assert f"process {first.pid} on {socket.gethostname()}" in sentence
    assert first.ready()
    assert EmbeddedPostgres(first.data).pid() is not None
    assert first.end() == 0


def test_the_second_on_the_same_database_is_told_who_holds_it(start, timescale_url):
    first = start(BORE, timescale_url).start()
    sentence = refused(start(BORE, timescale_url))
    assert f"process {first.pid} on {socket.gethostname()}" in sentence
    assert first.ready()
    first.strike()
    start(BORE, timescale_url).start()  # it may take over at once


def test_a_taken_port_is_named(start):
    service = start()
    with socket.create_server(("127.0.0.1", service.port)):
        sentence = refused(service)
    assert f"127.0.0.1:{service.port}" in sentence
    assert "--port" in sentence
    assert not service.data.exists() or EmbeddedPostgres(service.data).pid() is None


def test_what_must_not_start(start):
    assert "ANDON_ACCESS_TOKEN" in refused(start(host=EVERYWHERE))
    told = refused(start(host=EVERYWHERE, access_token="short"))
    assert "access_token" in told.lower()
    assert "at least 16 characters" in told
    assert "plant.toml" in refused(start("[[characteristic]]\nid = 7\n"))
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    service = start(BORE, away)
    service.launch()
    until("it answers", lambda: said(service))
    assert service.get("/health/ready").status_code == 503
    assert service.end() == 0


def said(service: Andon) -> bool:
    with suppress(httpx.HTTPError):
        return service.get("/health/live").status_code == 200
    return False


def test_an_andon_without_a_token_is_for_this_machine_alone(start):
    service = start().start()
    names = {
        c.laddr.ip for c in psutil.Process(service.pid).net_connections() if c.status == "LISTEN"
    }
    assert names == {"127.0.0.1"}
    elsewhere = {"Origin": "http://elsewhere.example"}
    body = {"readings": [{"characteristic": "bore", "value": 25}]}
    url = f"{service.url}/api/v1"
    assert httpx.post(f"{url}/readings", json=body, headers=elsewhere).status_code == 403
    assert httpx.get(f"{url}/alarms", headers={"Host": "elsewhere.example"}).status_code in (
        400,
        403,
        421,
    )
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(f"ws{url[4:]}/live", origin="http://elsewhere.example"),
    ):
        pass


def test_the_token_guards_every_route_and_the_socket(start):
    service = start(host=EVERYWHERE, access_token=TOKEN, ingest_keys=f"mes:{KEY}").start()
    assert service.get("/health/live").status_code == 200
    assert service.get("/metrics").status_code == 200
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    openapi = service.get("/api/v1/openapi.json", headers=bearer).json()
    for path, methods in openapi["paths"].items():
        if path.startswith(("/health", "/metrics")):
            continue
        for method in methods:
            url = service.url + re.sub(r"{\w+}", "1", path)
            assert httpx.request(method.upper(), url, timeout=10).status_code == 401, (method, path)
            wrong = {"Authorization": "Bearer wrong-horse-battery"}
            if path.endswith("/alarms"):
                assert httpx.request(method.upper(), url, headers=wrong).status_code == 401
    for path in ("/", "/alarms", "/assets/x.js", "/api/v1/openapi.json"):
        assert service.get(path).status_code in (303, 401), path

    body = [reading()]
    ingest = {"Authorization": f"Bearer {KEY}"}
    assert service.post(body).status_code == 401
    assert service.post(body, **ingest).json()["accepted"] == 1
    assert service.get("/api/v1/alarms", headers=ingest).status_code in (401, 403)

    live = service.url.replace("http", "ws") + "/api/v1/live"
    with pytest.raises(InvalidStatus, match="403"), connect(live):
        pass
    with connect(live, additional_headers=bearer) as screen:
        assert '"welcome"' in str(screen.recv(10))
    with httpx.Client(base_url=service.url) as browser:
        form = browser.get("/alarms", headers={"Accept": "text/html"}, follow_redirects=True)
        assert "<form" in form.text
        assert browser.post("/login", data={"token": "wrong-horse-battery"}).status_code != 303
        assert browser.get("/api/v1/alarms").status_code == 401
        entered = browser.post("/login", data={"token": TOKEN, "next": "/alarms"})
        assert entered.status_code == 303
        assert browser.get("/api/v1/alarms").status_code == 200
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with connect(live, additional_headers={"Cookie": cookie}) as screen:
        assert '"welcome"' in str(screen.recv(10))
    assert TOKEN not in service.said()
    assert KEY not in service.said()


def test_a_dead_pipeline_ends_it(start):
    """Somebody changes a table under it, and what it reads back is no reading any more."""
    service = start().start()
    first = [reading()]
    assert service.post(first).json()["accepted"] == 1
    assert service.post(first).json()["duplicates"] == 1
    service.rows("ALTER TABLE reading ALTER COLUMN batch TYPE integer")
    with suppress(httpx.HTTPError):  # whoever waits is cut off, or told to come again
        assert not service.post(first).is_success
    assert service.wait() == 1
    *log, sentence = service.said().splitlines()
    assert sentence == "andon: a part of the service died; the log says which and why"
    critical = [one for one in map(json.loads, log) if one["level"] == "critical"]
    assert [(one["part"], one["exception"][0]["exc_type"]) for one in critical] == [
        ("pipeline", "ValueError")
    ]
    assert EmbeddedPostgres(service.data).pid() is None, "it ends whole"


def test_a_spool_that_cannot_be_used_ends_it(start):
    """The disk under the data directory is not what it was: better no service than a false one."""
    service = start()
    service.data.mkdir()
    (service.data / "spool").write_text("no directory")
    sentence = refused(service)
    assert "spool" in sentence
