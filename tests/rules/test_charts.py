"""What each chart plots."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.charts import (
    CHARTS,
    DISPERSION_CENTER,
    DISPERSION_LCL,
    DISPERSION_UCL,
    I_MR,
    XBAR_R,
    XBAR_S,
    P,
    chart_named,
    plotted,
    subgroup_statistics,
)
from rules.constants import MAX_N, c4, constants


def test_codes_are_the_order_of_the_rows_and_never_change():
    assert {chart.name: chart.code for chart in CHARTS.values()} == {
        "i_mr": 0,
        "xbar_r": 1,
        "xbar_s": 2,
        "p": 3,
    }


def test_individuals_plot_values_and_moving_ranges():
    points = plotted(CHARTS["i_mr"], [1.0, 3.0, math.nan, 4.0, 4.5, 2.0], cut=[0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(points.statistic, [1.0, 3.0, math.nan, 4.0, 4.5, 2.0])
    nan = math.nan
    np.testing.assert_array_equal(points.dispersion, [nan, 2.0, nan, nan, 0.5, nan])
    np.testing.assert_array_equal(points.n, np.ones(6))


def test_subgroups_plot_mean_and_dispersion_of_what_is_there():
    rows = [[1.0, 2.0, 6.0], [4.0, None, 6.0], [5.0], [None, None]]
    ranges = plotted(CHARTS["xbar_r"], rows)
    np.testing.assert_array_equal(ranges.statistic, [3.0, 5.0, 5.0, math.nan])
    np.testing.assert_array_equal(ranges.dispersion, [5.0, 2.0, math.nan, math.nan])
    np.testing.assert_array_equal(ranges.n, [3, 2, 1, 0])
    deviations = plotted(CHARTS["xbar_s"], rows)
    np.testing.assert_allclose(deviations.dispersion[:2], [math.sqrt(7.0), math.sqrt(2.0)])


def test_proportions_plot_counts_over_sizes():
    points = plotted(CHARTS["p"], [1, 0, 5], sizes=[10, 20, 5])
    np.testing.assert_array_equal(points.statistic, [0.1, 0.0, 1.0])
    np.testing.assert_array_equal(points.n, [10, 20, 5])
    assert np.isnan(points.dispersion).all()


@pytest.mark.parametrize(("count", "size"), [(6, 5), (-1, 5), (0, 0)])
def test_a_count_outside_its_sample_is_refused(count, size):
    with pytest.raises(ValueError, match=r"sample 0: .* is no proportion"):
        plotted(CHARTS["p"], [count], sizes=[size])


def test_what_does_not_fit_a_chart_is_refused():
    with pytest.raises(ValueError, match="needs the sizes"):
        plotted(CHARTS["p"], [1, 2])
    with pytest.raises(ValueError, match="takes up to 10"):
        plotted(CHARTS["xbar_r"], [[1.0] * 11])
    with pytest.raises(ValueError, match="one column"):
        plotted(CHARTS["i_mr"], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="unknown chart 'xbar'; known are i_mr"):
        chart_named("xbar")


@pytest.mark.parametrize("code", [XBAR_R, XBAR_S])
@pytest.mark.parametrize("base", [0.0, 1e6, 25.02])
def test_statistics_do_not_depend_on_the_order(code, base):
    values = [base + x for x in (0.1, 0.2, 0.3, 0.7, 1e-3)]
    found = {subgroup_statistics(code, np.array(order)) for order in itertools.permutations(values)}
    assert len(found) == 1


@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=25), st.integers(0, 10**6))
def test_statistics_equal_exact_arithmetic(counts, base):
    values = [(base * 10_000 + c) / 1000 for c in counts]
    exact_mean = sum(base * 10_000 + c for c in counts) / len(counts) / 1000
    offsets = [c / 1000 for c in counts]
    mean, spread = subgroup_statistics(XBAR_S, np.array(values))
    tolerance = 4 * np.spacing(max(map(abs, values)))
    assert mean == pytest.approx(exact_mean, rel=0, abs=tolerance)
    assert spread == pytest.approx(np.std(offsets, ddof=1), rel=1e-9, abs=8 * tolerance)
    _, width = subgroup_statistics(XBAR_R, np.array(values))
    assert width == max(values) - min(values)


def test_equal_values_have_exactly_their_mean_and_no_dispersion():
    for value in (0.1, 25.02, 1e-300, 1.1e300):
        for code in (XBAR_R, XBAR_S):
            assert subgroup_statistics(code, np.full(7, value)) == (value, 0.0)


def test_dispersion_factors_of_compiled_loops():
    assert DISPERSION_UCL[I_MR, 2] == pytest.approx(constants(2).d2 + 3 * constants(2).d3)
    assert DISPERSION_CENTER[XBAR_S, 5] == c4(5)
    assert math.isnan(DISPERSION_LCL[XBAR_R, 6])
    assert DISPERSION_LCL[XBAR_R, 7] > 0
    assert np.isnan(DISPERSION_UCL[P]).all()
    assert np.isnan(DISPERSION_UCL[:, :2]).all()
    assert DISPERSION_UCL.shape == (4, MAX_N + 1)
