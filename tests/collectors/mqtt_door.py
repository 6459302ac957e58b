"""The intake's place in tests of the collector: keeps what comes, makes durable when told."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt

from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.config import MqttConfig
from collectors.reading import Delivery, Gap, Outcome, Reading, Receipt, Reject

PATIENCE_S = 30.0


def now() -> int:
    return time.time_ns() // 1000


def config(port: int, **keys: Any) -> MqttConfig:
    return MqttConfig.model_validate(
        {
            "id": "broker",
            "kind": "mqtt",
            "url": f"mqtt://127.0.0.1:{port}",
            "subscription": [
                {
                    "topic": "plant/{characteristic}",
                    "value": "/v",
                    "time": "/t",
                    "time_format": "us",
                    "key": "/k",
                }
            ],
            **keys,
        }
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


class Door:
    def __init__(self, *, durable: bool = True) -> None:
        self.durable = durable
        self.deliveries: list[Delivery] = []
        self.receipts: list[Receipt] = []

    async def __call__(self, delivery: Delivery, *, wait: bool = True) -> Receipt:
        receipt: Receipt = asyncio.get_running_loop().create_future()
        self.deliveries.append(delivery)
        self.receipts.append(receipt)
        if self.durable:
            receipt.set_result(Outcome(len(delivery.readings), 0, [], "database"))
        return receipt

    def make_durable(self) -> None:
        for receipt in self.receipts:
            if not receipt.done():
                receipt.set_result(Outcome(0, 0, [], "spool"))

    @property
    def readings(self) -> list[Reading]:
        return [reading for delivery in self.deliveries for reading in delivery.readings]

    @property
    def keys(self) -> list[int]:
        return [reading.key for reading in self.readings]

    @property
    def rejects(self) -> list[Reject]:
        return [reject for delivery in self.deliveries for reject in delivery.rejects]

    @property
    def gaps(self) -> list[Gap]:
        return [gap for delivery in self.deliveries for gap in delivery.gaps]

    @property
    def position(self) -> dict[str, Any] | None:
        known = [delivery.position for delivery in self.deliveries if delivery.position]
        return known[-1] if known else None


@asynccontextmanager
async def collecting(
    given: MqttConfig,
    door: Door,
    position: dict[str, Any] | None = None,
    clock: Callable[[], int] = now,
) -> AsyncIterator[MqttCollector]:
    """A collector that is connected and subscribed; its failure fails the test."""
    collector = MqttCollector(given, position, clock)
    connected = asyncio.Event()
    task = asyncio.create_task(collector.run(door, connected.set))
    up = asyncio.create_task(connected.wait())
    try:
        await asyncio.wait([task, up], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield collector
    finally:
        up.cancel()
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


@asynccontextmanager
async def publishing(port: int, **options: Any) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(
        "127.0.0.1", port, identifier=f"publisher-{os.urandom(4).hex()}", **options
    ) as client:
        yield client


async def publish(
    port: int, *keys: int, topic: str = "plant/bore", qos: int = 1, **options: Any
) -> None:
    async with publishing(port) as client:
        for key in keys:
            payload = b'{"v":%d,"t":%d,"k":%d}' % (key, 1_714_557_600_000_000 + key, key)
            await client.publish(topic, payload, qos=qos, **options)
