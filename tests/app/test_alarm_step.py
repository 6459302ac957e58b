"""The table of an alarm's states: what each happening and each act makes of each of them."""

from typing import Any

import msgspec
import pytest

from app.alarm_acts import (
    LONGEST_SHELF,
    Conflict,
    Refused,
    acknowledge,
    close,
    comment,
    give_cause,
    shelve,
    unshelve,
)
from app.alarm_step import (
    Ceased,
    Continued,
    Covered,
    Occurred,
    Returned,
    ShelfOver,
    Subject,
    Uncovered,
    Withdrew,
    step,
)
from app.store.batch import Alarm

AT = 1_000


def occurred(priority: int = 2, **more: Any) -> Occurred:
    given: dict[str, Any] = {
        "subject": Subject(9, 1, "bore", "bore", "control"),
        "priority": priority,
        "rules": ("nelson-1",),
        "count": 1,
        "last": (10, 0),
        "sentence": "It happened.",
    }
    return Occurred(**{**given, **more})


def alarm(state: str, *, cause: bool = False, owes: bool = False, **more: Any) -> Alarm:
    """An alarm in one of its states, of priority 2."""
    active = state in {"unack", "ack", "shelved", "suppressed"}
    seen = state in {"ack", "latched", "shelved"}
    fields: dict[str, Any] = {
        "id": 9,
        "stream": 1,
        "characteristic": "bore",
        "stream_name": "bore",
        "alarm_class": "control",
        "state": state,
        "priority": 2,
        "opened": 1,
        "last_time": 5,
        "last_key": 0,
        "count": 3,
        "rules": ["nelson-1"],
        "sentence": "Before.",
        "version": 4,
        "seq": 40,
        "active": active,
        "paged": True,
        "needs_cause": owes,
        "seen_by": "Kim" if seen else None,
        "seen_at": 2 if seen else None,
        "cause": "Wear" if cause else None,
        "action": "Changed" if cause else None,
    }
    return Alarm(**{**fields, **more})


WORSE, SAME = occurred(1), occurred(2)
OVER = occurred(2, active=False)

TABLE = [
    # state, happening, state after, kinds of the changes
    ("unack", SAME, "unack", ["extended"]),
    ("unack", WORSE, "unack", ["escalated"]),
    ("unack", OVER, "unack", ["extended"]),
    ("unack", Returned(), "rtn_unack", ["returned"]),
    ("unack", Withdrew(), "withdrawn", ["withdrawn"]),
    ("unack", ShelfOver(), "unack", []),
    ("ack", SAME, "unack", ["rang"]),
    ("ack", WORSE, "unack", ["escalated"]),
    ("ack", OVER, "unack", ["rang"]),
    ("ack", Returned(), "closed", ["returned", "closed"]),
    ("ack", Withdrew(), "withdrawn", ["withdrawn"]),
    ("rtn_unack", SAME, "unack", ["rang"]),
    ("rtn_unack", WORSE, "unack", ["escalated"]),
    ("rtn_unack", OVER, "rtn_unack", ["rang"]),
    ("rtn_unack", Returned(), "rtn_unack", []),
    ("rtn_unack", Withdrew(), "withdrawn", ["withdrawn"]),
    ("latched", SAME, "unack", ["rang"]),
    ("latched", WORSE, "unack", ["escalated"]),
    ("latched", OVER, "rtn_unack", ["rang"]),
    ("latched", Returned(), "latched", []),
    ("latched", Withdrew(), "withdrawn", ["withdrawn"]),
    ("withdrawn", SAME, "unack", ["rang"]),
    ("withdrawn", OVER, "rtn_unack", ["rang"]),
    ("withdrawn", Returned(), "withdrawn", []),
    ("withdrawn", Withdrew(), "withdrawn", []),
    ("shelved", SAME, "shelved", ["extended"]),
    ("shelved", WORSE, "unack", ["escalated"]),
    ("shelved", Returned(), "closed", ["returned", "closed"]),
    ("shelved", Withdrew(), "withdrawn", ["withdrawn"]),
    ("shelved", ShelfOver(), "unack", ["unshelved"]),
    ("suppressed", WORSE, "suppressed", ["extended"]),
    ("suppressed", Returned(), "rtn_unack", ["returned"]),
    ("suppressed", Covered("source:press"), "suppressed", []),
    ("suppressed", Uncovered(), "unack", ["unsuppressed"]),
    ("suppressed", Ceased(), "out_of_service", ["out_of_service"]),
    ("unack", Covered("source:press"), "suppressed", ["suppressed"]),
    ("ack", Covered("source:press"), "suppressed", ["suppressed"]),
    ("rtn_unack", Covered("source:press"), "rtn_unack", []),
    ("shelved", Covered("source:press"), "shelved", []),
    ("unack", Uncovered(), "unack", []),
    ("unack", Ceased(), "out_of_service", ["out_of_service"]),
    ("ack", Ceased(), "closed", ["out_of_service", "closed"]),
    ("shelved", Ceased(), "closed", ["out_of_service", "closed"]),
    ("latched", Ceased(), "latched", []),
    ("withdrawn", Ceased(), "withdrawn", []),
    ("out_of_service", SAME, "unack", ["rang"]),
    ("out_of_service", Returned(), "out_of_service", []),
]


@pytest.mark.parametrize(("state", "happening", "after", "kinds"), TABLE)
def test_every_happening_in_every_state(state, happening, after, kinds):
    before = alarm(state)
    done = step(before, happening, AT)
    assert done is not None
    assert (done.alarm.state, [change.kind for change in done.changes]) == (after, kinds)
    versions = [change.version for change in done.changes]
    assert versions == list(range(5, 5 + len(kinds)))
    assert done.alarm.version == 4 + len(kinds)
    assert before == alarm(state), "a step changes nothing in place"
    if after in {"unack", "rtn_unack"} and kinds not in (["extended"], ["returned"], []):
        assert done.alarm.seen_by is None


def test_only_an_occurrence_raises():
    for happening in (Continued(1, (1, 0), ""), Returned(), Withdrew(), ShelfOver()):
        assert step(None, happening, AT) is None
        assert step(alarm("closed"), happening, AT) is None


@pytest.mark.parametrize("before", [None, alarm("closed")])
def test_a_closed_alarm_never_opens_again(before):
    done = step(before, occurred(page=True, subject=Subject(10, 1, "b", "b", "control")), AT)
    assert done is not None
    assert (done.alarm.id, done.alarm.state, done.alarm.version) == (10, "unack", 1)
    assert (done.alarm.opened, done.alarm.paged, done.page) == (AT, True, True)


def test_what_is_over_when_it_becomes_known_is_raised_as_returned():
    done = step(None, OVER, AT)
    assert done is not None
    assert (done.alarm.state, done.alarm.active, done.alarm.returned_at) == ("rtn_unack", False, AT)


def test_returned_and_seen_stays_latched_while_the_cause_is_owed():
    done = step(alarm("ack", owes=True), Returned(), AT)
    assert done is not None
    assert (done.alarm.state, [c.kind for c in done.changes]) == ("latched", ["returned"])


def test_returned_and_seen_closes_with_its_cause():
    done = step(alarm("ack", owes=True, cause=True), Returned(), AT)
    assert done is not None
    assert (done.alarm.state, done.alarm.closed_at) == ("closed", AT)


def test_a_shelf_with_an_end_outlasts_the_return():
    done = step(alarm("shelved", shelved_until=AT + 1), Returned(), AT)
    assert done is not None
    assert (done.alarm.state, done.alarm.active) == ("shelved", False)
    over = step(done.alarm, ShelfOver(), AT + 1)
    assert over is not None
    assert (over.alarm.state, over.alarm.seen_by) == ("rtn_unack", None)


def test_going_on_counts_without_a_new_version():
    done = step(alarm("ack"), Continued(4, (20, 1), "More."), AT)
    assert done is not None
    assert (done.alarm.version, done.alarm.count, done.changes) == (4, 7, [])
    assert (done.alarm.last_time, done.alarm.last_key, done.alarm.sentence) == (20, 1, "More.")


@pytest.mark.parametrize(
    ("state", "paged", "calls"),
    [("unack", False, True), ("unack", True, False), ("ack", False, False)],
)
def test_going_on_calls_once_and_only_while_nobody_has_looked(state, paged, calls):
    done = step(alarm(state, paged=paged), Continued(1, (20, 0), "", page=True), AT)
    assert done is not None
    assert done.page is calls


def test_an_older_point_does_not_move_the_last_one_back():
    done = step(alarm("unack"), occurred(last=(3, 7)), AT)
    assert done is not None
    assert (done.alarm.last_time, done.alarm.last_key) == (5, 0)


def test_the_priority_shows_the_worst_until_it_was_settled():
    still = step(alarm("rtn_unack"), occurred(3), AT)
    afresh = step(alarm("latched", owes=True), occurred(3), AT)
    assert still is not None
    assert afresh is not None
    assert (still.alarm.priority, afresh.alarm.priority) == (2, 3)
    assert afresh.alarm.needs_cause


def test_an_alarm_that_gave_way_to_a_lost_source_says_to_which_and_comes_back_as_it_was():
    for before, after in ((alarm("unack"), "unack"), (alarm("ack"), "ack")):
        covered = step(before, Covered("source:press"), AT)
        assert covered is not None
        assert (covered.alarm.caused_by, covered.page) == ("source:press", False)
        assert covered.changes[0].text == "source:press is lost, which is an alarm of its own."
        back = step(covered.alarm, Uncovered(), AT)
        assert back is not None
        assert (back.alarm.state, back.alarm.caused_by, back.page) == (after, None, False)
        assert back.alarm.seen_by == before.seen_by


def test_a_gauge_that_is_heard_again_ends_what_gave_way_to_its_source():
    covered = step(alarm("ack"), Covered("source:press"), AT)
    assert covered is not None
    done = step(covered.alarm, Returned(), AT)
    assert done is not None
    assert (done.alarm.state, done.alarm.caused_by) == ("closed", None)


def test_what_is_out_of_service_waits_for_a_person_and_for_the_cause_that_is_due():
    done = step(alarm("unack", owes=True), Ceased(), AT)
    assert done is not None
    gone = done.alarm
    assert (gone.state, gone.active, gone.returned_at) == ("out_of_service", False, AT)
    with pytest.raises(Refused, match="cause and action"):
        close(gone, 5, "Sam", AT)
    seen = acknowledge(gone, 5, "Sam", AT).alarm
    assert seen.state == "latched"
    assert give_cause(seen, 6, "Sam", AT, cause="Wear", action="Changed").alarm.state == "closed"
    assert give_cause(gone, 5, "Sam", AT, cause="Wear", action="Changed").alarm.state == "closed"
    owed = step(alarm("ack", owes=True), Ceased(), AT)
    assert owed is not None
    assert owed.alarm.state == "latched"


def test_the_line_of_the_history_tells_the_news_and_the_alarm_the_worst():
    for before, kind in ((alarm("unack"), "extended"), (alarm("ack"), "rang"), (None, "raised")):
        done = step(before, occurred(sentence="The worst, and 1 other.", news="The new one."), AT)
        assert done is not None
        assert (done.changes[0].kind, done.changes[0].text) == (kind, "The new one.")
        assert done.alarm.sentence == "The worst, and 1 other."


def test_returned_may_say_the_sentence_anew():
    said, silent = (step(alarm("unack"), Returned(text), AT) for text in ("Over.", ""))
    assert said is not None
    assert silent is not None
    assert (said.alarm.sentence, silent.alarm.sentence) == ("Over.", "Before.")


# people

ACTS = [
    ("unack", "ack", ["seen"]),
    ("rtn_unack", "closed", ["seen", "closed"]),
    ("withdrawn", "closed", ["seen", "closed"]),
    ("out_of_service", "closed", ["seen", "closed"]),
]


@pytest.mark.parametrize(("state", "after", "kinds"), ACTS)
def test_seen(state, after, kinds):
    done = acknowledge(alarm(state), 4, "Sam", AT)
    assert (done.alarm.state, [change.kind for change in done.changes]) == (after, kinds)
    assert (done.alarm.seen_by, done.alarm.seen_at) == ("Sam", AT)
    assert {change.who for change in done.changes} == {"Sam"}
    assert done.alarm.version == 4 + len(kinds)


def test_seen_after_return_latches_where_the_cause_is_owed():
    assert acknowledge(alarm("rtn_unack", owes=True), 4, "Sam", AT).alarm.state == "latched"


@pytest.mark.parametrize("state", ["ack", "latched", "closed"])
def test_seen_twice_says_who_was_first(state):
    with pytest.raises(Conflict) as caught:
        acknowledge(alarm(state, seen_by="Kim"), 4, "Sam", AT)
    assert "Kim" in str(caught.value)
    assert caught.value.alarm.state == state


@pytest.mark.parametrize(
    ("state", "after", "kinds"),
    [
        ("unack", "ack", ["seen", "cause"]),
        ("ack", "ack", ["cause"]),
        ("rtn_unack", "closed", ["seen", "cause", "closed"]),
        ("latched", "closed", ["cause", "closed"]),
        ("withdrawn", "withdrawn", ["seen", "cause"]),
        ("shelved", "shelved", ["cause"]),
    ],
)
def test_the_cause_can_be_given_at_any_time_and_settles_what_is_over(state, after, kinds):
    done = give_cause(alarm(state, owes=True), 4, "Sam", AT, cause=" Wear ", action="Changed")
    assert (done.alarm.state, [change.kind for change in done.changes]) == (after, kinds)
    assert (done.alarm.cause, done.alarm.action) == ("Wear", "Changed")
    assert [change.version for change in done.changes] == list(range(5, 5 + len(kinds)))


def test_a_cause_that_is_owed_needs_an_action():
    with pytest.raises(Refused, match="what was done"):
        give_cause(alarm("ack", owes=True), 4, "Sam", AT, cause="Wear", action=" ")
    with pytest.raises(Refused, match="no cause found"):
        give_cause(alarm("ack"), 4, "Sam", AT, cause=" ", action="")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (alarm("unack"), "still true"),
        (alarm("ack"), "still true"),
        (alarm("shelved"), "still true"),
        (alarm("latched", owes=True), "cause and action"),
        (alarm("rtn_unack", owes=True), "cause and action"),
    ],
)
def test_closing_is_refused_while_something_is_due(before, said):
    with pytest.raises(Refused, match=said):
        close(before, 4, "Sam", AT)


@pytest.mark.parametrize("state", ["rtn_unack", "withdrawn", "out_of_service"])
def test_closing_is_seen_too(state):
    done = close(alarm(state), 4, "Sam", AT, "done")
    assert (done.alarm.state, done.alarm.seen_by, done.alarm.closed_at) == ("closed", "Sam", AT)


def test_a_withdrawn_alarm_closes_without_a_cause():
    assert close(alarm("withdrawn", owes=True), 4, "Sam", AT).alarm.state == "closed"


@pytest.mark.parametrize("state", ["unack", "ack", "rtn_unack", "latched"])
def test_the_shelf_has_an_end_and_a_reason(state):
    done = shelve(alarm(state), 4, "Sam", AT, reason="set-up", until=AT + 10)
    assert (done.alarm.state, done.alarm.shelved_until) == ("shelved", AT + 10)
    with pytest.raises(Refused, match="why"):
        shelve(alarm(state), 4, "Sam", AT, reason=" ", until=AT + 10)
    for until in (AT, AT + LONGEST_SHELF + 1):
        with pytest.raises(Refused, match="12 h"):
            shelve(alarm(state), 4, "Sam", AT, reason="x", until=until)


@pytest.mark.parametrize("state", ["rtn_unack", "latched", "withdrawn", "out_of_service"])
def test_what_is_over_cannot_be_shelved_until_it_returns(state):
    with pytest.raises(Refused, match="not true any more"):
        shelve(alarm(state), 4, "Sam", AT, reason="x")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (alarm("shelved"), "ack"),
        (alarm("shelved", active=False), "closed"),
        (alarm("shelved", active=False, owes=True), "latched"),
    ],
)
def test_unshelved_by_hand_is_seen(before, after):
    done = unshelve(before, 4, "Sam", AT)
    assert (done.alarm.state, done.alarm.seen_by) == (after, "Sam")
    with pytest.raises(Conflict):
        unshelve(alarm("ack"), 4, "Sam", AT)


def test_snoozed_twice_says_who_was_first():
    before = alarm("shelved", shelved_until=AT + 5)
    with pytest.raises(Conflict, match="already snoozed by Kim"):
        shelve(before, 4, "Sam", AT, reason="x", until=AT + 10)


def test_what_gave_way_to_a_lost_source_is_answered_there():
    covered = alarm("suppressed", caused_by="source:press")
    with pytest.raises(Refused, match="source:press is lost"):
        acknowledge(covered, 4, "Sam", AT)
    with pytest.raises(Refused, match="source:press is lost"):
        shelve(covered, 4, "Sam", AT, reason="x", until=AT + 10)


def test_a_shelved_alarm_is_brought_back_before_it_is_answered():
    with pytest.raises(Refused, match="bring it back"):
        acknowledge(alarm("shelved"), 4, "Sam", AT)


def test_comments_are_taken_in_every_state():
    for state in ("unack", "closed", "withdrawn"):
        done = comment(alarm(state), None, "Sam", AT, " hm ")
        assert msgspec.structs.replace(done.alarm, version=4) == alarm(state)
        assert done.changes[0].text == "hm"
    with pytest.raises(Refused):
        comment(alarm("ack"), None, "Sam", AT, "  ")


@pytest.mark.parametrize(
    "act",
    [
        lambda a: acknowledge(a, 3, "Sam", AT),
        lambda a: give_cause(a, 3, "Sam", AT, cause="x", action="y"),
        lambda a: comment(a, 3, "Sam", AT, "x"),
        lambda a: close(a, 3, "Sam", AT),
        lambda a: shelve(a, 3, "Sam", AT, reason="x"),
        lambda a: unshelve(a, 3, "Sam", AT),
    ],
)
def test_every_act_knows_the_version_it_saw(act):
    with pytest.raises(Conflict, match="look again"):
        act(alarm("unack"))
