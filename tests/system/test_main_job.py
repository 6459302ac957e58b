"""From three kinds of sources to the database, the screen, a person and a webhook, all of it real."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from paho.mqtt import publish
from playwright.sync_api import expect, sync_playwright
from pymodbus.client import ModbusTcpClient

from rules.runs import decode
from tests.collectors.modbus_servers import LibmodbusServer, PymodbusServer
from tests.servers import CHROMIUM_ARGS, Missing
from tests.system.running import Andon, receiving, until

pytestmark = pytest.mark.slow

PLANT = """
[plant]
name = "Plant 1"
timezone = "Europe/Berlin"

[[characteristic]]
id = "bore"
name = "Bore diameter"
unit = "mm"
decimals = 3
limits = {{ center = 25.0, sigma = 0.004 }}

[[characteristic]]
id = "force"
name = "Press force"
unit = "kN"
decimals = 2
limits = {{ center = 10.0, sigma = 0.1 }}

[[characteristic]]
id = "length"
name = "Shaft length"
unit = "mm"
decimals = 2
limits = {{ center = 100.0, sigma = 0.05 }}

[[source]]
id = "broker"
kind = "mqtt"
url = "{broker}"
[[source.subscription]]
topic = "plant/{{characteristic}}"
value = "/value"
time = "/time"
key = "/serial"

[[source]]
id = "press"
kind = "modbus"
url = "tcp://127.0.0.1:{plc}"
poll = "50ms"
[[source.register]]
characteristic = "force"
address = 100
type = "float32"
trigger = {{ address = 98, on = "change", wrap = 65536 }}

[[announce]]
id = "phone"
kind = "webhook"
url = "{webhook}"
"""
NAMES = {"bore": "Bore diameter", "force": "Press force", "length": "Shaft length"}
FOUR_SIGMA = {"bore": 25.016, "force": 10.4, "length": 100.2}


def now() -> str:
    """The source's clock."""
    seconds, nanos = divmod(time.time_ns(), 10**9)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{nanos // 1000:06}Z", time.gmtime(seconds))


def make_part(port: int, count: int, value: float) -> None:
    """The press's own program: first the value, then the counter."""
    with ModbusTcpClient("127.0.0.1", port=port) as plc:
        words = plc.convert_to_registers(value, plc.DATATYPE.FLOAT32)
        assert not plc.write_registers(100, words).isError()
        assert not plc.write_registers(98, [count]).isError()


@pytest.mark.parametrize("database", ["timescale", "embedded"])
def test_four_sigma_on_every_way_in(
    request: pytest.FixtureRequest, database: str, mosquitto, tmp_path: Path, chromium_path: str
) -> None:
    url = request.getfixturevalue("timescale_url") if database == "timescale" else None
    try:
        plc = (LibmodbusServer if database == "timescale" else PymodbusServer)(tmp_path)
    except Missing as missing:
        pytest.skip(str(missing))
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        plc.start()
        stack.callback(plc.stop)
        text = PLANT.format(broker=mosquitto.url, plc=plc.port, webhook=receiver.url)
        service = Andon(tmp_path / "andon", text, url)
        stack.callback(service.close)
        service.start()
        service.source_is("broker")
        service.source_is("press")
        until("the press was read", lambda: read(service, "press"))

        message = json.dumps({"value": 25.016, "time": now(), "serial": 4711})
        publish.single("plant/bore", message, qos=1, hostname="127.0.0.1", port=mosquitto.port)
        make_part(plc.port, 1, 10.4)
        told = service.post(
            [{"characteristic": "length", "value": 100.2, "time": now()}], "?verdicts=true"
        )
        assert told.json()["verdicts"][0]["verdict"] == "alarm"

        until("three points", lambda: len(points(service)) == 3)
        for name, (value, violations) in points(service).items():
            assert value == pytest.approx(FOUR_SIGMA[name], abs=1e-9)
            assert ("location", "nelson-1", "upper") in violations
        calls = until("three calls", lambda: called(receiver))
        assert all("nelson-1" in body["alarm"]["rules"] for body in calls.values())

        see_and_click(service, chromium_path)
        for name in NAMES:
            row = service.rows(
                "SELECT a.state, a.seen_by, a.seen_at FROM alarm a JOIN stream s ON s.id = a.stream"
                " WHERE s.name = $1", name,
            )  # fmt: skip
            assert [(one["state"], one["seen_by"]) for one in row] == [("ack", "R. Berg")]
            assert row[0]["seen_at"] is not None
        assert service.end() == 0
        service.assert_calm()


def read(service: Andon, source: str) -> bool:
    """Whether a source has been polled at least once, which tells it the part counter."""
    metrics = service.get("/metrics").text.splitlines()
    polls = [line for line in metrics if "messages" in line and f'"{source}"' in line]
    return any(float(line.split()[-1]) > 0 for line in polls)


def points(service: Andon) -> dict[str, tuple[float, list[tuple[str, str, str]]]]:
    """Value and violations of the one point of each characteristic."""
    rows = service.rows(
        "SELECT s.name, p.statistic, p.violations FROM point p JOIN stream s ON s.id = p.stream"
    )
    return {
        row["name"]: (
            row["statistic"],
            [(v.chart, v.rule, v.side) for v in decode(row["violations"])],
        )
        for row in rows
    }


def called(receiver) -> dict[str, dict] | None:
    """The first call for each characteristic, once all are there."""
    calls = {name: receiver.of(name)[0] for name in NAMES if receiver.of(name)}
    return calls if len(calls) == len(NAMES) else None


def see_and_click(service: Andon, chromium: str) -> None:
    """What the person at the screen does."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        page = browser.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{service.url}/alarms")
        for number, label in enumerate(NAMES.values()):
            row = page.locator(".row", has_text=label)
            expect(row).to_have_count(1)
            row.get_by_role("button", name="Seen").click()
            if number == 0:
                dialog = page.get_by_role("dialog")
                dialog.get_by_role("textbox").fill("R. Berg")
                dialog.get_by_role("button", name="That is me").click()
            expect(row).to_contain_text("R. Berg")
        browser.close()
        assert wrong == []
