"""A subgroup that a source named and goes on with is the same one, database or not."""

import asyncio
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.characteristic import CharacteristicConfig
from app.store.errors import StoreLost
from collectors.reading import Reading
from tests.app.kept import Kept
from tests.app.line import SECOND, START

BORE = CharacteristicConfig(
    id="bore",
    chart="xbar_r",
    subgroup={"size": 3},
    rules=["nelson"],
    decimals=3,
    spec={"upper": 10.25},
    stream=["cavity"],
)
LIMITS = {"chart": "xbar_r", "center": 10.0, "sigma": 0.1, "n": 3, "method": "entered"}


def reading(at: int, name: int, value: float, cavity: str = "1") -> Reading:
    return Reading(
        "bore",
        value,
        START + at * SECOND,
        0,
        historical=True,
        subgroup=name,
        tags={"cavity": cavity},
    )


@pytest.fixture
def made(tmp_path):
    lines = []

    def make() -> Kept:
        lines.append(Kept(BORE, LIMITS, tmp_path / str(len(lines))))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


async def test_a_subgroup_from_before_the_outage_goes_on_in_it(made) -> None:
    line, straight = made(), made()
    first = [reading(1, 7, 10.1), reading(2, 7, 10.3), reading(3, 8, 10.0)]
    meanwhile = [[reading(4, 8, 10.1)], [reading(5, 7, 10.2)], [reading(6, 9, 10.0)]]
    for one in (line, straight):
        await one.feed(first)
    line.lose()
    for batch in meanwhile:
        await line.feed(batch)
        await straight.feed(batch)
    await line.come_back()
    assert line.points() == straight.points()
    told = {revision.why for batch in line.store.batches for revision in batch.revisions}
    assert told == {"its subgroup had begun before the database was away"}


async def went_on(made) -> tuple[Kept, Kept]:
    """A line whose subgroup goes on during an outage, and one that had none."""
    line, straight = made(), made()
    for one in (line, straight):
        await one.feed([reading(1, 7, 10.1), reading(2, 7, 10.3), reading(3, 8, 10.0)])
    line.lose()
    for one in (line, straight):
        await one.feed([reading(4, 7, 10.2)])
    return line, straight


async def test_a_look_up_that_fails_is_made_again(made) -> None:
    line, straight = await went_on(made)
    line.store.away, line.store.patience = False, 0
    with pytest.raises(StoreLost):
        await line.journal.drain()
    await line.come_back()
    assert line.points() == straight.points()


async def test_an_end_between_drain_and_judgement_forgets_nothing(made) -> None:
    line, straight = await went_on(made)
    await line.restart_after_the_outage(half_way=True)
    assert line.points() == straight.points()
    assert line.spool.load_note() == b"{}"


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    lost=st.integers(0, 12),
    found=st.integers(1, 12),
    end=st.sampled_from(["goes on", "restarted without", "restarted with", "half-way"]),
)
def test_an_outage_changes_no_subgroup(seed, sizes, lost, found, end) -> None:
    rng = np.random.default_rng(seed)
    readings = [
        reading(
            at,
            at // 4 - int(rng.integers(0, 3)),
            round(float(rng.normal(10.05, 0.1)), 3),
            str(int(rng.integers(1, 3))),
        )
        for at in range(40)
    ]
    batches, at = [], 0
    while at < len(readings):
        size = sizes[len(batches) % len(sizes)]
        batches.append(readings[at : at + size])
        at += size

    async def run() -> None:
        with tempfile.TemporaryDirectory() as directory:
            line = Kept(BORE, LIMITS, Path(directory) / "line")
            straight = Kept(BORE, LIMITS, Path(directory) / "straight")
            try:
                for number, batch in enumerate(batches):
                    if number == lost:
                        line.lose()
                    if number == lost + found:
                        await come_back(line)
                    await line.feed(batch)
                    await straight.feed(batch)
                await come_back(line)
                assert line.points() == straight.points()
            finally:
                line.close()
                straight.close()

    async def come_back(line: Kept) -> None:
        if not line.journal.away:
            return
        if end == "restarted without":
            await line.restart_without_database()
        if end in {"restarted with", "half-way"}:
            await line.restart_after_the_outage(half_way=end == "half-way")
        else:
            await line.come_back()

    asyncio.run(run())
