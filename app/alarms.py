"""Verdicts, silence and people's acts become alarms: rows of the batch that is being built."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.alarm_acts import Conflict
from app.alarm_book import CLASS_OF, AlarmBook, Held, Ids, Key, Mark
from app.alarm_rows import AlarmRows
from app.alarm_step import (
    Continued,
    Covered,
    Happening,
    Returned,
    ShelfOver,
    Step,
    Uncovered,
    Withdrew,
    waits_to_be_seen,
)
from app.duration import UNITS
from app.events import (
    Begun,
    Newest,
    Signal,
    cleared,
    correct,
    grown,
    signal_of,
    signals,
)
from app.judged import (
    NEVER,
    Judged,
    Past,
    Run,
    Series,
    in_the_past,
    meaning,
    past_of,
    place,
    points_of,
    readings_of,
    runs,
)
from app.sentences import StreamFacts
from app.silence import Found
from app.store.batch import Alarm, AlarmClass, Batch, Event
from app.store.queries import Standing

__all__ = ["NEVER", "PAGE_WITHIN", "Alarms", "Ids", "Judged", "Mark", "StreamFacts"]

PAGE_WITHIN: Final = 15 * UNITS["m"]
"""Nobody is called for what is older than this when it arrives."""


CLASSES: Final[tuple[AlarmClass, ...]] = ("spec", "control", "silent", "missed")
"""Worst first."""

ASIDE: Final = frozenset({"shelved", "suppressed"})
"""States in which an alarm that is true calls for nothing."""


class Alarms:
    """All open events and alarms; everything that changes them goes through here.

    Nothing here waits or reads a clock. What a batch that could not be written has changed is
    undone with ``rollback``.
    """

    def __init__(self, page_within: int = PAGE_WITHIN) -> None:
        self._book = AlarmBook()
        self.page_within = page_within

    # what is open

    def find(self, alarm: int) -> Alarm | None:
        """An open alarm by its id; a closed one is in the store alone."""
        return self._book.find(alarm)

    def open_alarms(self) -> list[Alarm]:
        """All alarms that are not closed, oldest first."""
        return self._book.alarms()

    def of_stream(self, stream: int) -> list[Alarm]:
        """The open alarms of a stream, worst first."""
        found = (self._book[Key(stream, one)].alarm for one in CLASSES)
        return [alarm for alarm in found if alarm is not None]

    def silent(self) -> dict[int, Alarm | None]:
        """Streams that are known to be silent, and lost sources as negative numbers."""
        return {key.stream: self._book[key].alarm for key in self._book.open_keys("silent")}

    def in_use_no_more(self, retired: Collection[int]) -> list[int]:
        """Which of these streams, that get no more readings, have an alarm that waits for one."""
        if not retired:
            return []
        found = {a.stream for a in self._book.alarms() if a.stream in retired and a.active}
        return sorted(found)

    def summary(self) -> dict[str, int | None]:
        """The plant in four numbers, for a stack light: how many, and the worst priority."""
        found = self._book.alarms()
        unseen = [a.priority for a in found if waits_to_be_seen(a)]
        active = [a.priority for a in found if a.active and a.state not in ASIDE]
        return {
            "unseen": len(unseen),
            "active": len(active),
            "worst_unseen": min(unseen, default=None),
            "worst_active": min(active, default=None),
        }

    @property
    def channels(self) -> tuple[str, ...] | None:
        """The channels that new announcements are for, Announcer.channels; None: for all."""
        return self._book.channels

    @channels.setter
    def channels(self, names: tuple[str, ...] | None) -> None:
        self._book.channels = names

    @property
    def ids(self) -> Ids:
        """The highest numbers given so far."""
        return self._book.ids

    # verdicts

    def evaluate(self, batch: Batch, judged: Judged, now: int) -> None:
        """Add to the batch what its verdicts mean: events, alarms, calls, parts to be held."""
        rows = AlarmRows(self._book, batch, now, judged.describe, self.page_within)
        self._end_shelves(rows)
        points = points_of(judged.points, judged.page_age_us)
        newest = points_of(judged.newest_points)
        past = in_the_past(points, newest)
        self._live(rows, points, past)
        if past.any() or len(judged.changed) or len(judged.withdrawn):
            changed = points_of(judged.changed), points_of(judged.changed_was)
            found = past_of(points, past, *changed, points_of(judged.withdrawn))
            self._correct(rows, "control", found, newest, judged.past_events)

        readings = readings_of(judged.readings, judged.reading_age_us)
        newest = readings_of(judged.newest_readings)
        past = in_the_past(readings, newest)
        self._live(rows, readings, past)
        if past.any() or len(judged.corrected):
            changed = readings_of(judged.corrected), readings_of(judged.corrected_was)
            found = past_of(readings, past, *changed, readings_of(judged.corrected[:0]))
            self._correct(rows, "spec", found, newest, judged.past_events)
        rows.done()

    def _live(self, rows: AlarmRows, series: Series, past: NDArray[np.bool_]) -> None:
        """Take in rows in their order; streams where nothing is wrong cost no Python."""
        if not len(series.rows):
            return
        stream = series.rows["stream"]
        self._book.ensure(int(stream.max()))
        live = series.counts & ~past
        touchy = self._book.touchy(series.alarm_class)
        wrong = live & (series.mask != 0)
        if wrong.any():
            touchy = touchy.copy()
            touchy[stream[wrong]] = True
        concerned = touchy[stream]
        for run in runs(series, np.flatnonzero(live & concerned)):
            self._run(rows, series, run)
        if series.alarm_class == "spec":
            good = live & ~concerned
            self._book.remember_good(stream[good], series.rows["time"][good])

    def _run(self, rows: AlarmRows, series: Series, run: Run) -> None:
        """Rows of a stream that signal the same: events begin, grow or end."""
        key = Key(run.stream, series.alarm_class)
        found = signals(series.alarm_class, run.mask, advisory=run.advisory)
        if found or self._book[key].events:
            self._advance(rows, key, found, series, run)
        if series.alarm_class != "spec":
            return
        if found:
            rows.contain(key, series.rows[run.rows])
        else:
            last = series.rows[run.rows[-1:]]
            self._book.remember_good(last["stream"], last["time"])

    def _advance(
        self, rows: AlarmRows, key: Key, found: tuple[Signal, ...], series: Series, run: Run
    ) -> None:
        held = self._book[key]
        first, last = series.rows[run.rows[0]], series.rows[run.rows[-1]]
        count = len(run.rows)
        events: dict[Signal, Event] = {}
        for one, event in held.events.items():
            if one in found:
                said = rows.say(key, one, last, event.count + count, event.first_time)
                events[one] = grown(event, count, place(last), said)
                rows.events[event.id] = events[one]
            else:
                rows.events[event.id] = cleared(event)
        begun = []
        for one in found:
            if one not in events:
                new = Begun(one, place(first), place(last), count, last, open=True)
                retrospective = bool(series.retrospective[run.rows].all())
                events[one] = rows.begin(key, held.alarm, new, retrospective=retrospective)
                begun.append(events[one])
        real = [event for event in begun if not event.advisory]
        lead = rows.worst(key, (*rows.leading(held, afresh=bool(real)), *events.values()), last)
        after = Held(held.alarm, events, held.standing + len(real), lead)
        self._book[key] = after
        page = rows.pages(run.age, found, rows.facts(key.stream))
        happening: Happening
        if real:
            happening = rows.occurred(key, after, real, place(last), count=count, page=page)
        elif any(not one.advisory for one in events):
            happening = Continued(count, place(last), rows.sentence(key, after), page)
        elif any(not one.advisory for one in held.events):
            happening = Returned(rows.sentence(key, after))
        else:
            return
        rows.happen(key, happening)

    # corrections

    def _correct(
        self,
        rows: AlarmRows,
        alarm_class: AlarmClass,
        found: Mapping[int, Past],
        newest: Series,
        stored: Iterable[Event],
    ) -> None:
        """Take in what is otherwise in the past: late rows, corrected ones and withdrawn ones."""
        if not found:
            return
        ends = {
            int(row["stream"]): Newest(place(row), meaning(newest, i), row)
            for i, row in enumerate(newest.rows)
            if newest.counts[i]
        }
        for stream, past in found.items():
            key = Key(stream, alarm_class)
            self._correct_stream(rows, key, past, ends.get(stream), stored)
            parts = [delta.row for delta in past.deltas if delta.now]
            if alarm_class == "spec" and parts:
                rows.contain(key, np.array(parts, parts[0].dtype))

    def _correct_stream(
        self,
        rows: AlarmRows,
        key: Key,
        past: Past,
        newest: Newest | None,
        stored: Iterable[Event],
    ) -> None:
        held = self._book[key]
        # What changed in this batch is newer than what the store said before it.
        known = {
            event.id: event
            for event in (*stored, *rows.events.values(), *held.events.values())
            if Key(event.stream, CLASS_OF[event.kind]) == key
        }
        result = correct(known.values(), past.deltas, newest)
        at_hand = {delta.place: delta.row for delta in past.deltas if delta.now}
        if newest is not None:
            at_hand[newest.place] = newest.row
        events = dict(held.events)
        vanished = 0
        for found in result.changed:
            event = rows.said_again(key, found, at_hand)
            rows.events[event.id] = known[event.id] = event
            one = signal_of(event)
            if event.state == "open":
                events[one] = event
            elif one in events and events[one].id == event.id:
                del events[one]
            if event.state == "withdrawn" and held.alarm and event.alarm == held.alarm.id:
                vanished += 1
        begun = []
        for new in result.begun:
            event = rows.begin(key, held.alarm, new, retrospective=past.retrospective)
            if new.open:
                events[new.signal] = event
            if not event.advisory:
                begun.append(event)
        left = [*rows.leading(held, afresh=bool(begun)), *events.values(), *begun]
        if held.lead is not None and rows.events.get(held.lead.id, held.lead).state == "withdrawn":
            mine = None if held.alarm is None else held.alarm.id
            left += [e for e in known.values() if e.alarm == mine and e.state != "withdrawn"]
        lead = rows.worst(key, left, None if newest is None else newest.row)
        standing = held.standing - vanished + len(begun)
        self._book[key] = Held(held.alarm, events, standing, lead)
        self._after_correction(rows, key, past, begun, vanished)

    def _after_correction(
        self, rows: AlarmRows, key: Key, past: Past, begun: list[Event], vanished: int
    ) -> None:
        held = self._book[key]
        net = sum(_real(delta.now) - _real(delta.was) for delta in past.deltas)
        if begun:
            found = [signal_of(event) for event in begun]
            last = max((event.last_time, event.last_key) for event in begun)
            page = rows.pages(past.age, found, rows.facts(key.stream))
            count = max(net, 0 if held.alarm else 1)
            new = rows.occurred(key, held, begun, last, count=count, page=page)
            rows.happen(key, new)
        elif vanished and held.standing <= 0:
            rows.happen(key, Withdrew())
            return
        elif held.alarm is not None:
            said = rows.sentence(key, held)
            if net or vanished or said != held.alarm.sentence:
                rows.happen(key, Continued(net, None, said))
        held = self._book[key]
        if held.alarm is not None and not any(not one.advisory for one in held.events):
            rows.happen(key, Returned(rows.sentence(key, held)))

    # silence and the clock

    def due(self, now: int) -> bool:
        """Whether the clock alone has something to do here."""
        return bool(self._book.shelves_over(now))

    def listen(self, batch: Batch, found: Found, now: int) -> None:
        """Add to the batch what has gone silent and what is heard again; ends shelves too."""
        rows = AlarmRows(self._book, batch, now, _nobody, self.page_within)
        self._end_shelves(rows)
        for quiet in found.quiet:
            rows.go_quiet(quiet)
        for stream in found.ceased:
            for alarm_class in CLASSES:
                rows.cease(Key(stream, alarm_class))
        for stream in found.heard:
            rows.hear(Key(stream, "silent"))
        for stream, by in found.covered:
            rows.happen(Key(stream, "silent"), Covered(by))
        for stream in found.uncovered:
            rows.happen(Key(stream, "silent"), Uncovered())
        rows.done()

    def _end_shelves(self, rows: AlarmRows) -> None:
        for key in self._book.shelves_over(rows.now):
            rows.happen(key, ShelfOver())

    # people

    def take(self, batch: Batch, done: Step, now: int) -> Alarm:
        """Add a person's act, made by a function of app.alarm_acts, to the batch.

        Raises:
            Conflict: the act was made on an older form of the alarm than the one that is open.
        """
        rows = AlarmRows(self._book, batch, now, _nobody, self.page_within)
        key = self._book.key_of(done.alarm.id)
        if key is None:
            alarm = rows.write_closed(done)
        else:
            current = self._book[key].alarm
            if current is not None and current.version + len(done.changes) != done.alarm.version:
                raise Conflict(current)
            alarm = rows.write(key, done)
        rows.done()
        return alarm

    # undo and restart

    def mark(self) -> Mark:
        """Remember this place, for as long as the mark is held."""
        return self._book.mark()

    def rollback(self, mark: Mark) -> None:
        """Undo everything since the mark; later marks are void."""
        self._book.rollback(mark)

    def restore(
        self,
        alarms: Iterable[Alarm],
        events: Iterable[Event],
        ids: Ids,
        standing: Mapping[int, Standing] | None = None,
    ) -> None:
        """Take up the open alarms and events of the store and its highest ids.

        ``standing`` has, per open alarm, its events that are not withdrawn.
        """
        self._book.restore(alarms, events, ids, standing)

    def to_bytes(self) -> bytes:
        """The whole state, for the snapshot."""
        return self._book.to_bytes()

    def from_bytes(self, saved: bytes) -> None:
        """Take up what ``to_bytes`` wrote."""
        self._book.from_bytes(saved)


def _real(found: frozenset[Signal]) -> bool:
    """Whether a row signals more than advice."""
    return any(not one.advisory for one in found)


def _nobody(stream: int) -> StreamFacts:
    raise LookupError(f"nothing is to be said about stream {stream} here")
