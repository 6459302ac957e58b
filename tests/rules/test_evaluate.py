"""The worked examples of the literature, from raw values to verdicts."""

import math

import numpy as np
import pytest

from rules.evaluate import judge
from rules.limits import dispersion, entered, estimate, location
from tests.rules import worked_examples as examples


def from_one(violations):
    return {rule: [i + 1 for i in indexes] for rule, indexes in violations.items()}


def test_nist_6_3_2_2_individuals():
    verdicts = judge("i_mr", examples.NIST_INDIVIDUALS, rules="limits-only")
    line = location(verdicts.limits)
    ranges = dispersion(verdicts.limits)
    assert line.center == pytest.approx(50.81)
    assert (line.ucl, line.lcl) == pytest.approx((55.80241, 45.81759), abs=5e-6)
    assert ranges.center == pytest.approx(1.8778, abs=5e-5)
    assert ranges.ucl == pytest.approx(6.1338, abs=5e-5)
    assert ranges.lcl is None
    assert verdicts.violations() == verdicts.dispersion_violations() == {}


def test_nist_6_3_2_2_with_the_printed_constant():
    line = location(estimate("i_mr", examples.NIST_INDIVIDUALS, printed=True))
    assert (line.ucl, line.lcl) == pytest.approx((55.8041, 45.8159), abs=5e-5)


def test_sas_jets():
    verdicts = judge("i_mr", examples.JETS, rules="limits-only")
    line = location(verdicts.limits)
    assert line.center == pytest.approx(80.39)
    assert verdicts.limits.sigma == pytest.approx(4.720324, abs=5e-7)
    assert (line.ucl, line.lcl) == pytest.approx((94.55097, 66.22903), abs=5e-6)
    assert dispersion(verdicts.limits).center == pytest.approx(5.326316, abs=5e-7)
    assert dispersion(verdicts.limits).ucl == pytest.approx(17.3986, abs=5e-5)
    assert verdicts.violations() == verdicts.dispersion_violations() == {}


@pytest.mark.parametrize(
    ("arguments", "sigma", "ucl", "lcl"),
    [
        ({}, 0.5074815, 35.61044, 32.56556),
        ({"printed": True}, 0.5076521, 35.61096, 32.56504),
        ({"method": "s"}, 0.5769854, 35.81896, 32.35704),
    ],
)
def test_montgomery_viscosity(arguments, sigma, ucl, lcl):
    limits = estimate("i_mr", examples.VISCOSITY, **arguments)
    line = location(limits)
    assert line.center == pytest.approx(34.088)
    assert limits.sigma == pytest.approx(sigma, abs=5e-8)
    assert (line.ucl, line.lcl) == pytest.approx((ucl, lcl), abs=5e-6)
    verdicts = judge("i_mr", examples.VISCOSITY, limits=limits, rules="limits-only")
    assert from_one(verdicts.violations()) == {"nelson-1": [4]}


def test_montgomery_piston_rings_by_ranges():
    verdicts = judge("xbar_r", examples.PISTON_RINGS, baseline=25, rules="nelson")
    line = location(verdicts.limits)
    assert line.center == pytest.approx(74.001176, abs=5e-7)
    assert verdicts.limits.sigma == pytest.approx(0.0097853, abs=5e-8)
    assert (line.ucl, line.lcl) == pytest.approx((74.01430, 73.98805), abs=5e-6)
    assert dispersion(verdicts.limits).center == pytest.approx(0.02276, abs=5e-8)
    assert dispersion(verdicts.limits).ucl == pytest.approx(0.04813, abs=5e-6)
    assert from_one(verdicts.violations()) == {
        "nelson-1": [37, 38, 39],
        "nelson-5": [35, 37, 38, 39, 40],
        "nelson-6": [35, 38, 39, 40],
    }
    assert verdicts.dispersion_violations() == {}


def test_montgomery_piston_rings_by_standard_deviations():
    verdicts = judge("xbar_s", examples.PISTON_RINGS, baseline=25)
    line = location(verdicts.limits)
    assert verdicts.limits.sigma == pytest.approx(0.009829977, abs=5e-10)
    assert (line.ucl, line.lcl) == pytest.approx((74.01436, 73.98799), abs=5e-6)
    assert dispersion(verdicts.limits).center == pytest.approx(0.009240037, abs=5e-10)
    assert dispersion(verdicts.limits).ucl == pytest.approx(0.0193024, abs=5e-8)
    assert from_one(verdicts.violations())["nelson-1"] == [37, 38, 39]


def test_montgomery_orange_juice():
    counts, size = examples.ORANGE_JUICE, examples.ORANGE_JUICE_SIZE
    verdicts = judge("p", counts, sizes=size, rules=["limits-only", "nelson-5"])
    line = location(verdicts.limits)
    assert line.center == pytest.approx(0.2313333, abs=5e-8)
    assert (line.ucl, line.lcl) == pytest.approx((0.4102391, 0.05242755), abs=5e-8)
    assert from_one(verdicts.violations()) == {"nelson-1": [15, 23], "nelson-5": [22, 23]}
    assert dispersion(verdicts.limits) is None


def test_montgomery_orange_juice_without_the_explained_samples():
    counts, size = examples.ORANGE_JUICE, examples.ORANGE_JUICE_SIZE
    excluded = np.isin(np.arange(30), [14, 22])
    limits = estimate("p", counts, sizes=size, excluded=excluded)
    line = location(limits)
    assert line.center == pytest.approx(0.215)
    assert (line.ucl, line.lcl) == pytest.approx((0.3892972, 0.04070284), abs=5e-8)
    verdicts = judge("p", counts, sizes=size, limits=limits, rules="limits-only")
    assert from_one(verdicts.violations()) == {"nelson-1": [15, 21, 23]}


def test_limits_of_a_baseline_do_not_depend_on_what_follows():
    for chart, values in (("i_mr", examples.VISCOSITY), ("xbar_r", examples.PISTON_RINGS)):
        frozen = judge(chart, values, baseline=12).limits
        assert frozen == estimate(chart, values[:12])


def test_a_profile_is_filtered_by_the_chart_but_named_rules_are_kept():
    assert "nelson-5" not in judge("p", [30] * 40, sizes=100, rules="nelson", limits=entered("p", 0.2)).violations()  # fmt: skip
    named = judge("p", [30] * 9, sizes=100, rules=["nelson-5"], limits=entered("p", 0.2))
    assert named.violations() == {"nelson-5": list(range(1, 9))}


def test_every_point_is_judged_by_its_own_size():
    limits = entered("p", 0.1)
    sizes = [100, 900]
    # 0.15 is inside 0.1 +- 0.09 for 100 and outside 0.1 +- 0.03 for 900
    assert judge("p", [15, 135], sizes=sizes, limits=limits).violations() == {"nelson-1": [1]}


def test_partial_subgroups_have_the_limits_of_their_size():
    limits = entered("xbar_r", 0.0, 1.0, n=4)
    values = [[1.6, 1.6, 1.6, 1.6], [1.6, 1.6, None, None], [math.nan, 2.9, None, None]]
    assert judge("xbar_r", values, limits=limits, rules="limits-only").violations() == {"nelson-1": [0]}  # fmt: skip
    assert location(limits, 2).ucl == pytest.approx(3 / math.sqrt(2))


def test_dispersion_takes_rule_1_alone_and_its_own_limits():
    limits = entered("xbar_r", 0.0, 1.0, n=5)
    wide = [[-2.5, 0, 0, 0, 2.5]]
    calm = [[0.0] * 4 + [0.1]]
    verdicts = judge("xbar_r", wide + calm * 20, limits=limits, rules="limits-only")
    assert verdicts.dispersion_violations() == {"nelson-1": [0]}
    assert verdicts.violations() == {}
    off = {"dispersion": False}
    verdicts = judge("xbar_r", wide, limits=limits, options=off)
    assert verdicts.dispersion_violations() == {}


def test_limits_judge_only_their_own_chart():
    with pytest.raises(ValueError, match="cannot judge"):
        judge("xbar_s", examples.PISTON_RINGS, limits=entered("xbar_r", 74.0, 0.01, 5))


def test_a_cut_breaks_the_moving_range_and_the_runs():
    limits = entered("i_mr", 0.0, 1.0)
    values = [0.5] * 5 + [4.5] + [0.5] * 4
    cut = np.arange(10) == 5
    joined = judge("i_mr", values, limits=limits, rules="limits-only")
    parted = judge("i_mr", values, limits=limits, rules="limits-only", cut=cut)
    assert joined.dispersion_violations() == {"nelson-1": [5, 6]}
    assert parted.dispersion_violations() == {"nelson-1": [6]}
