"""A store in memory, behind the seams of the pipeline: same answers, no database."""

import bisect

import numpy as np

from app.restart import Remains
from app.store.errors import DuplicateKey, StoreLost, StoreRefused
from app.store.rows import NO_SUBGROUP, POINT, READING, ReadingFlag


def place(row):
    return int(row["time"]), int(row["key"])


class MemoryStore:
    """Can be away, lose its answers, stop answering questions, and refuse what ``objection`` says."""

    def __init__(self) -> None:
        self.readings: dict[int, dict[tuple[int, int], np.void]] = {}
        self.points: dict[int, dict[tuple[int, int], np.void]] = {}
        self.contexts: dict[int, dict[str, str]] = {}
        self.batches: list = []
        self.away = False
        self.mute = False  # what is written is stored, but nobody is told
        self.patience = None  # so many more questions are answered
        self.objection = lambda _: None

    def asked(self) -> None:
        if self.patience is not None:
            self.patience -= 1
        if self.away or self.patience == -1:
            self.away = True
            raise StoreLost

    async def open(self) -> None:
        if self.away:
            raise StoreLost

    async def write(self, batch) -> None:
        if self.away:
            raise StoreLost
        last = await self.last_batch()
        if self.batches and batch.id <= last:
            return
        if (objection := self.objection(batch)) is not None:
            raise objection
        if self.batches and batch.id != last + 1:
            raise StoreRefused(f"batch {batch.id} does not follow batch {last}")
        self._refuse_known(batch)
        for row in batch.readings:
            self.readings.setdefault(int(row["stream"]), {})[place(row)] = row.copy()
        for row in batch.withdrawn_points:
            del self.points[int(row["stream"])][place(row)]
        for row in batch.points:
            self.points.setdefault(int(row["stream"]), {})[place(row)] = row.copy()
        for row in batch.changed_points:
            assert place(row) in self.points[int(row["stream"])]
            self.points[int(row["stream"])][place(row)] = row.copy()
        for context in batch.contexts:
            self.contexts[context.id] = context.tags
        self.batches.append(batch)
        if self.mute:
            self.away = True
            raise StoreLost

    def _refuse_known(self, batch) -> None:
        for rows, table in ((batch.readings, self.readings), (batch.points, self.points)):
            for row in rows:
                if place(row) in table.get(int(row["stream"]), {}):
                    raise DuplicateKey(f"{row} is there", "reading")

    async def last_batch(self) -> int:
        if self.away:
            raise StoreLost
        return self.batches[-1].id if self.batches else 0

    def _sorted(self, table, stream, dtype):
        found = [row for _, row in sorted(table.get(stream, {}).items())]
        return np.array(found, dtype) if found else np.empty(0, dtype)

    def all_points(self, stream):
        return self._sorted(self.points, stream, POINT)

    def all_readings(self, stream):
        return self._sorted(self.readings, stream, READING)

    async def lookup(self, streams, times, keys):
        self.asked()
        found = [
            self.readings[int(s)][int(t), int(k)]
            for s, t, k in zip(streams, times, keys, strict=True)
            if (int(t), int(k)) in self.readings.get(int(s), {})
        ]
        return np.array(found, READING) if found else np.empty(0, READING)

    async def named(self, streams, names, since):
        self.asked()
        return {
            (s, n)
            for s, n in zip(streams, names, strict=True)
            for row in self.readings.get(s, {}).values()
            if row["subgroup"] == n and row["flags"] & ReadingFlag.NAMED and row["time"] >= since
        }

    async def points_before(self, stream, time, key, limit):
        self.asked()
        rows = self.all_points(stream)
        at = bisect.bisect_left([place(row) for row in rows], (time, key))
        return rows[max(0, at - limit) : at]

    async def points_from(self, stream, time, key, limit):
        self.asked()
        rows = self.all_points(stream)
        at = bisect.bisect_left([place(row) for row in rows], (time, key))
        return rows[at : at + limit]

    async def readings_between(self, stream, start, end, limit):
        self.asked()
        rows = self.all_readings(stream)
        chosen = [row for row in rows if start <= place(row) and (end is None or place(row) <= end)]
        return np.array(chosen[:limit], READING) if chosen else np.empty(0, READING)

    async def subgroup_readings(self, stream, numbers, since):
        rows = self.all_readings(stream)
        chosen = [
            row
            for row in rows
            if row["subgroup"] != NO_SUBGROUP
            and row["subgroup"] in numbers
            and row["time"] >= since
        ]
        return np.array(chosen, READING) if chosen else np.empty(0, READING)

    async def tags(self, contexts):
        return {number: self.contexts[number] for number in contexts if number}

    def remains(self):
        """What a restart finds, as ``app.restart`` wants it."""
        streams = sorted(self.readings)
        newest = [self.all_readings(s)[-1] for s in streams]
        points = [self.all_points(s)[-64:] for s in streams]
        readings = []
        for stream, recent in zip(streams, points, strict=True):
            rows = self.all_readings(stream)
            plotted = set(self.all_points(stream)["subgroup"].tolist()) - {NO_SUBGROUP}
            start = place(recent[-1]) if len(recent) else (-(2**62), 0)
            readings += [
                row
                for row in rows
                if place(row) >= start
                or (row["subgroup"] != NO_SUBGROUP and int(row["subgroup"]) not in plotted)
            ]
        return Remains(
            np.array(newest, READING),
            np.concatenate([np.empty(0, POINT), *points]),
            np.array(readings, READING),
            self.contexts,
            {s: max((int(p["seq"]) for p in self.all_points(s)), default=0) for s in streams},
        )
