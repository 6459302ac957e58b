"""Streams judged again where readings did not come in the order of time."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.admission import stamp_of
from app.catalog import Catalog
from app.changes import Changes, differences, identity_of
from app.engine import Engine
from app.membership import NEVER, Membership, row_at
from app.replay import Group, Replayed, replay
from app.store.rows import NO_SUBGROUP, PointFlag
from rules import stream as loop

REACH = 64
"""Points that can matter to another's verdict: no rule looks further, on either side."""

WINDOW = 50_000
"""Readings looked at together; late readings that lie further apart are taken in parts."""

BEGINNING = (-(2**62), -(2**63))
END = (2**62, 0)

SHORT = 1_000
"""Readings that are replayed at once; more go to a worker thread."""


class History(Protocol):
    """What re-evaluation asks of the store."""

    async def points_before(self, stream: int, time: int, key: int, limit: int) -> NDArray[np.void]:
        """The newest points before (time, key), ascending."""
        ...

    async def points_from(self, stream: int, time: int, key: int, limit: int) -> NDArray[np.void]:
        """The oldest points at or after (time, key), ascending."""
        ...

    async def readings_between(
        self, stream: int, start: tuple[int, int], end: tuple[int, int] | None, limit: int
    ) -> NDArray[np.void]:
        """Readings from start to end, both included, ascending."""
        ...

    async def subgroup_readings(
        self, stream: int, numbers: Sequence[int], since: int
    ) -> NDArray[np.void]:
        """Readings of these subgroups that were measured since ``since``, ascending."""
        ...

    async def tags(self, contexts: Sequence[int]) -> dict[int, dict[str, str]]:
        """The tags of these contexts."""
        ...


class Span(NamedTuple):
    """What of a stream is replayed; close to its end patterns are cut off."""

    start: tuple[int, int]
    end: tuple[int, int] | None  # None: up to the newest
    until: tuple[int, int]  # nothing so far from the late readings can have changed


class LateReadings:
    """Puts late readings among the stored ones, and judges again what they can touch."""

    def __init__(
        self,
        catalog: Catalog,
        engine: Engine,
        membership: Membership,
        history: History,
        window: int = WINDOW,
    ) -> None:
        self.window = window
        self._catalog = catalog
        self._engine = engine
        self.membership = membership
        self._history = history

    async def evaluate(
        self,
        stream: int,
        fresh: NDArray[np.void],
        *,
        now: int,
        since: tuple[int, int] = NEVER,
        why: str = "late reading",
    ) -> Changes:
        """Put a stream's new readings among the stored ones and judge again what they can touch.

        ``fresh`` have their membership; without any, everything from ``since`` on is judged again.
        Leaves the live state as if all had come in order.
        """
        earliest, last = since, END
        if len(fresh):
            fresh = np.sort(fresh, order=("time", "key"))
            earliest = min(since, await self._earliest(stream, fresh))
            last = identity_of(fresh[-1])
        span = await self._span(stream, earliest, last)
        complete = span.end is None
        stored = await self._history.readings_between(stream, span.start, span.end, self.window)
        if len(stored) == self.window and len(fresh) > 1:
            return await self._in_parts(stream, fresh, now, since, why)
        stored = await self._all(stream, stored, span.end)
        readings = np.sort(np.concatenate([stored, fresh]), order=("time", "key"))
        again = partial(
            replay,
            readings,
            await self._stamps(stream, readings),
            self.membership.eras(stream),
            self._engine,
            still_open=self.membership.open_numbers(stream),
            to_the_end=complete,
        )
        replayed = again() if len(readings) < SHORT else await asyncio.to_thread(again)
        shown = await self._history.points_from(stream, *earliest, len(readings) + 1)
        if complete:
            self._adopt(stream, replayed)
        compare = partial(
            differences,
            shown,
            replayed.points,
            (earliest, span.until),
            self._engine.integers[stream],
            now=now,
            why=why,
        )
        changes = compare() if len(readings) < SHORT else await asyncio.to_thread(compare)
        if complete:
            return changes
        newest = await self._history.points_before(stream, *END, 1)
        return changes._replace(newest=newest)

    async def _span(self, stream: int, earliest: tuple[int, int], last: tuple[int, int]) -> "Span":
        before = await self._history.points_before(stream, *earliest, REACH)
        after = await self._history.points_from(stream, *last, REACH)
        start = identity_of(before[0]) if len(before) == REACH else BEGINNING
        if len(after) < REACH:
            return Span(start, None, NEVER)
        return Span(start, identity_of(after[-1]), identity_of(after[REACH // 2]))

    async def _all(
        self, stream: int, stored: NDArray[np.void], end: tuple[int, int] | None
    ) -> NDArray[np.void]:
        """The readings that were read up to the window's limit, and those behind them."""
        while len(stored) and not len(stored) % self.window:
            last = identity_of(stored[-1])  # both ends are included
            more = await self._history.readings_between(stream, last, end, self.window + 1)
            if len(more) <= 1:
                break
            stored = np.concatenate([stored, more[1:]])
        return stored

    async def _in_parts(
        self,
        stream: int,
        fresh: NDArray[np.void],
        now: int,
        since: tuple[int, int],
        why: str,
    ) -> Changes:
        """Take late readings that lie far apart on the two sides of their widest distance."""
        at = int(np.argmax(np.diff(fresh["time"]))) + 1
        first = await self.evaluate(stream, fresh[:at], now=now, since=since, why=why)
        second = await self.evaluate(stream, fresh[at:], now=now, why=why)
        return first.then(second)

    async def _earliest(self, stream: int, fresh: NDArray[np.void]) -> tuple[int, int]:
        """The first point that the new readings can touch: theirs, or a subgroup's they join."""
        earliest = (int(fresh["time"][0]), int(fresh["key"][0]))
        grouped = fresh[fresh["subgroup"] != NO_SUBGROUP]
        if not len(grouped):
            return earliest
        numbers = np.unique(grouped["subgroup"]).tolist()
        row = row_at(self.membership.eras(stream), earliest[0])
        since = earliest[0] - int(loop.name_holds(self._engine.versions_i[row]))
        members = await self._history.subgroup_readings(stream, numbers, since)
        if len(members):
            earliest = min(earliest, (int(members["time"][0]), int(members["key"][0])))
        return earliest

    async def _stamps(self, stream: int, readings: NDArray[np.void]) -> NDArray[np.int64]:
        """The stamps of the tags whose change is a boundary."""
        entry = self._catalog.characteristics[self._catalog.streams[stream].characteristic]
        if not entry.cut_tags or not len(readings):
            return np.zeros(len(readings), np.int64)
        contexts = np.unique(readings["context"]).tolist()
        unsaved = self._catalog.unsaved_contexts
        tags = await self._history.tags([number for number in contexts if number not in unsaved])
        tags.update({n: unsaved[n].tags for n in contexts if n in unsaved})
        stamps = {n: stamp_of(entry.cut_tags, tags.get(n)) for n in contexts}
        return np.array([stamps[n] for n in readings["context"].tolist()], np.int64)

    def _adopt(self, stream: int, replayed: Replayed) -> None:
        """Go on live from where the replay ended."""
        engine = self._engine
        state = engine.integers[stream]
        self.membership.behind.discard(stream)
        began = (int(state[loop.OPEN_TIME]), int(state[loop.OPEN_KEY]))
        if (
            state[loop.OPEN_COUNT] > 0
            and len(replayed.points)
            and identity_of(replayed.points[-1]) > began
        ):
            self.membership.behind.add(stream)
        engine.registers[stream] = replayed.registers
        engine.memory[stream] = replayed.memory
        engine.enter_version(stream)
        size = int(engine.versions_i[state[loop.VERSION], loop.V_SIZE])
        group = replayed.open
        named = group is not None or bool(
            len(replayed.points) and replayed.points["flags"][-1] & PointFlag.NAMED
        )
        if size > 1 and not named:
            return  # what is open was counted in the order of arrival
        engine.floats[stream, loop.PREVIOUS] = replayed.previous
        switched = len(replayed.points) > 0 and (
            replayed.points["version"][-1] != engine.version_ids[state[loop.VERSION]]
        )
        state[loop.PENDING] = loop.CUT if replayed.pending or switched else 0
        state[loop.CUT_STAMP], state[loop.LAST_TIME] = replayed.stamp, replayed.last_time
        if size > 1:
            self.membership.behind.discard(stream)  # a named one that is open began last
            self._open(state, group)

    def _open(self, state: NDArray[np.int64], group: Group | None) -> None:
        if group is None:
            state[loop.OPEN_COUNT] = 0
            return
        state[loop.OPEN_COUNT] = len(group.values)
        state[loop.OPEN_TIME], state[loop.OPEN_KEY] = group.time, group.key
        state[loop.OPEN_NUMBER], state[loop.OPEN_VERSION] = group.number, group.row
        state[loop.OPEN_FLAGS] = loop.NAMED | (loop.CUT if group.cut else 0) | group.spec
        self._engine.values[state[loop.SLOT], : len(group.values)] = group.values
