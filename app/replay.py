"""What a stream's stored readings amount to: their points and verdicts, by the loop's own arithmetic."""

from bisect import bisect_right
from collections.abc import Collection
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.engine import Engine
from app.store.rows import NO_SUBGROUP, POINT, PointFlag, Purpose, Quality, ReadingFlag
from rules import stream as loop
from rules.charts import P, subgroup_statistics
from rules.kernel import MEMORY, REGISTERS


class Era(NamedTuple):
    """A version's row in the engine's table and the measured time from which it judges."""

    since: int
    row: int


class Group(msgspec.Struct):
    """The readings of one point."""

    time: int
    key: int
    number: int
    named: bool
    cut: bool
    late: bool
    row: int
    values: list[float]
    size: float
    last_time: int
    spec: int = 0  # PointFlag.ABOVE and BELOW of its readings


class Replayed(NamedTuple):
    """Points in the order of time, and the state in which they leave their stream."""

    points: NDArray[np.void]  # seq and batch are not set
    open: Group | None  # a subgroup that the source named and that is not closed
    registers: NDArray[np.uint32]
    memory: NDArray[np.float64]
    previous: float
    pending: bool
    stamp: int
    last_time: int


class Scan:
    """Readings in the order of time become groups, with the boundaries that lie before them."""

    def __init__(self, engine: Engine, eras: list[Era]) -> None:
        self._versions = engine.versions_i
        self._eras = eras
        self._since = [era.since for era in eras]
        self.groups: dict[tuple[int, int, int], Group] = {}
        self.pending = False
        self.stamp = 0
        self.last_time = loop.NONE

    def era(self, time: int) -> int:
        """The row of the version in force."""
        return self._eras[max(0, bisect_right(self._since, time) - 1)].row

    def add(self, reading: np.void, stamp: int) -> None:
        """Take the next reading."""
        flags = int(reading["flags"])
        if reading["purpose"] != Purpose.PRODUCTION or flags & ReadingFlag.VOID:
            return
        time, key = int(reading["time"]), int(reading["key"])
        row = self.era(time)
        version = self._versions[row]
        sampled = version[loop.V_EVERY] > 0 or version[loop.V_EVERY_PARTS] > 0
        # Where order of arrival decides, what came late cuts nothing any more.
        by_time = flags & ReadingFlag.NAMED or (version[loop.V_SIZE] == 1 and not sampled)
        cuts = bool(by_time or not flags & ReadingFlag.LATE)
        if reading["quality"] == Quality.BAD:
            self.pending |= cuts
            return
        boundary = cuts and self._meets_boundary(time, stamp, int(version[loop.V_GAP]))
        number = int(reading["subgroup"])
        named = bool(flags & ReadingFlag.NAMED) and number != NO_SUBGROUP
        counted = number != NO_SUBGROUP and not named
        single = version[loop.V_SIZE] == 1 and not sampled
        if single:
            identity = (0, time, key)
        elif number == NO_SUBGROUP:
            self.pending |= boundary  # not part of a sample
            return
        else:
            identity = (2 if named else 1, number, 0)
        group = self.groups.get(identity)
        if group is not None and named and time - group.time > loop.name_holds(version):
            self.groups[2, number, group.time] = self.groups.pop(identity)
            group = None
        if group is None:
            cut = bool(flags & ReadingFlag.CUT) if counted else boundary
            size = float(reading["size"])
            group = Group(
                time, key, number, named, cut, False, row, [], 1.0 if np.isnan(size) else size, time
            )
            self.groups[identity] = group
            self.pending &= not cuts
        elif boundary:
            self.pending = True
        group.values.append(float(reading["value"]))
        group.spec |= loop.spec_flag(int(reading["spec"]))
        group.late |= bool(flags & ReadingFlag.LATE)
        group.last_time = time

    def _meets_boundary(self, time: int, stamp: int, gap: int) -> bool:
        """Whether a boundary lies before this reading; it is the newest from here on."""
        boundary = (
            self.pending
            or (self.stamp not in (0, stamp))
            or (gap > 0 and self.last_time != loop.NONE and time - self.last_time > gap)
        )
        self.stamp, self.last_time = stamp, time
        return boundary

    def know(self, name: int, point: np.void) -> None:
        """A subgroup that a source named and that has its point: meeting the name opens none."""
        time, key = int(point["time"]), int(point["key"])
        row = self.era(time)
        self.groups[2, name, 0] = Group(time, key, name, True, False, False, row, [], 1.0, time)

    def ordered(self) -> list[Group]:
        """The groups found so far, in the order in which they begin."""
        return sorted(self.groups.values(), key=lambda group: (group.time, group.key))


def replay(
    readings: NDArray[np.void],
    stamps: NDArray[np.int64],
    eras: list[Era],
    engine: Engine,
    *,
    still_open: Collection[int] = (),
    to_the_end: bool = True,
) -> Replayed:
    """Points of one stream's readings, which come in the order of (time, key).

    ``still_open`` are the counted subgroups that wait for readings; without ``to_the_end`` newer
    readings exist, so that every subgroup that a source named is closed.
    """
    scan = Scan(engine, eras)
    for reading, stamp in zip(readings, stamps.tolist(), strict=True):
        scan.add(reading, stamp)
    groups = [g for g in scan.ordered() if g.named or g.number not in still_open]
    waiting = unclosed(groups, engine) if to_the_end else None
    groups = [group for group in groups if group is not waiting]
    registers, memory = np.zeros(REGISTERS, np.uint32), np.zeros(MEMORY)
    points = np.zeros(len(groups), POINT)
    stream = int(readings["stream"][0]) if len(readings) else 0
    previous, row_before = np.nan, -1
    for point, group in zip(points, groups, strict=True):
        cut = group.cut or row_before not in (-1, group.row)
        row_before = group.row
        previous = _judge(point, group, cut, previous, registers, memory, engine)
        point["stream"] = stream
    return Replayed(
        points, waiting, registers, memory, previous, scan.pending, scan.stamp, scan.last_time
    )


def unclosed(groups: list[Group], engine: Engine) -> Group | None:
    """The named subgroup that still waits: not full, and no other's reading is newer than its first."""
    if not groups or not groups[-1].named:
        return None
    last = groups[-1]
    if len(last.values) >= engine.versions_i[last.row, loop.V_SIZE]:
        return None
    if any(other.last_time > last.time for other in groups[:-1]):
        return None
    return last


def _judge(
    point: np.void,
    group: Group,
    cut: bool,
    previous: float,
    registers: NDArray[np.uint32],
    memory: NDArray[np.float64],
    engine: Engine,
) -> float:
    """Fill in a point; returns what the next moving range starts from."""
    version = engine.versions_i[group.row]
    chart, size = int(version[loop.V_CHART]), int(version[loop.V_SIZE])
    if size == 1 and not group.named:
        n, dispersion, statistic = 1.0, np.nan, group.values[0]
        if chart == P:
            n = group.size
            statistic /= n
        elif not cut:
            dispersion = abs(statistic - previous)
    else:
        values = np.array(group.values)
        n = float(len(values))
        statistic, dispersion = subgroup_statistics(chart, values)
    mask, flags = loop.verdict(
        group.row, engine.tables, registers, memory, n, statistic, dispersion, cut
    )
    flags |= (PointFlag.CUT if cut else 0) | (PointFlag.NAMED if group.named else 0)
    flags |= PointFlag.PARTIAL if n < size and chart != P else 0
    flags |= (PointFlag.LATE if group.late else 0) | group.spec
    point["time"], point["key"], point["subgroup"] = group.time, group.key, group.number
    point["n"], point["statistic"], point["dispersion"] = n, statistic, dispersion
    point["version"], point["violations"] = engine.version_ids[group.row], mask
    point["flags"] = flags
    return statistic
