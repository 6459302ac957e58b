"""What becomes of an alarm: one pure step for everything that the engine or the clock brings."""

from typing import Final, Literal, NamedTuple

import msgspec

from app.store.batch import Alarm, AlarmChange, AlarmClass, AlarmState

SYSTEM: Final = "andon"
"""Stands for nobody: the change came from the readings or from the clock."""

Kind = Literal[
    "raised",
    "extended",
    "escalated",
    "rang",
    "returned",
    "seen",
    "cause",
    "comment",
    "closed",
    "withdrawn",
    "shelved",
    "unshelved",
    "suppressed",
    "unsuppressed",
    "out_of_service",
]
COVERABLE: Final = frozenset({"unack", "ack"})
"""States in which an alarm gives way to that of a lost source."""

RINGS: Final = frozenset({"raised", "escalated", "rang"})


class Subject(NamedTuple):
    """What a new alarm would be about, and the id that it would get."""

    id: int
    stream: int
    characteristic: str
    stream_name: str
    alarm_class: AlarmClass


class Occurred(msgspec.Struct, frozen=True):
    """One or more events begin at the same point."""

    subject: Subject
    priority: int  # the worst of the new events
    rules: tuple[str, ...]
    count: int  # points or readings
    last: tuple[int, int]
    sentence: str  # of the alarm: its worst event, and how many others it has
    news: str = ""  # what the new events are, where that is not the whole sentence
    active: bool = True  # false: over already when it became known
    needs_cause: bool = False
    page: bool = False  # fresh enough, and of a kind that calls somebody


class Continued(msgspec.Struct, frozen=True):
    """Open events go on, or some of them end while others stay; a correction may lower the count."""

    count: int
    last: tuple[int, int] | None
    sentence: str
    page: bool = False


class Returned(msgspec.Struct, frozen=True):
    """The newest point completes none of the alarm's rules any more."""

    sentence: str = ""  # without one the alarm's stays


class Withdrew(msgspec.Struct, frozen=True):
    """A correction took away every event of the alarm."""


class ShelfOver(msgspec.Struct, frozen=True):
    """The time on the shelf has run out."""


class Covered(msgspec.Struct, frozen=True):
    """Nothing can be heard because something else is lost, which is an alarm of its own."""

    by: str


class Uncovered(msgspec.Struct, frozen=True):
    """What was lost is back, and this is true all the same."""


class Ceased(msgspec.Struct, frozen=True):
    """What the alarm is about is no longer in use: nothing will ever end it."""


Happening = Occurred | Continued | Returned | Withdrew | ShelfOver | Covered | Uncovered | Ceased


class Step(NamedTuple):
    """An alarm after a step, the lines of its history, and whether somebody is to be called."""

    alarm: Alarm
    changes: list[AlarmChange]
    page: bool = False


def waits_to_be_seen(alarm: Alarm) -> bool:
    """Whether somebody still has to look: also at what was taken back, or is in use no more."""
    if alarm.state == "out_of_service":
        return alarm.seen_by is None
    return alarm.state in {"unack", "rtn_unack", "withdrawn"}


def step(alarm: Alarm | None, happening: Happening, at: int) -> Step | None:
    """Take an alarm on by one happening; None: there is no alarm, and none is needed.

    An alarm never closes while it is true, never without a person, and never opens again: what
    comes after its end is a new one.
    """
    if alarm is None or alarm.state == "closed":
        return _raise(happening, at) if isinstance(happening, Occurred) else None
    match happening:
        case Occurred():
            return _occur(alarm, happening, at)
        case Continued():
            return _continue(alarm, happening, at)
        case Returned():
            return _return(alarm, happening, at)
        case Withdrew():
            return _withdraw(alarm, at)
        case ShelfOver():
            return _off_the_shelf(alarm, at)
        case Covered():
            return _cover(alarm, happening, at)
        case Uncovered():
            return _uncover(alarm, at)
        case Ceased():
            return _cease(alarm, at)


def changed(alarm: Alarm, kind: Kind, at: int, who: str, text: str, **fields: object) -> Step:
    """The alarm with these fields, one version on, and the line that says so."""
    version = alarm.version + 1
    after = msgspec.structs.replace(alarm, version=version, **fields)
    return Step(after, [AlarmChange(alarm.id, version, at, kind, who, text)])


def owes_cause(alarm: Alarm) -> bool:
    """Whether cause and action still have to be entered before it can close."""
    return alarm.needs_cause and not (alarm.cause and alarm.action)


def settled(done: Step, at: int, who: str) -> Step:
    """Close an alarm that has returned and was seen; where its cause is owed, it stays latched."""
    alarm = done.alarm
    if alarm.active or alarm.seen_by is None or alarm.state in {"closed", "withdrawn"}:
        return done
    if owes_cause(alarm):
        waiting = msgspec.structs.replace(alarm, state="latched", shelved_until=None)
        return done._replace(alarm=waiting)
    end = changed(alarm, "closed", at, who, "", state="closed", closed_at=at, shelved_until=None)
    return done._replace(alarm=end.alarm, changes=[*done.changes, *end.changes])


def _raise(new: Occurred, at: int) -> Step:
    about = new.subject
    alarm = Alarm(
        id=about.id,
        stream=about.stream,
        characteristic=about.characteristic,
        stream_name=about.stream_name,
        alarm_class=about.alarm_class,
        state="unack" if new.active else "rtn_unack",
        priority=new.priority,
        opened=at,
        last_time=new.last[0],
        last_key=new.last[1],
        count=new.count,
        rules=list(new.rules),
        sentence=new.sentence,
        version=1,
        seq=0,
        active=new.active,
        paged=new.page,
        needs_cause=new.needs_cause,
        returned_at=None if new.active else at,
    )
    line = AlarmChange(about.id, 1, at, "raised", SYSTEM, new.news or new.sentence)
    return Step(alarm, [line], page=new.page)


def _occur(alarm: Alarm, new: Occurred, at: int) -> Step:
    """A new occurrence rings after acknowledgement or return; a worse one always does.

    On the shelf only a worse one does, and it ends the shelf: nobody shelved that.
    """
    worse = new.priority < alarm.priority
    quiet = alarm.state == "suppressed" or (not worse and alarm.state in {"unack", "shelved"})
    news = new.news or new.sentence
    fields = _merged(alarm, new, at)
    if quiet:
        page = alarm.state == "unack" and new.page and not alarm.paged
        done = changed(alarm, "extended", at, SYSTEM, news, **fields, paged=alarm.paged or page)
        return done._replace(page=page)
    active = alarm.active or new.active
    state: AlarmState = "unack" if active else "rtn_unack"
    done = changed(
        alarm,
        "escalated" if worse else "rang",
        at,
        SYSTEM,
        news,
        **fields,
        state=state,
        paged=new.page,
        seen_by=None,
        seen_at=None,
        shelved_until=None,
    )
    return done._replace(page=new.page)


def _merged(alarm: Alarm, new: Occurred, at: int) -> dict[str, object]:
    """Fields after an occurrence; one that starts afresh forgets what was withdrawn or settled."""
    afresh = alarm.state == "withdrawn"
    rules = [] if afresh else alarm.rules
    priority = min(alarm.priority, new.priority)
    if afresh or alarm.state == "latched":
        priority = new.priority
    active = alarm.active or new.active
    return {
        "priority": priority,
        "rules": [*rules, *(rule for rule in new.rules if rule not in rules)],
        "count": alarm.count + new.count,
        **_latest(alarm, new.last),
        "sentence": new.sentence,
        "active": active,
        "needs_cause": new.needs_cause or (alarm.needs_cause and not afresh),
        "returned_at": None if active else alarm.returned_at or at,
    }


def _continue(alarm: Alarm, more: Continued, at: int) -> Step:
    """Count on; this alone is no new version, or nobody could answer an alarm that goes on.

    Where the points that rang were too old to call anybody, the first fresh one does.
    """
    fields: dict[str, object] = {
        "count": max(0, alarm.count + more.count),
        "sentence": more.sentence,
    }
    if more.last is not None:
        fields |= _latest(alarm, more.last)
    if more.page and not alarm.paged and alarm.state == "unack":
        done = changed(alarm, "extended", at, SYSTEM, more.sentence, **fields, paged=True)
        return done._replace(page=True)
    return Step(msgspec.structs.replace(alarm, **fields), [])


def _latest(alarm: Alarm, last: tuple[int, int]) -> dict[str, object]:
    time, key = max((alarm.last_time, alarm.last_key), last)
    return {"last_time": time, "last_key": key}


def _return(alarm: Alarm, back: Returned, at: int) -> Step:
    if not alarm.active:
        return Step(alarm, [])
    fields: dict[str, object] = {"active": False, "returned_at": at}
    if back.sentence:
        fields["sentence"] = back.sentence
    if alarm.state == "unack":
        fields["state"] = "rtn_unack"
    elif alarm.state == "suppressed":
        fields |= _as_before(alarm, "rtn_unack")
    elif alarm.state == "shelved" and alarm.shelved_until is None:
        # Shelved until it returns: who shelved it has seen it.
        fields["state"] = "ack"
    done = changed(alarm, "returned", at, SYSTEM, "", **fields)
    return settled(done, at, SYSTEM) if done.alarm.state == "ack" else done


def _as_before(alarm: Alarm, unseen: AlarmState) -> dict[str, object]:
    """Out of suppression: seen by those who saw it before."""
    return {"state": unseen if alarm.seen_by is None else "ack", "caused_by": None}


def _cover(alarm: Alarm, by: Covered, at: int) -> Step:
    if alarm.state not in COVERABLE:
        return Step(alarm, [])
    text = f"{by.by} is lost, which is an alarm of its own."
    return changed(alarm, "suppressed", at, SYSTEM, text, state="suppressed", caused_by=by.by)


def _uncover(alarm: Alarm, at: int) -> Step:
    if alarm.state != "suppressed":
        return Step(alarm, [])
    text = f"{alarm.caused_by} is back, and this is still true."
    return changed(alarm, "unsuppressed", at, SYSTEM, text, **_as_before(alarm, "unack"))


def _cease(alarm: Alarm, at: int) -> Step:
    """Whoever saw it already is not asked again, except for a cause that is due."""
    if alarm.state in {"out_of_service", "withdrawn"} or (
        alarm.state == "latched" and not alarm.active
    ):
        return Step(alarm, [])
    done = changed(
        alarm,
        "out_of_service",
        at,
        SYSTEM,
        "What it is about is no longer in use.",
        state="out_of_service",
        active=False,
        caused_by=None,
        shelved_until=None,
        returned_at=alarm.returned_at or at,
    )
    return settled(done, at, SYSTEM)


def _withdraw(alarm: Alarm, at: int) -> Step:
    if alarm.state == "withdrawn":
        return Step(alarm, [])
    return changed(
        alarm,
        "withdrawn",
        at,
        SYSTEM,
        "A correction took away what had raised it.",
        state="withdrawn",
        active=False,
        count=0,
        returned_at=alarm.returned_at or at,
        shelved_until=None,
    )


def _off_the_shelf(alarm: Alarm, at: int) -> Step:
    if alarm.state != "shelved":
        return Step(alarm, [])
    done = changed(
        alarm,
        "unshelved",
        at,
        SYSTEM,
        "The time on the shelf is over.",
        state="unack" if alarm.active else "rtn_unack",
        seen_by=None,
        seen_at=None,
        shelved_until=None,
    )
    return done._replace(page=alarm.active and alarm.paged)
