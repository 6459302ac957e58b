"""What each reading of a delivery is answered, also when it was sent before or has to wait."""

import numpy as np
import pytest

from app.characteristic import CharacteristicConfig
from app.store.rows import NO_SUBGROUP, POINT
from app.verdicts import verdicts_of
from collectors.reading import Delivery, Reading
from tests.app.kept import Kept
from tests.app.line import NOW, SECOND, SOURCE, START

SINGLE = CharacteristicConfig(id="force", decimals=3, spec={"upper": 11.5}, rules=["nelson"])
PAIRS = CharacteristicConfig(id="force", decimals=3, chart="xbar_r", subgroup={"size": 2})
LIMITS = {"center": 10.0, "sigma": 0.1, "n": 1, "method": "entered"}


@pytest.fixture
def made(tmp_path):
    lines = []

    def make(config=SINGLE, chart="i_mr", n=1) -> Kept:
        lines.append(Kept(config, {**LIMITS, "chart": chart, "n": n}, tmp_path / str(len(lines))))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


def reading(at: int, value: float = 10.0, **more) -> Reading:
    return Reading("force", value, START + at * SECOND, 0, historical=True, **more)


class Stored:
    """The questions about duplicates, answered by the store in memory."""

    def __init__(self, line: Kept) -> None:
        self.line = line

    async def lookup(self, streams, times, keys):
        return await self.line.store.lookup(streams, times, keys)

    async def points_of(self, readings):
        found = [
            point
            for reading in readings
            for point in self.line.store.all_points(int(reading["stream"]))
            if (
                (point["time"], point["key"]) == (reading["time"], reading["key"])
                if reading["subgroup"] == NO_SUBGROUP
                else point["subgroup"] == reading["subgroup"]
            )
        ]
        return np.array(found, POINT) if found else np.empty(0, POINT)


async def asked(line: Kept, *deliveries: list[Reading]):
    """What each of these deliveries, which share a batch, is answered."""
    sent = [Delivery(SOURCE, NOW, readings) for readings in deliveries]
    outcomes = await line.pipeline.deliver(sent)
    away = line.journal.away
    return [
        await verdicts_of(one, outcome, line.catalog, line.alarms, Stored(line), away=away)
        for one, outcome in zip(sent, outcomes, strict=True)
    ]


def words(answers):
    return [[one and one.verdict for one in answer] for answer in answers]


async def test_each_delivery_of_a_batch_is_answered_for_itself(made) -> None:
    line = made()
    answers = await asked(
        line,
        [reading(1), reading(2, 10.5), Reading("unknown", 1, START, 0)],
        [reading(3, 12.0), reading(4)],
        [reading(5, purpose="master"), reading(3, 12.0)],
    )
    assert words(answers) == [["ok", "alarm", None], ["alarm", "alarm"], ["not_judged", "alarm"]]
    assert {one["rule"] for one in answers[1][0].violations} >= {"spec", "nelson-1"}
    assert answers[1][0].point["statistic"] == 12.0
    assert answers[2][1].point == answers[1][0].point


async def test_a_moving_range_is_told_without_the_noise_of_floats(made) -> None:
    line = made()
    [[_, one]] = await asked(line, [reading(1, 10.001), reading(2, 10.009)])
    assert abs(10.009 - 10.001) != 0.008
    assert one.point["dispersion"] == 0.008


async def test_a_repetition_is_answered_like_the_original(made) -> None:
    line = made()
    first = await asked(line, [reading(1), reading(2, 10.5)])
    again = await asked(line, [reading(1), reading(2, 10.5), reading(2, 10.6)])
    assert again[0][:2] == first[0]
    assert again[0][2] is None  # another value for the same identity


async def test_a_subgroup_is_pending_until_it_is_full(made) -> None:
    line = made(PAIRS, "xbar_r", 2)
    [[one]] = await asked(line, [reading(1, 10.4)])
    [[other]] = await asked(line, [reading(2, 10.4)])
    assert (one.verdict, other.verdict) == ("pending", "alarm")
    [[again]] = await asked(line, [reading(1, 10.4)])
    assert again.verdict == "alarm"


async def test_what_cannot_be_looked_up_is_pending(made) -> None:
    line = made()
    await asked(line, [reading(2)])
    line.lose()
    assert words(await asked(line, [reading(1), reading(3, 10.5)])) == [["pending", "alarm"]]


async def test_what_is_put_aside_is_pending(made) -> None:
    line = made()
    line.journal.doubt()
    assert words(await asked(line, [reading(1), reading(2)])) == [["pending", "pending"]]


async def test_many_at_once(made) -> None:
    line = made()
    [answers] = await asked(line, [reading(i, 10.0 + (i % 50 == 0)) for i in range(1, 1001)])
    assert [one.verdict for one in answers].count("alarm") >= 20
