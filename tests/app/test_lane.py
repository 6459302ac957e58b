"""A lane keeps the order of each alarm, lets others pass, and is bounded."""

from app.lane import REMEMBERED, Lane
from app.store.batch import Outbox


def row(number: int, alarm: int | None = 1) -> Outbox:
    return Outbox(number, alarm, 0, {})


def test_in_order_for_each_alarm_and_due_when_it_is_due():
    lane = Lane(10)
    for number, alarm in ((1, 7), (2, 7), (3, 8)):
        assert lane.put(row(number, alarm), 0.0)
    first = lane.take(0.0)
    assert first is not None
    assert first.row.id == 1
    lane.again(first, 5.0)
    other = lane.take(0.0)
    assert other is not None
    assert other.row.id == 3, "another alarm passes by"
    assert lane.take(0.0) is None
    assert lane.wait(1.0) == 4.0
    lane.hurry(1.0)
    assert lane.take(1.0) is first
    lane.done(first, 1.0)
    second = lane.take(1.0)
    assert second is not None
    assert second.row.id == 2


def test_a_full_lane_says_so():
    lane = Lane(2)
    assert lane.put(row(1), 0.0)
    assert lane.put(row(2), 0.0)
    assert not lane.put(row(3), 0.0)
    assert len(lane) == 2


def test_one_announcement_is_never_there_twice():
    lane = Lane(10)
    lane.put(row(1), 0.0)
    lane.put(row(1), 0.0)
    assert len(lane) == 1
    item = lane.take(0.0)
    assert item is not None
    lane.done(item, 0.0)
    lane.put(row(1), 0.0)
    assert len(lane) == 0
    assert lane.wait(0.0) is None


def test_what_is_remembered_is_bounded():
    lane = Lane(10)
    for number in range(REMEMBERED + 5):
        lane.put(row(number, None), 0.0)
        item = lane.take(0.0)
        assert item is not None
        lane.done(item, 0.0)
    assert len(lane._finished) == REMEMBERED
