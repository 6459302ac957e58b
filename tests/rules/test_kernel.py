"""Every vector and edge case of the run rules, and what must hold for any series."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.charts import CHARTS
from rules.evaluate import evaluate
from rules.kernel import MEMORY, REGISTERS, cut, judge_point, judge_series, new_state, warm
from rules.limits import entered
from rules.runs import RULES, WINDOW, Programs, RunRule, compile_rules, decode
from tests.rules.plain_rules import judge_plainly

I_MR = CHARTS["i_mr"]
NAN = math.nan
UNIT = entered("i_mr", 0.0, 1.0)


def masks_of(points, rules, *, limits=UNIT, cuts=(), **options):
    boundary = np.isin(np.arange(len(points)), list(cuts))
    return evaluate(limits, compile_rules(rules, options, I_MR), points, cut=boundary)


def flagged(points, rule, **options):
    """Numbers, from 1, of the points that complete ``rule``."""
    return [i + 1 for i, mask in enumerate(masks_of(points, [rule], **options)) if mask]


def signed(points, rule, **options):
    side = {"upper": "+", "lower": "-", None: "0"}
    return [
        (i + 1, side[violation.side])
        for i, mask in enumerate(masks_of(points, [rule], **options))
        for violation in decode(mask)
    ]


EDGE_CASES = [
    ("nelson-1", [0, 3.0, -3.0, 3.0001], {}, [4]),
    ("nelson-2", [0.5] * 8 + [0, 0.5], {}, []),
    ("nelson-2", [0.5] * 11, {}, [9, 10, 11]),
    ("nelson-2", [0.5] * 5 + [NAN] + [0.5] * 8, {}, []),
    ("nelson-3", [1, 2, 3, 3, 4, 5, 6], {}, []),
    ("nelson-3", [1, 2, 3, 4, 5, 6, 7], {}, [6, 7]),
    ("nelson-5", [2.5, 2.5], {}, [2]),
    ("nelson-5", [2.5, 2.5, 0.1, 0], {}, [2]),
    ("nelson-5", [2.5, 2.5], {"require_full_window": True}, []),
    ("nelson-5", [2.5, 2.5, 0.1, 0], {"require_full_window": True}, []),
    ("nelson-5", [2.5, 0.1, 2.5, 0], {}, [3]),
    ("nelson-5", [2.5, 0.1, 3.5], {}, [3]),
    ("nelson-5", [3.5, 3.5], {}, [2]),
    ("nelson-5", [3.5, 3.5], {"require_full_window": True}, []),
    ("nelson-5", [2.0, 2.0, 2.0], {}, []),
    ("nelson-6", [1.5] * 4 + [0.1, 0], {}, [4]),
    ("nelson-6", [1.5] * 4 + [0.1, 0], {"require_full_window": True}, []),
    ("nelson-7", [0.3] * 14 + [1.0], {}, []),
    ("nelson-7", [0.3] * 14 + [1.0], {"nelson_7": "inclusive"}, [15]),
    ("nelson-7", [0.3] * 7 + [1.0] + [0.3] * 7, {}, []),
    ("nelson-7", [0.3] * 7 + [-1.0] + [0.3] * 7, {"nelson_7": "inclusive"}, [15]),
    ("nelson-8", [1.5] * 8, {}, []),
    ("nelson-8", [1.5] * 8, {"nelson_8": "either_side"}, [8]),
    ("nelson-8", [1.5] * 4 + [1.2] * 4, {}, []),
    ("nelson-8", [1.5] * 4 + [1.2] * 4, {"nelson_8": "either_side"}, [8]),
    # all rules of one series
    ("nelson-1", [2.5] * 7 + [3.2], {}, [8]),
    ("nelson-5", [2.5] * 7 + [3.2], {}, [2, 3, 4, 5, 6, 7, 8]),
    ("nelson-6", [2.5] * 7 + [3.2], {}, [4, 5, 6, 7, 8]),
    ("we-4", [2.5] * 7 + [3.2], {}, [8]),
    ("nelson-5", [2.5] * 7 + [3.2], {"require_full_window": True}, [3, 4, 5, 6, 7, 8]),
    ("nelson-6", [2.5] * 7 + [3.2], {"require_full_window": True}, [5, 6, 7, 8]),
    # further vectors
    ("nelson-1", [0, 3.2, -3.4, 3], {}, [2, 3]),
    ("nelson-2", [0.5] * 10 + [-0.5] + [-0.5] * 9, {}, [9, 10, 19, 20]),
    ("nelson-3", [1, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 3, 2, 1], {}, [6, 7, 13, 14]),
    ("nelson-4", [1, 3, 2, 4, 3, 5, 4, 6, 5, 7, 6, 8, 7, 9, 8], {}, [14, 15]),
    ("nelson-5", [0, 2.3, 0.4, 2.2, -2.4, -0.2, -2.5], {}, [4, 7]),
    ("nelson-6", [1.2, 1.3, 0.2, 1.4, 1.5, -1.2, -1.3, -0.1, -1.4, -1.5], {}, [5, 10]),
    ("nelson-7", [0.3] * 16 + [1.2], {}, [15, 16]),
    ("nelson-8", [1.2, -1.3, 1.1, -1.4, 1.5, -1.2, 1.3, -1.1, 0.2], {}, [8]),
    ("we-4", [-1] * 8 + [1], {}, [8]),
    ("nelson-2", [-1] * 8 + [1], {}, []),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "points", "options", "expected"), EDGE_CASES)
def test_rules_flag_exactly_these_points(rule, points, options, expected):
    assert flagged(points, rule, **options) == expected


@pytest.mark.parametrize(
    ("western", "nelson"), [("we-1", "nelson-1"), ("we-2", "nelson-5"), ("we-3", "nelson-6")]
)
@pytest.mark.parametrize("case", EDGE_CASES)
def test_western_electric_rules_that_nelson_took_over(western, nelson, case):
    rule, points, options, expected = case
    if rule == nelson:
        assert flagged(points, western, **options) == expected


def test_one_point_carries_all_rules_that_it_completes():
    last = masks_of([2.5] * 7 + [3.2], ["nelson", "western-electric"])[-1]
    names = {violation.rule for violation in decode(last)}
    assert names == {"nelson-1", "nelson-5", "nelson-6", "we-1", "we-2", "we-3", "we-4"}


def test_the_completing_point_is_a_hit_itself():
    assert flagged([1.5, 1.5, 1.5, 0.5, 1.5, 0.5], "nelson-6") == [5]


def test_a_missing_point_joins_nothing_and_counts_nowhere():
    assert flagged([2.5, NAN, 2.5], "nelson-5") == []
    assert flagged([1, 2, 3, NAN, 4, 5, 6], "nelson-3") == []
    assert flagged([NAN, 3.5, NAN], "nelson-1") == [2]


def test_a_boundary_cuts_before_its_point():
    assert flagged([2.5, 2.5, 2.5], "nelson-5", cuts=[1]) == [3]
    assert flagged([1, 2, 3, 4, 5, 6, 7, 8], "nelson-3", cuts=[1]) == [7, 8]


def test_an_excluded_point_is_skipped_and_does_not_cut():
    program = compile_rules(["nelson-5"], {}, I_MR)
    excluded = [False, True, False]
    assert list(evaluate(UNIT, program, [2.5, 9.0, 2.5], excluded=excluded) != 0) == [0, 0, 1]
    assert not evaluate(
        UNIT, program, [2.5, 9.0, 2.5], excluded=excluded, cut=[False, True, False]
    ).any()


def test_without_variation_only_the_center_line_is_in_control():
    flat = entered("i_mr", 5.0, 0.0)
    assert signed([5.0, 5.1, 4.9], "nelson-1", limits=flat) == [(2, "+"), (3, "-")]
    assert flagged([5.0] * 15, "nelson-7", limits=flat) == [15]
    assert flagged([5.0] * 14 + [5.1], "nelson-7", limits=flat) == []
    assert flagged([5.0] * 9, "nelson-2", limits=flat) == []


@pytest.mark.parametrize(
    ("center", "sigma", "on_the_limit"),
    [(25.0, 0.02 / 3, 25.02), (0.1, 0.1, 0.4), (10.0, 0.1, 10.3), (1.1, 0.7, 3.2), (74.0, 1e-3, 73.997)],
)  # fmt: skip
def test_rounding_moves_no_point_off_a_line_it_lies_on(center, sigma, on_the_limit):
    limits = entered("i_mr", center, sigma)
    assert flagged([on_the_limit], "nelson-1", limits=limits) == []
    step = 1e-9 * sigma * (1 if on_the_limit > center else -1)
    assert flagged([on_the_limit + step], "nelson-1", limits=limits) == [1]


def test_neighbours_that_differ_by_rounding_are_equal():
    rising = [0.1, 0.2, 0.1 + 0.2, 0.3, 0.4, 0.5, 0.6]
    assert rising[2] != rising[3]
    assert flagged(rising, "nelson-3") == []
    assert flagged([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "nelson-3") == [6]


@pytest.mark.parametrize("huge", [1e308, -1e308, 1.7e308])
def test_huge_values_are_beyond_the_limits_not_lost(huge):
    assert flagged([huge], "nelson-1") == [1]
    assert flagged([huge], "nelson-1", limits=entered("i_mr", -huge, 1.0)) == [1]


def test_a_missing_given_limit_never_signals_but_has_sides():
    programs = Programs()
    number = programs.add(compile_rules(["nelson-1", "nelson-2"], {}, I_MR))
    registers, memory = new_state(1)

    def judge(x):
        return decode(
            judge_point(
                programs.table, number, registers[0], memory[0],
                x, 0.0, 1.0, math.inf, False, NAN, NAN, NAN,
            )
        )  # fmt: skip

    assert [v.rule for v in judge(3.5)] == ["nelson-1"]
    found = [judge(-1e6) for _ in range(9)]
    assert [[(v.rule, v.side) for v in f] for f in found] == [[]] * 8 + [[("nelson-2", "lower")]]


def test_dispersion_is_judged_by_its_own_limits_and_can_be_switched_off():
    for options, expected in (({}, [0, 1 << 48, 1 << 49, 0]), ({"dispersion": False}, [0] * 4)):
        programs = Programs()
        number = programs.add(compile_rules(["nelson-1"], options, I_MR))
        registers, memory = new_state(1)
        found = [
            judge_point(
                programs.table, number, registers[0], memory[0],
                0.0, 0.0, 1.0, 1.0, False, d, 0.5, 2.0,
            )
            for d in (2.0, 2.1, 0.4, NAN)
        ]  # fmt: skip
        assert found == expected


def test_program_0_has_no_rules():
    registers, memory = new_state(1)
    assert not judge_point(
        Programs().table, 0, registers[0], memory[0],
        99.0, 0.0, 1.0, 1.0, False, 99.0, 0.0, 1.0,
    )  # fmt: skip


def test_cut_forgets_one_stream():
    registers = np.full(REGISTERS, 7, np.uint32)
    memory = np.full(MEMORY, 7.0)
    cut(registers, memory)
    assert not registers.any()
    assert not memory.any()


def test_custom_rules_are_rows():
    seven = RunRule("seven", 12, k=7, n=7)
    upward = RunRule("upward", 13, k=2, n=4, edge=1.5, side="upper")
    either = RunRule("either", 14, k=3, n=32, edge=1.5, side="any")
    points = [2.0, -2.0, -0.5, 2.0, *[-0.5] * 6, -2.0]
    masks = masks_of(points, [seven, upward, either])
    custom = [seven, upward, either]
    found = [[(v.rule, v.side) for v in decode(m, custom)] for m in masks]
    assert found[3] == [("upward", "upper"), ("either", None)]
    assert found[10] == [("seven", "lower"), ("either", None)]
    assert [i for i, names in enumerate(found) if names] == [3, 10]


# Quarters of sigma: exact in binary, and often exactly on an edge or on the center line.
QUARTERS = st.integers(-14, 14).map(lambda i: i / 4)
POINTS = st.lists(st.one_of(QUARTERS, QUARTERS, QUARTERS, st.just(NAN)), max_size=60)
# Narrow ranges make long runs, calm and mixture patterns likely.
RUNS = st.one_of(
    POINTS,
    st.lists(st.sampled_from([0.25, 0.5, 0.75]), max_size=40),
    st.lists(st.sampled_from([-1.5, 1.25, 2.25, -1.25]), max_size=40),
    st.lists(st.integers(0, 1), max_size=40).map(
        lambda bits: [(i % 2) * 2 + b / 4 for i, b in enumerate(bits)]
    ),
    st.lists(st.integers(-1, 12), max_size=40).map(lambda ups: [sum(ups[:i]) / 4 for i in range(len(ups))]),
)  # fmt: skip
CUTS = st.sets(st.integers(0, 59), max_size=3)


@pytest.mark.parametrize("rule", RULES)
@given(points=RUNS, cuts=CUTS, full=st.booleans())
@settings(max_examples=150, deadline=None)
def test_each_rule_equals_its_plain_wording(rule, points, cuts, full):
    expected = judge_plainly(rule, points, cuts, full=full)
    assert signed(points, rule, cuts=cuts, require_full_window=full) == expected


@given(points=RUNS, cuts=CUTS)
@settings(max_examples=150, deadline=None)
def test_the_other_readings_equal_their_plain_wording(points, cuts):
    for rule, options in (
        ("nelson-7", {"nelson_7": "inclusive"}),
        ("nelson-8", {"nelson_8": "either_side"}),
    ):
        expected = judge_plainly(rule, points, cuts, **options)
        assert signed(points, rule, cuts=cuts, **options) == expected


ALL = ["nelson", "western-electric"]


@given(points=RUNS, cuts=CUTS)
@settings(max_examples=200, deadline=None)
def test_all_rules_together_equal_each_alone(points, cuts):
    alone = np.zeros(len(points), np.int64)
    for rule in RULES:
        alone |= masks_of(points, [rule], cuts=cuts)
    assert np.array_equal(masks_of(points, ALL, cuts=cuts), alone)


def mirrored(mask):
    """Exchange the upper and the lower side of every rule that has sides."""
    sideless = sum(1 << (2 * RULES[f"nelson-{i}"].code) for i in (4, 7, 8))
    upper = sum(1 << (2 * rule.code) for rule in RULES.values()) & ~sideless
    mask = int(mask)
    return (mask & sideless) | ((mask & upper) << 1) | ((mask >> 1) & upper)


@given(points=RUNS, cuts=CUTS)
@settings(max_examples=200, deadline=None)
def test_a_mirrored_series_is_judged_mirrored(points, cuts):
    straight = masks_of(points, ALL, cuts=cuts)
    mirror = masks_of([-z for z in points], ALL, cuts=cuts)
    assert [mirrored(m) for m in straight] == list(mirror)


@given(
    points=RUNS,
    cuts=CUTS,
    shift=st.integers(-(2**20), 2**20),
    power=st.integers(-20, 20),
)
@settings(max_examples=200, deadline=None)
def test_unit_and_origin_of_the_gauge_do_not_matter(points, cuts, shift, power):
    scale = 2.0**power
    moved = [z * scale + shift * scale for z in points]
    limits = entered("i_mr", shift * scale, scale)
    assert np.array_equal(
        masks_of(points, ALL, cuts=cuts), masks_of(moved, ALL, cuts=cuts, limits=limits)
    )


@given(
    points=RUNS,
    decimals=st.integers(0, 4),
    shift=st.integers(-5000, 5000),
    sigma=st.integers(1, 400),
)
@settings(max_examples=200, deadline=None)
def test_decimal_gauges_are_judged_like_exact_ones(points, decimals, shift, sigma):
    # A quarter of sigma is a whole number of the last decimal: rounding must not show.
    unit = 10.0**-decimals
    moved = [
        z if math.isnan(z) else round((shift + round(z * 4) * sigma) * unit, decimals)
        for z in points
    ]
    limits = entered("i_mr", round(shift * unit, decimals), round(4 * sigma * unit, decimals))
    assert np.array_equal(masks_of(points, ALL), masks_of(moved, ALL, limits=limits))


@given(
    points=st.lists(st.tuples(st.integers(0, 2), QUARTERS | st.just(NAN), st.booleans()), max_size=80),
    splits=st.sets(st.integers(0, 80), max_size=5),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_batches_and_interleaved_streams_change_no_verdict(points, splits):
    programs = Programs()
    numbers = np.array(
        [programs.add(compile_rules(names, {}, I_MR)) for names in (ALL, ["andon"], ["nelson"])]
    )
    registers, memory = new_state(3)
    size = len(points)
    stream = np.array([s for s, _, _ in points], np.int64)
    x = np.array([z for _, z, _ in points], np.float64)
    boundary = np.array([b for _, _, b in points], np.bool_)
    found = np.zeros(size, np.int64)
    edges = sorted({0, size, *(s for s in splits if s < size)})
    for a, b in itertools.pairwise(edges):
        judge_series(
            programs.table, numbers, registers, memory, stream[a:b], x[a:b],
            np.zeros(b - a), np.ones(b - a), np.ones(b - a), boundary[a:b],
            np.full(b - a, NAN), np.full(b - a, NAN), np.full(b - a, NAN), found[a:b],
        )  # fmt: skip
    for s, names in enumerate((ALL, ["andon"], ["nelson"])):
        own = stream == s
        whole = evaluate(UNIT, compile_rules(names, {}, I_MR), x[own], cut=boundary[own])
        assert np.array_equal(found[own], whole)


TURNS = [RunRule("turns", 14, 32, 32, predicate="turn", side="any")]


@given(points=st.lists(QUARTERS, min_size=40, max_size=80), start=st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_the_31_points_before_restore_the_state(points, start):
    # The longest window holds 32 points, the judged one among them.
    begin = max(0, start - (WINDOW - 1))
    longest = [RunRule("a", 12, 32, 32, side="any"), RunRule("b", 13, 20, 32), *TURNS]
    whole = masks_of(points, [*ALL, *longest])[start:]
    assert np.array_equal(masks_of(points[begin:], [*ALL, *longest])[start - begin :], whole)


def test_random_series_equal_the_plain_wording_at_length():
    generator = np.random.default_rng(7)
    points = np.round(generator.standard_normal(4000) * 4) / 4
    points[generator.random(4000) < 0.01] = NAN
    for rule in RULES:
        assert signed(points, rule) == judge_plainly(rule, list(points))


def test_warming_compiles_what_is_used():
    warm()
    assert judge_series.signatures
