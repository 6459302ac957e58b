"""Limits: how they are estimated, entered and given, and what they say at each n."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.charts import CHARTS
from rules.constants import MEDIAN_MOVING_RANGE, c4, constants, d2
from rules.evaluate import judge
from rules.limits import (
    GIVEN,
    BaselineInvalid,
    Limits,
    dispersion,
    entered,
    estimate,
    estimate_points,
    location,
    standing,
)

SERIES = [10.0, 11.0, 10.5, 12.0, 9.0, 10.0, 30.0, 10.0]


def test_moving_range_methods():
    ranges = np.abs(np.diff(SERIES))
    mean = ranges.mean()
    screened = ranges[ranges <= constants(2).range_upper * mean]
    assert estimate("i_mr", SERIES).sigma == pytest.approx(mean / d2(2))
    assert estimate("i_mr", SERIES, method="median_mr").sigma == pytest.approx(
        float(np.median(ranges)) / MEDIAN_MOVING_RANGE
    )
    assert estimate("i_mr", SERIES, method="screened_mr").sigma == pytest.approx(
        screened.mean() / d2(2)
    )
    assert estimate("i_mr", SERIES, method="s").sigma == pytest.approx(
        np.std(SERIES, ddof=1) / c4(8)
    )


def test_screening_drops_each_wild_moving_range_once():
    series = [*([0.0, 1.0] * 20), 100.0, *([0.0, 1.0] * 20)]
    limits = estimate("i_mr", series, method="screened_mr")
    assert limits.sigma == pytest.approx(1 / d2(2))
    assert limits.method == "screened_mr"


def test_no_moving_range_reaches_over_a_gap_a_cut_or_an_exclusion():
    expected = estimate_points("i_mr", [1.0, 2.0, 7.0, 9.0], [math.nan, 1.0, math.nan, 2.0])
    assert estimate("i_mr", [1.0, 2.0, math.nan, 7.0, 9.0]) == expected
    assert estimate("i_mr", [1.0, 2.0, 7.0, 9.0], cut=[False, False, True, False]) == expected
    excluded = [False, False, True, False, False]
    assert estimate("i_mr", [1.0, 2.0, 99.0, 7.0, 9.0], excluded=excluded) == expected


def test_subgroups_of_unequal_size():
    cells = [[1.0, 3.0], [2.0, 4.0, 6.0], [5.0, 5.5, None], [1.0, 2.0, 9.0]]
    ranges, sizes = np.array([2.0, 4.0, 0.5, 8.0]), [2, 3, 2, 3]
    weight = np.array([(constants(n).d2 / constants(n).d3) ** 2 for n in sizes])
    scaled = ranges / np.array([d2(n) for n in sizes])
    assert estimate("xbar_r", cells).sigma == pytest.approx(float(weight @ scaled / weight.sum()))
    limits = estimate("xbar_s", cells)
    variances = [np.var([x for x in row if x is not None], ddof=1) for row in cells]
    freedom = np.array(sizes) - 1
    pooled = math.sqrt(freedom @ variances / freedom.sum())
    assert limits.sigma == pytest.approx(pooled / c4(int(freedom.sum()) + 1))
    assert limits.method == "pooled"
    assert limits.center == pytest.approx(
        np.mean([x for row in cells for x in row if x is not None])
    )
    assert limits.n == 3  # the larger of two equally frequent sizes


def test_equal_subgroups_take_the_mean_of_ranges_and_of_deviations():
    cells = np.array([[1.0, 3.0, 2.0], [2.0, 4.0, 6.0], [5.0, 5.5, 4.0]])
    assert estimate("xbar_r", cells).sigma == pytest.approx(np.ptp(cells, axis=1).mean() / d2(3))
    deviations = cells.std(axis=1, ddof=1)
    limits = estimate("xbar_s", cells)
    assert (limits.sigma, limits.method) == (pytest.approx(deviations.mean() / c4(3)), "s")
    pooled = estimate("xbar_s", cells, method="pooled").sigma
    assert pooled == pytest.approx(math.sqrt(np.mean(deviations**2)) / c4(7))


def test_a_subgroup_of_one_has_a_mean_but_no_dispersion():
    cells = [[1.0, 2.0], [3.0, None], [2.0, 4.0]]
    limits = estimate("xbar_r", cells)
    assert limits.sigma == pytest.approx(1.5 / d2(2))
    assert limits.center == pytest.approx(12 / 5)
    assert dispersion(limits, 1) is None
    assert location(limits, 1).sigma == limits.sigma


def test_proportions_weigh_samples_by_their_size():
    limits = estimate("p", [1, 30], sizes=[10, 100])
    assert limits == Limits("p", 31 / 110, None, 100.0, "binomial")


@pytest.mark.parametrize(
    ("chart", "values", "extra", "says"),
    [
        ("i_mr", [], {}, "too few"),
        ("i_mr", [1.0], {}, "too few"),
        ("i_mr", [1.0] * 30, {}, "gauge"),
        ("i_mr", [0.1 + 0.2, 0.3] * 10, {}, "gauge"),
        ("i_mr", list(range(11)), {"at_least": 12}, "12 are needed"),
        ("i_mr", [1.0, math.nan, 2.0, math.nan, 3.0], {}, "belong together"),
        ("xbar_r", [[1.0], [2.0], [3.0]], {}, "belong together"),
        ("xbar_s", [[1.0, 1.0]] * 25, {}, "gauge"),
        ("p", [0, 0, 0], {"sizes": 50}, "does not vary"),
        ("p", [50, 50], {"sizes": 50}, "does not vary"),
    ],
)
def test_a_baseline_that_carries_no_limits_says_why(chart, values, extra, says):
    with pytest.raises(BaselineInvalid, match=says):
        estimate(chart, values, **extra)


def test_unknown_methods_and_charts_are_named():
    with pytest.raises(ValueError, match="has no method 'median'; it has mr, median_mr"):
        estimate("i_mr", SERIES, method="median")
    with pytest.raises(ValueError, match="unknown chart 'xbar'"):
        estimate("xbar", SERIES)


@pytest.mark.parametrize("size", [2, 3, 5, 7, 10])
def test_lines_follow_from_sigma(size):
    k = constants(size)
    ranges = entered("xbar_r", 50.0, 2.0, size)
    line, spread = location(ranges), dispersion(ranges)
    assert (line.lcl, line.ucl) == pytest.approx((50 - k.a2 * k.d2 * 2, 50 + k.a2 * k.d2 * 2))
    assert spread.center == pytest.approx(k.d2 * 2)
    assert spread.ucl == pytest.approx(k.range_upper * k.d2 * 2)
    assert spread.lcl == (pytest.approx(k.range_lower * k.d2 * 2) if size >= 7 else None)
    spread = dispersion(entered("xbar_s", 50.0, 2.0, size))
    assert spread.ucl == pytest.approx(k.sigma_upper * 2)
    assert spread.lcl == (pytest.approx(k.sigma_lower * 2) if size >= 6 else None)


def test_proportions_stay_within_0_and_1():
    line = location(entered("p", 0.02), 50)
    assert line.lcl is None
    assert line.ucl == pytest.approx(0.02 + 3 * math.sqrt(0.02 * 0.98 / 50))
    assert location(entered("p", 0.98), 50).ucl == 1.0


def test_given_limits_are_kept_as_printed_and_judge_asymmetrically():
    limits = Limits("xbar_r", 10.0, None, 5, GIVEN, lcl=9.0, ucl=10.6, source="CP 4711 rev. C")
    line = location(limits)
    assert (line.center, line.lcl, line.ucl, line.sigma) == (10.0, 9.0, 10.6, None)
    assert dispersion(limits) is None
    subgroups = [[x] * 5 for x in (10.6, 10.601, 9.0, 8.999)]
    assert judge("xbar_r", subgroups, limits=limits).violations() == {"nelson-1": [1, 3]}


def test_given_limits_hold_for_their_n():
    limits = Limits("xbar_r", 10.0, None, 4, GIVEN, lcl=9.0, ucl=11.0)
    assert (location(limits, 1).lcl, location(limits, 1).ucl) == (8.0, 12.0)
    verdicts = judge("xbar_r", [[11.9, None], [12.1, None], [11.5, 11.5]], limits=limits)
    assert verdicts.violations() == {"nelson-1": [1, 2]}


def test_a_given_limit_may_be_missing_and_zones_are_not_judged():
    limits = Limits("i_mr", 10.0, None, 1, GIVEN, ucl=13.0)
    assert location(limits).lcl is None
    found = judge("i_mr", [12.9, 12.9, -999.0, *[9.0] * 8], limits=limits, rules="andon")
    assert found.violations() == {"nelson-2": [10]}
    assert {rule.name for rule in found.program.rules} == {"nelson-1", "nelson-2"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"chart": "xbar"}, "unknown chart"),
        ({"center": math.nan}, "center line is nan"),
        ({"sigma": -1.0}, "sigma is -1"),
        ({"sigma": math.inf}, "sigma is inf"),
        ({"sigma": None}, "need sigma"),
        ({"n": 0}, "n must be 1"),
        ({"lcl": 1.0}, "only given limits"),
        ({"method": GIVEN, "sigma": None}, "lcl, ucl or both"),
        ({"method": GIVEN, "sigma": None, "ucl": 9.0}, "wrong side"),
        ({"method": GIVEN, "sigma": None, "lcl": 11.0}, "wrong side"),
        ({"method": GIVEN, "sigma": None, "ucl": math.nan}, "given ucl is nan"),
        ({"chart": "p", "center": 0.5}, "center line alone"),
        ({"chart": "p", "center": 1.5, "sigma": None}, "outside 0 to 1"),
    ],
)
def test_limits_that_could_not_judge_are_refused(fields, says):
    whole = {"chart": "i_mr", "center": 10.0, "sigma": 1.0, "n": 1, "method": "entered"} | fields
    with pytest.raises(ValueError, match=says):
        Limits(**whole)


@pytest.mark.parametrize(
    "limits",
    [
        estimate("i_mr", SERIES),
        entered("p", 0.25, n=50),
        Limits("xbar_r", 10.0, None, 5, GIVEN, lcl=9.0, ucl=10.6, source="CP 4711"),
        Limits("i_mr", 10.0, 1.0, 1, GIVEN, ucl=10.6),
    ],
)
def test_limits_survive_json(limits):
    assert Limits.from_dict(limits.to_dict()) == limits


@pytest.mark.parametrize(
    ("points", "readings", "expected"),
    [
        (11, 11, "collecting"),
        (12, 12, "trial"),
        (24, 24, "trial"),
        (25, 25, "proposal"),
        (20, 100, "proposal"),
        (10, 100, "proposal"),
    ],
)
def test_what_a_baseline_is_good_for(points, readings, expected):
    assert standing(points, readings) == expected


@given(
    st.lists(st.integers(-1000, 1000), min_size=3, max_size=60).filter(lambda v: len(set(v)) > 1),
    st.integers(-(2**16), 2**16),
    st.integers(-10, 10),
)
@settings(max_examples=100, deadline=None)
def test_limits_move_and_stretch_with_the_gauge(values, shift, power):
    scale = 2.0**power
    plain = estimate("i_mr", [float(v) for v in values])
    moved = estimate("i_mr", [(v + shift) * scale for v in values])
    assert moved.center == pytest.approx((plain.center + shift) * scale, rel=1e-12, abs=1e-9)
    assert moved.sigma == pytest.approx(plain.sigma * scale, rel=1e-12)


def test_every_chart_estimates_by_each_of_its_methods():
    generator = np.random.default_rng(3)
    for chart in CHARTS.values():
        values = generator.normal(10, 1, (30, 4) if chart.min_n > 1 else 30)
        sizes = None
        if chart.kind == "attribute":
            values, sizes = np.rint(values), 100
        for method in chart.methods:
            limits = estimate(chart.name, values, sizes=sizes, method=method)
            assert limits.method == method
            assert location(limits).ucl > limits.center
