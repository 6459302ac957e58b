import random

from collectors.skew import Skew

SECOND = 1_000_000


def test_unknown_until_something_came() -> None:
    assert Skew().value is None
    assert Skew(5 * SECOND).value == 5 * SECOND


def test_a_clock_ahead_is_found_behind_varying_delays() -> None:
    skew = Skew()
    spread = random.Random(1)
    for tick in range(2_000):
        now = tick * SECOND // 10
        skew.see(now + 7 * SECOND - spread.randrange(SECOND // 2), now)
    assert skew.value is not None
    assert abs(skew.value - 7 * SECOND) < SECOND // 10
    assert abs(skew.correction - 7 * SECOND) <= SECOND


def test_a_backlog_in_a_burst_is_no_slow_clock() -> None:
    skew = Skew()
    for tick in range(300):
        skew.see(tick * SECOND, tick * SECOND)
    for behind in range(100_000):
        now = 300 * SECOND + behind * 50
        skew.see(now - 3_600 * SECOND, now)
    assert skew.correction == 0
    assert skew.value is not None
    assert abs(skew.value) < SECOND


def test_a_stamp_from_the_future_is_no_fast_clock() -> None:
    skew = Skew()
    for tick in range(300):
        skew.see(tick * SECOND + (10**15 if tick == 200 else 0), tick * SECOND)
    assert skew.correction == 0


def test_the_correction_moves_in_steps_only() -> None:
    skew = Skew()
    corrections = set()
    for tick in range(20_000):
        now = tick * SECOND
        skew.see(now + tick * 100, now)  # 100 ppm: 2 s in the end
        corrections.add(skew.correction)
    assert len(corrections) == 2


def test_the_first_stamp_corrects_at_once() -> None:
    skew = Skew()
    skew.see(3_600 * SECOND, 0)
    assert skew.correction == 3_600 * SECOND
