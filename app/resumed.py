"""Named subgroups that went on while nobody could look up that they had begun before."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from app.store.batch import Batch
from app.store.errors import SpoolBroken, SpoolFull
from app.store.rows import NO_SUBGROUP, Purpose, Quality, ReadingFlag
from app.store.spool import Spool
from rules import stream as loop

log = structlog.get_logger(__name__)

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
    is known when the batch is written. The note is in the spool before that: an end half-way
    forgets nothing. To judge a stream twice changes nothing.
    """

    def __init__(self, past: Past, spool: Spool) -> None:
        self._past = past
        self._spool = spool
        self._current: dict[int, int] = {}
        self._noted = False
        self.since: dict[int, int] = {}
        """By stream, the measured time from which it has to be judged again."""

    def open(self) -> None:
        """Take up what was noted before the process ended."""
        noted = self._spool.load_note()
        self.since = {} if noted is None else msgspec.json.decode(noted, type=dict[int, int])
        self._noted = bool(self.since)

    async def look(self, batch: Batch) -> None:
        """Note what a spooled batch resumes; it is not written yet.

        Raises:
            StoreLost: ask again; nothing was noted.
        """
        current, starts = dict(self._current), set()
        for stream, name in self._names(batch.readings):
            if current.get(stream) != name:
                current[stream] = name
                starts.add((stream, name))
        if starts:
            since = int(batch.readings["time"].min()) - loop.NAME_HOLDS
            streams, found = zip(*starts, strict=True)
            resumed: dict[int, int] = {}
            for stream, name in await self._past.named(streams, found, since):
                members = await self._past.subgroup_readings(stream, [name], since)
                first = int(members["time"][0])
                resumed[stream] = min(first, resumed.get(stream, first))
            if resumed:
                self.since |= {s: min(t, self.since.get(s, t)) for s, t in resumed.items()}
                await self._note()
        self._current = current

    def _names(self, readings: NDArray[np.void]) -> list[tuple[int, int]]:
        """The pairs of stream and name of what is charted, in the order of arrival."""
        charted = (
            ((readings["flags"] & ReadingFlag.NAMED) != 0)
            & (readings["subgroup"] != NO_SUBGROUP)
            & (readings["purpose"] == Purpose.PRODUCTION)
            & (readings["quality"] != Quality.BAD)
        )
        pairs: list[tuple[int, int]] = readings[charted][["stream", "subgroup"]].tolist()
        return pairs

    def drained(self) -> None:
        """The spool is empty: what comes next is looked up as it comes."""
        self._current.clear()

    async def settle(self) -> None:
        """What was noted was judged again."""
        if self._noted and not self.since:
            await self._note()

    async def _note(self) -> None:
        self._noted = bool(self.since)
        try:
            await asyncio.to_thread(self._spool.save_note, msgspec.json.encode(self.since))
        except (SpoolFull, SpoolBroken) as error:  # the drain makes room: it must not wait for some
            log.warning("a note in the spool cannot be kept", error=str(error))
