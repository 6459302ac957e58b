"""Without the database for a while, under load: checking and calling go on, and nothing is lost."""

import os
import time
from contextlib import suppress

import pytest

from tests.databases import Postgres
from tests.system.load import AGAIN, ALARMING, Load, loaded, plant
from tests.system.running import WAIT_S, Andon, Receiver, receiving, until, watching

LONG = os.environ.get("ANDON_TEST_CHAOS") == "long"
SEED = 20261124
BEYOND = 25.03
NELSON_1 = 1

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400 if LONG else 400)]
if LONG:
    pytestmark.append(pytest.mark.chaos)


@pytest.mark.parametrize(("how", "away_s"), [("stop", 30), ("freeze", 300 if LONG else 20)])
def test_the_database_is_away(own_timescale: Postgres, mosquitto, tmp_path, how, away_s):
    with receiving() as receiver:
        url = own_timescale.create_database()
        service = Andon(tmp_path / "andon", plant(mosquitto.url, receiver.url), url)
        try:
            service.start()
            with loaded(service, mosquitto.port, SEED) as load:
                until("a post was answered", lambda: load.answered)
                getattr(own_timescale, how)()
                began = time.monotonic()
                until("it is noticed", lambda: service.health()["database"] == "away")
                goes_on(service, load, receiver, ALARMING)
                assert service.health()["spool_batches"] > 0
                service.strike()
                service.start()
                goes_on(service, load, receiver, AGAIN)
                assert service.get("/api/v1/alarms").status_code == 503
                time.sleep(max(0.0, began + away_s - time.monotonic()))  # so long it is away
                assert service.health()["database"] == "away"
                own_timescale.start() if how == "stop" else own_timescale.thaw()
                # It takes no longer than it took to fill, though the load goes on.
                until("the spool drains", service.drained, wait_s=max(WAIT_S, away_s))
                load.stop()
            load.check()
            for name in (ALARMING, AGAIN):
                [called] = [
                    a for a in service.items("/alarms?state=all") if a["characteristic"] == name
                ]
                assert called["id"] == receiver.of(name)[0]["alarm"]["id"]
            assert service.end() == 0
            service.assert_calm()
        finally:
            with suppress(Exception):
                service.close()


def goes_on(service: Andon, load: Load, receiver: Receiver, name: str) -> None:
    """What is measured now is judged, shown, announced and answered."""
    with watching(service, name) as screen:
        load.line.alarm(name)
        screen.sees(name, BEYOND, bits=NELSON_1)
    call = until("somebody is called", lambda: receiver.of(name))[0]
    assert call["alarm"]["rules"] == ["nelson-1"]
    assert call["page"]
    before = len(load.answered)
    until("posts are answered", lambda: len(load.answered) > before + 10)
    for mes in load.mes:
        verdicts = [one["verdict"] for one in mes.answered[-1].verdicts]
        assert set(verdicts[:4]) <= {"ok", "alarm"}  # the one behind may be a late one: pending
