"""Garbage on every door: nothing breaks, and all of it is to be seen, or was answered with 4xx."""

import json
import random
import time
from contextlib import contextmanager, suppress

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.client import ModbusTcpClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.collectors.modbus_servers import EXCEPTION, PymodbusServer
from tests.system.running import Andon, until, watching

pytestmark = pytest.mark.slow

SEED = 20261125
RANDOM = 300

PLANT = """
[[characteristic]]
id = "bore"
decimals = 3
plausible = {{ lower = 20, upper = 30 }}
limits = {{ center = 25.0, sigma = 0.004 }}

[[characteristic]]
id = "wild"
rules = "nelson"
limits = {{ center = 0.0, sigma = 1.0 }}

[[characteristic]]
id = "wild-mean"
chart = "xbar_r"
subgroup = {{ size = 2 }}
limits = {{ center = 0.0, sigma = 1.0 }}

[[characteristic]]
id = "scrap"
chart = "p"
limits = {{ center = 0.01 }}

[[characteristic]]
id = "force"
plausible = {{ lower = 0, upper = 100 }}
limits = {{ center = 10.0, sigma = 0.1 }}

[[characteristic]]
id = "travel"
limits = {{ center = 10.0, sigma = 0.1 }}

[[source]]
id = "broker"
kind = "mqtt"
url = "{broker}"
[[source.subscription]]
topic = "plant/{{characteristic}}"
value = "/value"
time = "/time"
key = "/serial"
size = "/size"
quality = "/quality"
purpose = "/purpose"
subgroup = "/sample"
tags = {{ lot = "/lot" }}

[[source]]
id = "press"
kind = "modbus"
url = "tcp://127.0.0.1:{press}"
poll = "50ms"
timeout = "500ms"
[[source.register]]
characteristic = "force"
address = 100
type = "float32"
trigger = {{ address = 98, on = "change", wrap = 65536 }}

[[source]]
id = "axis"
kind = "modbus"
url = "tcp://127.0.0.1:{axis}"
poll = "50ms"
timeout = "500ms"
[[source.register]]
characteristic = "travel"
address = 10
type = "uint16"
"""


def now(shift_s: float = 0.0) -> str:
    seconds, nanos = divmod(time.time_ns() + int(shift_s * 1e9), 10**9)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{nanos // 1000:06}Z", time.gmtime(seconds))


@contextmanager
def plc(directory):
    """A PLC of our own for a test."""
    directory.mkdir()
    server = PymodbusServer(directory).start()
    yield server
    server.stop()


@pytest.fixture
def press(tmp_path):
    with plc(tmp_path / "press") as server:
        yield server


@pytest.fixture
def axis(tmp_path):
    with plc(tmp_path / "axis") as server:
        yield server


@pytest.fixture
def service(tmp_path, mosquitto, press, axis):
    text = PLANT.format(broker=mosquitto.url, press=press.port, axis=axis.port)
    andon = Andon(tmp_path / "andon", text)
    try:
        andon.start()
        yield andon
        good_readings_pass(andon)
        assert andon.end() == 0
        andon.assert_calm()
    finally:
        with suppress(Exception):
            andon.close()


def good_readings_pass(service: Andon) -> None:
    """After all that, what is right is taken and judged."""
    answer = service.post(
        [{"characteristic": "bore", "value": 25.03, "time": now()}], "?verdicts=true&timeout=20s"
    ).json()
    assert (answer["accepted"], answer["rejected"]) == (1, [])
    assert answer["verdicts"][0]["verdict"] == "alarm"
    assert service.ready()


WRONG_VALUES = [
    "NaN", "Infinity", "-Infinity", "1e308", "-1e308", "1e999", "null", "true", '"x"', '""', "[]",
    "{}", '"NaN"', '"\\u0000"', "[1, 2]", '{"a": 1}', "0" * 50 + "1", "1" * 400,
]  # fmt: skip


def wrong_messages(chance: random.Random) -> list[bytes]:
    """Payloads, none of which is a reading of bore."""
    good = f'"time": "{now()}", "serial": 1'
    fields = [
        ("time", '"1970-01-01T00:00:00Z"'), ("time", '"yesterday"'), ("time", "0"), ("time", "{}"),
        ("time", '"9999-12-31T23:59:59Z"'), ("time", '"0001-01-01T00:00:00Z"'), ("time", "1e400"),
        ("time", f'"{now(86_400)}"'), ("time", '"2026-11-23T10:00:00"'), ("time", "null"),
        ("serial", "{}"), ("serial", "[1]"),
        ("quality", '"splendid"'), ("purpose", '"fun"'), ("purpose", "[]"), ("lot", "{}"),
    ]  # fmt: skip
    messages = [f'{{"value": {value}, {good}}}'.encode() for value in WRONG_VALUES]
    for name, value in fields:
        whole = {"value": "25.001", "time": f'"{now()}"', "serial": "2", name: value}
        pairs = ", ".join(f'"{key}": {text}' for key, text in whole.items())
        messages.append(f"{{{pairs}}}".encode())
    messages += [
        b"", b"{", b"}", b"null", b"25", b'"25"', b"\xff\xfe", b"[" * 100_000, b'{"value":' * 50_000,
        '{"value": 25.001}'.encode("utf-16"), b"\x00" * 1000, b"[[], [[]], 1, {}]",
        b" " * 10_000_000, b"[" * 10_000_000,
    ]  # fmt: skip
    messages += [chance.randbytes(chance.randrange(1, 400)) for _ in range(RANDOM)]
    return messages


def publish(port: int, messages: list[tuple[str, bytes]]) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish(topic, payload, qos=1) for topic, payload in messages]
    for one in sent:
        one.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def test_on_mqtt(service, mosquitto):
    service.source_is("broker")
    wrong = wrong_messages(random.Random(SEED))
    topics = ["plant/bore"] * len(wrong)
    unknown = ["plant/nobody", "plant/Bore", "plant/\u2603", "plant/" + "x" * 3000, "plant/wild "]
    good = json.dumps({"value": 1, "time": now()}).encode()
    messages = list(zip([*topics, *unknown], [*wrong, *([good] * len(unknown))], strict=True))
    publish(mosquitto.port, messages)

    def seen() -> list[dict]:
        items = service.items("/quarantine?source=broker")
        return items if len(items) >= len(messages) else []

    items = until(f"{len(messages)} items", seen)
    assert len(items) == len(messages) + 3  # one message is a list of four
    assert all(one["reason"] and len(str(one["payload"])) < 40_000 for one in items)
    measured = service.rows("SELECT s.name FROM reading r JOIN stream s ON s.id = r.stream")
    assert {row["name"] for row in measured} <= {"travel"}  # the axis is polled meanwhile
    service.source_is("broker")


def test_numbers_beyond_all_reason(service, mosquitto):
    """Where nothing says what is plausible, only what is still exact is a reading."""
    values = [1.0, 1e15, -1e15, 1e15, 1e-308, 5e-324, 1.0, 2.0]
    beyond = [1e308, -1e308, 1.1e15]
    times = [now(i / 1000) for i in range(len(values))]
    with watching(service, "wild", "wild-mean") as screen:
        for name in ("wild", "wild-mean"):
            readings = [
                {"characteristic": name, "value": v, "time": t}
                for v, t in zip(values, times, strict=True)
            ]
            readings += [{"characteristic": name, "value": v, "time": times[0]} for v in beyond]
            answer = service.post(readings, "?verdicts=true&timeout=20s")
            assert answer.status_code == 200
            assert answer.json()["accepted"] == len(values)
            reasons = [one["reason"] for one in answer.json()["rejected"]]
            assert len(reasons) == len(beyond)
            assert all("is beyond 1e+15" in reason for reason in reasons)
        del screen
    for name in ("wild", "wild-mean"):
        for what in ("points", "readings", "streams", "versions"):
            told = service.get(f"/api/v1/characteristics/{name}/{what}")
            assert told.status_code == 200, told.text
            strict(told.text)
    strict(service.get("/api/v1/alarms").text)
    with watching(service, "wild") as screen:
        service.post([{"characteristic": "wild", "value": 7.0, "time": now(1)}])
        screen.sees("wild", 7.0)


def strict(text: str) -> object:
    """JSON as a browser reads it."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


BODIES: list[tuple[bytes, str]] = [
    (b"", "application/json"),
    (b"{", "application/json"),
    (b"null", "application/json"),
    (b"[]", "application/json"),
    (b"NaN", "application/json"),
    (b'{"readings": 1}', "application/json"),
    (b'{"readings": {}}', "application/json"),
    (b'{"readings": [], "more": 1}', "application/json"),
    (b'{"reading": []}', "application/json"),
    (b"[" * 100_000, "application/json"),
    (b'{"readings":[' + b'{"tags":' * 50_000, "application/json"),
    (b"\xff\xfe\x00", "application/json"),
    (b"\xff\xfe\x00", "text/csv"),
    (b"nothing\n1\n", "text/csv"),
    (b'"', "text/csv"),
    (b"{}", "text/plain"),
    (b"{}", "application/xml"),
    (b"<a/>", "multipart/form-data"),
]

ITEMS: list[dict] = [
    {"characteristic": "nobody", "value": 1},
    {"characteristic": "", "value": 1},
    {"characteristic": "bo\0re", "value": 1},
    {"characteristic": "x" * 5000, "value": 1},
    {"characteristic": "bore", "value": 1e308},
    {"characteristic": "bore", "value": "NaN"},
    {"characteristic": "bore", "value": None},
    {"characteristic": "bore"},
    {"characteristic": "bore", "values": []},
    {"characteristic": "bore", "value": 25, "values": [25]},
    {"characteristic": "bore", "value": 25, "time": "1970-01-01T00:00:00Z"},
    {"characteristic": "bore", "value": 25, "time": "9999-12-31T23:59:59Z"},
    {"characteristic": "bore", "value": 25, "time": "2026-11-23T10:00:00"},
    {"characteristic": "bore", "value": 25, "time": "yesterday"},
    {"characteristic": "bore", "value": 25, "quality": "splendid"},
    {"characteristic": "bore", "value": 25, "purpose": "fun"},
    {"characteristic": "scrap", "value": 3, "size": 2},
    {"characteristic": "scrap", "value": -1, "size": 2},
    {"characteristic": "scrap", "value": 0.5, "size": 2},
    {"characteristic": "scrap", "value": 1, "size": 0},
]  # fmt: skip

TYPES: list[dict] = [
    {"characteristic": 7, "value": 1},
    {"characteristic": "bore", "value": []},
    {"characteristic": "bore", "value": {}},
    {"characteristic": "bore", "value": 25, "time": 5},
    {"characteristic": "bore", "value": 25, "key": [1]},
    {"characteristic": "bore", "value": 25, "key": 1.5},
    {"characteristic": "bore", "value": 25, "tags": []},
    {"characteristic": "bore", "value": 25, "tags": {"lot": {}}},
    {"characteristic": "bore", "value": 25, "nonsense": 1},
    {"characteristic": "bore", "value": True},
]


def test_on_http(service):
    chance = random.Random(SEED)
    url = f"{service.url}/api/v1/readings"
    with httpx.Client(timeout=30) as client:
        bodies = [*BODIES, *((chance.randbytes(300), "application/json") for _ in range(50))]
        bodies += [(chance.randbytes(300), "text/csv") for _ in range(50)]
        bodies += [(chance.randbytes(300), "application/x-ndjson") for _ in range(50)]
        for body, kind in bodies:
            headers = {"Content-Type": kind, "Idempotency-Key": "x"}
            answer = client.post(url, content=body, headers=headers)
            rejected = answer.status_code == 200 and not answer.json()["accepted"]
            assert rejected or 400 <= answer.status_code < 500, (body[:60], kind, answer.text[:300])
        large = client.post(url, content=b"x" * 10_000_000)
        assert large.status_code == 413
        streamed = client.post(url, content=(b"x" * 1_000_000 for _ in range(10)))
        assert streamed.status_code == 413

        before = len(service.items("/quarantine?source=http"))
        seen = 0
        for item in [*ITEMS, *TYPES]:
            stamped = {"time": now(), **item}
            answer = client.post(url, json={"readings": [stamped, good()]})
            if answer.status_code == 200:
                told = answer.json()
                assert told["accepted"] == 1, item
                assert [one["index"] for one in told["rejected"]] == [0], item
                seen += 1
            else:
                assert 400 <= answer.status_code < 500, (item, answer.text)
                assert item not in ITEMS
        assert len(service.items("/quarantine?source=http")) == before + seen


def good() -> dict:
    return {"characteristic": "bore", "value": 25.0, "time": now()}


STRANGE = [
    "-1",
    "0",
    "nobody",
    "9" * 30,
    "%00",
    "..%2f..%2fetc%2fpasswd",
    "NaN",
    "\u2603",
    "' OR 1=1",
]
PATHS = [
    "/api/v1/characteristics/{}",
    "/api/v1/characteristics/{}/points",
    "/api/v1/characteristics/bore/points?stream={}",
    "/api/v1/characteristics/bore/points?start={}",
    "/api/v1/characteristics/bore/points?limit={}",
    "/api/v1/characteristics/bore/readings?after={}",
    "/api/v1/characteristics/bore/readings?end={}",
    "/api/v1/alarms/{}",
    "/api/v1/alarms?state={}",
    "/api/v1/alarms?after={}",
    "/api/v1/quarantine?after={}",
    "/api/v1/quarantine?limit={}",
    "/api/v1/gaps?source={}",
    "/api/v1/sources/{}",
    "/{}",
]
COMMANDS = [
    "/api/v1/alarms/{}/acknowledge",
    "/api/v1/alarms/1/shelve",
    "/api/v1/characteristics/bore/limits",
    "/api/v1/characteristics/{}/limits/1/approve",
    "/api/v1/characteristics",
    "/api/v1/plant",
]


def test_on_every_route(service):
    service.post([good()])
    with httpx.Client(base_url=service.url, timeout=30) as client:
        for path in PATHS:
            for word in STRANGE:
                answer = client.get(path.format(word))
                assert answer.status_code < 500, (path, word, answer.text)
        for path in COMMANDS:
            for word in STRANGE[:4] if "{}" in path else [""]:
                for body in (
                    b"",
                    b"{}",
                    b"null",
                    b"[" * 1000,
                    b"\xff",
                    b'{"who": 7, "version": "x"}',
                ):
                    answer = client.post(
                        path.format(word),
                        content=body,
                        headers={"Content-Type": "application/json"},
                    )
                    assert 400 <= answer.status_code < 500, (path, word, body[:9], answer.text)


def test_on_the_socket(service):
    chance = random.Random(SEED)
    url = service.url.replace("http", "ws") + "/api/v1/live"
    messages: list[str | bytes] = [
        "", "{", "null", "[]", '{"t": "nothing"}', '{"t": "sub", "chars": 7}',
        '{"t": "sub", "chars": ["nobody"], "window": -1}', '{"t": "sub", "window": 1e308}',
        '{"t": "rx", "now": "NaN"}', "[" * 50_000, chance.randbytes(100), b"", "x" * 300_000,
    ]  # fmt: skip
    for message in messages:
        with connect(url) as socket, suppress(ConnectionClosed):
            socket.send(message)
            socket.send('{"t": "sub", "chars": ["nobody"]}')
            while json.loads(socket.recv(10))["t"] != "err":
                pass
    with connect(url) as socket:
        for _ in range(10):
            socket.send("nonsense")
        with pytest.raises(ConnectionClosed, match=r"andon\.v1"):
            hear(socket)
    service.post([good()])
    with watching(service, "bore") as screen:
        service.post([{"characteristic": "bore", "value": 25.009, "time": now()}])
        screen.sees("bore", 25.009)


def hear(socket: ClientConnection) -> None:
    """Listen until the end."""
    while True:
        socket.recv(10)


def test_on_modbus(service, press, axis):
    service.source_is("press")
    service.source_is("axis")
    with ModbusTcpClient("127.0.0.1", port=press.port) as plc:

        def part(count: int, words: list[int]) -> None:
            plc.write_registers(100, words)
            plc.write_registers(98, [count])

        def quarantined(n: int) -> list[dict]:
            items = service.items("/quarantine?source=press")
            return items if len(items) >= n else []

        until("the counter is known", lambda: counted(service, "press"))
        for number, words in enumerate(
            [[0x7FC0, 0], [0x7F80, 0], [0xFF80, 0], [0x7F7F, 0xFFFF], [0xC2C8, 0]], start=1
        ):
            part(number, words)  # nan, inf, -inf, 3.4e38, -100
            until(f"item {number}", lambda n=number: quarantined(n))
        plc.write_registers(EXCEPTION, [2])
        items = until("the exception shows", lambda: quarantined(6))
        assert "with exception 2" in items[0]["reason"]
        plc.write_registers(EXCEPTION, [0])
        until("it is read again", lambda: made(service, plc))
        plc.write_registers(98, [1000])
        gaps = until("the jump shows", lambda: service.items("/gaps?source=press"))
        assert (gaps[0]["characteristic"], gaps[0]["missed"] > 900) == ("force", True)

    axis.freeze()
    try:
        assert until("it hangs", lambda: down(service, "axis"))["last_error"]
        good_readings_pass(service)
    finally:
        axis.thaw()
    service.source_is("axis")
    axis.kill()
    until("it is gone", lambda: down(service, "axis"))
    axis.start()
    service.source_is("axis")


def down(service: Andon, name: str) -> dict | None:
    found = [s for s in service.items("/sources") if s["id"] == name]
    return found[0] if found[0]["state"] != "up" else None


def made(service: Andon, plc: ModbusTcpClient) -> bool:
    """Make another part, with a force as it should be; whether one has been read."""
    plc.write_registers(100, plc.convert_to_registers(10.0, plc.DATATYPE.FLOAT32))
    count = plc.read_holding_registers(98, count=1).registers[0]
    plc.write_registers(98, [count + 1])
    time.sleep(0.1)  # two polls: parts come one by one
    return bool(service.items("/characteristics/force/streams")) and bool(
        service.rows(
            "SELECT 1 FROM reading r JOIN stream s ON s.id = r.stream WHERE name = 'force'"
        )
    )


def counted(service: Andon, source: str) -> bool:
    lines = service.get("/metrics").text.splitlines()
    polls = [line for line in lines if "messages" in line and f'"{source}"' in line]
    return any(float(line.split()[-1]) > 0 for line in polls)
