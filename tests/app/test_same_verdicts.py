"""Same readings, same verdicts: batches, restarts, duplicates and order must not matter."""

import asyncio
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.characteristic import CharacteristicConfig
from app.store.rows import PointFlag, Purpose, Quality, ReadingFlag
from collectors.reading import Reading
from rules import stream as loop
from tests.app.line import SECOND, START, Line

SINGLE = CharacteristicConfig(
    id="force",
    decimals=3,
    spec={"lower": 9.9, "upper": 10.25},
    rules=["nelson"],
    gap="5s",
    cut=["part"],
)
NAMED = CharacteristicConfig(
    id="bore",
    chart="xbar_r",
    subgroup={"size": 3},
    rules=["nelson"],
    decimals=3,
    spec={"upper": 10.25},
)
COUNTED = CharacteristicConfig(
    id="width", chart="xbar_s", subgroup={"size": 4, "keys": ["lot"], "timeout": "9s"},
    spec={"lower": 9.95},
    rules=["nelson"], decimals=3,
)  # fmt: skip
SAMPLED = CharacteristicConfig(
    id="weight", stream=["cavity"], subgroup={"every_parts": 3}, rules=["nelson"], decimals=3
)
COUNTS = CharacteristicConfig(id="leaks", chart="p", rules=["nelson"])
LIMITS = {"center": 10.0, "sigma": 0.1, "n": 1, "method": "entered"}
OF = {
    "force": {**LIMITS, "chart": "i_mr"},
    "bore": {**LIMITS, "chart": "xbar_r", "n": 3},
    "width": {**LIMITS, "chart": "xbar_s", "n": 4},
    "weight": {**LIMITS, "chart": "i_mr"},
    "leaks": {"chart": "p", "center": 0.1, "n": 1, "method": "entered"},
}


def made(config: CharacteristicConfig, seed: int, count: int) -> list[Reading]:
    """Readings with shifts, pauses, bad quality and changing tags, in the order of time."""
    rng = np.random.default_rng(seed)
    readings, time = [], START
    for i in range(count):
        time += int(rng.choice([1, 1, 1, 7])) * SECOND
        bad = rng.random() < 0.03
        value = math.nan if bad else float(rng.normal(10.08, 0.1))
        if config.id == "leaks":
            bad, value = False, float(rng.integers(0, 12))
        readings.append(
            Reading(
                config.id,
                value,
                time,
                0,
                size=50 if config.id == "leaks" else None,
                quality="bad" if bad else "good",
                historical=True,
                subgroup=1000 + i // 3 + int(rng.random() < 0.1) if config.id == "bore" else None,
                tags={
                    "part": "ab"[i // 40 % 2],
                    "lot": str(i // 11),
                    "cavity": str(i % 3),
                },
            )
        )
    return readings


def split(readings: list[Reading], sizes: list[int]) -> list[list[Reading]]:
    batches, at = [], 0
    for i in range(len(readings)):
        if at >= len(readings):
            break
        size = sizes[i % len(sizes)]
        batches.append(readings[at : at + size])
        at += size
    return batches


def verdicts(config, batches, *, restart_every: int = 0):
    line = Line(config, OF[config.id])

    async def run() -> None:
        for number, batch in enumerate(batches, 1):
            await line.feed(batch)
            if restart_every and number % restart_every == 0:
                line.restart()

    asyncio.run(run())
    return line.points()


SOME = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6).filter(lambda sizes: max(sizes) > 3)
ALL = [SINGLE, NAMED, COUNTED, SAMPLED, COUNTS]


def ids(config):
    return config.id


@pytest.mark.slow
@pytest.mark.parametrize("config", ALL, ids=ids)
@SOME
@given(seed=st.integers(0, 10**6), sizes=SIZES, restart_every=st.integers(0, 4))
def test_batches_and_restarts_change_nothing(config, seed, sizes, restart_every) -> None:
    readings = made(config, seed, 90)
    whole = verdicts(config, [readings])
    assert verdicts(config, split(readings, sizes), restart_every=restart_every) == whole


@pytest.mark.parametrize("config", ALL, ids=ids)
@SOME
@given(seed=st.integers(0, 10**6), sizes=SIZES, again=st.lists(st.integers(0, 79), max_size=20))
def test_duplicates_change_nothing(config, seed, sizes, again) -> None:
    readings = made(config, seed, 80)
    whole = verdicts(config, [readings])
    doubled = readings + [readings[i] for i in again]
    assert verdicts(config, split(doubled, sizes)) == whole


@pytest.mark.parametrize("config", [SINGLE, NAMED, COUNTS], ids=ids)
@SOME
@given(
    seed=st.integers(0, 10**6),
    order=st.permutations(range(80)),
    sizes=SIZES,
    restart_every=st.integers(0, 4),
)
def test_the_order_of_arrival_changes_nothing(config, seed, order, sizes, restart_every) -> None:
    readings = made(config, seed, 80)
    whole = verdicts(config, [readings])
    shuffled = split([readings[i] for i in order], sizes)
    assert verdicts(config, shuffled, restart_every=restart_every) == whole


@pytest.mark.slow
@SOME
@given(
    seed=st.integers(0, 10**6),
    late=st.sets(st.integers(5, 79), max_size=12),
    by=st.integers(1, 30),
    sizes=SIZES,
    restart_every=st.integers(0, 3),
)
def test_late_readings_beside_counted_subgroups(seed, late, by, sizes, restart_every) -> None:
    readings = [
        Reading(r.characteristic, r.value, r.time - by * SECOND - 7, i, r.size, r.quality,
                r.purpose, None, r.tags, historical=True)
        if i in late
        else r
        for i, r in enumerate(made(COUNTED, seed, 80))
    ]  # fmt: skip
    whole = verdicts(COUNTED, [readings])
    assert verdicts(COUNTED, split(readings, sizes), restart_every=restart_every) == whole


def test_a_late_reading_never_moves_a_closed_subgroup() -> None:
    line = Line(COUNTED, OF["width"])

    def reading(at: int, value: float) -> Reading:
        return Reading("width", value, START + at * SECOND, 0, historical=True, tags={"lot": "7"})

    async def run() -> None:
        await line.feed([reading(i, 10.0 + i / 100) for i in (1, 2, 3, 4, 6, 7, 8, 9)])
        before = line.points()
        await line.feed([reading(5, 10.5)])
        await line.feed([reading(10, 10.0)])  # the next in order closes what was late
        after = line.points()
        assert [p for p in after if p[1] != START + 5 * SECOND] == before
        partial = next(p for p in after if p[1] == START + 5 * SECOND)
        assert partial[4] == 1.0

    asyncio.run(run())


def test_what_the_loop_writes_means_what_the_store_says() -> None:
    assert (loop.READING_CUT, loop.READING_NAMED) == (ReadingFlag.CUT, ReadingFlag.NAMED)
    assert (loop.POINT_CUT, loop.POINT_PARTIAL) == (PointFlag.CUT, PointFlag.PARTIAL)
    assert (loop.POINT_EXCLUDED, loop.POINT_NAMED) == (PointFlag.EXCLUDED, PointFlag.NAMED)
    assert (loop.POINT_UNJUDGED, loop.POINT_TRIAL) == (PointFlag.UNJUDGED, PointFlag.TRIAL)
    assert (loop.POINT_ABOVE, loop.POINT_BELOW) == (PointFlag.ABOVE, PointFlag.BELOW)
    assert (loop.BAD, loop.PRODUCTION) == (Quality.BAD, Purpose.PRODUCTION)
