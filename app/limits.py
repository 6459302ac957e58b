"""Control limits are proposed by one person and approved by another; never learnt silently."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.catalog import Catalog, Characteristic
from app.characteristic import LimitSeed
from app.store.batch import Version
from app.store.rows import PointFlag
from rules.charts import CHARTS
from rules.limits import (
    GIVEN,
    PROPOSAL_READINGS,
    PROPOSAL_SUBGROUPS,
    TRIAL_POINTS,
    BaselineInvalid,
    Limits,
    entered,
    estimate_points,
    standing,
)

FILE = "plant.toml"
IN_FORCE = ("collecting", "trial", "active")
OUTSIDE_HISTORY = ("proposed", "rejected")
TRIED_BY = "andon"
"""The author of trial limits."""


class LimitsRefused(Exception):
    """These limits cannot be proposed or approved; the sentence says what would do."""


class Baseline(NamedTuple):
    """Limits estimated from points, with what was left out and what to think of it."""

    limits: Limits
    points: int
    excluded: list[tuple[int, int]]
    advice: list[str]


def seeded(chart: str, size: int, seed: LimitSeed) -> Limits:
    """The limits that a plant file gives for version 1."""
    n = float(seed.n or size)
    if seed.given:
        return Limits(chart, seed.center, None, n, GIVEN, seed.lcl, seed.ucl, seed.source or FILE)
    return entered(chart, seed.center, seed.sigma, n)


def typed(
    definition: dict[str, Any],
    *,
    center: float,
    sigma: float | None = None,
    lcl: float | None = None,
    ucl: float | None = None,
    n: float | None = None,
    source: str | None = None,
) -> Limits:
    """Limits that a person typed in: center and sigma of one value, or printed ones.

    Raises:
        LimitsRefused: they cannot judge this chart's points.
    """
    chart, size = definition["chart"], n or float(definition["subgroup"]["size"])
    try:
        if lcl is not None or ucl is not None:
            if sigma is not None:
                raise LimitsRefused("give sigma, or printed lcl and ucl, not both")
            return Limits(chart, center, None, size, GIVEN, lcl, ucl, source)
        limits = entered(chart, center, sigma, size)
    except ValueError as error:
        raise LimitsRefused(str(error)) from error
    if sigma == 0:
        raise LimitsRefused("sigma is 0; every point off the center line would be an alarm")
    if CHARTS[chart].kind == "attribute" and not 0 < center < 1:
        raise LimitsRefused(f"the center is a fraction between 0 and 1, not {center:g}")
    return limits


def from_baseline(
    chart: str,
    points: NDArray[np.void],
    excluded: Collection[tuple[int, int]],
    method: str | None = None,
) -> Baseline:
    """Limits of a stream's points, without those that a person excludes.

    Raises:
        LimitsRefused: too few points, or none that vary.
    """
    identities = list(zip(points["time"].tolist(), points["key"].tolist(), strict=True))
    missing = set(excluded) - set(identities)
    if missing:
        raise LimitsRefused(f"{len(missing)} of the excluded points are not in the baseline")
    by_hand = np.array([identity in set(excluded) for identity in identities], bool)
    drop = by_hand | ((points["flags"] & PointFlag.EXCLUDED) != 0)
    statistic = np.where(drop, math.nan, points["statistic"])
    spread = np.where(drop, math.nan, points["dispersion"])
    if CHARTS[chart].dispersion == "moving_range":
        # The stored range after a point that is excluded only now reaches back to that point.
        spread[1:][by_hand[:-1]] = math.nan
    used = int(np.count_nonzero(np.isfinite(statistic)))
    if used < TRIAL_POINTS:
        raise LimitsRefused(
            f"the baseline has {used} points; limits need at least {TRIAL_POINTS}, "
            f"better {PROPOSAL_SUBGROUPS} subgroups or {PROPOSAL_READINGS} readings"
        )
    try:
        limits = estimate_points(chart, statistic, spread, points["n"], method=method)
    except BaselineInvalid as error:
        raise LimitsRefused(str(error)) from error
    except ValueError as error:
        raise LimitsRefused(f"method: {error}") from error
    left_out = [one for one, dropped in zip(identities, drop, strict=True) if dropped]
    return Baseline(limits, used, left_out, _advice(points, drop, used))


def _advice(points: NDArray[np.void], drop: NDArray[np.bool_], used: int) -> list[str]:
    advice = []
    readings = int(points["n"][~drop].sum())
    if standing(used, readings) != "proposal":
        advice.append(
            f"only {used} points: wait for {PROPOSAL_SUBGROUPS} subgroups or "
            f"{PROPOSAL_READINGS} readings if you can"
        )
    signalling = int(np.count_nonzero(points["violations"][~drop]))
    if signalling:
        advice.append(
            f"{signalling} points of the baseline were signals: exclude those with a known cause"
        )
    return advice


def comparable(versions: Collection[int], catalog: Catalog, definition: dict[str, Any]) -> None:
    """Refuse a baseline whose points were plotted differently from those to be judged.

    Raises:
        LimitsRefused: chart or subgroup size changed within it.
    """
    now = (definition["chart"], definition["subgroup"]["size"])
    for number in versions:
        then = catalog.versions[number].definition if number in catalog.versions else None
        if then is not None and (then["chart"], then["subgroup"]["size"]) != now:
            raise LimitsRefused(
                f"part of the baseline was charted as {then['chart']} of "
                f"{then['subgroup']['size']}, now it is {now[0]} of {now[1]}; start it later"
            )


def current(catalog: Catalog, characteristic: int, stream: int | None) -> Version:
    """The newest version that holds for a stream, or for all streams."""
    found = [
        version
        for version in catalog.versions_of(characteristic)
        if version.state not in OUTSIDE_HISTORY and version.stream in (None, stream)
    ]
    return max(found, key=order)


def order(version: Version) -> tuple[float, int]:
    """Versions in the order of the measured time from which they hold."""
    since = -math.inf if version.valid_from is None else version.valid_from
    return since, version.number


def next_number(catalog: Catalog, characteristic: int) -> int:
    """The number of a characteristic's next version."""
    return max((v.number for v in catalog.versions_of(characteristic)), default=0) + 1


def approved(
    version: Version,
    catalog: Catalog,
    *,
    who: str,
    at: int,
    second_person: bool,
    newest: int | None,
    valid_from: int | None,
) -> list[Version]:
    """The version as approved, and those that it supersedes.

    It holds from after the newest reading unless a later time is asked for.

    Raises:
        LimitsRefused: it is no proposal any more, or this person or this time will not do.
    """
    if version.state != "proposed":
        raise LimitsRefused(f"version {version.number} is {version.state}, not proposed")
    if second_person and who.strip().casefold() == version.author.strip().casefold():
        raise LimitsRefused("somebody other than the author has to approve these limits")
    before = current(catalog, version.characteristic, version.stream)
    if before.definition != version.definition:
        raise LimitsRefused(
            "chart, rules or specification changed since these limits were proposed; propose again"
        )
    if valid_from is not None and newest is not None and valid_from <= newest:
        raise LimitsRefused(
            "readings of that time and later are judged already, and keep their verdicts; "
            "choose a later time, or give none: then it holds from after the newest reading"
        )
    since = valid_from if valid_from is not None else None if newest is None else newest + 1
    if before.valid_from is not None and (since is None or since <= before.valid_from):
        if valid_from is not None:
            raise LimitsRefused(
                f"version {before.number} holds from then or later; choose a later time"
            )
        since = before.valid_from + 1
    done = msgspec.structs.replace(
        version, state="active", approved_by=who, approved_at=at, valid_from=since
    )
    return [done, *superseded(catalog, done)]


def superseded(catalog: Catalog, by: Version) -> list[Version]:
    """The versions whose place a new one takes."""
    return [
        msgspec.structs.replace(version, state="superseded")
        for version in catalog.versions_of(by.characteristic)
        if version.id != by.id
        and version.state in IN_FORCE
        and (by.stream is None or version.stream == by.stream)
    ]


def on_trial(version: Version) -> bool:
    """Whether a version's limits are, or were, advice that nobody approved."""
    superseded = version.state == "superseded" and version.approved_by is None
    return version.state == "trial" or (superseded and version.author == TRIED_BY)


def rejected(version: Version, *, who: str, at: int, reason: str) -> Version:
    """A proposal that was turned down.

    Raises:
        LimitsRefused: it is no proposal any more.
    """
    if version.state != "proposed":
        raise LimitsRefused(f"version {version.number} is {version.state}, not proposed")
    return msgspec.structs.replace(
        version,
        state="rejected",
        approved_by=who,
        approved_at=at,
        reason=f"{version.reason} (rejected: {reason})",
    )


def streams_judged(catalog: Catalog, entry: Characteristic, stream: int | None) -> list[int]:
    """The streams that a version of this scope judges."""
    return [stream] if stream is not None else list(catalog.streams_of(entry.id))
