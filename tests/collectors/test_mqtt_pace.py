"""How many messages are handed over together, and when."""

from collectors.mqtt.pace import PACE_S, REMEMBERED_S, Pace

NOW = 1000.0
SOON = NOW + PACE_S / 2


def begun(most: int = 500) -> Pace:
    """After the first message of a stream, which waits for no other."""
    pace = Pace(most)
    assert pace.until < NOW
    pace.hand_over(NOW, 1, under_way=False)
    return pace


def test_what_comes_all_the_time_is_handed_over_together() -> None:
    pace = begun()
    assert pace.until == NOW + PACE_S
    assert pace.enough(NOW) == 500
    pace.hand_over(pace.until, 60, under_way=False)
    assert pace.enough(pace.until) == 500
    assert pace.until == NOW + 2 * PACE_S


def test_where_a_broker_stops_it_is_not_kept_waiting() -> None:
    pace = begun()
    pace.hand_over(SOON, 20, under_way=False)  # none came any more
    assert pace.enough(SOON) == 20
    pace.hand_over(SOON, 20, under_way=False)
    assert pace.enough(SOON) == 20


def test_a_broker_that_goes_on_while_messages_are_under_way_did_not_stop() -> None:
    pace = begun()
    pace.hand_over(SOON, 20, under_way=False)
    pace.hand_over(SOON, 20, under_way=True)
    assert pace.enough(SOON) == 500


def test_what_was_learned_is_tried_again() -> None:
    pace = begun()
    pace.hand_over(SOON, 20, under_way=False)
    assert pace.enough(SOON + REMEMBERED_S) == 20
    assert pace.enough(SOON + 2 * REMEMBERED_S) == 500


def test_a_wait_in_vain_hands_nothing_over() -> None:
    pace = begun()
    pace.hand_over(SOON, 0, under_way=False)
    assert pace.enough(SOON) == 500
    assert pace.until == NOW + PACE_S
