"""Whole series judged at once by the kernel that judges them live: analysis, replay, notebooks."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rules.charts import Points, chart_named, plotted
from rules.compiled import compiled
from rules.kernel import judge_series, new_state
from rules.limits import Limits, dispersion_at, estimate_points, sigmas_at
from rules.runs import Program, Programs, RuleOptions, RunRule, compile_rules, decode

Floats = NDArray[np.float64]
Masks = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A judged series: its points, the limits that judged them, and the rules each completes."""

    points: Points
    limits: Limits
    program: Program
    masks: Masks

    def violations(self) -> dict[str, list[int]]:
        """Return the indexes, from 0, of the points that complete each rule of the location."""
        return self._indexes("location")

    def dispersion_violations(self) -> dict[str, list[int]]:
        """Return the indexes, from 0, of the points whose dispersion is beyond its limits."""
        return self._indexes("dispersion")

    def _indexes(self, chart: str) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for i in np.flatnonzero(self.masks):
            for violation in decode(int(self.masks[i]), self.program.rules):
                indexes = found.setdefault(violation.rule, [])
                if violation.chart == chart and int(i) not in indexes[-1:]:
                    indexes.append(int(i))
        return {rule: indexes for rule, indexes in found.items() if indexes}


def judge(
    chart: str,
    values: ArrayLike,
    *,
    sizes: ArrayLike | None = None,
    limits: Limits | None = None,
    baseline: int | None = None,
    rules: str | Iterable[str | RunRule] = "andon",
    options: RuleOptions | Mapping[str, Any] | None = None,
    cut: ArrayLike | None = None,
) -> Verdicts:
    """Judge single values, subgroups or counts from the first to the last.

    Without ``limits`` the first ``baseline`` points set them (default: all of them).
    """
    kind = chart_named(chart)
    points = plotted(kind, values, sizes=sizes, cut=cut)
    if limits is None:
        limits = estimate_points(chart, *(column[:baseline] for column in points))
    elif limits.chart != chart:
        raise ValueError(f"limits of a {limits.chart} chart cannot judge a {chart} chart")
    program = compile_rules(rules, options, kind, given=limits.given)
    masks = evaluate(limits, program, points.statistic, points.dispersion, points.n, cut=cut)
    return Verdicts(points, limits, program, masks)


def evaluate(
    limits: Limits,
    program: Program,
    statistic: ArrayLike,
    dispersion: ArrayLike | None = None,
    n: ArrayLike | None = None,
    *,
    cut: ArrayLike | None = None,
    excluded: ArrayLike | None = None,
) -> Masks:
    """Return the violations of each point of one stream, as the bits that ``decode`` reads.

    ``cut`` marks points whose history does not reach back before them; an excluded point is
    skipped as if it were not there. A NaN statistic is no point and cuts.
    """
    x = np.ascontiguousarray(statistic, np.float64)
    kept = np.ones(len(x), np.bool_) if excluded is None else ~np.asarray(excluded, np.bool_)
    boundary = np.zeros(len(x), np.bool_) if cut is None else np.array(cut, np.bool_)
    _carry(boundary, kept)
    size = _column(n, x, limits.n)[kept]
    spread = _column(dispersion, x, math.nan)[kept]
    center, sigma_up, sigma_low, d_lcl, d_ucl = lines(limits, size)
    programs = Programs()
    number = programs.add(program)
    registers, memory = new_state(1)
    found = np.zeros(len(size), np.int64)
    judge_series(
        programs.table,
        np.array([number]),
        registers,
        memory,
        np.zeros(len(size), np.int64),
        x[kept],
        center,
        sigma_up,
        sigma_low,
        boundary[kept],
        spread,
        d_lcl,
        d_ucl,
        found,
    )
    masks = np.zeros(len(x), np.int64)
    masks[kept] = found
    return masks


def lines(limits: Limits, n: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return center, both sigmas and the dispersion limits of points of ``n``, as columns."""
    columns = np.empty((5, len(n)))
    _fill(
        chart_named(limits.chart).code,
        limits.center,
        math.nan if limits.sigma is None else limits.sigma,
        math.nan if limits.lcl is None else limits.lcl,
        math.nan if limits.ucl is None else limits.ucl,
        limits.n if limits.given else 0.0,
        n,
        columns,
    )
    return columns[0], columns[1], columns[2], columns[3], columns[4]


@compiled
def _fill(
    chart: int,
    center: float,
    sigma: float,
    lcl: float,
    ucl: float,
    given_n: float,
    n: Floats,
    columns: Floats,
) -> None:
    for i in range(len(n)):
        columns[0, i] = center
        columns[1, i], columns[2, i] = sigmas_at(chart, center, sigma, lcl, ucl, given_n, n[i])
        _, columns[3, i], columns[4, i] = dispersion_at(chart, sigma, n[i])


def _carry(boundary: NDArray[np.bool_], kept: NDArray[np.bool_]) -> None:
    """Move the boundary before an excluded point to the next one that is judged."""
    for i in np.flatnonzero(boundary & ~kept):
        following = np.flatnonzero(kept[i:])
        if following.size:
            boundary[i + following[0]] = True


def _column(values: ArrayLike | None, like: Floats, default: float) -> Floats:
    if values is None:
        return np.full(len(like), default)
    return np.array(np.broadcast_to(np.asarray(values, np.float64), like.shape))
