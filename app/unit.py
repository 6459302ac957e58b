"""One act of a person: a batch that is committed when the act is done, or not at all."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.alarm_step import Step
from app.alarms import Alarms
from app.catalog import Catalog
from app.plantfile import PlantSection
from app.store.batch import Alarm, AlarmChange, Batch

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
        self._closed = closed
        self.highest = {
            "characteristic": catalog.next_characteristic() - 1,
            "version": catalog.next_version() - 1,
            **highest,
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

    def put_plant(self, section: PlantSection, announce: Sequence[Any]) -> None:
        """Keep what holds for the whole plant."""
        self.batch.plant = {
            "section": section.model_dump(mode="json"),
            "announce": [one.model_dump(mode="json") for one in announce],
        }

    def changes_configuration(self) -> bool:
        """Whether more than alarms and audits is touched."""
        batch = self.batch
        return bool(
            batch.characteristics or batch.versions or batch.sources or batch.plant is not None
        )


def copied(highest: dict[str, int]) -> dict[str, int]:
    """The numbers that a unit may go on from."""
    return {name: highest.get(name, 0) for name in OTHERS}

