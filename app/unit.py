"""One act of a person: a batch that is committed when the act is done, or not at all."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from app.alarm_step import Step
from app.alarms import Alarms
from app.catalog import Catalog
from app.plantfile import Plant, stored
from app.store.batch import Alarm, AlarmChange, Batch, Source

T = TypeVar("T")

OTHERS = ("source", "audit", "boundary", "station_event")


class Unit:
    """What an act changes; it takes effect with the commit."""

    def __init__(
        self,
        batch: Batch,
        catalog: Catalog,
        alarms: Alarms,
        highest: dict[str, int],
        closed: Callable[[int], Awaitable[Alarm | None]],
    ) -> None:
        self.batch = batch
        self._alarms = alarms
        self._catalog = catalog
        self._closed = closed
        self.highest = {
            **dict.fromkeys(OTHERS, 0),
            **highest,
            "characteristic": catalog.next_characteristic() - 1,
            "version": catalog.next_version() - 1,
        }

    def number(self, of: str) -> int:
        """The id of the next new row of a table."""
        self.highest[of] += 1
        return self.highest[of]

    async def alarm(self, number: int) -> Alarm | None:
        """An alarm as it is now, also when it is closed."""
        return self._alarms.find(number) or await self._closed(number)

    def put_alarm(self, alarm: Alarm, changes: Sequence[AlarmChange]) -> Alarm:
        """Keep an alarm's next state and the lines of its history."""
        return self._alarms.take(self.batch, Step(alarm, list(changes)), self.batch.at)

    def put_plant(self, plant: Plant) -> None:
        """Keep what holds for the whole plant, and a number for each source."""
        known = {source.name for source in self._catalog.sources.values()}
        for config in plant.sources:
            if config.id not in known:
                row = config.model_dump(mode="json")
                self.batch.sources.append(
                    Source(self.number("source"), config.id, config.kind, row)
                )
        self.batch.plant = stored(plant)


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Do work to its end also when the caller is cancelled meanwhile; that shows afterwards."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.cancelled() or task.exception()  # seen
        raise cancelled
    return task.result()
