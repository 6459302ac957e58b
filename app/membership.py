"""Which subgroup a reading belongs to that did not come in order: decided once, by arrival."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.catalog import Catalog, since_of
from app.changes import identity_of
from app.engine import Engine
from app.replay import Era
from app.store.rows import NO_SUBGROUP, Purpose, Quality, ReadingFlag
from rules import stream as loop
from rules.charts import P

NEVER = (2**63, 0)


class LateSubgroup(msgspec.Struct):
    """The subgroup that late readings of a stream are filling, in the order of arrival."""

    number: int
    count: int
    time: int  # of its first arrival
    earliest: tuple[int, int]  # of its readings, in the order of time
    keys: int
    row: int


class Mark(NamedTuple):
    """What to put back when a batch could not be made durable."""

    streams: set[int]
    filling: dict[int, LateSubgroup]
    behind: set[int]
    held: set[int]


class Membership:
    """What is open besides the engine's own subgroups, by stream."""

    def __init__(self, catalog: Catalog, engine: Engine) -> None:
        self._catalog = catalog
        self._engine = engine
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

    def mark(self, streams: Iterable[int]) -> Mark:
        """Remember what is open in these streams."""
        chosen = set(streams)
        return Mark(
            chosen,
            {s: msgspec.structs.replace(self.filling[s]) for s in chosen & self.filling.keys()},
            self.behind & chosen,
            set(self.held),
        )

    def rollback(self, mark: Mark) -> None:
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
        with the late ones in ``LateReadings.evaluate``, from where this returns on.
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
        version_row = row_at(eras, int(row["time"]))
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

    def open_numbers(self, stream: int) -> set[int]:
        """The counted subgroups that wait for readings."""
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
            Era(since_of(version), self._engine.version_row(version))
            for version in self._catalog.history(stream)
        ]


def row_at(eras: list[Era], time: int) -> int:
    """The row of the version that judges what was measured then."""
    row = eras[0].row
    for era in eras:
        if era.since <= time:
            row = era.row
    return row
