"""The service killed again and again under load: nothing acknowledged is lost, doubled or judged anew."""

import os
import random
import time
from contextlib import suppress

import pytest

from tests.system.load import Answered, lasting, loaded, plant
from tests.system.running import Andon, receiving

LONG = os.environ.get("ANDON_TEST_CHAOS") == "long"
KILLS = 100 if LONG else 20
SEED = 20261123

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400 if LONG else 400)]
if LONG:
    pytestmark.append(pytest.mark.chaos)


def test_kill_at_any_moment(timescale_url, mosquitto, tmp_path):
    chance = random.Random(SEED)
    with receiving() as receiver:
        service = Andon(tmp_path / "andon", plant(mosquitto.url, receiver.url), timescale_url)
        try:
            service.start()
            with loaded(service, mosquitto.port, SEED) as load:
                for number in range(KILLS):
                    if number % 4:
                        service.wait_ready()
                        time.sleep(chance.uniform(0.0, 1.0))  # the moment of the kill
                    else:
                        time.sleep(chance.uniform(0.1, 4.0))  # also while it starts
                    service.strike()
                    service.launch()
                service.wait_ready()
                assert all(one.answered for one in load.mes)
                load.stop()
            load.check()
            assert sum(one.repeated for one in load.mes) > 0
            for post in load.answered[:: max(1, len(load.answered) // 50)]:
                assert_same_answer(service, post)
            assert service.end() == 0
            service.assert_calm()
        finally:
            with suppress(Exception):
                service.close()


def assert_same_answer(service: Andon, post: Answered) -> None:
    """A post that is repeated now is answered as it was then."""
    answer = service.post(post.readings, "?verdicts=true&timeout=20s").json()
    assert (answer["accepted"], answer["duplicates"]) == (0, len(post.sent))
    assert lasting(post, answer["verdicts"]) == lasting(post, post.verdicts)
