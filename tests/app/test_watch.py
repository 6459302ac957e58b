"""What the clock brings about, in a running service with a broker that goes away and comes back."""

import asyncio
from pathlib import Path

import pytest

from app import apply
from app.http.characteristics import put_steps
from app.plantfile import parse_plant
from app.service import Service
from app.settings import Settings
from collectors.reading import Delivery, Reading
from tests.app.clock import SECOND, Clock

pytestmark = pytest.mark.servers

PLANT = """
[[characteristic]]
id = "gloss"
expect = "4s"
limits = {{ center = 84.0, sigma = 0.9 }}

[[characteristic]]
id = "bore"
limits = {{ center = 25.0, sigma = 0.004 }}

[[source]]
id = "gauges"
kind = "mqtt"
url = "{url}"
[[source.subscription]]
topic = "plant/{{characteristic}}"
"""
EMPTY = '[[characteristic]]\nid = "gloss"\nexpect = "4s"\nlimits = { center = 84.0, sigma = 0.9 }\n'


@pytest.fixture
async def service(embedded_url, mosquitto, tmp_path):
    (tmp_path / "plant.toml").write_text(PLANT.format(url=mosquitto.url))
    settings = Settings(
        data_dir=tmp_path / "data", database_url=embedded_url, plant=tmp_path / "plant.toml"
    )
    running = Service(settings, Clock(), "test")
    await running.start()
    yield running
    await running.stop()


async def measured(service: Service, characteristic: str, value: float, tags=None) -> None:
    now = service.clock()
    receipt = await service.intake.emit(
        Delivery("gauges", now, [Reading(characteristic, value, now, key=now, tags=tags)])
    )
    await receipt


async def until(service: Service, expected: dict[str, str]) -> None:
    """Wait until the open alarms, by stream, are in these states."""
    async with asyncio.timeout(30):
        while {a.stream_name: a.state for a in service.alarms.open_alarms()} != expected:  # noqa: ASYNC110 - as people look
            await asyncio.sleep(0.05)


async def source_is(service: Service, state: str) -> None:
    async with asyncio.timeout(30):
        while {s.name: s.state for _, s in service.sources()}["gauges"] != state:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_lost_source_is_one_alarm_and_what_is_retired_leaves_none_open(service, mosquitto):
    clock = service.clock
    await source_is(service, "up")
    await measured(service, "gloss", 84.0)
    clock.now += 13 * SECOND
    await until(service, {"gloss": "unack"})

    mosquitto.stop()
    await source_is(service, "down")
    clock.now += 16 * SECOND
    await until(service, {"gloss": "suppressed", "source:gauges": "unack"})
    (gauge,) = [a for a in service.alarms.open_alarms() if a.stream_name == "gloss"]
    assert gauge.caused_by == "source:gauges"

    mosquitto.start()
    await source_is(service, "up")
    await until(service, {"gloss": "suppressed", "source:gauges": "rtn_unack"})
    clock.now += 13 * SECOND
    await until(service, {"gloss": "unack", "source:gauges": "rtn_unack"})
    await measured(service, "gloss", 84.0)
    await measured(service, "bore", 25.1)
    await until(service, {"gloss": "rtn_unack", "source:gauges": "rtn_unack", "bore": "unack"})

    plant = parse_plant(EMPTY, base_dir=Path())
    async with service.exclusive() as unit:
        by = apply.Author("Kim", clock(), "it is gone")
        await put_steps(service, unit, apply.plan(plant, service.catalog).steps, by)
        unit.put_plant(plant)
    await until(
        service, {"gloss": "rtn_unack", "source:gauges": "rtn_unack", "bore": "out_of_service"}
    )


async def test_a_lost_source_that_is_taken_out_of_the_file_leaves_no_alarm_that_cannot_end(
    service, mosquitto
):
    clock = service.clock
    await source_is(service, "up")
    mosquitto.stop()
    await source_is(service, "down")
    clock.now += 16 * SECOND
    await until(service, {"source:gauges": "unack"})
    plant = parse_plant(EMPTY, base_dir=Path())
    async with service.exclusive() as unit:
        unit.put_plant(plant)
    await until(service, {"source:gauges": "out_of_service"})


async def test_streams_that_other_tags_left_behind_are_not_waited_for(service):
    clock = service.clock
    await source_is(service, "up")
    await measured(service, "gloss", 84.0)
    clock.now += 13 * SECOND
    await until(service, {"gloss": "unack"})
    plant = parse_plant(EMPTY.replace("expect", 'stream = ["cavity"]\nexpect', 1), base_dir=Path())
    async with service.exclusive() as unit:
        by = apply.Author("Kim", clock(), "a new tool")
        await put_steps(service, unit, apply.plan(plant, service.catalog).steps, by)
    await until(service, {"gloss": "out_of_service"})
    await measured(service, "gloss", 84.0, {"cavity": "2"})
    clock.now += 13 * SECOND
    await until(service, {"gloss": "out_of_service", "gloss:2": "unack"})
