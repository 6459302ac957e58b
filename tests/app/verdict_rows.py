"""Points, readings and facts for tests of alarms: what the engine would hand over."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from app.alarms import NEVER, Alarms, Judged
from app.sentences import StreamFacts
from app.store.batch import Batch, Version
from app.store.rows import NO_SUBGROUP, POINT, READING

SECOND = 1_000_000
MINUTE = 60 * SECOND
START = 1_794_816_000_000_000  # 2026-11-16 08:00:00 UTC, 09:00 in Berlin
BERLIN = ZoneInfo("Europe/Berlin")

N1, N1_LOW, N2, N5, N6, WE1 = 1 << 0, 1 << 1, 1 << 2, 1 << 8, 1 << 10, 1 << 16
SPREAD = 1 << 48

VERSION = Version(
    id=1,
    characteristic=1,
    stream=None,
    number=3,
    state="active",
    valid_from=None,
    definition={"chart": "i_mr", "spec": {"lower": 24.98, "target": 25.0, "upper": 25.02}},
    limits={"chart": "i_mr", "center": 25.0, "sigma": 0.004, "n": 1.0, "method": "entered"},
    author="A. Roth",
    reason="",
    created_at=0,
)
FACTS = StreamFacts(
    characteristic="bore",
    label="Bore diameter",
    stream_name="bore",
    zone=BERLIN,
    unit="mm",
    decimals=3,
    version=lambda _: VERSION,
    version_at=lambda _: VERSION,
)


def facts(stream: int, class_: str = "standard") -> StreamFacts:
    """Facts of a stream that is named after its number."""
    return replace(FACTS, stream_name=f"bore:{stream}", class_=class_)  # type: ignore[arg-type]


def at(seconds: float) -> int:
    """A measured time, in seconds after the start."""
    return START + round(seconds * SECOND)


def point(seconds: float, mask: int = 0, stream: int = 1, flags: int = 0, **more: Any) -> NDArray:
    """One point as an array of one."""
    row = np.zeros(1, POINT)
    row["stream"], row["time"], row["violations"], row["flags"] = stream, at(seconds), mask, flags
    row["subgroup"], row["n"], row["version"] = NO_SUBGROUP, 1, 1
    row["statistic"] = 25.013 if mask & N1 else 25.0
    row["dispersion"] = np.nan
    for name, value in more.items():
        row[name] = value
    return row


def points(masks: Sequence[int], stream: int = 1, first: float = 0) -> NDArray:
    """Points one second apart."""
    return np.concatenate([point(first + i, mask, stream) for i, mask in enumerate(masks)])


def reading(
    seconds: float, value: float = 25.0, stream: int = 1, flags: int = 0, **more: Any
) -> NDArray:
    """One reading as an array of one, judged by the specification of VERSION."""
    row = np.zeros(1, READING)
    row["stream"], row["time"], row["value"], row["flags"] = stream, at(seconds), value, flags
    row["spec"] = 1 if value > 25.02 else -1 if value < 24.98 else 0
    row["subgroup"], row["size"] = NO_SUBGROUP, np.nan
    for name, field in more.items():
        row[name] = field
    return row


class Line:
    """Alarms with a clock, and the rows that the store would hold."""

    def __init__(self, class_: str = "standard") -> None:
        self.alarms = Alarms()
        self.class_ = class_
        self.now = START
        self.batches = 0
        self.alarm_rows: dict[int, Any] = {}
        self.event_rows: dict[int, Any] = {}
        self.changes: list[Any] = []
        self.outbox: list[Any] = []
        self.containments: list[Any] = []
        self.written: list[Any] = []

    def batch(self) -> Batch:
        self.batches += 1
        return Batch(self.batches, self.now)

    def store(self, batch: Batch) -> Batch:
        self.alarm_rows.update({alarm.id: alarm for alarm in batch.alarms})
        self.event_rows.update({event.id: event for event in batch.events})
        self.changes += batch.alarm_changes
        self.outbox += batch.outbox
        self.containments += batch.containments
        self.written += batch.alarms
        return batch

    def judged(
        self,
        points: NDArray | None = None,
        readings: NDArray | None = None,
        age: int | Sequence[int] = 0,
        **more: Any,
    ) -> Judged:
        given = {"points": points, "readings": readings, **more}
        judged = Judged(
            lambda stream: facts(stream, self.class_),
            **{name: rows for name, rows in given.items() if rows is not None},
        )
        judged.page_age_us = np.zeros(len(judged.points), np.int64) + np.array(age, np.int64)
        judged.reading_age_us = np.zeros(len(judged.readings), np.int64) + np.array(age, np.int64)
        return judged

    def see(self, *args: Any, **more: Any) -> Batch:
        """Evaluate one batch and keep its rows."""
        batch = self.batch()
        self.alarms.evaluate(batch, self.judged(*args, **more), self.now)
        return self.store(batch)

    def act(self, act: Any, alarm: int, *args: Any, **more: Any) -> Any:
        """One person's act on the form of the alarm that is open now."""
        current = self.alarm_rows[alarm]
        batch = self.batch()
        done = act(current, current.version, "Kim", self.now, *args, **more)
        kept = self.alarms.take(batch, done, self.now)
        self.store(batch)
        return kept

    @property
    def alarm(self) -> Any:
        """The newest alarm."""
        return self.alarm_rows[max(self.alarm_rows)]

    def kinds(self, alarm: int | None = None) -> list[str]:
        """The history of one alarm, or of all, in one word a line."""
        return [c.kind for c in self.changes if alarm in {None, c.alarm}]

    @property
    def calls(self) -> list[tuple[int, str]]:
        """Who was called for: alarm and what happened to it."""
        return [(row.alarm, row.payload["change"]) for row in self.outbox if row.payload["page"]]


__all__ = ["NEVER", "Line", "at", "facts", "point", "points", "reading"]
