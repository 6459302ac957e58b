"""The answer for each reading of a delivery: its point, what that violates, which alarms are open."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.alarms import Alarms
from app.arrivals import Identity, identity
from app.catalog import Catalog
from app.http.ports import Row, Verdict
from app.http.times import iso
from app.outcome import JudgedOutcome
from app.ranges import one_without_noise
from app.store.rows import NO_SUBGROUP, PointFlag, Purpose, Quality
from collectors.reading import Delivery
from rules.runs import decode

Subgroup = tuple[int, int]
Points = tuple[dict[Identity, np.void], dict[Subgroup, np.void]]

MANY = 500
"""Readings whose answers a worker thread writes, for the event loop's sake."""


class Stored(Protocol):
    """What answering asks of the store."""

    async def lookup(
        self, streams: NDArray[np.int32], times: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.void]:
        """The stored readings among these identities."""
        ...

    async def points_of(self, readings: NDArray[np.void]) -> NDArray[np.void]:
        """The points that these readings belong to."""
        ...


async def verdicts_of(
    delivery: Delivery,
    outcome: JudgedOutcome,
    catalog: Catalog,
    alarms: Alarms,
    stored: Stored,
    *,
    away: bool,
) -> list[Verdict | None]:
    """One verdict per reading, None for those that were rejected; a duplicate gets the original's."""
    rows, items, batch, mine = outcome.rows, outcome.items, outcome.batch, outcome.fresh
    refused = {index for index, _ in outcome.rejected}
    answers: list[Verdict | None] = [
        None if item in refused else Verdict("pending") for item in range(len(delivery.readings))
    ]
    if rows is None or items is None or batch is None or mine is None:
        return answers
    readings = rows[mine]
    tables = [_of(batch.points, readings), _of(batch.changed_points, readings)]
    if not mine.all() and not away:
        old = rows[~mine]
        there = await stored.lookup(old["stream"], old["time"], old["key"])
        readings = np.concatenate([readings, there])
        tables.insert(0, await stored.points_of(there))

    def fill() -> None:
        known = {identity(reading): reading for reading in readings}
        points = _index(tables)
        for row, item in zip(rows, items.tolist(), strict=True):
            reading = known.get(identity(row))
            if reading is not None and item not in refused:
                answers[item] = _verdict(reading, _point_of(reading, points), catalog, alarms)

    if len(rows) < MANY:
        fill()
    else:
        await asyncio.to_thread(fill)
    return answers


def _of(points: NDArray[np.void], readings: NDArray[np.void]) -> NDArray[np.void]:
    """The points that may be those of the readings."""
    points = points[np.isin(points["stream"], readings["stream"])]
    single = points["subgroup"] == NO_SUBGROUP
    by_time = np.isin(points["time"], readings["time"])
    by_subgroup = np.isin(points["subgroup"], readings["subgroup"])
    return points[np.where(single, by_time, by_subgroup)]


def _point_of(reading: np.void, points: Points) -> np.void | None:
    by_identity, by_subgroup = points
    number = int(reading["subgroup"])
    if number == NO_SUBGROUP:
        return by_identity.get(identity(reading))
    return by_subgroup.get((int(reading["stream"]), number))


def _index(tables: Sequence[NDArray[np.void]]) -> Points:
    by_identity: dict[Identity, np.void] = {}
    by_subgroup: dict[Subgroup, np.void] = {}
    for table in tables:
        for point in table:
            if point["subgroup"] == NO_SUBGROUP:
                by_identity[identity(point)] = point
            else:
                by_subgroup[int(point["stream"]), int(point["subgroup"])] = point
    return by_identity, by_subgroup


def _verdict(reading: np.void, point: np.void | None, catalog: Catalog, alarms: Alarms) -> Verdict:
    violations = _violations(reading, point)
    shown = None if point is None else _point(point, catalog)
    entry = catalog.characteristics[catalog.streams[int(reading["stream"])].characteristic]
    charted = reading["purpose"] == Purpose.PRODUCTION and reading["quality"] != Quality.BAD
    if violations:
        numbers = [alarm.id for alarm in alarms.of_stream(int(reading["stream"])) if alarm.active]
        return Verdict("alarm", shown, violations, numbers)
    if not charted:
        return Verdict("not_judged")
    if point is None:
        sampled = entry.config.subgroup.every or entry.config.subgroup.every_parts
        if reading["subgroup"] == NO_SUBGROUP and sampled:
            return Verdict("ok" if entry.config.spec else "not_judged")
        return Verdict("pending")
    if point["flags"] & PointFlag.UNJUDGED:
        return Verdict("not_judged", shown)
    return Verdict("ok", shown)


def _violations(reading: np.void, point: np.void | None) -> list[Row]:
    found: list[Row] = []
    if reading["spec"]:
        side = "upper" if reading["spec"] > 0 else "lower"
        found.append({"chart": "spec", "rule": "spec", "side": side})
    if point is not None and point["violations"]:
        found += [
            {"chart": one.chart, "rule": one.rule, "side": one.side}
            for one in decode(int(point["violations"]))
        ]
    return found


def _point(point: np.void, catalog: Catalog) -> Row:
    statistic = float(point["statistic"])
    dispersion = one_without_noise(float(point["dispersion"]), statistic)
    return {
        "time": iso(int(point["time"])),
        "key": int(point["key"]),
        "statistic": statistic,
        "dispersion": None if np.isnan(dispersion) else dispersion,
        "n": float(point["n"]),
        "version": catalog.versions[int(point["version"])].number,
        "trial": bool(point["flags"] & PointFlag.TRIAL),
    }
