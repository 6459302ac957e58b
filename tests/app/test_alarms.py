"""Verdicts become events, alarms, calls and parts to be held."""

import numpy as np
import pytest

from app.alarm_acts import Conflict, acknowledge, close, comment, give_cause, shelve
from app.alarms import NEVER, Alarms, Ids
from app.silence import Found, Quiet
from app.store.queries import Standing
from app.store.rows import PointFlag, Purpose, Quality, ReadingFlag
from tests.app.verdict_rows import (
    MINUTE,
    N1,
    N1_LOW,
    N2,
    N5,
    SECOND,
    SPREAD,
    START,
    Line,
    at,
    point,
    points,
    reading,
)


@pytest.fixture
def line() -> Line:
    return Line()


def test_nothing_wrong_leaves_no_row(line):
    batch = line.see(points([0] * 50), np.concatenate([reading(i) for i in range(50)]))
    assert (batch.events, batch.alarms, batch.alarm_changes, batch.outbox) == ([], [], [], [])


def test_one_event_grows_while_its_rule_stays_true_and_ends_with_it(line):
    line.see(points([0, N1, N1, N1, 0]))
    (event,) = line.event_rows.values()
    assert (event.rule, event.side, event.kind) == ("nelson-1", "upper", "location")
    assert (event.first_time, event.last_time, event.count) == (at(1), at(3), 3)
    assert event.state == "cleared"
    assert line.alarm.state == "rtn_unack"
    assert line.alarm.count == 3


def test_an_event_goes_on_over_batches(line):
    for second in range(4):
        line.see(point(second, N1))
    (event,) = line.event_rows.values()
    assert event.count == 4
    assert line.kinds() == ["raised"]
    assert line.alarm.version == 1
    assert line.alarm.seq == 4


def test_both_sides_and_both_charts_are_events_of_one_alarm(line):
    line.see(points([N1 | SPREAD, N1_LOW]))
    kinds = {(e.kind, e.side, e.state) for e in line.event_rows.values()}
    assert kinds == {
        ("location", "upper", "cleared"),
        ("dispersion", "upper", "cleared"),
        ("location", "lower", "open"),
    }
    assert list(line.alarm_rows) == [1]


def test_each_class_of_a_stream_has_its_own_alarm_and_each_stream_too(line):
    line.see(
        np.concatenate([point(0, N1, stream=1), point(0, N1, stream=2)]),
        reading(0, 25.03, stream=1),
    )
    assert {(a.stream, a.alarm_class, a.priority) for a in line.alarm_rows.values()} == {
        (1, "control", 2),
        (2, "control", 2),
        (1, "spec", 1),
    }


def test_priority_escalates_and_rings_over_an_acknowledged_alarm(line):
    line.see(point(0, N5))
    assert (line.alarm.priority, line.alarm.paged) == (3, False)
    line.act(acknowledge, 1)
    line.see(point(1, N5 | N1))
    assert line.kinds() == ["raised", "seen", "escalated"]
    assert (line.alarm.state, line.alarm.priority, line.alarm.seen_by) == ("unack", 2, None)
    assert line.calls == [(1, "escalated")]


def test_a_new_occurrence_rings_after_acknowledgement_and_after_return(line):
    line.see(points([N1, 0]))
    line.see(point(2, N1))
    assert line.kinds() == ["raised", "returned", "rang"]
    line.act(acknowledge, 1)
    line.see(point(3, N1_LOW))
    assert line.alarm.state == "unack"
    assert line.kinds()[-1] == "rang"
    assert line.calls == [(1, "raised"), (1, "rang"), (1, "rang")]


def test_more_rules_while_nobody_has_looked_extend_without_ringing(line):
    line.see(point(0, N1))
    line.see(point(1, N1 | N5))
    assert line.kinds() == ["raised", "extended"]
    assert line.alarm.rules == ["nelson-1", "nelson-5"]
    assert line.alarm.sentence.endswith("[nelson-1] 1 other signal is true too: nelson-5.")
    assert line.changes[-1].text.startswith("2 of the last 3 points")


def test_the_sentence_is_that_of_the_point_that_lies_farthest_out_on_either_chart(line):
    shift = {"statistic": 25.0125, "dispersion": 0.02}
    line.see(point(0, N1 | SPREAD, **shift))
    assert line.alarm.sentence.startswith("1 moving range above the upper control limit 0.0147 mm")
    assert line.alarm.sentence.endswith("1 other signal is true too: nelson-1.")
    line.see(point(1, N1 | SPREAD, statistic=25.03, dispersion=0.0175))
    assert line.alarm.sentence.startswith("2 points above the upper control limit 25.012 mm")
    assert line.alarm.sentence.endswith("1 other signal is true too: nelson-1 of the moving range.")


def test_after_a_shift_the_signal_that_is_over_is_counted(line):
    line.see(point(0, N1 | SPREAD, statistic=25.013, dispersion=0.02))
    line.see(points([N1 | N5, N1 | N5], first=1))
    assert line.alarm.sentence.startswith("3 points above the upper control limit")
    assert line.alarm.sentence.endswith("1 other signal is true too: nelson-5. 1 more is over.")


def test_a_point_beyond_its_limits_is_not_hidden_by_the_run_that_goes_on(line):
    line.see(points([N1 | N5, N5]))
    assert line.alarm.priority == 2
    assert line.alarm.sentence.startswith("1 point above the upper control limit")
    assert line.alarm.sentence.endswith("This is over; 1 other signal is true now: nelson-5.")
    line.see(point(2))
    assert line.alarm.state == "rtn_unack"
    assert line.alarm.sentence.endswith("[nelson-1] 1 other signal is over.")


def test_each_line_of_the_history_tells_its_own_news(line):
    line.see(points([N1, 0, N1_LOW, N1_LOW | N5]))
    told = [(change.kind, change.text[-10:]) for change in line.changes]
    assert told == [
        ("raised", "[nelson-1]"),
        ("returned", ""),
        ("rang", "[nelson-1]"),
        ("extended", "[nelson-5]"),
    ]
    assert "below the lower control limit" in line.changes[2].text
    assert "1 other signal is true too: nelson-5. 1 more is over." in line.alarm.sentence


def test_what_was_settled_leads_no_sentence(line):
    line = Line("critical")
    line.see(points([N1, 0]))
    line.act(acknowledge, 1)
    assert line.alarm.state == "latched"
    line.see(point(2, N5))
    assert line.alarm.priority == 3
    assert line.alarm.sentence.startswith("2 of the last 3 points")
    assert line.alarm.sentence.endswith("1 other signal is over.")


def test_seen_and_returned_closes_and_the_next_one_is_a_new_alarm(line):
    line.see(point(0, N1))
    line.act(acknowledge, 1)
    line.see(point(1))
    assert line.alarm_rows[1].state == "closed"
    assert line.kinds() == ["raised", "seen", "returned", "closed"]
    assert [change.version for change in line.changes] == [1, 2, 3, 4]
    line.see(point(2, N1))
    assert line.alarm.id == 2
    assert line.alarm_rows[1].state == "closed"


def test_out_of_specification_waits_for_its_cause(line):
    line.see(readings=np.concatenate([reading(0), reading(1, 25.03), reading(2)]))
    line.act(acknowledge, 1)
    assert line.alarm.state == "latched"
    line.act(give_cause, 1, cause="Tool wear", action="Tool changed")
    assert (line.alarm.state, line.alarm.cause) == ("closed", "Tool wear")


@pytest.mark.parametrize(("class_", "owed"), [("critical", True), ("significant", False)])
def test_rule_1_needs_a_cause_where_the_characteristic_is_critical(class_, owed):
    line = Line(class_)
    line.see(points([N1, 0]))
    assert line.alarm.needs_cause is owed


def test_every_reading_out_of_specification_is_a_part_to_be_held(line):
    line.see(
        readings=np.concatenate(
            [reading(0), reading(1, 25.03), reading(2, 25.04), reading(3, 24.9), reading(4)]
        )
    )
    held = [(c.time, c.value, c.side, c.last_good_time) for c in line.containments]
    assert held == [
        (at(1), 25.03, "upper", at(0)),
        (at(2), 25.04, "upper", at(0)),
        (at(3), 24.9, "lower", at(0)),
    ]
    assert {(c.lower, c.upper, c.alarm) for c in line.containments} == {(24.98, 25.02, 1)}
    assert line.alarm.state == "rtn_unack"


def test_the_last_good_reading_is_known_over_batches(line):
    line.see(readings=np.concatenate([reading(0), reading(5, stream=2)]))
    line.see(readings=reading(1, 25.03))
    assert line.containments[0].last_good_time == at(0)


@pytest.mark.parametrize(
    "other",
    [
        {"purpose": Purpose.MASTER},
        {"quality": Quality.BAD},
        {"flags": ReadingFlag.UNJUDGED},
        {"flags": ReadingFlag.VOID},
    ],
)
def test_only_production_is_held_against_the_specification(line, other):
    line.see(readings=reading(0, 25.03, **other))
    assert not line.alarm_rows
    line.see(readings=reading(1, 25.03))
    line.see(readings=reading(2, 25.0, **other))
    assert line.alarm.active, "a reading that does not count ends nothing"


def test_trial_limits_advise_and_raise_nothing(line):
    line.see(np.concatenate([point(0, N1, flags=PointFlag.TRIAL), point(1, N1)]))
    advisory, real = sorted(line.event_rows.values(), key=lambda e: e.id)
    assert (advisory.advisory, advisory.alarm, advisory.state) == (True, None, "cleared")
    assert (real.advisory, real.alarm) == (False, 1)
    assert line.alarm.count == 1


def test_an_excluded_point_neither_extends_nor_ends(line):
    line.see(point(0, N1))
    line.see(point(1, N1, flags=PointFlag.EXCLUDED))
    line.see(point(2, 0, flags=PointFlag.EXCLUDED))
    (event,) = line.event_rows.values()
    assert (event.count, event.state) == (1, "open")


# calling people


@pytest.mark.parametrize(
    ("class_", "mask", "called"),
    [
        ("standard", N1, True),
        ("significant", N1, True),
        ("significant", SPREAD, True),
        ("standard", N5, False),
        ("significant", N2, False),
        ("critical", N5, True),
    ],
)
def test_who_is_called_depends_on_rule_and_class(class_, mask, called):
    line = Line(class_)
    line.see(point(0, mask))
    assert bool(line.calls) is called
    assert line.alarm.paged is called


@pytest.mark.parametrize(("age", "called"), [(15 * MINUTE, True), (15 * MINUTE + 1, False)])
def test_nobody_is_called_for_what_is_old_when_it_arrives(line, age, called):
    line.see(point(0, N1), reading(0, 25.03), age=age)
    assert len(line.calls) == (2 if called else 0)
    assert len(line.alarm_rows) == 2
    assert len(line.containments) == 1


def test_the_first_fresh_point_of_an_old_disturbance_calls_once(line):
    line.see(point(0, N1), age=NEVER)
    line.see(point(1, N1), age=20 * MINUTE)
    assert not line.calls
    line.see(point(2, N1), age=SECOND)
    line.see(point(3, N1), age=SECOND)
    assert line.calls == [(1, "extended")]


def test_who_was_called_hears_what_became_of_it(line):
    line.alarms.channels = ("hook",)
    line.see(point(0, N1))
    line.act(acknowledge, 1)
    line.see(point(1))
    sent = [(row.payload["change"], row.payload["page"]) for row in line.outbox]
    assert sent == [("raised", True), ("seen", False), ("returned", False), ("closed", False)]
    assert {tuple(row.payload["channels"]) for row in line.outbox} == {("hook",)}
    assert [row.id for row in line.outbox] == [1, 2, 3, 4]


def test_what_called_nobody_stays_on_the_screens(line):
    line.see(points([N5, 0]))
    line.act(acknowledge, 1)
    assert not line.outbox


# late and corrected


LATE = PointFlag.LATE


def test_a_late_part_out_of_specification_is_held_and_calls_while_it_is_fresh(line):
    line.see(readings=reading(10))
    line.see(readings=reading(5, 25.03, flags=ReadingFlag.LATE), age=5 * SECOND)
    (event,) = line.event_rows.values()
    assert event.state == "cleared"
    assert not event.retrospective
    assert line.alarm.state == "rtn_unack"
    assert line.calls == [(1, "raised")]
    assert line.containments[0].last_good_time is None


def test_an_alarm_from_the_past_stands_on_its_event(line):
    line.see(readings=reading(10))
    for second in (5, 7):
        line.see(
            readings=reading(second, 25.03, flags=ReadingFlag.LATE), newest_readings=reading(10)
        )
    assert line.alarm.sentence.endswith("[spec] 1 other signal is over.")
    line.see(
        corrected=reading(7, 25.0),
        corrected_was=reading(7, 25.03),
        newest_readings=reading(10),
        past_events=list(line.event_rows.values()),
    )
    assert [event.state for event in line.event_rows.values()] == ["cleared", "withdrawn"]
    assert line.alarm.state == "rtn_unack"
    assert line.alarm.sentence.endswith("[spec]")


def test_what_a_correction_makes_is_retrospective_and_calls_nobody(line):
    line.see(points([0, 0, 0]))
    line.see(
        changed=point(1, N1, flags=LATE),
        changed_was=point(1, 0),
        newest_points=point(2),
    )
    (event,) = line.event_rows.values()
    assert (event.retrospective, event.state) == (True, "cleared")
    assert line.alarm.state == "rtn_unack"
    assert not line.calls


def test_a_correction_of_the_newest_point_opens_and_ends_events(line):
    line.see(points([0, N1]))
    line.see(changed=point(1, N1_LOW), changed_was=point(1, N1), newest_points=point(1, N1_LOW))
    upper, lower = sorted(line.event_rows.values(), key=lambda e: e.id)
    assert (upper.state, upper.count) == ("withdrawn", 0)
    assert (lower.state, lower.side) == ("open", "lower")
    assert line.alarm.active
    assert line.alarm.state == "unack"


def test_an_alarm_whose_events_all_vanish_waits_for_a_person(line):
    line.see(points([0, N1, 0]))
    line.see(
        changed=point(1, 0),
        changed_was=point(1, N1),
        newest_points=point(2),
        past_events=list(line.event_rows.values()),
    )
    assert line.event_rows[1].state == "withdrawn"
    assert (line.alarm.state, line.alarm.count) == ("withdrawn", 0)
    line.act(close, 1)
    assert line.alarm.state == "closed"
    line.see(point(3, N1))
    assert line.alarm.id == 2


def test_an_alarm_with_an_event_left_stays(line):
    line.see(points([N1, 0, N1, 0]))
    stored = list(line.event_rows.values())
    line.see(withdrawn=point(0, N1), newest_points=point(3), past_events=stored)
    assert line.alarm.state == "rtn_unack"
    assert line.alarm.count == 1
    assert [line.event_rows[i].state for i in (1, 2)] == ["withdrawn", "cleared"]


def test_the_sentence_follows_a_correction_that_leaves_as_many_signals(line):
    line.see(points([N1, N1 | N5]))
    assert line.alarm.sentence.startswith("2 points above")
    line.see(changed=point(1, N5), changed_was=point(1, N1 | N5), newest_points=point(1, N5))
    assert line.alarm.sentence.startswith("1 point above")
    assert "nelson-5" in line.alarm.sentence


def test_the_sentence_forgets_what_a_correction_took_away(line):
    line.see(points([N5, N1 | N5, N5]))
    assert line.alarm.sentence.startswith("1 point above")
    line.see(
        changed=point(1, N5),
        changed_was=point(1, N1 | N5),
        newest_points=point(2, N5),
        past_events=list(line.event_rows.values()),
    )
    assert line.alarm.sentence.startswith("2 of the last 3 points")
    assert "other signal" not in line.alarm.sentence


def test_without_its_worst_signal_an_alarm_tells_how_many_it_has(line):
    line.see(points([N1, 0, N1, 0]))
    second = line.event_rows[2]
    line.see(withdrawn=point(2, N1), newest_points=point(3), past_events=[second])
    assert line.alarm.sentence == (
        "A correction took away the worst signal; it has 1 other signal. "
        "Look at the chart and the history."
    )


def test_a_corrected_event_counts_its_points_in_words_too(line):
    line.see(points([N1, N1, N1]))
    line.see(
        changed=point(2, N1),
        changed_was=point(2, N1),
        withdrawn=point(1, N1),
        newest_points=point(2, N1),
    )
    assert line.event_rows[1].count == 2
    assert line.event_rows[1].sentence.startswith("2 points above")
    assert line.alarm.sentence.startswith("2 points above")


def test_a_withdrawn_newest_point_brings_the_one_before_back(line):
    line.see(points([N1, 0]))
    line.see(
        withdrawn=point(1, 0),
        newest_points=point(0, N1),
        past_events=list(line.event_rows.values()),
    )
    assert line.alarm.active
    assert line.alarm.state == "unack"


def test_a_new_occurrence_after_a_withdrawal_starts_afresh(line):
    line.see(points([N1, 0]))
    line.see(
        withdrawn=point(0, N1),
        newest_points=point(1),
        past_events=list(line.event_rows.values()),
    )
    line.see(point(2, N5))
    assert (line.alarm.id, line.alarm.state) == (1, "unack")
    assert (line.alarm.priority, line.alarm.rules) == (3, ["nelson-5"])


def test_a_corrected_reading_takes_its_event_back_and_keeps_the_part_in_the_list(line):
    line.see(readings=np.concatenate([reading(0), reading(1, 25.03)]))
    line.see(
        corrected=reading(1, 25.003),
        corrected_was=reading(1, 25.03),
        newest_readings=reading(1, 25.003),
    )
    assert line.alarm.state == "withdrawn"
    assert len(line.containments) == 1
    line.see(
        corrected=reading(0, 24.0),
        corrected_was=reading(0),
        newest_readings=reading(1, 25.003),
    )
    assert line.alarm.state == "rtn_unack"
    assert len(line.containments) == 2


def test_late_points_in_a_batch_with_newer_ones_are_in_the_past(line):
    rows = np.concatenate([point(10), point(4, N1, flags=LATE), point(11)])
    line.see(rows, newest_points=point(11))
    (event,) = line.event_rows.values()
    assert event.state == "cleared"
    assert line.alarm.state == "rtn_unack"


# silence


def quiet(stream: int, rule: str = "silent") -> Quiet:
    return Quiet(stream, "bore", f"bore:{stream}", rule, START, "No reading.")


def test_silence_is_an_alarm_of_its_own_that_calls_and_returns(line):
    for found in (Found([quiet(1), quiet(-2, "source")], []), Found([], [1])):
        batch = line.batch()
        line.alarms.listen(batch, found, line.now)
        line.store(batch)
    gauge, source = (line.alarm_rows[i] for i in (1, 2))
    assert (gauge.alarm_class, gauge.state, gauge.priority) == ("silent", "rtn_unack", 4)
    assert (source.stream, source.state) == (-2, "unack")
    assert line.calls == [(1, "raised"), (2, "raised")]
    assert line.alarms.silent().keys() == {-2}


def heard_of(line, found):
    batch = line.batch()
    line.alarms.listen(batch, found, line.now)
    return line.store(batch)


def test_a_silent_gauge_gives_way_to_the_alarm_of_its_source(line):
    heard_of(line, Found([quiet(1)], []))
    heard_of(line, Found([quiet(-2, "source")], [], [(1, "source:press")]))
    gauge, source = (line.alarm_rows[i] for i in (1, 2))
    assert (gauge.state, gauge.caused_by, source.state) == ("suppressed", "source:press", "unack")
    assert line.alarms.summary()["active"] == 1
    again = heard_of(line, Found([], [], [(1, "source:press")]))
    assert not again.alarms, "it gives way once"
    heard_of(line, Found([], [-2], uncovered=[1]))
    assert (line.alarm_rows[1].state, line.alarm_rows[1].caused_by) == ("unack", None)
    heard_of(line, Found([], [1]))
    assert line.alarm_rows[1].state == "rtn_unack"


def test_what_is_in_use_no_more_leaves_no_alarm_that_nobody_can_close(line):
    line.see(point(0, N1), reading(0, 25.03))
    heard_of(line, Found([quiet(1), quiet(-2, "source")], []))
    assert line.alarms.in_use_no_more({1, 7}) == [1]
    heard_of(line, Found([], [], ceased=[1, -2]))
    assert {alarm.state for alarm in line.alarm_rows.values()} == {"out_of_service"}
    assert {event.state for event in line.event_rows.values()} == {"cleared"}
    assert line.alarms.in_use_no_more({1, 7}) == []
    assert line.alarms.silent() == {}
    waiting = len(line.alarms.open_alarms())
    assert line.alarms.summary()["unseen"] == waiting > 0
    ends = {a.alarm_class: line.act(acknowledge, a.id).state for a in line.alarms.open_alarms()}
    assert ends == {"control": "closed", "spec": "latched", "silent": "closed"}
    assert line.alarms.summary()["unseen"] == 0
    line.see(point(5, N1))
    assert line.alarm.active, "back in use, it rings"


# people


def test_an_act_on_an_older_form_conflicts_and_changes_nothing(line):
    line.see(point(0, N1))
    old = line.alarm
    line.act(acknowledge, 1)
    with pytest.raises(Conflict, match="already seen by Kim"):
        acknowledge(line.alarm, old.version, "Sam", line.now)
    batch = line.batch()
    done = acknowledge(old, old.version, "Sam", line.now)
    with pytest.raises(Conflict):
        line.alarms.take(batch, done, line.now)
    assert not batch.alarms


def test_points_that_go_on_do_not_spoil_an_answer(line):
    line.see(point(0, N1))
    seen = line.alarm.version
    line.see(points([N1, N1, N1], first=1))
    assert acknowledge(line.alarm, seen, "Kim", line.now).alarm.state == "ack"


def test_a_closed_alarm_takes_comments(line):
    line.see(points([N1, 0]))
    line.act(acknowledge, 1)
    line.act(comment, 1, "It was the chuck.")
    assert line.kinds()[-1] == "comment"
    assert line.alarms.find(1) is None


def test_a_shelf_ends_by_the_clock_and_the_alarm_rings_again(line):
    line.see(point(0, N1))
    line.act(shelve, 1, reason="setting up", until=line.now + MINUTE)
    line.see(point(1, N1 | N5))
    assert line.alarm.state == "shelved"
    assert not line.alarms.due(line.now)
    line.now += MINUTE
    assert line.alarms.due(line.now)
    line.see()
    assert (line.alarm.state, line.alarm.seen_by) == ("unack", None)
    assert line.calls[-1] == (1, "unshelved")


def test_something_worse_ends_the_shelf(line):
    line.see(point(0, N5))
    line.act(shelve, 1, reason="setting up", until=line.now + MINUTE)
    line.see(point(1, N5 | N1))
    assert line.alarm.state == "unack"
    assert line.alarm.shelved_until is None


def test_shelved_until_it_returns_is_seen(line):
    line.see(point(0, N1))
    line.act(shelve, 1, reason="known")
    line.see(point(1))
    assert line.alarm.state == "closed"


# undo and restart


def test_a_batch_that_was_not_written_leaves_no_trace(line):
    line.see(point(0, N5), reading(0))
    before = line.alarms.to_bytes()
    mark = line.alarms.mark()
    line.alarms.evaluate(
        line.batch(), line.judged(points([N1, 0], first=1), reading(1, 25.03)), line.now
    )
    later = line.alarms.mark()
    line.alarms.evaluate(line.batch(), line.judged(point(3, N1, stream=5)), line.now)
    assert line.alarms.to_bytes() != before
    line.alarms.rollback(mark)
    assert line.alarms.to_bytes() == before
    del later


def test_a_snapshot_and_the_stored_rows_bring_the_same_state_back(line):
    line.see(points([N1, 0, N5]), reading(0, 25.03))
    line.see(point(3, N5 | N1, flags=PointFlag.TRIAL, stream=3))
    snapshot = Alarms()
    snapshot.from_bytes(line.alarms.to_bytes())
    restored = Alarms()
    standing = {1: Standing(2, line.event_rows[1]), 2: Standing(1, line.event_rows[3])}
    ids = Ids(alarm=2, event=max(line.event_rows), outbox=len(line.outbox), seq=line.alarms.ids.seq)
    restored.restore(
        [a for a in line.alarm_rows.values() if a.state != "closed"],
        [e for e in line.event_rows.values() if e.state == "open"],
        ids,
        standing,
    )
    for other in (snapshot, restored):
        assert other.open_alarms() == line.alarms.open_alarms()
        batches = [line.batch(), line.batch()]
        batches[1].id = batches[0].id
        mark = line.alarms.mark()
        for alarms, batch in zip((line.alarms, other), batches, strict=True):
            alarms.evaluate(batch, line.judged(point(9, 0), reading(9)), line.now)
        assert batches[0].alarms == batches[1].alarms
        assert batches[0].events == batches[1].events
        line.alarms.rollback(mark)


def test_the_plant_in_four_numbers(line):
    line.see(points([N1, 0]), reading(0, 25.03))
    assert line.alarms.summary() == {
        "unseen": 2,
        "active": 1,
        "worst_unseen": 1,
        "worst_active": 1,
    }
    assert [alarm.alarm_class for alarm in line.alarms.of_stream(1)] == ["spec", "control"]
