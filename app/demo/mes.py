"""The MES of the simulated plant posts over HTTP: ``python -m app.demo.mes URL SEED``."""

import asyncio
import sys
from collections import deque
from typing import Any

import httpx

from app.demo import leash
from app.demo.item import item
from app.demo.plant import Measured, Plant, schedule
from app.demo.production import live, of

WAITING = 10_000  # items that wait for Andon; beyond that the oldest are lost
AGAIN_S = 1.0
TIMEOUT_S = 10.0


class Backlog:
    """Items on their way: posted again until Andon answers that they are durable."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/v1/readings"
        self._items: deque[dict[str, Any]] = deque(maxlen=WAITING)
        self._arrived = asyncio.Event()

    def put(self, *items: dict[str, Any]) -> None:
        """Post these as soon as possible."""
        self._items.extend(items)
        self._arrived.set()

    async def post(self) -> None:
        """Post without end. Every item has time and key, so posting it again changes nothing."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._items:
                    batch = list(self._items)
                    if not await self._accepted(client, batch):
                        await asyncio.sleep(AGAIN_S)
                        continue
                    for _ in batch:
                        self._items.popleft()

    async def _accepted(self, client: httpx.AsyncClient, batch: list[dict[str, Any]]) -> bool:
        try:
            answer = await client.post(self._url, json={"readings": batch})
        except httpx.TransportError:
            return False
        return answer.is_success


class Lab:
    """Results that are late: every second one of a disturbed gauge, all at once when it is over."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._held: dict[str, list[Measured]] = {}

    def release(self, one: Measured) -> list[Measured]:
        """What leaves the laboratory when ``one`` was measured."""
        wrong = self._plant.disturbance(one.gauge, one.time)
        if wrong is not None and wrong.kind == "late":
            if one.part % 2:
                self._held.setdefault(one.gauge.id, []).append(one)
                return []
            return [one]
        return [*self._held.pop(one.gauge.id, []), one]


async def post(url: str, seed: int, start: int) -> None:
    """Post what is measured from ``start`` on."""
    plant = Plant(seed, schedule(seed, start))
    lab, backlog = Lab(plant), Backlog(url)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(backlog.post(), name="post")
        async for one in live(plant, of("mes"), start):
            backlog.put(*(item(released) for released in lab.release(one)))


async def main(url: str, seed: int) -> None:
    """Wait for the word, then post."""
    loop = asyncio.get_running_loop()
    begin: asyncio.Future[int] = loop.create_future()
    leash.hold(lambda line: loop.call_soon_threadsafe(begin.set_result, int(line)))
    await post(url, seed, await begin)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
