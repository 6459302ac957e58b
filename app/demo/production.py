"""Parts as they come off the simulated lines, in the order of time."""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Iterator, Sequence

from app.demo.plant import GAUGES, SECOND, Gauge, Measured, Plant, Route

BASELINE = 200  # points of each chart before the demo's first start


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def of(*routes: Route) -> list[Gauge]:
    """The gauges that measure by these ways."""
    return [gauge for gauge in GAUGES if gauge.route in routes]


def baseline(plant: Plant, start: int) -> list[Measured]:
    """What was measured before ``start``, all gauges, oldest first."""
    past = [
        plant.measure(gauge, part, cavity=cavity)
        for gauge in GAUGES
        for newest in [plant.index(gauge, start - 1)]
        for part in range(newest - BASELINE + 1, newest + 1)
        for cavity in gauge.streams
    ]
    return sorted(past, key=lambda one: one.time)


def parts(plant: Plant, gauges: Sequence[Gauge], start: int) -> Iterator[Measured]:
    """What is measured from ``start`` on, without end."""
    due = [(plant.time(gauge, part := plant.index(gauge, start - 1) + 1), number, part)
           for number, gauge in enumerate(gauges)]  # fmt: skip
    heapq.heapify(due)
    while True:
        _, number, part = due[0]
        gauge = gauges[number]
        for cavity in gauge.streams:
            yield plant.measure(gauge, part, cavity=cavity)
        heapq.heapreplace(due, (plant.time(gauge, part + 1), number, part + 1))


async def live(plant: Plant, gauges: Sequence[Gauge], start: int) -> AsyncIterator[Measured]:
    """What is measured from ``start`` on, each at its time."""
    for one in parts(plant, gauges, start):
        wait = one.time - now()
        if wait > 0:
            await asyncio.sleep(wait / SECOND)
        yield one
