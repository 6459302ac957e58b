"""The command line as people use it: real processes, the embedded database, one sentence on failure."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest

from app.commands.failure import Failed
from app.commands.listener import bound
from app.store.embedded import EmbeddedPostgres

pytestmark = pytest.mark.servers

PLANT = """
[[characteristic]]
id = "bore"
unit = "mm"
limits = { center = 25.0, sigma = 0.004 }
"""
START_S = 60
NOBODY = "postgresql://x:secret@127.0.0.1:1/x"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "plant.toml").write_text(PLANT)
    return tmp_path


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from app.cli import main; main()", *words]


def environment(**more: str) -> dict[str, str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("ANDON_")}
    return {**plain, **more}


def andon(place, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        cwd=place,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


@contextmanager
def serving(place, port: int, *words: str):
    with (place / "serve.log").open("w") as log:
        process = subprocess.Popen(
            command("serve", "--port", str(port), *words),
            cwd=place,
            env=environment(),
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_S
        while True:
            assert process.poll() is None, (place / "serve.log").read_text()
            assert time.monotonic() < deadline, (place / "serve.log").read_text()
            try:
                if httpx.get(f"{url}/health/ready").status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        yield process, url
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=START_S)


def test_apply_serve_post_stop_and_go_on(place, free_port):
    port = free_port()
    planned = andon(place, "apply", "plant.toml", "--dry-run")
    assert (planned.returncode, planned.stderr) == (0, "")
    assert "Nothing was changed" in planned.stdout
    assert "Applied." in andon(place, "apply", "plant.toml").stdout
    assert EmbeddedPostgres(place / ".andon").pid() is None, "what apply started, it stops"
    assert "Nothing to do." in andon(place, "apply", "plant.toml").stdout

    body = {
        "readings": [
            {"characteristic": "bore", "value": 25.001, "time": "2026-11-23T10:00:00Z"},
            {"characteristic": "bore", "value": 25.03, "time": "2026-11-23T10:00:01Z"},
        ]
    }
    for reading in body["readings"]:
        reading["historical"] = True
    with serving(place, port) as (process, url):
        first = httpx.post(f"{url}/api/v1/readings?verdicts=true", json=body).json()
        assert (first["accepted"], first["durable"]) == (2, "database")
        assert [one["verdict"] for one in first["verdicts"]] == ["ok", "alarm"]

        second = andon(place, "serve", "--port", str(free_port()))
        assert second.returncode == 1
        assert "Traceback" not in second.stderr
        taken = andon(place.parent, "serve", "--port", str(port))
        assert taken.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in taken.stderr

        (place / "plant.toml").write_text(PLANT.replace('"mm"', '"um"'))
        through = andon(place, "apply", "plant.toml", ANDON_PORT=str(port))
        assert "changes unit" in through.stdout, through.stderr
        told = httpx.get(f"{url}/api/v1/characteristics/bore").json()
        assert told["unit"] == "um"
        elsewhere = andon(place, "apply", "plant.toml", ANDON_PORT="1")
        assert elsewhere.returncode == 1
        assert f"process {process.pid}" in elsewhere.stderr
        assert "or say with --url where it answers" in elsewhere.stderr

        checked = andon(place, "check", "plant.toml")
        assert checked.returncode == 0, checked.stdout
        assert "its tables are at" in checked.stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=START_S) == 0

    with serving(place, port) as (process, url):
        again = httpx.post(f"{url}/api/v1/readings?verdicts=true", json=body).json()
        assert (again["accepted"], again["duplicates"]) == (0, 2)
        assert [one["verdict"] for one in again["verdicts"]] == ["ok", "alarm"]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=START_S) == 0
    log = [json.loads(line) for line in (place / "serve.log").read_text().splitlines()]
    assert {line["level"] for line in log} == {"info"}


@pytest.mark.parametrize(
    ("words", "more", "code", "told"),
    [
        (["serve", "--host", "0.0.0.0"], {}, 1, "ANDON_ACCESS_TOKEN"),  # noqa: S104 - refused
        (["serve", "--role", "collect"], {}, 2, "one process"),
        (["serve", "--plant", "none.toml", "--port", "0"], {}, 1, "none.toml: cannot be read"),
        (["serve", "--port", "65536"], {}, 2, "65535"),
        (["serve"], {"ANDON_DATA_DIR": "a-file/x"}, 1, "set ANDON_DATA_DIR"),
        (["serve"], {"ANDON_TLS_CERT": "a-file", "ANDON_TLS_KEY": "a-file"}, 1, "no PEM"),
        (["serve"], {"ANDON_TLS_CERT": "a-file", "ANDON_TLS_KEY": "none"}, 1, "tls_key none"),
        (["serve"], {"ANDON_ACCESS_TOKEN_FILE": "a-file"}, 1, "at least 16 characters"),
        (["demo", "--port", "65536"], {}, 2, "65535"),
        (["demo", "--data", "a-file"], {}, 1, "choose another with --data"),
        (["apply", "none.toml"], {}, 1, "none.toml: cannot be read"),
        (["apply"], {}, 2, "PLANT.TOML"),
        (["apply", "a-file", "--url", "http://127.0.0.1:1"], {}, 1, "no Andon answers at"),
        (["apply", "a-file", "--url", "nowhere"], {}, 1, "no Andon answers at nowhere"),
        (["apply", "a-file"], {"ANDON_DATABASE_URL": NOBODY}, 1, "the database is away"),
        (["apply", "a-file", "--dry-run"], {"ANDON_DATABASE_URL": NOBODY}, 1, "is away"),
        (["apply", "a-file"], {"ANDON_DATA_DIR": "a-file"}, 1, "set ANDON_DATA_DIR"),
        (["nothing"], {}, 2, "nothing"),
        (["migrate"], {"ANDON_DATABASE_URL": NOBODY}, 1, "not answer"),
        (["migrate"], {"ANDON_DATABASE_URL": "postgresql://a:b/c@d/e"}, 1, "/ as %2F"),
        (["migrate"], {"ANDON_DATA_DIR": "a-file"}, 1, "set ANDON_DATA_DIR"),
        (["check"], {"ANDON_PORTS": "1"}, 1, 'did you mean "ANDON_PORT"?'),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, words, more, code, told):
    (tmp_path / "a-file").touch()
    done = andon(tmp_path, *words, **more)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    if code == 1:
        assert done.stderr.startswith("andon: ")
        assert done.stderr.count("\n") == 1


def test_check_says_what_is_wrong(tmp_path):
    (tmp_path / "plant.toml").write_text('[[characteristic]]\nid = "a"\nchart = "q"\n')
    done = andon(tmp_path, "check", "plant.toml", ANDON_DATABASE_URL=NOBODY)
    assert done.returncode == 1
    assert '"q" is not known' in done.stdout
    assert "the database does not answer" in done.stdout
    assert "2 of these have to be put right" in done.stderr
    (tmp_path / "a-file").touch()
    done = andon(tmp_path, "check", ANDON_DATA_DIR="a-file", ANDON_TLS_CERT="x", ANDON_TLS_KEY="y")
    assert done.returncode == 1
    assert "set ANDON_DATA_DIR" in done.stdout
    assert "tls_cert x cannot be read" in done.stdout


SOURCES = """
[[source]]
id = "broker"
kind = "mqtt"
url = "mqtt://127.0.0.1:1"
username = "andon"
password = "in-the-file"
[[source.subscription]]
topic = "plant/{characteristic}"
[[source]]
id = "press"
kind = "modbus"
url = "tcp://127.0.0.1:1"
[[source.register]]
characteristic = "bore"
device = 1
table = "holding"
address = 1
type = "int16"
"""


def test_check_says_what_to_do(place, embedded):
    """From nothing, to tables, to limits; and sources that do not answer."""
    at = {"ANDON_DATABASE_URL": embedded.create_database()}
    made = andon(place, "check", "plant.toml")
    assert made.returncode == 0
    assert "plant.toml: 1 characteristic, no sources" in made.stdout
    assert "no database yet: `andon serve` makes one" in made.stdout
    assert not (place / ".andon").exists(), "who looks changes nothing"

    wrong = at["ANDON_DATABASE_URL"].rpartition("/")[0] + "/nowhere"
    refused = andon(place, "check", ANDON_DATABASE_URL=wrong)
    assert refused.returncode == 1
    assert '"nowhere" does not exist; put it right there' in refused.stdout

    assert "its tables are at nothing" in andon(place, "check", **at).stdout
    (place / "plant.toml").write_text(f"{PLANT}{SOURCES}\n[[characteristic]]\nid = 'oven'\n")
    assert andon(place, "apply", "plant.toml", **at).returncode == 0
    told = andon(place, "check", "plant.toml", **at)
    assert told.returncode == 0, told.stdout
    assert "plant.toml: 2 characteristics, 2 sources" in told.stdout
    assert "  ! oven: no limits yet" in told.stdout
    assert "bore: no limits" not in told.stdout
    assert "broker: 127.0.0.1:1" in told.stdout
    assert "check url" in told.stdout
    assert "name that in password_file" in told.stdout
    assert "in-the-file" not in told.stdout
    assert "press: no connection" in told.stdout
    assert "may double" in told.stdout

    (place / "plant.toml").write_text(PLANT)
    assert andon(place, "apply", "plant.toml", **at).returncode == 0  # the oven retires
    assert "limits are in force for 1 characteristic\n" in andon(place, "check", **at).stdout
    embedded.sql("UPDATE alembic_version SET version_num = '9999'", name_of(at))
    newer = andon(place, "check", **at)
    assert newer.returncode == 1
    assert "use a newer Andon" in newer.stdout
    embedded.drop_database(at["ANDON_DATABASE_URL"])


def name_of(at: dict[str, str]) -> str:
    """The database's name in its address."""
    return at["ANDON_DATABASE_URL"].rpartition("/")[2]


async def test_migrate_twice_at_once(tmp_path, embedded_url):
    runs = [
        await asyncio.create_subprocess_exec(
            *command("migrate"),
            cwd=tmp_path,
            env=environment(ANDON_DATABASE_URL=embedded_url),
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for run in runs:
        said, _ = await run.communicate()
        assert run.returncode == 0
        assert b"tables are at" in said


def test_no_socket_is_left_behind_by_a_taken_port(free_port):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Failed, match=f"127.0.0.1:{port}"):
            bound("127.0.0.1", port)
    bound("127.0.0.1", port).close()
