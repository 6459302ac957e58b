"""Signals in words, with the numbers, the plant's time and what to do."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import msgspec
import pytest

from app.sentences import (
    RULES,
    Evidence,
    clock,
    joined,
    number,
    out_of_spec,
    reach,
    signal,
    source_lost,
    span,
)
from app.sentences import silent as silent_sentence
from rules.runs import RULES as RUN_RULES
from tests.app.verdict_rows import BERLIN, FACTS, MINUTE, SECOND, START, VERSION, at

NOW = at(3600)


def seen(value: float = 25.013, n: float = 1, count: int = 1, last: float = 0) -> Evidence:
    return Evidence(value, n, VERSION, count, at(0), at(last))


def test_a_point_above_its_limit():
    assert signal("location", "nelson-1", "upper", seen(), FACTS, at=NOW) == (
        "1 point above the upper control limit 25.012 mm at 09:00, newest 25.013 mm "
        "(limits v3, sigma 0.0040). Measure again, then check tool and setting. [nelson-1]"
    )


def test_a_run_counts_its_points():
    said = signal("location", "nelson-2", "lower", seen(24.998, count=4, last=30), FACTS, at=NOW)
    assert said.startswith(
        "12 points in a row below the centre line 25.000 mm since 09:00, newest 24.998 mm "
    )


def test_two_of_three_names_its_line_on_the_right_side():
    low = signal("location", "nelson-5", "lower", seen(24.99), FACTS, at=NOW)
    assert low.startswith("2 of the last 3 points below 24.992 mm (2 sigma) at 09:00")
    again = signal("location", "we-3", "upper", seen(25.005, count=3, last=9), FACTS, at=NOW)
    assert "above 25.004 mm (1 sigma), again and again for 3 points since" in again


@pytest.mark.parametrize("rule", sorted(RUN_RULES))
@pytest.mark.parametrize("side", ["upper", "lower", ""])
def test_every_rule_has_words(rule, side):
    said = signal("location", rule, side, seen(), FACTS, at=NOW)
    assert rule in RULES or rule in {"nelson-1", "we-1"}
    assert "{" not in said
    assert said.endswith(f"[{rule}]")
    assert "limits v3" in said


def test_the_words_count_the_same_windows_as_the_rules():
    for name, words in RULES.items():
        assert words.window == RUN_RULES[name].n, name


def test_a_rule_of_the_plants_own_is_named():
    said = signal("location", "custom-12", "upper", seen(), FACTS, at=NOW)
    assert "by the rule custom-12" in said


def test_means_show_one_decimal_more():
    limits = {"chart": "xbar_r", "center": 25.0, "sigma": 0.004, "n": 4.0, "method": "entered"}
    version = msgspec.structs.replace(VERSION, limits=limits, state="trial")
    said = signal(
        "location", "nelson-1", "upper", seen(25.0071, 4)._replace(version=version), FACTS, at=NOW
    )
    assert "limit 25.0060 mm at 09:00, newest 25.0071 mm (trial limits v3, sigma 0.0040)" in said
    spread = signal(
        "dispersion", "nelson-1", "upper", seen(0.0301, 4)._replace(version=version), FACTS, at=NOW
    )
    assert spread.startswith("1 range above the upper control limit 0.0188 mm")


def test_proportions_are_percents():
    version = msgspec.structs.replace(
        VERSION, limits={"chart": "p", "center": 0.04, "n": 50.0, "method": "binomial"}
    )
    said = signal(
        "location", "nelson-1", "upper", seen(0.2, 50)._replace(version=version), FACTS, at=NOW
    )
    assert "limit 12.31 % at 09:00, newest 20.00 % (limits v3)" in said


def test_given_limits_are_named_so():
    limits = {"chart": "i_mr", "center": 25.0, "n": 1.0, "method": "given", "ucl": 25.01}
    version = msgspec.structs.replace(VERSION, limits=limits)
    said = signal("location", "nelson-1", "upper", seen()._replace(version=version), FACTS, at=NOW)
    assert "limit 25.010 mm" in said
    assert "(given limits v3)" in said


def test_nothing_is_known_of_a_version_that_is_gone():
    said = signal("location", "nelson-1", "lower", seen()._replace(version=None), FACTS, at=NOW)
    assert said.startswith("1 point below the lower control limit at 09:00, newest 25.013 mm. ")


def test_a_part_out_of_specification_is_to_be_held():
    said = out_of_spec("upper", seen(25.031, count=2, last=5), FACTS, at(-60), NOW)
    assert said == (
        "2 readings above the upper specification limit 25.020 mm since 09:00, newest 25.031 mm. "
        "Hold everything made after the last good one (08:59). Measure again. [spec]"
    )
    assert "Hold the part" in out_of_spec("lower", seen(24.9), FACTS, None, NOW)


def test_silence_says_since_when_and_how_often_one_is_due():
    facts = replace(FACTS, expect=30 * SECOND)
    assert silent_sentence(facts, at(0), at(240)) == (
        "No reading since 09:00:00 (one is due every 30 s). "
        "Check the gauge and its connection. [silent]"
    )
    assert silent_sentence(FACTS, None, NOW).startswith("No reading yet.")


def test_a_lost_source_says_why():
    said = source_lost("press-7", at(0), "refused", 12, BERLIN, at=NOW)
    assert said.startswith("Source press-7 has been lost since 09:00:00: refused. 12 charts wait")


def test_the_date_is_given_when_it_is_not_today():
    assert clock(START, BERLIN, START) == "09:00"
    assert clock(START, BERLIN, START + 24 * 60 * MINUTE) == "2026-11-16 09:00"


def test_the_repeated_hour_tells_which_one_it_is():
    first = 1_792_888_200_000_000  # 2026-10-25 00:30 UTC, 02:30 in summer time
    second = first + 60 * MINUTE
    assert clock(first, BERLIN, first) == "02:30 +0200"
    assert clock(second, BERLIN, first) == "02:30 +0100"
    assert clock(first, ZoneInfo("UTC"), first) == "00:30"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (45, "45 s"),
        (240, "4 min"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (273600, "3 d 4 h"),
        (172800, "2 d"),
    ],
)
def test_lengths_of_time(seconds, said):
    assert span(seconds * SECOND) == said


def test_numbers():
    assert number(12.5, None, "kN") == "12.5 kN"
    assert number(1 / 3, 2, extra=1) == "0.333"
    assert number(float("inf"), 2) == "not a number"


@pytest.mark.parametrize(
    ("others", "over", "still", "said"),
    [
        ([], 0, True, ""),
        (["b"], 0, True, " 1 other signal is true too: b."),
        (["b", "c"], 1, True, " 2 other signals are true too: b, c. 1 more is over."),
        (["b"], 2, False, " This is over; 1 other signal is true now: b. 2 more are over."),
        ([], 1, True, " 1 other signal is over."),
        ([], 3, False, " 3 other signals are over."),
    ],
)
def test_an_alarm_says_how_many_other_signals_there_are(others, over, still, said):
    assert joined("It is so. [a]", others, over, still=still) == f"It is so. [a]{said}"


@pytest.mark.parametrize(
    ("ucl", "said"),
    [
        (25.011, "limit 25.011 mm at 09:00, newest 25.012 mm"),
        (25.0119, "limit 25.0119 mm at 09:00, newest 25.0120 mm"),
        (25.01196, "limit 25.01196 mm at 09:00, newest 25.01200 mm"),
        (25.012 - 1e-13, "limit 25.012 mm at 09:00, newest 25.012 mm"),
    ],
)
def test_a_point_just_beyond_its_limit_does_not_read_as_if_it_lay_on_it(ucl, said):
    limits = {"chart": "i_mr", "center": 25.0, "n": 1.0, "method": "given", "ucl": ucl}
    judged = seen(25.012)._replace(version=msgspec.structs.replace(VERSION, limits=limits))
    assert said in signal("location", "nelson-1", "upper", judged, FACTS, at=NOW)


def test_a_run_just_beside_the_centre_line_names_it_with_the_digits_that_tell():
    limits = {"chart": "i_mr", "center": 25.0003, "sigma": 0.004, "n": 1.0, "method": "entered"}
    judged = seen(25.0)._replace(version=msgspec.structs.replace(VERSION, limits=limits))
    said = signal("location", "nelson-2", "lower", judged, FACTS, at=NOW)
    assert "below the centre line 25.0003 mm at 09:00, newest 25.0000 mm" in said


def test_the_noise_of_floats_is_never_told():
    spread = seen(25.015 - 25.0)
    assert len(repr(spread.value)) > 10
    said = signal("dispersion", "nelson-1", "upper", spread, FACTS, at=NOW)
    assert said.startswith(
        "1 moving range above the upper control limit 0.0147 mm at 09:00, newest 0.0150 mm "
    )
    rough = replace(FACTS, decimals=None)
    assert "newest 0.015 mm" in signal("dispersion", "nelson-1", "upper", spread, rough, at=NOW)


def test_how_far_out_counts_in_the_distance_of_the_limit():
    assert reach("location", "upper", seen(25.012)) == pytest.approx(1.0)
    assert reach("location", "lower", seen(24.976)) == pytest.approx(2.0)
    assert reach("dispersion", "upper", seen(0.0147)) == pytest.approx(1.0, abs=0.01)
    assert reach("location", "upper", seen()._replace(version=None)) == 0.0


def test_no_chart_one_chart_two_charts():
    ends = [source_lost("p", at(0), None, n, BERLIN, at=NOW).split(". ")[1] for n in range(3)]
    assert ends == ["Nothing has come from it yet", "1 chart waits for it", "2 charts wait for it"]
