"""What people do with an alarm; each act is pure and knows which version of it they saw."""

from typing import Final

from app.alarm_step import Step, changed, owes_cause, settled
from app.duration import UNITS
from app.sentences import span
from app.store.batch import Alarm

LONGEST_SHELF: Final = 12 * UNITS["h"]


class Conflict(Exception):
    """Somebody else, or a new occurrence, was first; nothing was changed."""

    def __init__(self, alarm: Alarm) -> None:
        super().__init__(_was_first(alarm))
        self.alarm = alarm


class Refused(Exception):
    """The alarm's state does not allow this; the sentence says what would."""


def acknowledge(alarm: Alarm, version: int, who: str, at: int) -> Step:
    """Note that a person has seen it; that hides nothing and closes only what has returned."""
    _check(alarm, version)
    if alarm.state == "shelved":
        raise Refused("the alarm is snoozed; bring it back first")
    if alarm.state == "suppressed":
        raise Refused(f"{alarm.caused_by} is lost; see that alarm instead")
    if alarm.state not in {"unack", "rtn_unack", "withdrawn", "out_of_service"}:
        raise Conflict(alarm)
    done = _seen(alarm, who, at)
    if alarm.state == "withdrawn":
        return _ended(done, who, at)
    return settled(done, at, who)


def give_cause(
    alarm: Alarm, version: int, who: str, at: int, *, cause: str, action: str, note: str = ""
) -> Step:
    """Say why it happened and what was done; who does that has seen it."""
    _check(alarm, version)
    if alarm.state == "closed":
        raise Conflict(alarm)
    cause, action, note = cause.strip(), action.strip(), note.strip()
    if not cause:
        raise Refused('say the cause; "no cause found" is one')
    if alarm.needs_cause and not action:
        raise Refused("say what was done about it")
    first = Step(alarm, []) if alarm.seen_by is not None else _seen(alarm, who, at)
    text = "; ".join(part for part in (cause, action, note) if part)
    done = changed(
        first.alarm,
        "cause",
        at,
        who,
        text,
        cause=cause,
        action=action or None,
        note=note or alarm.note,
    )
    done = done._replace(changes=[*first.changes, *done.changes])
    if alarm.state in {"withdrawn", "shelved", "suppressed"}:
        return done
    return settled(done, at, who)


def comment(alarm: Alarm, version: int | None, who: str, at: int, text: str) -> Step:
    """Add a line to the alarm's history, also after its end; a version is checked when given."""
    if version is not None:
        _check(alarm, version)
    if not text.strip():
        raise Refused("an empty comment says nothing")
    return changed(alarm, "comment", at, who, text.strip())


def close(alarm: Alarm, version: int, who: str, at: int, text: str = "") -> Step:
    """End what is no longer true: seen by this person, and with its cause where one is due."""
    _check(alarm, version)
    if alarm.state == "closed":
        raise Conflict(alarm)
    if alarm.active:
        raise Refused("it is still true; it closes once it is back to normal and was seen")
    if alarm.state != "withdrawn" and owes_cause(alarm):
        raise Refused("cause and action are due before it can close")
    done = Step(alarm, []) if alarm.seen_by is not None else _seen(alarm, who, at)
    return _ended(done, who, at, text.strip())


def shelve(
    alarm: Alarm,
    version: int,
    who: str,
    at: int,
    *,
    reason: str,
    until: int | None = None,
    longest: int = LONGEST_SHELF,
) -> Step:
    """Put it aside until a time or, without one, until it returns; something worse ends that."""
    _check(alarm, version)
    if alarm.state in {"closed", "shelved"}:
        raise Conflict(alarm)
    if alarm.state == "suppressed":
        raise Refused(f"{alarm.caused_by} is lost; see that alarm instead")
    if alarm.state in {"withdrawn", "out_of_service"} or (until is None and not alarm.active):
        raise Refused("it is not true any more; close it instead")
    if not reason.strip():
        raise Refused("say why it can wait")
    if until is not None and not at < until <= at + longest:
        raise Refused(f"choose an end within the next {span(longest)}")
    return changed(
        alarm,
        "shelved",
        at,
        who,
        reason.strip(),
        state="shelved",
        seen_by=who,
        seen_at=at,
        shelved_until=until,
    )


def unshelve(alarm: Alarm, version: int, who: str, at: int) -> Step:
    """Bring it back from the shelf by hand: who does that has seen it."""
    _check(alarm, version)
    if alarm.state != "shelved":
        raise Conflict(alarm)
    done = changed(
        alarm,
        "unshelved",
        at,
        who,
        "",
        state="ack",
        seen_by=who,
        seen_at=at,
        shelved_until=None,
    )
    return settled(done, at, who)


def _check(alarm: Alarm, version: int) -> None:
    if alarm.version != version:
        raise Conflict(alarm)


def _seen(alarm: Alarm, who: str, at: int) -> Step:
    state = "ack" if alarm.state in {"unack", "rtn_unack"} else alarm.state
    return changed(alarm, "seen", at, who, "", state=state, seen_by=who, seen_at=at)


def _ended(done: Step, who: str, at: int, text: str = "") -> Step:
    end = changed(done.alarm, "closed", at, who, text, state="closed", closed_at=at)
    return Step(end.alarm, [*done.changes, *end.changes])


def _was_first(alarm: Alarm) -> str:
    if alarm.state == "closed":
        return f"the alarm is closed{f'; seen by {alarm.seen_by}' if alarm.seen_by else ''}"
    if alarm.state == "shelved":
        return f"already snoozed by {alarm.seen_by}"
    if alarm.seen_by is not None:
        return f"already seen by {alarm.seen_by}"
    return "the alarm has changed since you looked at it; look again"
