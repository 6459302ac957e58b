"""The kinds of control chart as rows of a table, and the points each of them plots."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rules.compiled import inlined
from rules.constants import MAX_N, WIDTH, table

Floats = NDArray[np.float64]
Shape = Literal["limit", "side", "trend", "alternation", "zone"]
Dispersion = Literal["moving_range", "range", "deviation"]

ALL_SHAPES: frozenset[Shape] = frozenset(("limit", "side", "trend", "alternation", "zone"))
I_MR, XBAR_R, XBAR_S, P = range(4)


@dataclass(frozen=True, slots=True)
class Chart:
    """One kind of chart: what it plots, from how many readings, and which run rules it can bear.

    ``shapes`` are the shapes of run rules that are valid on the location chart; on ranges, moving
    ranges and standard deviations only the limits themselves are.
    """

    name: str
    code: int
    kind: Literal["variables", "attribute"]
    min_n: int
    max_n: int
    dispersion: Dispersion | None
    shapes: frozenset[Shape]
    methods: tuple[str, ...]
    """Ways to estimate sigma, the default first."""


ATTRIBUTE_SHAPES: frozenset[Shape] = frozenset(("limit", "side", "trend", "alternation"))

CHARTS: dict[str, Chart] = {
    chart.name: chart
    for chart in (
        Chart(
            "i_mr",
            I_MR,
            "variables",
            1,
            1,
            "moving_range",
            ALL_SHAPES,
            ("mr", "median_mr", "screened_mr", "s"),
        ),
        Chart("xbar_r", XBAR_R, "variables", 2, 10, "range", ALL_SHAPES, ("r",)),
        Chart("xbar_s", XBAR_S, "variables", 2, MAX_N, "deviation", ALL_SHAPES, ("s", "pooled")),
        Chart("p", P, "attribute", 1, 2**31, None, ATTRIBUTE_SHAPES, ("binomial",)),
    )
}


def _dispersion_factors() -> tuple[Floats, Floats, Floats]:
    """Return center, lcl and ucl of the dispersion chart over sigma, by chart code and n."""
    factors = np.full((3, max(c.code for c in CHARTS.values()) + 1, MAX_N + 1), np.nan)
    for chart in CHARTS.values():
        if chart.dispersion is None:
            continue
        d2, d3, c4 = table().T
        deviation = chart.dispersion == "deviation"
        mean, spread = (c4, np.sqrt(1.0 - c4 * c4)) if deviation else (d2, d3)
        low = mean - WIDTH * spread
        factors[:, chart.code] = mean, np.where(low > 0, low, np.nan), mean + WIDTH * spread
    return factors[0], factors[1], factors[2]


# Indexed [chart code, n] in compiled loops, where they are constants; times sigma they are the
# lines of a point's dispersion. NaN: there is none. Moving ranges are ranges of n = 2.
DISPERSION_CENTER, DISPERSION_LCL, DISPERSION_UCL = _dispersion_factors()

RANGE_CHARTS = tuple(c.code for c in CHARTS.values() if c.dispersion == "range")
"""Codes of the charts whose dispersion is the range of a subgroup."""


def chart_named(name: str) -> Chart:
    """Return the chart called ``name``."""
    try:
        return CHARTS[name]
    except KeyError:
        raise ValueError(f"unknown chart {name!r}; known are {', '.join(CHARTS)}") from None


class Points(NamedTuple):
    """What a chart plots, as columns; NaN where there is nothing to plot."""

    statistic: Floats
    dispersion: Floats
    n: Floats


def plotted(
    chart: Chart,
    values: ArrayLike | Sequence[Sequence[float | None]],
    *,
    sizes: ArrayLike | None = None,
    cut: ArrayLike | None = None,
) -> Points:
    """Turn single values, subgroups or counts into the points of ``chart``.

    Subgroups are rows with NaN or None in missing cells; attribute charts take counts and
    ``sizes``. ``cut`` marks points that no moving range reaches back across.
    """
    if chart.kind == "attribute":
        if sizes is None:
            raise ValueError(f"a {chart.name} chart needs the sizes of its samples")
        return _proportions(np.asarray(values, np.float64), np.asarray(sizes, np.float64))
    if chart.max_n == 1:
        return _individuals(np.asarray(values, np.float64), cut)
    return _subgrouped(chart, _rectangle(values))


def _individuals(values: Floats, cut: ArrayLike | None) -> Points:
    """Return single values and their moving ranges of two."""
    if values.ndim != 1:
        raise ValueError("single values are one column; subgroups need an xbar chart")
    ranges = np.full_like(values, np.nan)
    ranges[1:] = np.abs(np.diff(values))
    if cut is not None:
        ranges[np.asarray(cut, np.bool_)] = np.nan
    return Points(values, ranges, np.ones_like(values))


def _proportions(counts: Floats, sizes: Floats) -> Points:
    """Return the proportions of ``counts`` in samples of ``sizes``."""
    sizes = np.broadcast_to(sizes, counts.shape).astype(np.float64)
    bad = (sizes < 1) | (counts < 0) | (counts > sizes)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(f"sample {first}: {counts[first]:g} of {sizes[first]:g} is no proportion")
    return Points(counts / sizes, np.full_like(counts, np.nan), sizes)


def _subgrouped(chart: Chart, cells: Floats) -> Points:
    """Return means, ranges or standard deviations, and sizes of the rows of ``cells``."""
    n = np.count_nonzero(~np.isnan(cells), axis=1).astype(np.float64)
    if n.size and n.max() > chart.max_n:
        raise ValueError(
            f"a subgroup of {n.max():.0f} is too large for {chart.name}, "
            f"which takes up to {chart.max_n}"
        )
    means = np.full(len(cells), np.nan)
    dispersions = np.full(len(cells), np.nan)
    for i, row in enumerate(cells):
        present = row[~np.isnan(row)]
        if present.size:
            means[i], dispersions[i] = subgroup_statistics(chart.code, present)
    return Points(means, dispersions, n)


def _rectangle(rows: ArrayLike | Sequence[Sequence[float | None]]) -> Floats:
    """Return subgroups of unequal length as one array padded with NaN."""
    if isinstance(rows, np.ndarray):
        cells = rows.astype(np.float64)
    else:
        lists = [list(row) for row in rows]  # type: ignore[union-attr, arg-type]
        cells = np.full((len(lists), max(map(len, lists), default=0)), np.nan)
        for i, row in enumerate(lists):
            cells[i, : len(row)] = [math.nan if x is None else x for x in row]
    if cells.ndim != 2:
        raise ValueError("subgroups are rows of values")
    return cells


@inlined
def sort_ascending(values: Floats) -> None:
    """Sort a subgroup in place; insertion, because subgroups are small and nearly sorted."""
    for i in range(1, len(values)):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@inlined
def subgroup_statistics(chart: int, values: Floats) -> tuple[float, float]:
    """Return mean and dispersion of one subgroup; sorts ``values`` in place.

    Sorted, because a sum depends on the order of its terms and a verdict must not; and summed as
    distances from the smallest, because the mean is then right to the last place or two.
    """
    n = len(values)
    if n == 1:
        return values[0], np.nan
    sort_ascending(values)
    low = values[0]
    total = 0.0
    for x in values:
        total += x - low
    mean = low + total / n
    if chart in RANGE_CHARTS:
        return mean, values[n - 1] - low
    if chart == XBAR_S:
        offset = total / n
        squares = 0.0
        for x in values:
            squares += (x - low - offset) ** 2
        return mean, math.sqrt(squares / (n - 1))
    return mean, np.nan
