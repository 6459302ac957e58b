"""What a part counter says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.modbus.count import Step, step


@pytest.mark.parametrize(
    ("last", "now", "period", "expected"),
    [
        (None, 17, 65536, Step(part=False)),
        (17, 17, 65536, Step(part=False)),
        (17, 18, 65536, Step(part=True)),
        (17, 21, 65536, Step(part=True, missed=3)),
        (65535, 0, 65536, Step(part=True)),
        (65534, 2, 65536, Step(part=True, missed=3)),
        (9999, 1, 9999, Step(part=True)),
        (500, 3, 65536, Step(part=True, reset=True)),
        (500, 0, 65536, Step(part=False, reset=True)),
        (40000, 3, 65536, Step(part=True, reset=True)),
        (500, 3, None, Step(part=True, reset=True)),
        (-5, -4, None, Step(part=True)),
        (1, 0, 2, Step(part=True)),
    ],
)
def test_steps(last, now, period, expected):
    assert step(last, now, period) == expected


@given(st.integers(0, 65535), st.lists(st.integers(1, 500), max_size=50))
def test_no_part_is_lost_from_the_account(start, jumps):
    last, read, missed = start, 0, 0
    for jump in jumps:
        now = (last + jump) % 65536
        seen = step(last, now, 65536)
        assert not seen.reset
        read, missed, last = read + seen.part, missed + seen.missed, now
    assert read + missed == sum(jumps)
