"""Control limits: estimated from a baseline, entered or given, and what they say at each n."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rules.charts import (
    DISPERSION_CENTER,
    DISPERSION_LCL,
    DISPERSION_UCL,
    I_MR,
    XBAR_R,
    Chart,
    P,
    Points,
    chart_named,
    plotted,
)
from rules.compiled import inlined
from rules.constants import MAX_N, MEDIAN_MOVING_RANGE, WIDTH, c4, constants

Floats = NDArray[np.float64]

TRIAL_POINTS = 12
"""With so many points limits can be tried: dashed, and advisory."""

PROPOSAL_SUBGROUPS = 25
PROPOSAL_READINGS = 100
"""With so many subgroups, or readings, limits can be proposed to a person."""

GIVEN = "given"
"""The method of limits that a control plan prints; they carry lcl and ucl of their own."""

ENTERED = "entered"
"""The method of limits that a person entered as center and sigma of one value."""


class BaselineInvalid(ValueError):
    """The baseline cannot carry limits; measuring more, or elsewhere, is the way on."""


@dataclass(frozen=True, slots=True)
class Line:
    """Center line and limits of a chart at one n; None where there is no limit."""

    center: float
    lcl: float | None
    ucl: float | None
    sigma: float | None
    """Of the plotted statistic; None where given limits stand instead of a sigma."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one version: center and sigma, from which every line follows.

    ``sigma`` is that of one value, None for attribute charts and for given limits that state
    none. ``lcl`` and ``ucl`` belong to the method ``given`` alone, hold for ``n``, may be
    asymmetric, and one of them may be missing.
    """

    chart: str
    center: float
    sigma: float | None
    n: float
    method: str
    lcl: float | None = None
    ucl: float | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        """Refuse limits that cannot judge a point."""
        chart = chart_named(self.chart)
        if not math.isfinite(self.center):
            raise ValueError(f"the center line is {self.center}")
        if not (math.isfinite(self.n) and self.n >= 1):
            raise ValueError(f"limits for n = {self.n}; n must be 1 or more")
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(f"sigma is {self.sigma}; it must be a number of 0 or more")
        if self.method == GIVEN:
            self._check_given()
            return
        if self.lcl is not None or self.ucl is not None:
            raise ValueError("lcl and ucl follow from center and sigma; only given limits set them")
        if chart.kind == "variables" and self.sigma is None:
            raise ValueError(f"limits of a {self.chart} chart need sigma, that of one value")
        if chart.kind == "attribute" and self.sigma is not None:
            raise ValueError(f"limits of a {self.chart} chart take the center line alone")
        if chart.code == P and not 0 <= self.center <= 1:
            raise ValueError(f"a proportion of {self.center:g} lies outside 0 to 1")

    def _check_given(self) -> None:
        if self.lcl is None and self.ucl is None:
            raise ValueError("given limits need lcl, ucl or both")
        for name, limit, beyond in (
            ("lcl", self.lcl, self.lcl is not None and self.lcl > self.center),
            ("ucl", self.ucl, self.ucl is not None and self.ucl < self.center),
        ):
            if limit is not None and not math.isfinite(limit):
                raise ValueError(f"the given {name} is {limit}")
            if beyond:
                raise ValueError(f"the given {name} {limit:g} is on the wrong side of the center")

    @property
    def given(self) -> bool:
        """Tell whether a control plan prescribes these limits."""
        return self.method == GIVEN

    def to_dict(self) -> dict[str, Any]:
        """Return the limits as plain JSON values, without what is not set."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the limits that ``to_dict`` wrote."""
        return cls(**{"sigma": None, **fields})


def entered(chart: str, center: float, sigma: float | None = None, n: float = 1.0) -> Limits:
    """Return limits from a known center and the sigma of one value."""
    return Limits(chart, center, sigma, n, ENTERED)


def standing(points: int, readings: int) -> Literal["collecting", "trial", "proposal"]:
    """Tell what a baseline of so many points and readings is good for."""
    if points >= PROPOSAL_SUBGROUPS or readings >= PROPOSAL_READINGS:
        return "proposal"
    return "trial" if points >= TRIAL_POINTS else "collecting"


def estimate(
    chart: str,
    values: ArrayLike,
    *,
    sizes: ArrayLike | None = None,
    cut: ArrayLike | None = None,
    excluded: ArrayLike | None = None,
    method: str | None = None,
    printed: bool = False,
    at_least: int = 2,
) -> Limits:
    """Return the limits of a baseline of single values, subgroups or counts.

    Excluded points take no part, and no moving range is formed across them.
    """
    kind = chart_named(chart)
    drop = None if excluded is None else np.asarray(excluded, np.bool_)
    if drop is not None and kind.max_n == 1:
        values = np.where(drop, np.nan, np.asarray(values, np.float64))
    points = plotted(kind, values, sizes=sizes, cut=cut)
    if drop is not None:
        points = Points(*(np.where(drop, np.nan, column) for column in points))
    return estimate_points(chart, *points, method=method, printed=printed, at_least=at_least)


def estimate_points(
    chart: str,
    statistic: ArrayLike,
    dispersion: ArrayLike | None,
    n: ArrayLike | None = None,
    *,
    method: str | None = None,
    printed: bool = False,
    at_least: int = 2,
) -> Limits:
    """Return the limits of a baseline of points that were plotted before.

    ``printed`` takes d2 and c4 rounded as textbooks print them, to reproduce their examples.
    """
    kind = chart_named(chart)
    chosen = method or kind.methods[0]
    if chosen not in kind.methods:
        raise ValueError(f"{chart} has no method {chosen!r}; it has {', '.join(kind.methods)}")
    x = np.asarray(statistic, np.float64)
    present = np.isfinite(x)
    x = x[present]
    d = _column(dispersion, present, np.nan)
    sizes = _column(n, present, 1.0)
    if len(x) < max(at_least, 2 if kind.kind == "variables" else 1):
        raise BaselineInvalid(f"{len(x)} points are too few for limits; {at_least} are needed")
    if kind.code == P:
        return _binomial(x, sizes)
    sigma, method_used = _sigma(kind, chosen, x, d, sizes, printed=printed)
    if not math.isfinite(sigma):
        raise BaselineInvalid("the baseline holds no two readings that belong together")
    if sigma <= 4 * np.finfo(np.float64).eps * float(np.abs(x).max()):
        raise BaselineInvalid(
            "the baseline does not vary: sigma is 0; check the resolution of the gauge"
        )
    nominal = _nominal(sizes)
    return Limits(chart, _mean(x, sizes), sigma, nominal, method_used + "-printed" * printed)


def _sigma(
    kind: Chart, method: str, x: Floats, d: Floats, sizes: Floats, *, printed: bool
) -> tuple[float, str]:
    """Return sigma of one value within subgroups, and the method that was taken in the end."""
    if kind.code == I_MR:
        return _sigma_of_individuals(method, x, d[np.isfinite(d)], printed=printed), method
    usable = np.isfinite(d) & (sizes >= 2)
    d, n = d[usable], sizes[usable].astype(np.int64)
    if not len(d):
        return math.nan, method
    factors = [constants(int(k), printed=printed) for k in n]
    if kind.code == XBAR_R:
        # Minimum variance linear unbiased (Burr 1969); R-bar/d2 when all n are equal.
        weights = np.array([(f.d2 / f.d3) ** 2 for f in factors])
        scaled = d / np.array([f.d2 for f in factors])
        return _mean(scaled, weights), method
    if method == "s" and np.all(n == n[0]):
        return _mean(d, np.ones_like(d)) / factors[0].c4, method
    freedom = n - 1
    pooled = math.sqrt(float(np.sum(freedom * d * d)) / float(freedom.sum()))
    return pooled / c4(int(freedom.sum()) + 1), "pooled"


def _sigma_of_individuals(method: str, x: Floats, ranges: Floats, *, printed: bool) -> float:
    """Return sigma from moving ranges of two, or from all values for the method ``s``."""
    if method == "s":
        return float(np.std(x, ddof=1)) / c4(len(x))
    if not len(ranges):
        return math.nan
    if method == "median_mr":
        return float(np.median(ranges)) / MEDIAN_MOVING_RANGE
    factors = constants(2, printed=printed)
    mean = float(np.mean(ranges))
    if method == "screened_mr":
        mean = float(np.mean(ranges[ranges <= factors.range_upper * mean]))
    return mean / factors.d2


def _binomial(x: Floats, sizes: Floats) -> Limits:
    """Return the limits of a p chart: the mean proportion alone."""
    center = float(np.sum(np.rint(x * sizes)) / np.sum(sizes))
    if not 0 < center < 1:
        raise BaselineInvalid(
            f"the baseline does not vary: every sample has a proportion of {center:g}; "
            "take larger samples or a longer baseline"
        )
    return Limits("p", center, None, _nominal(sizes), "binomial")


def _column(values: ArrayLike | None, present: NDArray[np.bool_], default: float) -> Floats:
    if values is None:
        return np.full(np.count_nonzero(present), default)
    return np.broadcast_to(np.asarray(values, np.float64), present.shape)[present]


def _mean(x: Floats, weights: Floats) -> float:
    """Return the weighted mean, taken about a value of the series to keep its last places."""
    origin = float(x[0])
    return origin + float(np.sum((x - origin) * weights) / np.sum(weights))


def _nominal(sizes: Floats) -> float:
    """Return the most frequent size; the larger one when two are equally frequent."""
    values, counts = np.unique(sizes, return_counts=True)
    return float(values[::-1][np.argmax(counts[::-1])])


@inlined
def sigma_at(chart: int, center: float, sigma: float, n: float) -> float:
    """Return the sigma of the statistic of a point of ``n`` (compiled)."""
    if chart == P:
        return math.sqrt(center * (1.0 - center) / n)
    if chart == I_MR:
        return sigma
    return sigma / math.sqrt(n)


@inlined
def dispersion_at(chart: int, sigma: float, n: float) -> tuple[float, float, float]:
    """Return center, lcl and ucl of the dispersion of a point of ``n``, NaN for none (compiled)."""
    size = 2 if chart == I_MR else int(n)
    if size > MAX_N:
        return np.nan, np.nan, np.nan
    return (
        DISPERSION_CENTER[chart, size] * sigma,
        DISPERSION_LCL[chart, size] * sigma,
        DISPERSION_UCL[chart, size] * sigma,
    )


@inlined
def sigmas_at(
    chart: int, center: float, sigma: float, lcl: float, ucl: float, given_n: float, n: float
) -> tuple[float, float]:
    """Return the upper and lower sigma of a point of ``n`` as the kernel wants them (compiled).

    ``given_n`` is 0 unless the limits are given; then lcl and ucl hold for that n, NaN stands for
    a missing one (an infinite sigma), and both come closer as a larger n allows.
    """
    if given_n > 0.0:
        scale = math.sqrt(given_n / n) / WIDTH
        up = (ucl - center) * scale if not math.isnan(ucl) else np.inf
        low = (center - lcl) * scale if not math.isnan(lcl) else np.inf
        return up, low
    both = sigma_at(chart, center, sigma, n)
    return both, both


def location(limits: Limits, n: float | None = None) -> Line:
    """Return the lines of the location chart for a point of ``n`` (default: the nominal n)."""
    size = limits.n if n is None else n
    chart = chart_named(limits.chart)
    if limits.given:
        scale = math.sqrt(limits.n / size)
        low, high = (
            None if limit is None else limits.center + (limit - limits.center) * scale
            for limit in (limits.lcl, limits.ucl)
        )
        return Line(limits.center, low, high, None)
    sigma = float(sigma_at(chart.code, limits.center, limits.sigma or 0.0, size))
    line = Line(limits.center, limits.center - WIDTH * sigma, limits.center + WIDTH * sigma, sigma)
    if chart.code == P:
        low, high = line.lcl or 0.0, line.ucl or 0.0
        return replace(line, lcl=low if low > 0 else None, ucl=min(high, 1.0))
    return line


def dispersion(limits: Limits, n: float | None = None) -> Line | None:
    """Return the lines of the dispersion chart for a point of ``n``; None where it has none."""
    if limits.sigma is None:
        return None
    size = limits.n if n is None else n
    center, lcl, ucl = dispersion_at(chart_named(limits.chart).code, limits.sigma, size)
    if math.isnan(center):
        return None
    return Line(center, None if math.isnan(lcl) else lcl, ucl, (ucl - center) / WIDTH)
