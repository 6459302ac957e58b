"""The control-chart constants, computed from their definitions instead of typed from a table."""

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_N = 50
"""The largest subgroup whose factors are tabulated for compiled loops."""

WIDTH = 3.0
"""Control limits lie so many sigma from the center line (Shewhart)."""

PRINTED_DECIMALS = 3
"""Textbooks print d2, d3 and c4 with so many decimals: 1.128, 0.853, 0.798."""


@dataclass(frozen=True, slots=True)
class Constants:
    """Every factor of one subgroup size, under its usual name (ASTM STP 15D, Montgomery app. VI).

    ``D3`` and ``D4`` are ``range_lower`` and ``range_upper``; ``B3``, ``B4``, ``B5``, ``B6`` are
    the ``deviation_*`` and ``sigma_*`` pairs, because ``d3`` and ``D3`` are different things.
    """

    n: int
    d2: float
    d3: float
    c4: float

    @property
    def a2(self) -> float:
        """Limits of means from the mean range."""
        return 3.0 / (self.d2 * math.sqrt(self.n))

    @property
    def a3(self) -> float:
        """Limits of means from the mean standard deviation."""
        return 3.0 / (self.c4 * math.sqrt(self.n))

    @property
    def e2(self) -> float:
        """Limits of single values from the mean moving range."""
        return 3.0 / self.d2

    @property
    def range_lower(self) -> float:
        """D3: lower limit of a range over its mean."""
        return max(0.0, 1.0 - 3.0 * self.d3 / self.d2)

    @property
    def range_upper(self) -> float:
        """D4: upper limit of a range over its mean."""
        return 1.0 + 3.0 * self.d3 / self.d2

    @property
    def c5(self) -> float:
        """Standard deviation of the standard deviation of n values, over sigma."""
        return math.sqrt(1.0 - self.c4 * self.c4)

    @property
    def deviation_lower(self) -> float:
        """B3: lower limit of a standard deviation over its mean."""
        return max(0.0, 1.0 - 3.0 * self.c5 / self.c4)

    @property
    def deviation_upper(self) -> float:
        """B4: upper limit of a standard deviation over its mean."""
        return 1.0 + 3.0 * self.c5 / self.c4

    @property
    def sigma_lower(self) -> float:
        """B5: lower limit of a standard deviation over sigma."""
        return max(0.0, self.c4 - 3.0 * self.c5)

    @property
    def sigma_upper(self) -> float:
        """B6: upper limit of a standard deviation over sigma."""
        return self.c4 + 3.0 * self.c5


@cache
def constants(n: int, *, printed: bool = False) -> Constants:
    """Return the factors of subgroups of ``n``; ``printed`` rounds them as the textbooks do."""
    if printed:
        return Constants(n, *(round(f(n), PRINTED_DECIMALS) for f in (d2, d3, c4)))
    return Constants(n, d2(n), d3(n), c4(n))


def d2(n: int) -> float:
    """Return the mean range of ``n`` standard normal values."""
    return _range_moments(n)[0]


def d3(n: int) -> float:
    """Return the standard deviation of the range of ``n`` standard normal values."""
    return _range_moments(n)[1]


@cache
def c4(n: int) -> float:
    """Return the mean standard deviation of ``n`` standard normal values, for any n of 2 or more."""
    _at_least_two(n)
    # The quotient of gamma functions overflows beyond n = 343, its logarithm does not.
    return math.sqrt(2.0 / (n - 1)) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))


MEDIAN_MOVING_RANGE = math.sqrt(2.0) * NormalDist().inv_cdf(0.75)
"""The median of the range of two standard normal values."""


@cache
def table() -> Floats:
    """Return d2, d3 and c4 as columns indexed by n, for compiled loops; n below 2 is NaN."""
    rows = np.full((MAX_N + 1, 3), np.nan)
    for n in range(2, MAX_N + 1):
        rows[n] = d2(n), d3(n), c4(n)
    rows.flags.writeable = False
    return rows


@cache
def _range_moments(n: int) -> tuple[float, float]:
    """Integrate the density of the range (Tippett 1925) for its mean and standard deviation."""
    _at_least_two(n)
    spread, weight, density, between = _range_grid()
    # log, because the power of a probability underflows silently at the small ranges
    with np.errstate(divide="ignore"):
        inner = density * np.exp((n - 2) * np.log(between)) if n > 2 else density
    pdf = n * (n - 1) * inner.sum(axis=1) * weight
    mean = float(pdf @ spread)
    return mean, math.sqrt(float(pdf @ (spread - mean) ** 2))


@cache
def _range_grid() -> tuple[Floats, Floats, Floats, Floats]:
    """Return range nodes, weights, and on (range, midpoint) the density and probability between.

    Gauss-Legendre over the range; the trapezoidal rule over the midpoint, where it converges
    geometrically because the integrand is even and decays like a Gaussian.
    """
    nodes, weights = np.polynomial.legendre.leggauss(160)
    spread = 7.5 * (nodes + 1.0)
    step = 0.05
    middle = np.arange(0.0, 8.0 + step, step)
    low = middle[None, :] - spread[:, None] / 2
    high = middle[None, :] + spread[:, None] / 2
    density = np.exp(-(low**2 + high**2) / 2) / (2 * math.pi)
    density[:, 1:] *= 2.0  # the other half of an even function
    normal = np.frompyfunc(lambda x: 0.5 * math.erfc(-x / math.sqrt(2.0)), 1, 1)
    between = (normal(high) - normal(low)).astype(np.float64)
    return spread, 7.5 * weights, density * step, between


def _at_least_two(n: int) -> None:
    if n < 2:
        raise ValueError(f"a subgroup of {n} has no dispersion; n must be 2 or more")
