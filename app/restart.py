"""The engine's state as the store's rows tell it: what it was before the service stopped."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.admission import stamp_of
from app.catalog import Catalog
from app.engine import Engine
from app.membership import LateSubgroup, Membership
from app.replay import Group, Scan, unclosed
from app.store.rows import PointFlag, Purpose, Quality, ReadingFlag
from rules import stream as loop


class Remains(NamedTuple):
    """What the store holds of the near past, all ascending by stream, time and key."""

    newest: NDArray[np.void]  # identity, arrival and source of each stream's newest reading
    points: NDArray[np.void]  # the newest points of each stream
    readings: NDArray[np.void]  # those since each stream's newest point began, and any without one
    tags: Mapping[int, Mapping[str, str]]  # of the contexts of these readings
    seqs: Mapping[int, int]  # by stream, where old points were changed


class Plotted(NamedTuple):
    """The newest points of a stream: where they stand, which names and numbers they carry."""

    places: set[tuple[int, int]]
    names: dict[int, np.void]
    numbers: set[int]


def bring_back(engine: Engine, membership: Membership, catalog: Catalog, remains: Remains) -> None:
    """Give every stream the state that its stored rows amount to."""
    engine.ensure()
    _bring_back_newest(engine, remains)
    points = remains.points
    rows = np.array(
        [engine.version_row(catalog.versions[number]) for number in points["version"].tolist()],
        np.int64,
    )
    loop.recall(
        points, rows, engine.tables, engine.integers, engine.floats, engine.registers, engine.memory
    )
    for stream, seq in remains.seqs.items():
        engine.integers[stream, loop.SEQ] = max(engine.integers[stream, loop.SEQ], seq)
    counted = points[(points["subgroup"] != loop.NONE) & ((points["flags"] & PointFlag.NAMED) == 0)]
    np.maximum.at(engine.integers, (counted["stream"], loop.LAST_NUMBER), counted["subgroup"])
    last = {int(point["stream"]): point for point in points}
    plotted: dict[int, Plotted] = {}
    for point in points:
        known = plotted.setdefault(int(point["stream"]), Plotted(set(), {}, set()))
        known.places.add((int(point["time"]), int(point["key"])))
        if point["flags"] & PointFlag.NAMED:
            known.names[int(point["subgroup"])] = point
        elif point["subgroup"] != loop.NONE:
            known.numbers.add(int(point["subgroup"]))
    for stream in catalog.streams:
        _bring_back_version(engine, stream, last.get(stream))
    starts = np.flatnonzero(np.diff(remains.readings["stream"], prepend=-1)).tolist()
    for start, end in pairwise([*starts, len(remains.readings)]):
        readings = remains.readings[start:end]
        stream = int(readings["stream"][0])
        _Stream(engine, membership, catalog, stream).take(
            readings, remains.tags, plotted.get(stream, Plotted(set(), {}, set()))
        )


def _bring_back_newest(engine: Engine, remains: Remains) -> None:
    streams = remains.newest["stream"]
    engine.integers[streams, loop.NEWEST_TIME] = remains.newest["time"]
    engine.integers[streams, loop.NEWEST_KEY] = remains.newest["key"]
    engine.integers[streams, loop.RECEIVED] = remains.newest["received_at"]
    engine.integers[streams, loop.SOURCE] = remains.newest["source"]


def _bring_back_version(engine: Engine, stream: int, last: np.void | None) -> None:
    """The version in force; one that begins behind the newest point is a boundary."""
    state = engine.integers[stream]
    engine.enter_version(stream)
    if last is None:
        return
    changed = int(last["version"]) != int(engine.version_ids[state[loop.VERSION]])
    state[loop.PENDING] = loop.CUT | loop.CLOSE if changed else 0
    if last["subgroup"] != loop.NONE and not last["flags"] & PointFlag.NAMED:
        state[loop.SAMPLE_TIME] = int(last["time"])


class _Stream:
    """One stream's open ends: what waits for more readings, and what was last seen."""

    def __init__(
        self, engine: Engine, membership: Membership, catalog: Catalog, stream: int
    ) -> None:
        self._engine = engine
        self._membership = membership
        self._stream = stream
        self._state = engine.integers[stream]
        self._entry = catalog.characteristics[catalog.streams[stream].characteristic]

    def take(
        self,
        readings: NDArray[np.void],
        tags: Mapping[int, Mapping[str, str]],
        plotted: Plotted,
    ) -> None:
        """Take up what these readings, the newest of the stream, leave open."""
        state, entry = self._state, self._entry
        scan = Scan(self._engine, self._membership.eras(self._stream))
        for name, point in plotted.names.items():
            scan.know(name, point)
        sampled = 0
        for reading in readings:
            theirs = tags.get(int(reading["context"]))
            scan.add(reading, stamp_of(entry.cut_tags, theirs) if entry.cut_tags else 0)
            if not _charted(reading):
                continue
            if not reading["flags"] & ReadingFlag.LATE:
                state[loop.KEY_STAMP] = stamp_of(entry.key_tags, theirs) if entry.key_tags else 0
                sampled += reading["time"] > state[loop.SAMPLE_TIME]
            number = int(reading["subgroup"])
            if number != loop.NONE and not reading["flags"] & ReadingFlag.NAMED:
                state[loop.LAST_NUMBER] = max(state[loop.LAST_NUMBER], number)
        state[loop.SAMPLE_COUNT] = sampled
        if scan.pending:
            state[loop.PENDING] |= loop.CUT | loop.CLOSE
        state[loop.CUT_STAMP], state[loop.LAST_TIME] = scan.stamp, scan.last_time
        groups = scan.ordered()
        waiting = unclosed(groups, self._engine)
        for group in groups:
            if group.number == loop.NONE or (group.time, group.key) in plotted.places:
                continue  # it has its point; a single value came with its own
            if not group.named and group.number in plotted.numbers:
                continue  # it began before the newest point, so its beginning is not here
            if group.named and (group is not waiting or group.number in plotted.names):
                continue  # a name that is met again continues its point
            if group.late and not group.named:
                self._fill(group, readings, tags)
            else:
                self._open(
                    group, max(plotted.places, default=(-(2**62), 0)), cut_since=scan.pending
                )

    def _open(self, group: Group, last: tuple[int, int], *, cut_since: bool) -> None:
        state = self._state
        state[loop.OPEN_COUNT] = len(group.values)
        state[loop.OPEN_TIME], state[loop.OPEN_KEY] = group.time, group.key
        state[loop.OPEN_NUMBER], state[loop.OPEN_VERSION] = group.number, group.row
        state[loop.OPEN_FLAGS] = (
            (loop.NAMED if group.named else 0) | (loop.CUT if group.cut else 0) | group.spec
        )
        state[loop.SAMPLE_TIME] = group.time
        self._engine.values[state[loop.SLOT], : len(group.values)] = group.values
        if not group.named and last > (group.time, group.key):
            self._membership.behind.add(self._stream)
        if group.row == state[loop.VERSION] and not cut_since:
            state[loop.PENDING] = 0

    def _fill(
        self, group: Group, readings: NDArray[np.void], tags: Mapping[int, Mapping[str, str]]
    ) -> None:
        """A subgroup of late readings goes on where the next late one may join it."""
        members = readings[readings["subgroup"] == group.number]
        first = members[np.argmin(members["received_at"])]
        key_tags = self._entry.key_tags
        theirs = tags.get(int(first["context"]))
        self._membership.filling[self._stream] = LateSubgroup(
            number=group.number,
            count=len(members),
            time=int(first["time"]),
            earliest=(group.time, group.key),
            keys=stamp_of(key_tags, theirs) if key_tags else 0,
            row=group.row,
        )


def _charted(reading: np.void) -> bool:
    return bool(
        reading["purpose"] == Purpose.PRODUCTION
        and reading["quality"] != Quality.BAD
        and not reading["flags"] & ReadingFlag.VOID
    )
