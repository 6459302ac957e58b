"""Whatever happens in whatever order, some things stay true of alarms."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.alarm_acts import (
    Conflict,
    Refused,
    acknowledge,
    close,
    comment,
    give_cause,
    shelve,
    unshelve,
)
from app.alarm_book import CLASS_OF
from app.alarm_step import RINGS
from app.alarms import Alarms
from app.silence import Found, Quiet
from app.store.queries import Standing
from app.store.rows import PointFlag, ReadingFlag
from tests.app.verdict_rows import MINUTE, N1, N1_LOW, N2, N5, SECOND, Line, at, point, reading

MASKS = st.sampled_from([0, 0, N1, N1_LOW, N5, N1 | N5, N2 | N5, N2])
VALUES = st.sampled_from([25.0, 25.0, 25.03, 24.9])
STREAMS = st.integers(1, 3)
FLAGS = st.sampled_from([0, 0, 0, PointFlag.TRIAL, PointFlag.EXCLUDED])
AGES = st.sampled_from([0, 5 * SECOND, 20 * MINUTE])


def empty(make: Callable[..., Any]) -> Any:
    return make(0)[:0]


@pytest.mark.slow
@given(
    rows=st.lists(st.tuples(STREAMS, MASKS, VALUES, FLAGS), max_size=30),
    cuts=st.sets(st.integers(0, 30)),
)
@settings(max_examples=150, deadline=None)
def test_batches_split_anywhere_give_the_same_alarms_and_events(rows, cuts):
    pts = [point(i, mask, stream, flags) for i, (stream, mask, _, flags) in enumerate(rows)]
    rds = [reading(i, value, stream) for i, (stream, _, value, _) in enumerate(rows)]
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    outcomes = []
    for bounds in ([0, len(rows)], edges):
        line = Line()
        for start, end in pairwise(bounds):
            line.see(
                np.concatenate([empty(point), *pts[start:end]]),
                np.concatenate([empty(reading), *rds[start:end]]),
            )
        outcomes.append(settled_form(line))
    assert outcomes[0] == outcomes[1]


def settled_form(line: Line) -> Any:
    """What must not depend on batches: everything but numbers given and the history's lines."""
    names = {a.id: (a.stream, a.alarm_class) for a in line.alarm_rows.values()}
    alarms = [
        msgspec.structs.replace(a, id=0, seq=0, version=0, opened=0)
        for a in sorted(line.alarm_rows.values(), key=lambda a: names[a.id])
    ]
    events = sorted(
        (e.stream, e.kind, e.rule, e.side, e.first_time, e.last_time, e.count, e.state,
         e.priority, e.advisory, e.sentence, names.get(e.alarm))
        for e in line.event_rows.values()
    )  # fmt: skip
    parts = sorted(
        (c.stream, c.time, c.value, c.side, c.last_good_time, names[c.alarm])
        for c in line.containments
    )
    return alarms, events, parts


class Shift(RuleBasedStateMachine):
    """Points, corrections, silence, people and the clock, and a service that stops and starts."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.second = 0
        self.history: dict[int, dict[int, Any]] = {}  # points by stream and second
        self.ended: set[int] = set()

    def next_second(self) -> int:
        self.second += 1
        self.line.now = max(self.line.now, at(self.second))
        return self.second

    @rule(stream=STREAMS, mask=MASKS, value=VALUES, flags=FLAGS, age=AGES)
    def measure(self, stream, mask, value, flags, age):
        second = self.next_second()
        row = point(second, mask, stream, flags)
        self.history.setdefault(stream, {})[second] = row
        before = dict(self.line.alarm_rows)
        batch = self.line.see(row, reading(second, value, stream), age=age)
        fresh = age <= 15 * MINUTE
        for sent in batch.outbox:
            assert fresh or not sent.payload["page"] or sent.payload["change"] == "unshelved"
        real = mask and not flags
        if real:
            (alarm,) = [a for a in self.line.alarms.of_stream(stream) if a.alarm_class == "control"]
            old = before.get(alarm.id)
            kinds = [c.kind for c in batch.alarm_changes if c.alarm == alarm.id]
            if old is None or old.state in {"latched", "rtn_unack", "withdrawn", "out_of_service"}:
                assert alarm.state == "unack"
                assert RINGS & set(kinds)

    @rule(stream=STREAMS, value=VALUES)
    def measure_late(self, stream, value):
        self.line.see(
            readings=reading(self.second - 0.5, value, stream, flags=ReadingFlag.LATE),
            age=SECOND,
        )

    @rule(stream=STREAMS, back=st.integers(0, 4), mask=MASKS, gone=st.booleans())
    def correct(self, stream, back, mask, gone):
        known = self.history.get(stream, {})
        if len(known) <= back + 1:
            return
        second = sorted(known)[-1 - back]
        was = known.pop(second)
        stored = [e for e in self.line.event_rows.values() if e.last_time >= at(second)]
        changes = {"withdrawn": was}
        if not gone:
            now = was.copy()
            now["violations"] = mask
            known[second] = now
            changes = {"changed": now, "changed_was": was}
        counted = [s for s in known if not known[s]["flags"][0] & PointFlag.EXCLUDED]
        newest = known[max(counted)] if counted else was[:0]
        batch = self.line.see(**changes, newest_points=newest, past_events=stored)
        assert {r.payload["change"] for r in batch.outbox if r.payload["page"]} <= {"unshelved"}

    @rule(stream=STREAMS, what=st.sampled_from(["quiet", "heard", "covered", "back", "ceased"]))
    def listen(self, stream, what):
        found = {
            "quiet": Found(
                [Quiet(stream, "bore", "bore", "silent", self.line.now, "No reading.")], []
            ),
            "heard": Found([], [stream]),
            "covered": Found([], [], covered=[(stream, "source:press")]),
            "back": Found([], [], uncovered=[stream]),
            "ceased": Found([], [], ceased=[stream]),
        }[what]
        batch = self.line.batch()
        self.line.alarms.listen(batch, found, self.line.now)
        self.line.store(batch)
        if what == "ceased":
            assert not any(alarm.active for alarm in self.line.alarms.of_stream(stream))

    @rule(minutes=st.integers(1, 30))
    def pass_time(self, minutes):
        self.line.now += minutes * MINUTE

    @rule(choose=st.randoms(use_true_random=False), until=st.sampled_from([None, MINUTE]))
    @precondition(lambda self: self.line.alarm_rows)
    def answer(self, choose, until):
        number = choose.choice(sorted(self.line.alarm_rows))
        end = None if until is None else self.line.now + until
        acts: list[Callable[..., Any]] = [
            acknowledge,
            lambda *a: give_cause(*a, cause="Wear", action="Changed"),
            close,
            lambda *a: comment(*a, "hm"),
            lambda *a: shelve(*a, reason="x", until=end),
            unshelve,
        ]
        before = self.line.alarm_rows[number]
        try:
            self.line.act(choose.choice(acts), number)
        except (Conflict, Refused):
            assert self.line.alarm_rows[number] is before

    @rule()
    def restart_from_snapshot(self):
        saved = self.line.alarms.to_bytes()
        self.line.alarms = Alarms()
        self.line.alarms.from_bytes(saved)
        assert self.line.alarms.to_bytes() == saved

    @rule()
    def restart_from_store(self):
        line = self.line
        standing: dict[int, Standing] = {}
        for event in line.event_rows.values():
            if event.alarm is not None and event.state != "withdrawn":
                count, lead = standing.get(event.alarm, Standing(0))
                if line.alarm_rows[event.alarm].sentence.startswith(event.sentence):
                    lead = event
                standing[event.alarm] = Standing(count + 1, lead)
        expected = line.alarms.open_alarms()
        ids = line.alarms.ids
        line.alarms = Alarms()
        line.alarms.restore(
            [a for a in line.alarm_rows.values() if a.state != "closed"],
            [e for e in line.event_rows.values() if e.state == "open"],
            ids,
            standing,
        )
        assert line.alarms.open_alarms() == expected

    @rule(stream=STREAMS, mask=MASKS)
    def lose_a_batch(self, stream, mask):
        before = self.line.alarms.to_bytes()
        mark = self.line.alarms.mark()
        self.line.alarms.evaluate(
            self.line.batch(),
            self.line.judged(point(self.second + 1, mask, stream), reading(0, 25.03, stream)),
            self.line.now,
        )
        self.line.alarms.rollback(mark)
        assert self.line.alarms.to_bytes() == before

    @invariant()
    def at_most_one_is_open_per_stream_and_class(self):
        open_ones = [a for a in self.line.alarm_rows.values() if a.state != "closed"]
        keys = [(a.stream, a.alarm_class) for a in open_ones]
        assert len(keys) == len(set(keys))
        assert self.line.alarms.open_alarms() == sorted(open_ones, key=lambda a: a.id)

    @invariant()
    def versions_and_sequence_count_up(self):
        for alarm in self.line.alarm_rows.values():
            versions = [c.version for c in self.line.changes if c.alarm == alarm.id]
            assert versions == list(range(1, alarm.version + 1))
        seqs = [a.seq for a in self.line.written]
        for number in self.line.alarm_rows:
            mine = [a.seq for a in self.line.written if a.id == number]
            assert mine == sorted(set(mine))
        assert len(seqs) == len(set(seqs))
        assert len({row.id for row in self.line.outbox}) == len(self.line.outbox)

    @invariant()
    def closed_stays_closed(self):
        closed = {a.id for a in self.line.alarm_rows.values() if a.state == "closed"}
        assert self.ended <= closed
        self.ended = closed

    @invariant()
    def an_alarm_is_active_as_long_as_one_of_its_events_is_open(self):
        true_now = {
            (e.stream, CLASS_OF[e.kind])
            for e in self.line.event_rows.values()
            if e.state == "open" and not e.advisory
        }
        active = {(a.stream, a.alarm_class) for a in self.line.alarm_rows.values() if a.active}
        assert active == true_now

    @invariant()
    def an_alarm_tells_its_worst_event_and_counts_the_others(self):
        for alarm in self.line.alarms.open_alarms():
            mine = [e for e in self.line.event_rows.values() if e.alarm == alarm.id]
            standing = [e for e in mine if e.state != "withdrawn"]
            if alarm.state == "withdrawn" or "correction took away" in alarm.sentence:
                continue
            assert any(alarm.sentence.startswith(e.sentence) for e in standing)
            if alarm.alarm_class == "control" and alarm.active:
                worst = min(e.priority for e in standing if e.state == "open")
                lead = next(e for e in standing if alarm.sentence.startswith(e.sentence))
                assert lead.priority <= worst
            assert ("other signal" in alarm.sentence) == (
                len(standing) > 1 and alarm.alarm_class != "silent"
            )

    @invariant()
    def closing_needs_what_it_needs(self):
        for alarm in self.line.alarm_rows.values():
            if alarm.state != "closed":
                continue
            kinds = self.line.kinds(alarm.id)
            assert alarm.seen_by is not None
            assert not alarm.active
            if alarm.needs_cause and "withdrawn" not in kinds:
                assert alarm.cause
                assert alarm.action


TestShift = Shift.TestCase
TestShift.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
