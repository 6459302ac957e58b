"""Who is called depends on how old a reading was when it came, by a clock as good as ours."""

import asyncio

import pytest

from app.admission import SourceTraits
from app.characteristic import CharacteristicConfig
from collectors.reading import Delivery, Reading
from tests.app.line import NOW, SECOND, SOURCE, Line

FORCE = CharacteristicConfig(id="force", decimals=3)
LIMITS = {"chart": "i_mr", "center": 10.0, "sigma": 0.1, "n": 1, "method": "entered"}
AGO = 20 * 60 * SECOND


@pytest.mark.parametrize(("skew", "called"), [(0, False), (-AGO, True)])
def test_a_slow_clock_silences_nobody(skew: int, called: bool) -> None:
    line = Line(FORCE, LIMITS)
    line.judge.measured = lambda: {SOURCE: SourceTraits(1, skew=skew)}
    late = Reading("force", 11.0, NOW - AGO, 1)
    asyncio.run(line.pipeline.deliver([Delivery(SOURCE, NOW, [late])]))
    (alarm,) = line.alarms.open_alarms()
    assert alarm.paged is called


def test_a_clock_that_runs_ahead_is_known_as_soon_as_it_is_measured() -> None:
    line = Line(FORCE, LIMITS)
    ahead = Reading("force", 10.0, NOW + 300 * SECOND, 1)
    asyncio.run(line.feed([ahead]))
    assert not line.store.readings
    line.judge.measured = lambda: {SOURCE: SourceTraits(1, skew=300 * SECOND)}
    asyncio.run(line.feed([ahead]))
    assert len(line.store.all_readings(1)) == 1
