"""Rules as rows: names, profiles, options, bits, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.charts import CHARTS
from rules.runs import (
    CODES,
    DISPERSION_LOWER,
    DISPERSION_UPPER,
    FIRST_CUSTOM,
    PROFILES,
    RULES,
    Program,
    Programs,
    RuleOptions,
    RunRule,
    Violation,
    bit,
    compile_rules,
    decode,
)

I_MR, P = CHARTS["i_mr"], CHARTS["p"]


def names(program):
    return [rule.name for rule in program.rules]


def test_codes_are_stored_and_never_change():
    published = [f"nelson-{i}" for i in range(1, 9)] + [f"we-{i}" for i in range(1, 5)]
    assert [RULES[name].code for name in published] == list(range(12)) == list(range(FIRST_CUSTOM))


def test_profiles_name_known_rules():
    assert names(compile_rules("andon", None, I_MR)) == ["nelson-1", "nelson-2", "nelson-5", "nelson-6"]  # fmt: skip
    assert names(compile_rules(PROFILES, None, I_MR)) == list(RULES)


@pytest.mark.parametrize(
    ("rules", "chart", "given_limits", "expected"),
    [
        ("nelson", P, False, ["nelson-1", "nelson-2", "nelson-3", "nelson-4"]),
        ("western-electric", P, False, ["we-1", "we-4"]),
        ("andon", P, False, ["nelson-1", "nelson-2"]),
        (["andon", "nelson-6"], P, False, ["nelson-1", "nelson-2", "nelson-6"]),
        ("nelson", I_MR, True, ["nelson-1", "nelson-2"]),
        (["nelson", "nelson-3"], I_MR, True, ["nelson-1", "nelson-2", "nelson-3"]),
        (["western-electric", "we-1"], I_MR, False, ["we-1", "we-2", "we-3", "we-4"]),
        ([], I_MR, False, []),
    ],
)
def test_a_chart_takes_the_part_of_a_profile_that_it_can_bear(rules, chart, given_limits, expected):
    assert names(compile_rules(rules, {}, chart, given=given_limits)) == expected


def test_options_choose_a_reading():
    program = compile_rules(
        "nelson",
        {"nelson_7": "inclusive", "nelson_8": "either_side", "require_full_window": True},
        I_MR,
    )
    rules = {rule.name: rule for rule in program.rules}
    assert rules["nelson-7"].inclusive
    assert not rules["nelson-8"].both_sides
    assert program.require_full_window
    assert program.dispersion
    assert compile_rules("nelson", RuleOptions(), I_MR) == compile_rules("nelson", None, I_MR)


@pytest.mark.parametrize(
    ("rules", "options", "says"),
    [
        ("nelson-9", {}, "unknown rule 'nelson-9'; known are nelson-1"),
        ("nelson", {"nelson_9": 1}, "unknown rule option 'nelson_9'; known are nelson_7"),
        ("nelson", {"nelson_7": "loose"}, "strict or inclusive, not 'loose'"),
        ("nelson", {"nelson_8": "one"}, "both_sides or either_side, not 'one'"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(rules, options, says):
    with pytest.raises(ValueError, match=says):
        compile_rules(rules, options, I_MR)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"n": 33, "k": 33}, "33 points is longer than the 32"),
        ({"k": 4, "n": 3}, "4 of 3 points can never be met"),
        ({"k": 0, "n": 3}, "0 of 3"),
        ({"code": 24}, "not in 0 to 23"),
        ({"edge": -1.0}, "it is a distance"),
        ({"edge": float("nan")}, "it is a distance"),
        ({"predicate": "within", "side": "any", "edge": 0.0}, "it is a distance"),
        ({"predicate": "within", "edge": 1.0}, "within has no side"),
        ({"predicate": "turn"}, "turn has no side"),
        ({"predicate": "trend", "k": 3, "n": 5}, "a run of 3 or more"),
        ({"predicate": "trend", "edge": 1.0}, "trend has no edge"),
        ({"both_sides": True}, "both_sides needs"),
        ({"inclusive": True}, "only within"),
    ],
)
def test_a_row_that_means_nothing_is_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        RunRule(**({"name": "x", "code": 12, "k": 3, "n": 3} | fields))


def test_two_custom_rules_cannot_share_a_code():
    one, two = RunRule("one", 12, 3, 3), RunRule("two", 12, 4, 4)
    with pytest.raises(ValueError, match="one and two share a code"):
        compile_rules([one, two], {}, I_MR)


def test_a_program_that_needs_too_many_registers_is_refused():
    rules = [RunRule(f"r{i}", 12 + i, 2, 3, edge=1.0 + i / 10) for i in range(7)]
    with pytest.raises(ValueError, match=r"7 edges from outside .* room for 12"):
        compile_rules(rules, {}, I_MR)


def test_programs_are_numbered_once():
    programs = Programs()
    assert len(programs) == 1
    first = programs.add(compile_rules("andon", {}, I_MR))
    again = programs.add(compile_rules(list(PROFILES["andon"]), None, I_MR))
    other = programs.add(compile_rules("nelson", {}, I_MR))
    assert (first, again, other) == (1, 1, 2)
    assert len(programs) == 3
    assert programs.table.shape.shape[0] == 3
    assert programs.add(Program((), dispersion=False)) == 0


def test_bits_of_the_stored_mask():
    assert decode(1) == [Violation("location", "nelson-1", "upper")]
    assert decode(2) == [Violation("location", "nelson-1", "lower")]
    assert decode(1 << 6) == [Violation("location", "nelson-4", None)]
    assert decode(1 << 22 | 1 << 23) == [
        Violation("location", "we-4", "upper"),
        Violation("location", "we-4", "lower"),
    ]
    assert decode(1 << DISPERSION_UPPER) == [Violation("dispersion", "nelson-1", "upper")]
    assert decode(1 << DISPERSION_LOWER) == [Violation("dispersion", "nelson-1", "lower")]
    assert decode(1 << 24) == [Violation("location", "custom-12", "upper")]
    assert (DISPERSION_UPPER, DISPERSION_LOWER) == (2 * CODES, 2 * CODES + 1)


SIDELESS_LOWER = sum(1 << (2 * rule.code + 1) for rule in RULES.values() if rule.side == "any")


@given(st.integers(0, (1 << 50) - 1).map(lambda mask: mask & ~SIDELESS_LOWER))
def test_every_mask_decodes_to_its_bits(mask):
    assert sum(bit(violation) for violation in decode(mask)) == mask
