"""Named subgroups that went on while nobody could look up that they had begun before."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.store.batch import Batch
from app.store.rows import Purpose, Quality, ReadingFlag
from rules import stream as loop

CONTINUED = "its subgroup had begun before the database was away"


class Past(Protocol):
    """What the store is asked; each raises StoreLost."""

    async def named(
        self, streams: Sequence[int], names: Sequence[int], since: int
    ) -> set[tuple[int, int]]:
        """The pairs of stream and subgroup name that have readings measured since then."""
        ...

    async def subgroup_readings(
        self, stream: int, numbers: Sequence[int], since: int
    ) -> NDArray[np.void]:
        """Readings of these subgroups that were measured since ``since``, ascending."""
        ...


class Resumed:
    """Watches the spool drain and notes which streams have to be judged again, and from when.

    While the database is away a name is taken for a new subgroup; whether the store had met it
    is known when the batch is written.
    """

    def __init__(self, past: Past) -> None:
        self._past = past
        self._current: dict[int, int] = {}
        self.since: dict[int, int] = {}
        """By stream, the measured time from which it has to be judged again."""

    async def look(self, batch: Batch) -> None:
        """Note what a spooled batch resumes; it is not written yet."""
        starts = self._starts(batch.readings)
        if not starts:
            return
        since = int(batch.readings["time"].min()) - loop.NAME_HOLDS
        streams, names = zip(*starts, strict=True)
        for stream, name in await self._past.named(streams, names, since):
            members = await self._past.subgroup_readings(stream, [name], since)
            first = int(members["time"][0])
            self.since[stream] = min(first, self.since.get(stream, first))

    def _starts(self, readings: NDArray[np.void]) -> set[tuple[int, int]]:
        """The pairs of stream and name where one follows another."""
        charted = (
            ((readings["flags"] & ReadingFlag.NAMED) != 0)
            & (readings["purpose"] == Purpose.PRODUCTION)
            & (readings["quality"] != Quality.BAD)
        )
        starts = set()
        for stream, name in readings[charted][["stream", "subgroup"]].tolist():
            if self._current.get(stream) != name:
                self._current[stream] = name
                starts.add((stream, name))
        return starts

    def drained(self) -> None:
        """The spool is empty: what comes next is looked up as it comes."""
        self._current.clear()
