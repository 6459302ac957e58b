"""Ranges are told as decimals mean them, and nothing else of them is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranges import one_without_noise, without_noise


def told(a: float, b: float) -> float:
    column = float(without_noise(np.array([abs(a - b)]), np.array([a]))[0])
    assert one_without_noise(abs(a - b), a) == column
    return column


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (25.015, 25.0, 0.015),
        (84.2, 84.1, 0.1),
        (25.001, 24.999, 0.002),
        (1e-7, 3e-7, 2e-7),
        (231.4, 231.4, 0.0),
        (1e15, 1e15 - 3, 3.0),
    ],
)
def test_a_range_has_the_decimals_of_its_values(a, b, expected):
    assert told(a, b) == expected


@given(
    st.integers(-(10**7), 10**7),
    st.integers(-(10**7), 10**7),
    st.integers(0, 6),
)
def test_the_difference_of_any_two_decimals_is_the_decimal(a, b, decimals):
    scale = 10**decimals
    assert told(a / scale, b / scale) == abs(a - b) / scale


def test_what_is_no_number_stays_so_and_zero_stays_zero():
    spread = np.array([np.nan, 0.0, 0.0, np.nan])
    statistic = np.array([1.0, 0.0, 5.0, np.nan])
    found = without_noise(spread, statistic)
    assert np.array_equal(found, spread, equal_nan=True)
    one_by_one = [one_without_noise(*pair) for pair in zip(spread, statistic, strict=True)]
    assert np.array_equal(one_by_one, spread, equal_nan=True)


def test_a_deviation_keeps_every_digit_that_it_has():
    deviation = np.array([0.0123456789012345])
    assert without_noise(deviation, np.array([25.0]))[0] == pytest.approx(deviation[0], rel=1e-9)
