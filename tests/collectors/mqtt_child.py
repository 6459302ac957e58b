"""A collector in a process of its own that is killed: prints each key that it was handed."""

import asyncio
import sys

from collectors.mqtt.collector import MqttCollector
from collectors.reading import Delivery, Receipt
from tests.collectors.mqtt_door import Door, config, now


class Telling(Door):
    async def __call__(self, delivery: Delivery, *, wait: bool = True) -> Receipt:
        receipt = await super().__call__(delivery, wait=wait)
        for reading in delivery.readings:
            print(reading.key, flush=True)  # noqa: T201
        return receipt


asyncio.run(
    MqttCollector(config(int(sys.argv[1])), None, now).run(
        Telling(durable=False),
        lambda: print("up", flush=True),  # noqa: T201
    )
)
