"""Constants against independent integration, closed forms and the printed tables."""

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from rules.constants import MAX_N, MEDIAN_MOVING_RANGE, c4, constants, d2, d3, table


def range_moments(n):
    """Mean and second moment of the range from the distribution functions (David, Nagaraja 2003)."""
    mean, _ = integrate.quad(
        lambda x: 1 - stats.norm.cdf(x) ** n - stats.norm.sf(x) ** n,
        -12,
        12,
        epsabs=1e-13,
        epsrel=1e-13,
        limit=400,
    )
    # E[R^2] = 2 * integral over x < y of P(min > x or max < y fails)
    x, w = np.polynomial.legendre.leggauss(300)
    x, w = 10 * x, 10 * w
    inner_x, inner_w = np.polynomial.legendre.leggauss(300)
    total = 0.0
    for y, wy in zip(x, w, strict=True):
        half = (y + 10) / 2
        low = -10 + half * (inner_x + 1)
        cdf_y, cdf_x = special.ndtr(y), special.ndtr(low)
        value = 1 - cdf_y**n - special.ndtr(-low) ** n + (cdf_y - cdf_x) ** n
        total += wy * half * float(inner_w @ value)
    return mean, math.sqrt(2 * total - mean**2)


@pytest.mark.slow
@pytest.mark.parametrize("n", [*range(2, 26), 35, MAX_N])
def test_d2_and_d3_equal_an_independent_integration(n):
    mean, spread = range_moments(n)
    assert d2(n) == pytest.approx(mean, abs=1e-9)
    assert d3(n) == pytest.approx(spread, abs=1e-9)


def test_d2_and_d3_have_their_closed_forms():
    assert d2(2) == pytest.approx(2 / math.sqrt(math.pi), abs=1e-12)
    assert d3(2) == pytest.approx(math.sqrt(2 - 4 / math.pi), abs=1e-12)
    assert d2(3) == pytest.approx(3 / math.sqrt(math.pi), abs=1e-12)


@pytest.mark.parametrize("n", [*range(2, 26), 344, 100_000])
def test_c4_is_the_mean_of_the_chi_distribution(n):
    assert c4(n) == pytest.approx(stats.chi.mean(n - 1) / math.sqrt(n - 1), abs=1e-9)


def test_median_of_the_moving_range():
    assert pytest.approx(0.95387, abs=5e-6) == MEDIAN_MOVING_RANGE


# d2, d3, c4, A2, A3, D3, D4, B3, B4 as section "Constants" of the SPC reference prints them.
@pytest.mark.parametrize(
    ("n", "row"),
    [
        (2, (1.128379, 0.852502, 0.797885, 1.879971, 2.658681, 0, 3.266532, 0, 3.266532)),
        (5, (2.325929, 0.864082, 0.939986, 0.576819, 1.427299, 0, 2.114499, 0, 2.088998)),
        (
            25,
            (
                3.930629,
                0.708441,
                0.989640,
                0.152647,
                0.606281,
                0.459292,
                1.540708,
                0.564786,
                1.435214,
            ),
        ),
    ],
)
def test_factors_equal_the_reference(n, row):
    k = constants(n)
    factors = (
        k.d2,
        k.d3,
        k.c4,
        k.a2,
        k.a3,
        k.range_lower,
        k.range_upper,
        k.deviation_lower,
        k.deviation_upper,
    )
    assert factors == pytest.approx(row, abs=6e-7)


@pytest.mark.parametrize(
    ("n", "a2", "lower", "upper", "b5", "b6"),
    [
        (2, 1.880, 0, 3.267, 0, 2.606),
        (3, 1.023, 0, 2.574, 0, 2.276),
        (7, 0.419, 0.076, 1.924, 0.113, 1.806),
        (10, 0.308, 0.223, 1.777, 0.276, 1.669),
        (20, 0.180, 0.415, 1.585, 0.504, 1.470),
    ],
)
def test_factors_agree_with_printed_tables_to_their_last_digit(n, a2, lower, upper, b5, b6):
    k = constants(n)
    found = (k.a2, k.range_lower, k.range_upper, k.sigma_lower, k.sigma_upper)
    assert found == pytest.approx((a2, lower, upper, b5, b6), abs=1.1e-3)


def test_printed_constants_are_those_of_the_textbooks():
    k = constants(2, printed=True)
    assert (k.d2, k.d3, k.c4) == (1.128, 0.853, 0.798)
    assert round(k.e2, 2) == 2.66


def test_the_table_is_read_only_and_complete():
    rows = table()
    assert rows.shape == (MAX_N + 1, 3)
    assert np.isnan(rows[:2]).all()
    assert np.isfinite(rows[2:]).all()
    with pytest.raises(ValueError, match="read-only"):
        rows[2, 0] = 1.0


@pytest.mark.parametrize("factor", [d2, d3, c4])
def test_one_value_has_no_dispersion(factor):
    with pytest.raises(ValueError, match="n must be 2 or more"):
        factor(1)
