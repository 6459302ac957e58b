"""How old readings and points were when they arrived: nobody is called for what is long past."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.alarms import NEVER
from app.store.rows import NO_SUBGROUP, ReadingFlag

HISTORICAL = int(ReadingFlag.HISTORICAL)  # its operators would cost more than a small array

Skews = Mapping[int, int]
"""By source, its clock minus ours."""


def of_readings(rows: NDArray[np.void], skews: Skews) -> NDArray[np.int64]:
    """Their ages at arrival, by a clock as good as ours."""
    ages: NDArray[np.int64] = rows["received_at"] - rows["time"]
    for source, skew in skews.items():
        ages[rows["source"] == source] += skew
    ages[(rows["flags"] & HISTORICAL) != 0] = NEVER
    return ages


def of_points(
    points: NDArray[np.void], readings: NDArray[np.void], skews: Skews, now: int
) -> NDArray[np.int64]:
    """The age of the reading that completed each point, where the point violates a rule."""
    ages = np.full(len(points), NEVER)
    violating = np.flatnonzero(points["violations"])
    if not len(violating):
        return ages
    wanted = points[violating]
    there = readings[np.isin(readings["stream"], wanted["stream"])]
    of = of_readings(there, skews)
    last = _last_of(wanted, there)
    known = last >= 0
    ages[violating] = now - wanted["time"]
    ages[violating[known]] = of[last[known]]
    return ages


def _last_of(points: NDArray[np.void], readings: NDArray[np.void]) -> NDArray[np.int64]:
    """Per point the position of its last reading in the order of arrival, -1 where none is here."""
    both = [_belongs_to(points), _belongs_to(readings)]
    columns = [np.concatenate(pair) for pair in zip(*both, strict=True)]
    order = np.lexsort(columns)
    other = np.zeros(len(order), np.int64)
    for column in columns:
        sorted_column = column[order]
        other[1:] |= sorted_column[1:] != sorted_column[:-1]
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(other)
    last = np.full(len(order), -1)
    np.maximum.at(last, group[len(points) :], np.arange(len(readings)))
    found: NDArray[np.int64] = last[group[: len(points)]]
    return found


def _belongs_to(rows: NDArray[np.void]) -> tuple[NDArray[np.int64], ...]:
    """What a point and its readings have in common: the subgroup, else time and key."""
    single = rows["subgroup"] == NO_SUBGROUP
    return (
        np.where(single, rows["time"], 0),
        np.where(single, rows["key"], 0),
        rows["subgroup"],
        rows["stream"].astype(np.int64),
    )
