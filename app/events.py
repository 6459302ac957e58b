"""Events: what a point or a reading signals, and how an event begins, grows, ends and vanishes."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from app.sentences import BEYOND_LIMITS
from app.store.batch import AlarmClass, Event
from rules.runs import decode

SPEC_UPPER, SPEC_LOWER = 1, 2
"""The bits of a reading's mask, as those of rules.runs are a point's."""

Side = Literal["upper", "lower", ""]


class Signal(NamedTuple):
    """What makes an event one: chart kind, rule and side; trial limits give advisory ones."""

    kind: str
    rule: str
    side: Side
    advisory: bool = False


SPEC_SIGNALS: Final = (
    (),
    (Signal("spec", "spec", "upper"),),
    (Signal("spec", "spec", "lower"),),
    (Signal("spec", "spec", "upper"), Signal("spec", "spec", "lower")),
)
"""By the bits of a reading's mask."""


@lru_cache(maxsize=4096)
def signals(alarm_class: AlarmClass, mask: int, *, advisory: bool = False) -> tuple[Signal, ...]:
    """What the bits of a point's or a reading's mask signal."""
    if not mask:
        return ()
    if alarm_class == "spec":
        return SPEC_SIGNALS[mask & (SPEC_UPPER | SPEC_LOWER)]
    return tuple(
        Signal(found.chart, found.rule, found.side or "", advisory) for found in decode(mask)
    )


PRIORITY_SPEC: Final = 1
PRIORITY_LIMITS: Final = 2
PRIORITY_RUN: Final = 3
PRIORITY_SILENT: Final = 4


def priority(signal: Signal) -> int:
    """1 outside specification, 2 outside control limits, 3 run rule, 4 no data."""
    if signal.kind == "spec":
        return PRIORITY_SPEC
    if signal.kind == "silent":
        return PRIORITY_SILENT
    return PRIORITY_LIMITS if signal.rule in BEYOND_LIMITS else PRIORITY_RUN


def signal_of(event: Event) -> Signal:
    """What an event is about."""
    return Signal(event.kind, event.rule, event.side, event.advisory)


def grown(event: Event, count: int, last: tuple[int, int], sentence: str) -> Event:
    """The event after so many more points that complete its rule."""
    return msgspec.structs.replace(
        event,
        count=event.count + count,
        last_time=last[0],
        last_key=last[1],
        sentence=sentence,
    )


def cleared(event: Event) -> Event:
    """The event once the newest point no longer completes its rule."""
    return msgspec.structs.replace(event, state="cleared")


class Delta(NamedTuple):
    """What one point or reading of the past signalled before and signals now."""

    place: tuple[int, int]  # time, key
    was: frozenset[Signal]
    now: frozenset[Signal]
    row: np.void


class Begun(NamedTuple):
    """An event that a correction or a late point makes: a run of changed points."""

    signal: Signal
    first: tuple[int, int]
    last: tuple[int, int]
    count: int  # type: ignore[assignment] # as events count
    row: np.void  # its last point
    open: bool


class Newest(NamedTuple):
    """A stream's newest point or reading, and what it signals."""

    place: tuple[int, int]
    signals: frozenset[Signal]
    row: np.void


class Corrected(NamedTuple):
    """What a correction makes of the events that were known."""

    changed: list[Event]
    begun: list[Begun]


def correct(
    known: Iterable[Event],
    deltas: list[Delta],
    newest: Newest | None,
) -> Corrected:
    """Count a stream's changed points in and out of its events.

    ``deltas`` ascend by place. An event without a point is withdrawn; an open one ends when the
    newest point no longer completes its rule. Points that newly complete a
    rule outside all events make events of their own, open only where they reach the newest point.
    """
    changed: list[Event] = []
    standing: dict[Signal, list[Event]] = {}
    for event in known:
        if event.state == "withdrawn":
            continue
        after = _recounted(event, deltas, newest)
        standing.setdefault(signal_of(event), []).append(after)
        if after is not event:
            changed.append(after)
    begun = [new for signal in _appearing(deltas) for new in _runs(signal, deltas, standing)]
    if newest is None:
        return Corrected(changed, begun)
    place, true_now, row = newest
    for signal in sorted(true_now):
        if any(event.state == "open" for event in standing.get(signal, ())):
            continue
        reached = [i for i, new in enumerate(begun) if new.signal == signal and new.last == place]
        if reached:
            begun[reached[-1]] = begun[reached[-1]]._replace(open=True)
        else:
            begun.append(Begun(signal, place, place, 1, row, open=True))
    return Corrected(changed, begun)


def _recounted(
    event: Event,
    deltas: list[Delta],
    newest: Newest | None,
) -> Event:
    mine = signal_of(event)
    inside = [delta for delta in deltas if covers(event, delta.place)]
    lost = {delta.place for delta in inside if mine in delta.was and mine not in delta.now}
    gained = [d.place for d in inside if mine in d.now and mine not in d.was]
    count = event.count - len(lost) + len(gained)
    if lost and count <= 0:
        return msgspec.structs.replace(event, count=0, state="withdrawn")
    state = event.state
    if state == "open" and newest is not None and mine not in newest.signals:
        state = "cleared"
    if not lost and not gained and state == event.state:
        return event
    # Between the changed points lie others that are not at hand: ends move only where known.
    kept = [delta.place for delta in inside if mine in delta.now]
    first, last = (event.first_time, event.first_key), (event.last_time, event.last_key)
    if last in lost and kept:
        last = max(kept[-1], first)
    if first in lost and kept:
        first = min(kept[0], last)
    return msgspec.structs.replace(
        event,
        count=count,
        state=state,
        first_time=first[0],
        first_key=first[1],
        last_time=last[0],
        last_key=last[1],
    )


def covers(event: Event, place: tuple[int, int]) -> bool:
    """Whether a point lies between the event's first and last."""
    first, last = (event.first_time, event.first_key), (event.last_time, event.last_key)
    return first <= place <= last


def _appearing(deltas: list[Delta]) -> list[Signal]:
    return sorted({signal for delta in deltas for signal in delta.now - delta.was})


def _runs(
    signal: Signal, deltas: list[Delta], standing: Mapping[Signal, list[Event]]
) -> list[Begun]:
    """Runs of points that newly signal; a changed point that does not ends one."""
    events = [event for event in standing.get(signal, ()) if event.state != "withdrawn"]
    runs: list[Begun] = []
    going = False
    for delta in deltas:
        new = (
            signal in delta.now
            and signal not in delta.was
            and not any(covers(event, delta.place) for event in events)
        )
        if new and going:
            run = runs[-1]
            runs[-1] = run._replace(last=delta.place, count=run.count + 1, row=delta.row)
        elif new:
            runs.append(Begun(signal, delta.place, delta.place, 1, delta.row, open=False))
        going = new
    return runs
