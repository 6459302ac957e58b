"""Every open event and alarm in memory, with the way back when a batch could not be written."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.events import Signal, signal_of
from app.store.batch import Alarm, AlarmClass, Event
from app.store.queries import Standing

UNKNOWN: Final = np.iinfo(np.int64).min
ROOM: Final = 1024


class Key(NamedTuple):
    """One alarm at most is open for each of these; a lost source stands as minus its id."""

    stream: int
    alarm_class: AlarmClass


class Ids(msgspec.Struct):
    """The highest number given so far of each kind of row."""

    alarm: int = 0
    event: int = 0
    outbox: int = 0
    seq: int = 0  # of changes of alarms


class Held(msgspec.Struct, frozen=True):
    """What is open for one stream and class; replaced, never changed in place."""

    alarm: Alarm | None = None
    events: Mapping[Signal, Event] = {}
    standing: int = 0  # events of the alarm that no correction took away
    lead: Event | None = None  # the worst of them, with whose sentence the alarm's begins


NOTHING: Final = Held()


class Mark:
    """A place to go back to; whoever holds it keeps the way back, and letting go frees it."""

    __slots__ = ("ids", "later", "undo")

    def __init__(self, ids: Ids) -> None:
        self.ids = msgspec.structs.replace(ids)
        self.undo: list[Callable[[], None]] = []
        self.later: Mark | None = None


class Saved(msgspec.Struct):
    """The book as bytes hold it."""

    ids: Ids
    alarms: list[Alarm]
    events: list[Event]
    standing: dict[int, Standing]  # by alarm
    last_good: bytes


CLASS_OF: Final[dict[str, AlarmClass]] = {
    "location": "control",
    "dispersion": "control",
    "spec": "spec",
    "silent": "silent",
    "missed": "missed",
}


class AlarmBook:
    """What is open, found by stream and class or by the alarm's id.

    One thread at a time changes it; others may read meanwhile.
    """

    def __init__(self) -> None:
        self.ids = Ids()
        self.channels: tuple[str, ...] | None = None
        self._held: dict[Key, Held] = {}
        self._keys: dict[int, Key] = {}  # by alarm
        self._touchy: dict[AlarmClass, NDArray[np.bool_]] = {
            "control": np.zeros(ROOM, np.bool_),
            "spec": np.zeros(ROOM, np.bool_),
        }
        self._last_good = np.full(ROOM, UNKNOWN)
        self._shelved: dict[int, int] = {}  # by alarm: when it is over
        self._mark: Mark | None = None

    def __getitem__(self, key: Key) -> Held:
        """What is open for this stream and class."""
        return self._held.get(key, NOTHING)

    def __setitem__(self, key: Key, held: Held) -> None:
        """Keep what is open now; a closed alarm is let go."""
        before = self._held.get(key, NOTHING)
        if self._mark is not None:
            self._mark.undo.append(lambda: self._put(key, before))
        self._put(key, held)

    def _put(self, key: Key, held: Held) -> None:
        before = self._held.get(key, NOTHING).alarm
        if before is not None:
            self._keys.pop(before.id, None)
            self._shelved.pop(before.id, None)
        if held.alarm is not None:
            self._keys[held.alarm.id] = key
            if held.alarm.shelved_until is not None:
                self._shelved[held.alarm.id] = held.alarm.shelved_until
        if held.alarm is None and not held.events and not held.standing:
            self._held.pop(key, None)
        else:
            self._held[key] = held
        touchy = self._touchy.get(key.alarm_class)
        if touchy is not None and key.stream >= 0:
            self.ensure(key.stream)
            self._touchy[key.alarm_class][key.stream] = bool(held.events)

    def ensure(self, stream: int) -> None:
        """Make room for streams up to this one."""
        room = len(self._last_good)
        if stream < room:
            return
        more = max(stream + 1 - room, room // 2)
        self._last_good = np.concatenate([self._last_good, np.full(more, UNKNOWN)])
        for alarm_class, touchy in self._touchy.items():
            self._touchy[alarm_class] = np.concatenate([touchy, np.zeros(more, np.bool_)])

    def touchy(self, alarm_class: AlarmClass) -> NDArray[np.bool_]:
        """Per stream, whether it has an open event that its next row may end."""
        return self._touchy[alarm_class]

    def find(self, alarm: int) -> Alarm | None:
        """An open alarm by its id."""
        key = self._keys.get(alarm)
        return None if key is None else self._held[key].alarm

    def key_of(self, alarm: int) -> Key | None:
        """Where an open alarm is kept."""
        return self._keys.get(alarm)

    def alarms(self) -> list[Alarm]:
        """All open alarms, oldest first."""
        found = [held.alarm for held in list(self._held.values()) if held.alarm is not None]
        return sorted(found, key=lambda alarm: alarm.id)

    def open_keys(self, alarm_class: AlarmClass) -> list[Key]:
        """Where an event of this class is open."""
        return [
            key
            for key, held in list(self._held.items())
            if key.alarm_class == alarm_class and held.events
        ]

    def shelves_over(self, now: int) -> list[Key]:
        """Where the time on the shelf has run out."""
        return [self._keys[alarm] for alarm, end in list(self._shelved.items()) if end <= now]

    def last_good(self, stream: int) -> int | None:
        """When the stream's newest reading within specification was measured."""
        time = int(self._last_good[stream]) if stream < len(self._last_good) else UNKNOWN
        return None if time == UNKNOWN else time

    def remember_good(self, streams: NDArray[np.int32], times: NDArray[np.int64]) -> None:
        """Keep when readings within specification were measured; the last of a stream counts."""
        if self._mark is not None:
            before = self._last_good[streams]

            def put_back() -> None:
                self._last_good[streams] = before

            self._mark.undo.append(put_back)
        self._last_good[streams] = times

    # the way back

    def mark(self) -> Mark:
        """Remember this place; changes from here on can be undone while the mark is held."""
        mark = Mark(self.ids)
        if self._mark is not None:
            self._mark.later = mark
        self._mark = mark
        return mark

    def rollback(self, mark: Mark) -> None:
        """Go back to a mark; those made after it are void."""
        chain: list[Mark] = []
        at: Mark | None = mark
        while at is not None:
            chain.append(at)
            at = at.later
        for later in reversed(chain):
            for undo in reversed(later.undo):
                undo()
        mark.undo.clear()
        mark.later = None
        self.ids = msgspec.structs.replace(mark.ids)
        self._mark = mark

    # restart

    def restore(
        self,
        alarms: Iterable[Alarm],
        events: Iterable[Event],
        ids: Ids,
        standing: Mapping[int, Standing] | None = None,
    ) -> None:
        """Take up what the store holds as open.

        ``standing`` has per open alarm its events that are not withdrawn; without it only the
        open ones are known, and an alarm can be withdrawn for fewer corrections than it should.
        """
        channels = self.channels
        self.__init__()  # type: ignore[misc]
        self.channels = channels
        self.ids = msgspec.structs.replace(ids)
        held: dict[Key, Held] = {}
        open_events: dict[Key, dict[Signal, Event]] = {}
        for event in events:
            if event.state == "open":
                key = Key(event.stream, CLASS_OF[event.kind])
                open_events.setdefault(key, {})[signal_of(event)] = event
        for alarm in alarms:
            if alarm.state == "closed":
                continue
            key = Key(alarm.stream, alarm.alarm_class)
            mine = [e for e in open_events.get(key, {}).values() if e.alarm == alarm.id]
            known = (standing or {}).get(alarm.id, Standing(len(mine)))
            held[key] = Held(alarm, open_events.pop(key, {}), *known)
        held.update({key: Held(None, found) for key, found in open_events.items()})
        for key, one in held.items():
            self._put(key, one)

    def to_bytes(self) -> bytes:
        """The book as bytes, for the snapshot beside the spool."""
        held = [self._held[key] for key in sorted(self._held)]
        events = (event for one in held for event in one.events.values())
        return msgspec.msgpack.encode(
            Saved(
                self.ids,
                [one.alarm for one in held if one.alarm is not None],
                sorted(events, key=lambda event: event.id),
                {
                    one.alarm.id: Standing(one.standing, one.lead)
                    for one in held
                    if one.alarm is not None
                },
                self._last_good.tobytes(),
            )
        )

    def from_bytes(self, saved: bytes) -> None:
        """Take up what ``to_bytes`` wrote."""
        state = msgspec.msgpack.decode(saved, type=Saved)
        self.restore(state.alarms, state.events, state.ids, state.standing)
        good = np.frombuffer(state.last_good, np.int64)
        self.ensure(len(good) - 1)
        self._last_good[: len(good)] = good
