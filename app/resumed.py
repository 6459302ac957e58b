"""Named subgroups that went on while nobody could look up that they had begun before."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from app.store.batch import Batch
from app.store.errors import SpoolBroken
from app.store.rows import Purpose, Quality, ReadingFlag
from app.store.spool_file import settle
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
    is known when the batch is written. The note is on the disk before that: an end half-way
    forgets nothing. To judge a stream twice changes nothing.
    """

    def __init__(self, past: Past, path: Path) -> None:
        self._past = past
        self._path = path
        self._current: dict[int, int] = {}
        self.since: dict[int, int] = {}
        """By stream, the measured time from which it has to be judged again."""

    def open(self) -> None:
        """Take up what was noted before the process ended."""
        try:
            self.since = msgspec.json.decode(self._path.read_bytes(), type=dict[int, int])
        except FileNotFoundError:
            self.since = {}
        except (OSError, msgspec.DecodeError) as error:
            log.warning(
                "a note beside the spool cannot be read", path=str(self._path), error=str(error)
            )

    async def look(self, batch: Batch) -> None:
        """Note what a spooled batch resumes; it is not written yet.

        Raises:
            StoreLost: ask again; nothing was noted.
            SpoolBroken: the note cannot be kept.
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
                await asyncio.to_thread(self._keep)
        self._current = current

    def _names(self, readings: NDArray[np.void]) -> list[tuple[int, int]]:
        """The pairs of stream and name of what is charted, in the order of arrival."""
        charted = (
            ((readings["flags"] & ReadingFlag.NAMED) != 0)
            & (readings["purpose"] == Purpose.PRODUCTION)
            & (readings["quality"] != Quality.BAD)
        )
        pairs: list[tuple[int, int]] = readings[charted][["stream", "subgroup"]].tolist()
        return pairs

    def drained(self) -> None:
        """The spool is empty: what comes next is looked up as it comes."""
        self._current.clear()

    async def settle(self) -> None:
        """What was noted was judged again; a note that stays does no harm."""
        if not self.since:
            with suppress(OSError):
                await asyncio.to_thread(self._path.unlink)

    def _keep(self) -> None:
        part = self._path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(msgspec.json.encode(self.since))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
            settle(self._path.parent)
        except OSError as error:
            raise SpoolBroken(f"{self._path} cannot be written: {error}") from error
