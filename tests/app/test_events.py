"""Corrections count changed points in and out of events, and never delete one."""

import msgspec
import numpy as np

from app.events import Delta, Newest, Signal, correct, priority, signals
from app.store.batch import Event
from tests.app.verdict_rows import N1, N5, SPREAD

UP = Signal("location", "nelson-1", "upper")
ROW = np.void(b"")


def event(first: int, last: int, count: int, state: str = "cleared", number: int = 1) -> Event:
    return Event(
        id=number,
        stream=1,
        alarm=1,
        kind=UP.kind,
        rule=UP.rule,
        side="upper",
        first_time=first,
        first_key=0,
        last_time=last,
        last_key=0,
        count=count,
        state=state,  # type: ignore[arg-type]
        priority=2,
    )


def delta(time: int, was: bool, now: bool) -> Delta:
    return Delta((time, 0), frozenset([UP] * was), frozenset([UP] * now), ROW)


def newest(time: int, *true_now: Signal) -> Newest:
    return Newest((time, 0), frozenset(true_now), ROW)


def test_masks_are_read_as_signals():
    assert signals("control", N1 | SPREAD) == (UP, Signal("dispersion", "nelson-1", "upper"))
    assert signals("control", N5, advisory=True)[0].advisory
    assert signals("spec", 2) == (Signal("spec", "spec", "lower"),)
    assert signals("control", 0) == ()
    assert [priority(one) for one in (*signals("spec", 1), UP, *signals("control", N5))] == [
        1, 2, 3,
    ]  # fmt: skip


def test_an_event_loses_a_point_and_its_end_moves_to_one_that_is_known():
    changes = [delta(3, True, True), delta(4, True, False)]
    result = correct([event(1, 4, 4)], changes, newest(9))
    (after,) = result.changed
    assert (after.first_time, after.last_time, after.count) == (1, 3, 3)
    assert after.state == "cleared"


def test_an_event_without_a_point_is_withdrawn():
    result = correct([event(4, 4, 1, "open")], [delta(4, True, False)], newest(4))
    assert [(e.state, e.count) for e in result.changed] == [("withdrawn", 0)]
    again = correct(result.changed, [delta(4, False, True)], newest(4, UP))
    assert again.changed == []
    assert [(new.first, new.count, new.open) for new in again.begun] == [((4, 0), 1, True)]


def test_a_point_inside_is_counted_in():
    result = correct([event(1, 4, 3)], [delta(2, False, True)], newest(9))
    assert [e.count for e in result.changed] == [4]
    assert result.begun == []


def test_new_points_outside_make_runs_of_their_own():
    changes = [delta(5, False, True), delta(6, False, True), delta(7, True, False),
               delta(8, False, True)]  # fmt: skip
    result = correct([event(1, 2, 2)], changes, newest(8, UP))
    assert [(new.first[0], new.last[0], new.count, new.open) for new in result.begun] == [
        (5, 6, 2, False),
        (8, 8, 1, True),
    ]


def test_an_open_event_ends_when_the_newest_point_no_longer_signals():
    result = correct([event(1, 4, 4, "open")], [delta(4, True, False)], newest(4))
    assert [(e.state, e.count) for e in result.changed] == [("cleared", 3)]


def test_without_the_newest_point_an_open_event_stays():
    result = correct([event(1, 4, 4, "open")], [delta(2, True, False)], None)
    assert [(e.state, e.count) for e in result.changed] == [("open", 3)]


def test_what_is_withdrawn_stays_so():
    gone = msgspec.structs.replace(event(1, 4, 0), state="withdrawn")
    assert correct([gone], [delta(2, True, False)], newest(9)) == ([], [])


def test_a_newest_point_that_came_back_opens_an_event():
    result = correct([event(1, 1, 1)], [], newest(1, UP))
    assert [(new.last, new.open) for new in result.begun] == [((1, 0), True)]
