"""What leaves the plant's screens: an alarm and its changes as JSON, as the API spells them too."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from app.sentences import EPOCH
from app.store.batch import Alarm, AlarmChange, Outbox


def iso(time: int) -> str:
    """A time as ISO 8601 in UTC, with microseconds."""
    return (EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds")


def alarm_json(alarm: Alarm) -> dict[str, Any]:
    """An alarm as the outside sees it."""

    def when(time: int | None) -> str | None:
        return None if time is None else iso(time)

    return {
        "id": alarm.id,
        "characteristic": alarm.characteristic,
        "stream": alarm.stream_name,
        "class": alarm.alarm_class,
        "state": alarm.state,
        "priority": alarm.priority,
        "active": alarm.active,
        "opened": iso(alarm.opened),
        "last": {"time": iso(alarm.last_time), "key": alarm.last_key},
        "count": alarm.count,
        "rules": alarm.rules,
        "sentence": alarm.sentence,
        "version": alarm.version,
        "seq": alarm.seq,
        "paged": alarm.paged,
        "needs_cause": alarm.needs_cause,
        "seen_by": alarm.seen_by,
        "seen_at": when(alarm.seen_at),
        "cause": alarm.cause,
        "action": alarm.action,
        "note": alarm.note,
        "caused_by": alarm.caused_by,
        "returned_at": when(alarm.returned_at),
        "closed_at": when(alarm.closed_at),
        "shelved_until": when(alarm.shelved_until),
    }


def announcement(
    number: int, change: AlarmChange, alarm: Alarm, *, page: bool, channels: Sequence[str] | None
) -> Outbox:
    """The row of the outbox for one change; ``page`` says that somebody is to be called.

    ``channels`` are those configured now: one that is added later does not get old alarms.
    """
    return Outbox(
        id=number,
        alarm=alarm.id,
        created_at=change.at,
        payload={
            "id": number,
            "change": change.kind,
            "page": page,
            "at": iso(change.at),
            "who": change.who,
            "text": change.text,
            "alarm": alarm_json(alarm),
            "channels": None if channels is None else list(channels),
        },
    )
