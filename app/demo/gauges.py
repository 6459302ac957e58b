"""The gauges of the simulated plant publish over MQTT: ``python -m app.demo.gauges PORT SEED``."""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

import aiomqtt

from app.demo import leash
from app.demo.item import iso, key_of
from app.demo.plant import Gauge, Measured, Plant, schedule
from app.demo.production import live, of

AGAIN_S = 0.5
QOS = 1


def topic(gauge: Gauge) -> str:
    """Where a gauge publishes."""
    form = "count" if gauge.counts else "sample" if gauge.n > 1 else "value"
    return f"plant/{gauge.station}/{form}/{gauge.id}"


def message(one: Measured, number: int) -> dict[str, Any]:
    """What a gauge publishes; ``number`` counts its messages."""
    stated: dict[str, Any] = {"n": number, "time": iso(one.time), "lot": one.lot}
    if one.size is not None:
        return {
            **stated,
            "serial": key_of(one),
            "defective": int(one.values[0]),
            "inspected": one.size,
        }
    if one.gauge.n > 1:
        return {**stated, "sample": one.part, "values": list(one.values)}
    return {**stated, "serial": key_of(one), "value": one.values[0]}


async def publish(port: int, seed: int, start: int) -> None:
    """Publish what is measured from ``start`` on, whatever becomes of the broker."""
    plant = Plant(seed, schedule(seed, start))
    numbers: Counter[str] = Counter()
    measured = live(plant, of("mqtt"), start)
    one = await anext(measured)
    while True:
        try:
            async with aiomqtt.Client(
                "127.0.0.1", port, identifier="demo-gauges", protocol=aiomqtt.ProtocolVersion.V311
            ) as client:
                while True:
                    wrong = plant.disturbance(one.gauge, one.time)
                    if wrong is None or wrong.kind != "lost":
                        number = numbers[one.gauge.id] + 1
                        said = json.dumps(message(one, number))
                        await client.publish(topic(one.gauge), said, QOS)
                        numbers[one.gauge.id] = number
                    one = await anext(measured)
        except aiomqtt.MqttError:
            await asyncio.sleep(AGAIN_S)


async def main(port: int, seed: int) -> None:
    """Wait for the word, then publish."""
    loop = asyncio.get_running_loop()
    begin: asyncio.Future[int] = loop.create_future()
    leash.hold(lambda line: loop.call_soon_threadsafe(begin.set_result, int(line)))
    await publish(port, seed, await begin)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
