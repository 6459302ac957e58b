"""Readings that did not come in order: membership, re-evaluation, and what it changes."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.admission import stamp_of
from app.catalog import Catalog
from app.changes import Changes, differences, identity_of
from app.engine import Engine
from app.replay import Era, Group, Replayed, replay
from app.store.rows import NO_SUBGROUP, PointFlag, Purpose, Quality, ReadingFlag
from rules import stream as loop
from rules.charts import P

REACH = 64
"""Points that can matter to another's verdict: no rule looks further, on either side."""

WINDOW = 50_000
"""Readings looked at together; late readings that lie further apart are taken in parts."""

NEVER = (2**63, 0)
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


class LateSubgroup(msgspec.Struct):
    """The subgroup that late readings of a stream are filling, in the order of arrival."""

    number: int
    count: int
    time: int  # of its first arrival
    earliest: tuple[int, int]  # of its readings, in the order of time
    keys: int
    row: int


class LateMark(NamedTuple):
    """What to put back when a batch could not be made durable."""

    streams: set[int]
    filling: dict[int, LateSubgroup]
    behind: set[int]
    held: set[int]


class Span(NamedTuple):
    """What of a stream is replayed; close to its end patterns are cut off."""

    start: tuple[int, int]
    end: tuple[int, int] | None  # None: up to the newest
    until: tuple[int, int]  # nothing so far from the late readings can have changed


class LateReadings:
    """Takes the streams of a batch to which late readings came."""

    def __init__(
        self, catalog: Catalog, engine: Engine, history: History, window: int = WINDOW
    ) -> None:
        self.window = window
        self._catalog = catalog
        self._engine = engine
        self._history = history
        self.filling: dict[int, LateSubgroup] = {}
        self.behind: set[int] = set()
        """Streams whose open subgroup began before a point that exists."""
        self.held: set[int] = set()
        """Streams whose readings wait until the database is back."""

    @property
    def unsettled(self) -> set[int]:
        """Streams whose next reading cannot simply go on."""
        return self.behind | self.filling.keys()

    def forget(self) -> None:
        """Begin with nothing known."""
        self.filling.clear()
        self.behind.clear()
        self.held.clear()

    def mark(self, streams: Iterable[int]) -> "LateMark":
        """Remember what is open in these streams."""
        chosen = set(streams)
        return LateMark(
            chosen,
            {s: msgspec.structs.replace(self.filling[s]) for s in chosen & self.filling.keys()},
            self.behind & chosen,
            set(self.held),
        )

    def rollback(self, mark: "LateMark") -> None:
        """Put back what was remembered."""
        for stream in mark.streams:
            self.filling.pop(stream, None)
        self.filling.update(mark.filling)
        self.behind = (self.behind - mark.streams) | mark.behind
        self.held = set(mark.held)

    def without_point(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Which late rows change no point: a sample is taken in the order of arrival."""
        nothing = np.zeros(len(rows), bool)
        if not len(rows):
            return nothing
        for stream in np.unique(rows["stream"]).tolist():
            mine = np.flatnonzero(rows["stream"] == stream)
            eras = self.eras(stream)
            since = np.array([era.since for era in eras])
            at = np.searchsorted(since, rows["time"][mine], side="right") - 1
            versions = self._engine.versions_i[[era.row for era in eras]]
            sampled = (versions[:, loop.V_EVERY] > 0) | (versions[:, loop.V_EVERY_PARTS] > 0)
            nothing[mine] = sampled[np.maximum(at, 0)]
        nothing[(rows["flags"] & ReadingFlag.NAMED) != 0] = False
        return nothing

    def keep(self, rows: NDArray[np.void], chosen: NDArray[np.int64]) -> None:
        """Fill in late rows that change no point."""
        eras: dict[int, list[Era]] = {}
        for i in chosen.tolist():
            stream = int(rows[i]["stream"])
            if stream not in eras:
                eras[stream] = self.eras(stream)
            rows[i]["flags"] |= ReadingFlag.LATE
            self._place_late(rows[i], 0, eras[stream])

    def place(
        self,
        rows: NDArray[np.void],
        cuts: NDArray[np.int64],
        keys: NDArray[np.int64],
        late: NDArray[np.bool_],
    ) -> tuple[int, int]:
        """Decide the subgroups of one stream's readings, in their order of arrival.

        Readings in order go through the loop like any other; their points are computed again
        with the late ones in ``evaluate``, from where this returns on.
        """  # fmt: skip
        stream = int(rows["stream"][0])
        before = self.filling.get(stream)
        state = self._engine.integers[stream]
        was_open = state[[loop.OPEN_COUNT, loop.OPEN_TIME, loop.OPEN_KEY]]
        eras = self.eras(stream)
        for i in range(len(rows)):
            if not late[i] and not self._resumes(rows[i]):
                if rows[i]["purpose"] == Purpose.PRODUCTION and rows[i]["quality"] != Quality.BAD:
                    self.filling.pop(stream, None)
                one = np.array([i])
                self._engine.advance(rows, one, cuts, keys)
                continue
            if late[i]:
                rows[i]["flags"] |= ReadingFlag.LATE
            self._place_late(rows[i], int(keys[i]), eras)
        # What was waiting and does so no more becomes a point.
        since = NEVER
        if before is not None and self.filling.get(stream) is not before:
            since = before.earliest
        count, time, key = was_open.tolist()
        if count > 0:
            since = min(since, (time, key))
        return since

    def _resumes(self, row: np.void) -> bool:
        """Whether the reading names a subgroup; those are put together by name, not by order."""
        return bool(row["flags"] & ReadingFlag.NAMED)

    def _place_late(self, row: np.void, keys: int, eras: list[Era]) -> None:
        engine, stream = self._engine, int(row["stream"])
        version_row = _row_at(eras, int(row["time"]))
        version = engine.versions_i[version_row]
        state = engine.integers[stream]
        if row["received_at"] > state[loop.RECEIVED]:
            state[loop.RECEIVED], state[loop.SOURCE] = row["received_at"], row["source"]
        charted = row["purpose"] == Purpose.PRODUCTION and row["quality"] != Quality.BAD
        if not charted:
            row["subgroup"] = NO_SUBGROUP
            return
        line = engine.versions_f[version_row]
        if version[loop.V_CHART] != P:
            row["spec"] = loop.outside(row["value"], line[loop.V_LOWER], line[loop.V_UPPER])
        size = int(version[loop.V_SIZE])
        sampled = version[loop.V_EVERY] > 0 or version[loop.V_EVERY_PARTS] > 0
        if size > 1 and row["flags"] & ReadingFlag.NAMED:
            return
        if size == 1 or sampled:
            row["subgroup"] = NO_SUBGROUP
            return
        open_one = self.filling.get(stream)
        timeout = int(version[loop.V_TIMEOUT])
        if (
            open_one is None
            or open_one.keys != keys
            or open_one.row != version_row
            or (timeout > 0 and abs(int(row["time"]) - open_one.time) > timeout)
        ):
            state[loop.LAST_NUMBER] += 1
            open_one = LateSubgroup(
                int(state[loop.LAST_NUMBER]),
                0,
                int(row["time"]),
                identity_of(row),
                keys,
                version_row,
            )
            self.filling[stream] = open_one
        row["subgroup"] = open_one.number
        open_one.count += 1
        open_one.earliest = min(open_one.earliest, identity_of(row))
        if open_one.count >= size:
            del self.filling[stream]

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
            self.eras(stream),
            self._engine,
            still_open=self._open_numbers(stream),
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
        row = _row_at(self.eras(stream), earliest[0])
        since = earliest[0] - int(loop.name_holds(self._engine.versions_i[row]))
        members = await self._history.subgroup_readings(stream, numbers, since)
        if len(members):
            earliest = min(earliest, (int(members["time"][0]), int(members["key"][0])))
        return earliest

    def _open_numbers(self, stream: int) -> set[int]:
        state = self._engine.integers[stream]
        numbers = set()
        if state[loop.OPEN_COUNT] > 0 and not state[loop.OPEN_FLAGS] & loop.NAMED:
            numbers.add(int(state[loop.OPEN_NUMBER]))
        if stream in self.filling:
            numbers.add(self.filling[stream].number)
        return numbers

    def eras(self, stream: int) -> list[Era]:
        """Which version of a stream judges from when."""
        return [
            Era(
                -(2**62) if version.valid_from is None else version.valid_from,
                self._engine.version_row(version),
            )
            for version in self._catalog.history(stream)
        ]

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
        self.behind.discard(stream)
        began = (int(state[loop.OPEN_TIME]), int(state[loop.OPEN_KEY]))
        if (
            state[loop.OPEN_COUNT] > 0
            and len(replayed.points)
            and identity_of(replayed.points[-1]) > began
        ):
            self.behind.add(stream)
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
            self.behind.discard(stream)  # a named one that is open began last
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


def _row_at(eras: list[Era], time: int) -> int:
    row = eras[0].row
    for era in eras:
        if era.since <= time:
            row = era.row
    return row
