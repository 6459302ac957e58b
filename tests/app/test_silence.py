"""Silence is told from a lost source, and from a service that was down itself."""

import numpy as np
import pytest

from app.silence import (
    DOWN,
    GRACE,
    HEARD,
    NOT_YET,
    SILENT,
    UNKNOWN,
    Found,
    Lost,
    judge,
    look,
    look_at_sources,
)
from tests.app.verdict_rows import BERLIN, SECOND, START, facts

EXPECT = 10 * SECOND
NOW = START + 1000 * SECOND


@pytest.mark.parametrize(
    ("last", "up_since", "verdict"),
    [
        (NOW - 30 * SECOND, START, HEARD),
        (NOW - 30 * SECOND - 1, START, SILENT),
        (NOT_YET, START, SILENT),
        (NOT_YET, NOW - 30 * SECOND, UNKNOWN),
        (START, NOW - 5 * SECOND, UNKNOWN),
        (START, DOWN, UNKNOWN),
        (NOW, DOWN, HEARD),
    ],
)
def test_when_a_stream_is_silent(last, up_since, verdict):
    one = np.array([last]), np.array([EXPECT]), np.array([up_since])
    assert judge(NOW, *one).tolist() == [verdict]


def test_without_an_expected_interval_nothing_is_silent():
    arrays = np.array([NOT_YET, START]), np.zeros(2, np.int64), np.array([START, START])
    assert judge(NOW, *arrays).tolist() == [HEARD, HEARD]


def test_a_look_tells_only_what_is_new():
    last = np.array([NOT_YET, NOW, START, START, NOW])
    arrays = last, np.full(5, EXPECT), np.full(5, START)
    found = look(NOW, *arrays, known={2, 4, -1}, describe=facts)
    assert [quiet.stream for quiet in found.quiet] == [0, 3]
    assert found.heard == [4]
    first, third = found.quiet
    assert (first.since, first.rule) == (NOW, "silent")
    assert third.since == START
    assert "since 09:00:00" in third.sentence


def test_one_alarm_for_a_lost_source_after_a_while():
    since = NOW - GRACE
    sources = [
        Lost(1, "broker", None, None, 10),
        Lost(2, "press", since, "refused", 3),
        Lost(3, "oven", since - 1, "refused", 3),
        Lost(4, "mes", None, None, 0),
    ]
    found = look_at_sources(NOW, sources, {-4}, BERLIN)
    assert [(quiet.stream, quiet.characteristic) for quiet in found.quiet] == [(-3, "source:oven")]
    assert found.heard == [-4]
    again = look_at_sources(NOW, sources, {-3, -4}, BERLIN)
    assert again.quiet == []


def test_a_gauge_that_gave_way_to_its_source_is_looked_at_again_when_that_is_back():
    last = np.array([START, NOW, START, START])
    up = np.array([START, START, DOWN, START])
    found = look(
        NOW, last, np.full(4, EXPECT), up, known={0, 1, 2, 3}, describe=facts, covered={0, 1, 2}
    )
    assert (found.quiet, found.heard, found.uncovered) == ([], [1], [0])


def test_a_source_that_is_configured_no_more_ceases():
    found = look_at_sources(NOW, [Lost(1, "broker", NOW, None, 1)], {-1, -2, 5}, BERLIN)
    assert (found.quiet, found.heard, found.ceased) == ([], [], [-2])


def test_nothing_found_is_nothing_to_do():
    assert not Found([], [])
    assert Found([], [], ceased=[1])
