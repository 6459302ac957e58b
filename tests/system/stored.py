"""What the database must hold in the end: points as judged offline, and an event for what signals."""

from collections.abc import Collection, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from rules.evaluate import judge
from rules.limits import Limits
from tests.system.running import Andon

SIZE = 5  # of every subgroup of the load

READINGS = """
    SELECT s.name, r.time, r.key, r.value, r.subgroup
    FROM reading r JOIN stream s ON s.id = r.stream ORDER BY s.name, r.time, r.key
"""
POINTS = """
    SELECT s.name, p.time, p.key, p.subgroup, p.n, p.statistic, p.dispersion, p.violations, p.seq
    FROM point p JOIN stream s ON s.id = p.stream ORDER BY s.name, p.time, p.key
"""
VERSIONS = """
    SELECT c.name, v.limits, v.definition
    FROM version v JOIN characteristic c ON c.id = v.characteristic
"""


def check_verdicts(service: Andon, readings: Sequence[Any], grouped: Collection[str]) -> None:
    """All points are what an evaluation offline makes of the stored readings."""
    versions = service.rows(VERSIONS)
    assert len(versions) == len({row["name"] for row in versions}), "a restart made a version"
    version = {row["name"]: row for row in versions}
    points = {
        name: list(rows) for name, rows in groupby(service.rows(POINTS), key=itemgetter("name"))
    }
    for name, group in groupby(readings, key=itemgetter("name")):
        rows, found = list(group), points.pop(name, [])
        expected = _grouped(rows, found) if name in grouped else _single(rows)
        drawn, due = {(p["time"], p["key"]) for p in found}, {one[:2] for one in expected}
        assert drawn == due, f"{name}: without point {due - drawn}, without reading {drawn - due}"
        chart = "xbar_r" if name in grouped else "i_mr"
        row = version[name]
        judged = judge(
            chart,
            [one[2] for one in expected],
            limits=Limits.from_dict(row["limits"]),
            rules=row["definition"]["rules"],
        )
        for column, theirs in (
            ("statistic", judged.points.statistic),
            ("violations", judged.masks),
            ("dispersion", judged.points.dispersion),
        ):
            mine = np.array([np.nan if p[column] is None else p[column] for p in found], float)
            different = np.flatnonzero(~((mine == theirs) | (np.isnan(mine) & np.isnan(theirs))))
            assert not len(different), (
                f"{name}: {len(different)} of {len(mine)} points differ in {column}: "
                f"{[(dict(found[i]), theirs[i]) for i in different[:3]]}"
            )
        assert len({p["seq"] for p in found}) == len(found), name
    assert points == {}


def _single(rows: list[Any]) -> list[tuple[int, int, float]]:
    return [(row["time"], row["key"], row["value"]) for row in rows]


def _grouped(rows: list[Any], points: list[Any]) -> list[tuple[int, int, list[float]]]:
    """The stored subgroups; one that is not full yet has no point."""
    groups: dict[int, list[Any]] = {}
    for row in rows:
        groups.setdefault(row["subgroup"], []).append(row)
    drawn = {point["subgroup"] for point in points}
    waiting = [number for number in groups if number not in drawn]
    assert len(waiting) <= 1, waiting
    assert all(len(groups[number]) < SIZE for number in waiting)
    return [
        (members[0]["time"], members[0]["key"], [row["value"] for row in members])
        for number, members in groups.items()
        if number in drawn
    ]


UNEVENTFUL = """
    SELECT s.name, p.time, p.violations FROM point p JOIN stream s ON s.id = p.stream
    WHERE p.violations & (3::bigint | 3::bigint << 48) <> 0 AND NOT EXISTS (
        SELECT FROM event e WHERE e.stream = p.stream AND e.rule = 'nelson-1'
          AND (e.first_time, e.first_key) <= (p.time, p.key)
          AND (p.time, p.key) <= (e.last_time, e.last_key))
    LIMIT 5
"""


def check_alarms(service: Andon) -> None:
    """One alarm is open per stream and class, and no point beyond its limits lacks an event."""
    twice = service.rows(
        "SELECT stream, class FROM alarm WHERE state NOT IN ('closed', 'withdrawn')"
        " GROUP BY stream, class HAVING count(*) > 1"
    )
    assert twice == []
    assert service.rows(UNEVENTFUL) == []
