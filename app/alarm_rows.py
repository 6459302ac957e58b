"""The rows that one evaluation adds to its batch: events, alarms, history, calls, parts to be held."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.alarm_book import AlarmBook, Held, Key
from app.alarm_step import SYSTEM, Ceased, Happening, Occurred, Returned, Step, Subject, step
from app.announcement import announcement
from app.events import PRIORITY_RUN, Begun, Signal, cleared, priority, signal_of
from app.judged import evidence
from app.sentences import (
    BEYOND_LIMITS,
    StreamFacts,
    counted,
    in_short,
    joined,
    out_of_spec,
    reach,
    signal,
)
from app.silence import Quiet
from app.store.batch import Alarm, AlarmChange, Batch, Containment, Event

ANSWERS: Final = frozenset({"seen", "cause", "comment", "shelved", "unshelved", "closed"})
"""Changes by which people answer a call: whoever was called wants to know them."""


GONE: Final = (
    "A correction took away the worst signal; it has {}. Look at the chart and the history."
)


def calls(one: Signal, facts: StreamFacts) -> bool:
    """Whether an event calls somebody; the others mark the screens."""
    if one.advisory:
        return False
    return facts.class_ == "critical" or priority(one) != PRIORITY_RUN


def needs_cause(one: Signal, facts: StreamFacts) -> bool:
    """Whether an alarm with this event closes only with cause and action."""
    return one.kind == "spec" or (facts.class_ == "critical" and one.rule in BEYOND_LIMITS)


class AlarmRows:
    """Writes to the batch and to the book alike; a row that changes twice is there once."""

    def __init__(
        self,
        book: AlarmBook,
        batch: Batch,
        now: int,
        describe: Callable[[int], StreamFacts],
        page_within: int,
    ) -> None:
        self.book = book
        self.now = now
        self.events = {event.id: event for event in batch.events}
        self._alarms = {alarm.id: alarm for alarm in batch.alarms}
        self._batch = batch
        self._describe = describe
        self._facts: dict[int, StreamFacts] = {}
        self._page_within = page_within

    def done(self) -> None:
        """Hand the events and alarms over to the batch."""
        self._batch.events = list(self.events.values())
        self._batch.alarms = list(self._alarms.values())

    def facts(self, stream: int) -> StreamFacts:
        """What is known of a stream, asked for once."""
        if stream not in self._facts:
            self._facts[stream] = self._describe(stream)
        return self._facts[stream]

    def pages(self, age: int, found: Iterable[Signal], facts: StreamFacts) -> bool:
        """Whether somebody is called: it is fresh, and of a kind that calls."""
        return age <= self._page_within and any(calls(one, facts) for one in found)

    # events

    def say(self, key: Key, one: Signal, row: np.void, count: int, first_time: int) -> str:
        """An event in words, as its newest row has it."""
        facts = self.facts(key.stream)
        seen = evidence(key.alarm_class, row, one.kind, facts, count=count, first_time=first_time)
        if one.kind == "spec":
            good = self.book.last_good(key.stream)
            return out_of_spec(one.side, seen, facts, good, self.now)
        return signal(one.kind, one.rule, one.side, seen, facts, at=self.now)

    def said_again(
        self, key: Key, event: Event, at_hand: Mapping[tuple[int, int], np.void]
    ) -> Event:
        """A corrected event in the words of its last row, where that is at hand."""
        row = at_hand.get((event.last_time, event.last_key))
        if row is None or event.state == "withdrawn":
            return event
        said = self.say(key, signal_of(event), row, event.count, event.first_time)
        return msgspec.structs.replace(event, sentence=said)

    def begin(self, key: Key, alarm: Alarm | None, new: Begun, *, retrospective: bool) -> Event:
        """A new event of the open alarm, or of the one that it is about to raise."""
        ids = self.book.ids
        ids.event += 1
        one = new.signal
        event = Event(
            id=ids.event,
            stream=key.stream,
            alarm=None if one.advisory else alarm.id if alarm else ids.alarm + 1,
            kind=one.kind,
            rule=one.rule,
            side=one.side,
            first_time=new.first[0],
            first_key=new.first[1],
            last_time=new.last[0],
            last_key=new.last[1],
            count=new.count,
            state="open" if new.open else "cleared",
            priority=priority(one),
            retrospective=retrospective,
            advisory=one.advisory,
            sentence=self.say(key, one, new.row, new.count, new.first[0]),
        )
        self.events[event.id] = event
        return event

    # sentences of alarms

    def leading(self, held: Held, *, afresh: bool) -> list[Event]:
        """The event that the sentence began with, as it is now; what was settled leads no more."""
        if held.alarm is None or held.lead is None:
            return []
        if afresh and held.alarm.state in {"latched", "withdrawn"}:
            return []
        lead = self.events.get(held.lead.id, held.lead)
        return [] if lead.state == "withdrawn" else [lead]

    def worst(self, key: Key, found: Iterable[Event], row: np.void | None) -> Event | None:
        """The worst of some events: by priority, then what is true now, then what lies farthest out.

        ``row`` completes those that are open. Trial limits have no say.
        """
        real = {event.id: event for event in found if not event.advisory}.values()
        if not real:
            return None
        rank = min((event.priority, event.state != "open") for event in real)
        alike = [event for event in real if (event.priority, event.state != "open") == rank]
        if len(alike) == 1:
            return alike[0]
        return min(alike, key=lambda event: (-self._reach(key, event, row), event.id))

    def _reach(self, key: Key, event: Event, row: np.void | None) -> float:
        if row is None or event.state != "open" or event.rule not in BEYOND_LIMITS:
            return 0.0
        facts = self.facts(key.stream)
        seen = evidence(key.alarm_class, row, event.kind, facts, count=1, first_time=0)
        return reach(event.kind, event.side, seen)

    def sentence(self, key: Key, held: Held) -> str:
        """An alarm in words: its worst event, and how many other ones it has."""
        lead = held.lead
        if lead is None:
            return GONE.format(counted(held.standing, "other signal"))
        others = [
            event for event in held.events.values() if not event.advisory and event.id != lead.id
        ]
        still = lead.state == "open"
        over = held.standing - len(others) - 1
        if not others and over <= 0:
            return lead.sentence
        facts = self.facts(key.stream)
        names = [
            in_short(event.kind, event.rule, facts.version_at(event.last_time)) for event in others
        ]
        return joined(lead.sentence, names, over, still=still)

    # alarms

    def occurred(
        self,
        key: Key,
        held: Held,
        begun: list[Event],
        last: tuple[int, int],
        *,
        count: int,
        page: bool,
    ) -> Occurred:
        """What newly begun events mean to the alarm of their stream and class."""
        facts = self.facts(key.stream)
        found = [signal_of(event) for event in begun]
        return Occurred(
            subject=self.subject(key, facts),
            priority=min(event.priority for event in begun),
            rules=tuple(dict.fromkeys(event.rule for event in begun)),
            count=count,
            last=last,
            sentence=self.sentence(key, held),
            news=" ".join(event.sentence for event in begun),
            active=any(not event.advisory for event in held.events.values()),
            needs_cause=any(needs_cause(one, facts) for one in found),
            page=page,
        )

    def subject(self, key: Key, facts: StreamFacts) -> Subject:
        """What a new alarm would be about."""
        number = self.book.ids.alarm + 1
        return Subject(number, key.stream, facts.characteristic, facts.stream_name, key.alarm_class)

    def happen(self, key: Key, happening: Happening) -> None:
        """Take the alarm kept there on by one happening."""
        held = self.book[key]
        done = step(held.alarm, happening, self.now)
        if done is not None and done.alarm is not held.alarm:
            self.write(key, done)

    def write(self, key: Key, done: Step) -> Alarm:
        """Keep an alarm's new form, its history, and what has to be announced of it."""
        ids, held = self.book.ids, self.book[key]
        ids.seq += 1
        ids.alarm = max(ids.alarm, done.alarm.id)
        alarm = msgspec.structs.replace(done.alarm, seq=ids.seq)
        self._alarms[alarm.id] = alarm
        if alarm.state == "closed":
            self.book[key] = Held(None, held.events)
        else:
            self.book[key] = Held(alarm, held.events, held.standing, held.lead)
        self.record(alarm, done.changes, page=done.page)
        return alarm

    def record(self, alarm: Alarm, changes: list[AlarmChange], *, page: bool) -> None:
        """Write lines of an alarm's history, and to the outbox what has to leave."""
        self._batch.alarm_changes.extend(changes)
        for change in changes:
            if not page and not _answers(change, alarm):
                continue
            self.book.ids.outbox += 1
            row = announcement(
                self.book.ids.outbox, change, alarm, page=page, channels=self.book.channels
            )
            self._batch.outbox.append(row)

    def write_closed(self, done: Step) -> Alarm:
        """Write an alarm that is not open any more, such as one that got a comment."""
        self.book.ids.seq += 1
        alarm = msgspec.structs.replace(done.alarm, seq=self.book.ids.seq)
        self._alarms[alarm.id] = alarm
        self.record(alarm, done.changes, page=False)
        return alarm

    # silence

    def go_quiet(self, quiet: Quiet) -> None:
        """Raise what is not heard of; it calls somebody whatever the characteristic's class."""
        key = Key(quiet.stream, "silent")
        held = self.book[key]
        if held.events:
            return
        one = Signal("silent", quiet.rule, "")
        ids = self.book.ids
        ids.event += 1
        event = Event(
            id=ids.event,
            stream=key.stream,
            alarm=held.alarm.id if held.alarm else ids.alarm + 1,
            kind=one.kind,
            rule=one.rule,
            side="",
            first_time=quiet.since,
            first_key=0,
            last_time=quiet.since,
            last_key=0,
            count=1,
            state="open",
            priority=priority(one),
            sentence=quiet.sentence,
        )
        self.events[event.id] = event
        self.book[key] = Held(held.alarm, {one: event}, held.standing + 1, event)
        about = Subject(
            ids.alarm + 1, key.stream, quiet.characteristic, quiet.stream_name, "silent"
        )
        place = (quiet.since, 0)
        new = Occurred(about, event.priority, (one.rule,), 1, place, quiet.sentence, page=True)
        self.happen(key, new)

    def hear(self, key: Key) -> None:
        """What was silent is heard again."""
        if self._clear(key):
            self.happen(key, Returned())

    def cease(self, key: Key) -> None:
        """What an alarm is about is in use no more: no reading will ever end its events."""
        self._clear(key)
        alarm = self.book[key].alarm
        if alarm is not None and alarm.active:
            self.happen(key, Ceased())

    def _clear(self, key: Key) -> bool:
        held = self.book[key]
        for event in held.events.values():
            self.events[event.id] = cleared(event)
        if held.events:
            lead = held.lead and self.events.get(held.lead.id, held.lead)
            self.book[key] = Held(held.alarm, {}, held.standing, lead)
        return bool(held.events)

    # parts to be held

    def contain(self, key: Key, readings: NDArray[np.void]) -> None:
        """One row for each reading out of specification: a part that has to be found."""
        facts = self.facts(key.stream)
        good = self.book.last_good(key.stream)
        alarm = self.book[key].alarm
        times = readings["time"].tolist()
        first, last = facts.version_at(min(times)), facts.version_at(max(times))
        columns = (times, *(readings[name].tolist() for name in ("key", "value", "spec")))
        for time, number, value, side in zip(*columns, strict=True):
            version = first if first is last else facts.version_at(time)
            spec = (version.definition.get("spec") if version else None) or {}
            self._batch.containments.append(
                Containment(
                    stream=key.stream,
                    time=time,
                    key=number,
                    value=value,
                    side="upper" if side > 0 else "lower",
                    lower=spec.get("lower"),
                    upper=spec.get("upper"),
                    alarm=None if alarm is None else alarm.id,
                    last_good_time=good if good is not None and good < time else None,
                    recorded_at=self.now,
                )
            )


def _answers(change: AlarmChange, alarm: Alarm) -> bool:
    """Whether a change that calls nobody leaves all the same, so that a call can be taken back."""
    if alarm.paged:
        return change.kind not in {"extended", "rang", "escalated", "raised"}
    if change.who == SYSTEM and change.kind != "closed":
        return False
    return change.kind in ANSWERS and alarm.priority != PRIORITY_RUN
