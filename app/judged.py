"""What the engine has judged, and the runs in it that concern alarms, found without a Python loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.duration import UNITS
from app.events import SPEC_LOWER, SPEC_UPPER, Delta, Signal, signals
from app.sentences import Evidence, StreamFacts
from app.store.batch import AlarmClass, Event, no_points, no_readings
from app.store.rows import PointFlag, Purpose, Quality, ReadingFlag

Rows = NDArray[np.void]
Mask = NDArray[np.bool_]
Place = tuple[int, int]

NEVER: Final = np.iinfo(np.int64).max
"""The age of what calls nobody, such as historical readings."""

# Plain integers: an enumeration's operators cost more than the arrays of a small batch.
TRIAL, EXCLUDED = int(PointFlag.TRIAL), int(PointFlag.EXCLUDED)
POINT_LATE, RETROSPECTIVE = int(PointFlag.LATE), int(PointFlag.RETROSPECTIVE)
READING_LATE = int(ReadingFlag.LATE)
NOT_COUNTED = int(ReadingFlag.VOID | ReadingFlag.UNJUDGED)
PRODUCTION, BAD = int(Purpose.PRODUCTION), int(Quality.BAD)

SPEC_MASK = np.array([SPEC_LOWER, 0, SPEC_UPPER], np.int64)  # by reading.spec + 1
RETROSPECTIVE_AFTER: Final = 10 * UNITS["s"]


def no_ages() -> NDArray[np.int64]:
    """No rows, no ages."""
    return np.empty(0, np.int64)


@dataclass(slots=True)
class Judged:
    """One batch's verdicts. Ages are those at receipt, corrected by the source's skew."""

    describe: Callable[[int], StreamFacts]
    points: Rows = field(default_factory=no_points)
    """New ones in the order they were judged; those that are new in the past carry LATE."""
    page_age_us: NDArray[np.int64] = field(default_factory=no_ages)
    """Per point, of its newest reading; NEVER where nobody is to be called."""
    readings: Rows = field(default_factory=no_readings)
    """All new ones in the order they were taken, whatever their purpose and quality."""
    reading_age_us: NDArray[np.int64] = field(default_factory=no_ages)
    changed: Rows = field(default_factory=no_points)
    """Points of earlier batches as they are now, and ``changed_was`` as they were."""
    changed_was: Rows = field(default_factory=no_points)
    withdrawn: Rows = field(default_factory=no_points)
    """Points of earlier batches that are gone, as they were."""
    corrected: Rows = field(default_factory=no_readings)
    """Readings of earlier batches as they are now (VOID: taken out), and as they were."""
    corrected_was: Rows = field(default_factory=no_readings)
    newest_points: Rows = field(default_factory=no_points)
    """After this batch, of each stream with late, changed or withdrawn points."""
    newest_readings: Rows = field(default_factory=no_readings)
    """After this batch, of each stream with late or corrected readings: the newest that counts."""
    past_events: list[Event] = field(default_factory=list)
    """Stored events of those streams that lie at or after the oldest change, whatever their state."""

    def signalling(self) -> int:
        """How many rows signal something: each costs some 50 microseconds of Python."""
        return int(np.count_nonzero(self.points["violations"])) + int(
            np.count_nonzero(self.readings["spec"])
        )


class Series(NamedTuple):
    """One class's rows: what each signals, whether it counts, and how old it was at receipt."""

    alarm_class: AlarmClass
    rows: Rows
    mask: NDArray[np.int64]
    advisory: Mask
    counts: Mask
    late: Mask
    retrospective: Mask
    age: NDArray[np.int64]


class Run(NamedTuple):
    """Consecutive rows of one stream that signal the same."""

    stream: int
    mask: int
    advisory: bool
    rows: NDArray[np.int64]
    age: int  # of the youngest


def points_of(rows: Rows, age: NDArray[np.int64] | None = None) -> Series:
    """What points signal; an excluded one is skipped and neither extends nor ends anything."""
    flags = rows["flags"]
    return Series(
        "control",
        rows,
        rows["violations"],
        (flags & TRIAL) != 0,
        (flags & EXCLUDED) == 0,
        (flags & POINT_LATE) != 0,
        (flags & RETROSPECTIVE) != 0,
        _ages(rows, age),
    )


def readings_of(rows: Rows, age: NDArray[np.int64] | None = None) -> Series:
    """What readings signal against the specification: production only, and good enough to judge."""
    flags, spec = rows["flags"], rows["spec"]
    ages = _ages(rows, age)
    late = (flags & READING_LATE) != 0
    return Series(
        "spec",
        rows,
        SPEC_MASK[spec + 1],
        np.zeros(len(rows), np.bool_),
        (rows["purpose"] == PRODUCTION) & (rows["quality"] != BAD) & ((flags & NOT_COUNTED) == 0),
        late,
        late & (ages > RETROSPECTIVE_AFTER),
        ages,
    )


def _ages(rows: Rows, age: NDArray[np.int64] | None) -> NDArray[np.int64]:
    return np.full(len(rows), NEVER) if age is None or len(age) != len(rows) else age


def place(row: np.void) -> Place:
    """Where a row stands in its stream."""
    return int(row["time"]), int(row["key"])


def in_the_past(series: Series, newest: Series) -> Mask:
    """Which rows lie before the newest of their stream: late ones, unless they are the newest."""
    past = series.late & series.counts
    if past.any():
        ends = {int(row["stream"]): place(row) for row in newest.rows}
        for i in np.flatnonzero(past):
            row = series.rows[i]
            end = ends.get(int(row["stream"]))
            past[i] = end is None or place(row) < end
    return past


def runs(series: Series, chosen: NDArray[np.int64]) -> Iterator[Run]:
    """The chosen rows, stream by stream, in runs of the same signals."""
    if not len(chosen):
        return
    order = chosen[np.argsort(series.rows["stream"][chosen], kind="stable")]
    stream, mask = series.rows["stream"][order], series.mask[order]
    advisory = series.advisory[order]
    other = (np.diff(stream) != 0) | (np.diff(mask) != 0) | (advisory[1:] != advisory[:-1])
    starts = np.concatenate([[0], np.flatnonzero(other) + 1, [len(order)]])
    for start, end in pairwise(starts):
        rows = order[start:end]
        yield Run(
            int(stream[start]),
            int(mask[start]),
            bool(advisory[start]),
            rows,
            int(series.age[rows].min()),
        )


def evidence(
    alarm_class: AlarmClass,
    row: np.void,
    kind: str,
    facts: StreamFacts,
    *,
    count: int,
    first_time: int,
) -> Evidence:
    """The numbers that a sentence about this row needs."""
    time = int(row["time"])
    if alarm_class == "spec":
        return Evidence(float(row["value"]), 1.0, facts.version_at(time), count, first_time, time)
    value = float(row["dispersion"] if kind == "dispersion" else row["statistic"])
    version = facts.version(int(row["version"]))
    return Evidence(value, float(row["n"]), version, count, first_time, time)


class Past(NamedTuple):
    """One stream's rows of the past that signal otherwise than before."""

    deltas: list[Delta]
    retrospective: bool
    age: int  # of the youngest late row; NEVER where only known rows changed


def meaning(series: Series, i: int) -> frozenset[Signal]:
    """What one row signals."""
    if not series.counts[i]:
        return frozenset()
    mask, advisory = int(series.mask[i]), bool(series.advisory[i])
    return frozenset(signals(series.alarm_class, mask, advisory=advisory))


def past_of(new: Series, past: Mask, now: Series, was: Series, gone: Series) -> dict[int, Past]:
    """Per stream: late new rows, changed rows and withdrawn ones, ascending by place."""
    found: dict[int, Past] = {}

    def note(
        row: np.void,
        before: frozenset[Signal],
        after: frozenset[Signal],
        *,
        retrospective: bool = True,
        age: int = NEVER,
    ) -> None:
        if before == after:
            return
        stream = int(row["stream"])
        known = found.get(stream, Past([], True, NEVER))
        known.deltas.append(Delta(place(row), before, after, row))
        found[stream] = known._replace(
            retrospective=known.retrospective and retrospective, age=min(known.age, age)
        )

    for i in np.flatnonzero(past & (new.mask != 0)).tolist():
        note(
            new.rows[i],
            frozenset(),
            meaning(new, i),
            retrospective=bool(new.retrospective[i]),
            age=int(new.age[i]),
        )
    differs = (now.mask != was.mask) | (now.counts != was.counts) | (now.advisory != was.advisory)
    for i in np.flatnonzero(differs).tolist():
        note(now.rows[i], meaning(was, i), meaning(now, i))
    for i in range(len(gone.rows)):
        note(gone.rows[i], meaning(gone, i), frozenset())
    # A newest point that is gone leaves another one as the newest, whatever it signalled itself.
    for stream in {*gone.rows["stream"].tolist(), *now.rows["stream"][differs].tolist()}:
        found.setdefault(stream, Past([], True, NEVER))
    for known in found.values():
        known.deltas.sort(key=lambda delta: delta.place)
    return found
