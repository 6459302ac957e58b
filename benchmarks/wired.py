"""The service's own wiring in a process that does as it is told, for the benchmark of streams.

``python -m benchmarks.wired DIRECTORY URL STREAMS``; every line on stdin is answered by a line:
``feed`` by microseconds of CPU and of waiting for each reading, ``memory`` by bytes.
"""

import asyncio
import gc
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import psutil
import uvloop
from pydantic import SecretStr

from app.clock import wall_clock
from app.http.application import create_app
from app.http.readings import SOURCE
from app.logs import set_up
from app.service import Service
from app.settings import Settings
from benchmarks.running import calm, characteristic
from collectors.reading import Delivery, Reading

SHAPES = {100: (10, 10), 1_000: (1_000, 1), 100_000: (1_000, 100)}
"""Characteristics, and cavities of each: together the streams."""
BATCH, BATCHES = 10_000, 10
STEP_US = 10_000


class Plant:
    """Readings of all streams in turn, in an order that no cache likes."""

    def __init__(self, streams: int) -> None:
        gauges, cavities = SHAPES[streams]
        self._gauges = [f"gauge-{i}" for i in range(gauges)]
        self._tags = [{"cavity": str(i)} for i in range(cavities)]
        self._order = np.random.default_rng(11).permutation(streams)
        self._values = calm(10_000, 13)
        self._turn = count()
        self._started = wall_clock() - 86_400_000_000

    def toml(self) -> str:
        return "\n".join(characteristic(name, more='stream = ["cavity"]') for name in self._gauges)

    def batch(self) -> list[Reading]:
        streams = len(self._order)
        readings = []
        for _ in range(BATCH):
            turn = next(self._turn)
            gauge, cavity = divmod(int(self._order[turn % streams]), len(self._tags))
            part = turn // streams  # values alternate around the center part by part
            value = self._values[(part + 2 * turn) % len(self._values)]
            at = self._started + part * STEP_US
            readings.append(Reading(self._gauges[gauge], value, at, part, tags=self._tags[cavity]))
        return readings


async def feed(service: Service, plant: Plant) -> tuple[float, float]:
    """Microseconds per reading from the intake until it is durable: of CPU, and of the clock."""
    cpu = waited = 0.0
    for _ in range(BATCHES):
        delivery = Delivery(SOURCE, wall_clock(), plant.batch())
        cpu -= time.process_time()
        waited -= time.perf_counter()
        outcome = await (await service.emit(delivery))
        waited += time.perf_counter()
        cpu += time.process_time()
        if outcome.accepted != BATCH or outcome.durable != "database":
            raise RuntimeError(
                f"{outcome.accepted} of {BATCH} readings are in the {outcome.durable}"
            )
    readings = BATCH * BATCHES
    return cpu / readings * 1e6, waited / readings * 1e6


async def obey(place: Path, url: str, streams: int) -> None:
    """Start, and do what the lines say."""
    set_up("json", "warning")
    plant = Plant(streams)
    file = place / "plant.toml"
    file.write_text(plant.toml())
    settings = Settings(database_url=SecretStr(url), data_dir=place / "data", plant=file)
    service = Service(settings, wall_clock, "bench")
    app = create_app(service)
    await service.start()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line == "feed\n":
            print(*await feed(service, plant), flush=True)
        else:
            gc.collect()
            print(psutil.Process().memory_full_info().uss, flush=True)
    await service.stop()
    del app


if __name__ == "__main__":
    uvloop.run(obey(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
