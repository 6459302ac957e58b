"""Questions about alarms and the events that they collect."""

# ruff: noqa: S608 - the SQL is composed of constants of this package alone

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from app.store.batch import Alarm, AlarmChange, Event
from app.store.connection import Database


class Standing(NamedTuple):
    """An alarm's events that no correction took away."""

    events: int
    lead: Event | None = None
    """The one that the alarm's sentence begins with."""


COLUMNS: Final = """
    id, stream, characteristic, stream_name, class AS alarm_class, state, priority, opened,
    last_time, last_key, count, rules, sentence, version, seq, active, paged, needs_cause,
    seen_by, seen_at, cause, action, note, caused_by, returned_at, closed_at, shelved_until
"""

EVENT_COLUMNS: Final = """
    id, stream, alarm, kind, rule, side, first_time, first_key, last_time, last_key, count, state,
    priority, retrospective, advisory, sentence
"""


def _alarms(rows: Sequence[Any]) -> list[Alarm]:
    return [Alarm(**row) for row in rows]


OPEN: Final = f"SELECT {COLUMNS} FROM alarm WHERE state <> 'closed' ORDER BY id"


async def open_alarms(database: Database) -> list[Alarm]:
    """Every alarm that is not closed."""
    return _alarms(await database.fetch(OPEN))


OPEN_EVENTS: Final = f"SELECT {EVENT_COLUMNS} FROM event WHERE state = 'open' ORDER BY id"


async def open_events(database: Database) -> list[Event]:
    """Every event that is still true."""
    return [Event(**row) for row in await database.fetch(OPEN_EVENTS)]


STANDING: Final = """
    SELECT a.id, count(e.id) AS standing
    FROM alarm a LEFT JOIN event e ON e.alarm = a.id AND e.state <> 'withdrawn'
    WHERE a.state <> 'closed' GROUP BY a.id
"""

LEADING: Final = f"""
    SELECT DISTINCT ON (alarm) {EVENT_COLUMNS} FROM event
    WHERE state <> 'withdrawn' AND sentence <> '' AND EXISTS (
        SELECT FROM alarm a
        WHERE a.id = event.alarm AND a.state <> 'closed' AND starts_with(a.sentence, event.sentence)
    )
    ORDER BY alarm, id DESC
"""


async def standing_events(database: Database) -> dict[int, Standing]:
    """What each alarm that is not closed still stands on."""
    leads = {row["alarm"]: Event(**row) for row in await database.fetch(LEADING)}
    return {
        row["id"]: Standing(row["standing"], leads.get(row["id"]))
        for row in await database.fetch(STANDING)
    }


LIST: Final = f"""
    SELECT {COLUMNS} FROM alarm
    WHERE (cardinality($1::text[]) = 0 OR state = ANY($1))
      AND ($2::text IS NULL OR characteristic = $2) AND id < $3
    ORDER BY id DESC LIMIT $4
"""

LIST_OPEN: Final = f"""
    SELECT {COLUMNS} FROM alarm
    WHERE state <> 'closed' AND ($1::text IS NULL OR characteristic = $1) AND id < $2
    ORDER BY id DESC LIMIT $3
"""


async def alarms(
    database: Database,
    states: Sequence[str] | None,
    characteristic: str | None,
    after: int | None,
    limit: int,
) -> list[Alarm]:
    """Alarms, newest first, with ids below ``after``: of these states, or all that is not closed.

    An empty list of states means any state.
    """
    below = 2**63 - 1 if after is None else after
    if states is None:
        return _alarms(await database.fetch(LIST_OPEN, characteristic, below, limit))
    return _alarms(await database.fetch(LIST, list(states), characteristic, below, limit))


SINCE: Final = f"SELECT {COLUMNS} FROM alarm WHERE seq > $1 ORDER BY seq LIMIT $2"


async def alarms_since(database: Database, seq: int, limit: int) -> list[Alarm]:
    """Alarms that changed after change number ``seq``, in the order of their last change."""
    return _alarms(await database.fetch(SINCE, seq, limit))


ONE: Final = f"SELECT {COLUMNS} FROM alarm WHERE id = $1"


async def alarm(database: Database, number: int) -> Alarm | None:
    """One alarm, open or closed."""
    row = await database.fetchrow(ONE, number)
    return Alarm(**row) if row else None


HISTORY: Final = """
    SELECT alarm, version, at, kind, who, text FROM alarm_event WHERE alarm = $1 ORDER BY id
    LIMIT 10000
"""

EVENTS: Final = f"""
    SELECT {EVENT_COLUMNS} FROM event WHERE alarm = $1 ORDER BY id LIMIT 10000
"""


async def alarm_history(database: Database, number: int) -> tuple[list[AlarmChange], list[Event]]:
    """An alarm's lines of history and its events, oldest first."""
    changes = [AlarmChange(**row) for row in await database.fetch(HISTORY, number)]
    return changes, [Event(**row) for row in await database.fetch(EVENTS, number)]


EVENTS_SINCE: Final = f"""
    SELECT {EVENT_COLUMNS} FROM event
    WHERE stream = ANY($1::integer[]) AND (state = 'open' OR last_time >= $2) ORDER BY id
"""


async def events_since(database: Database, streams: Sequence[int], time: int) -> list[Event]:
    """The events of some streams that are open or end at or after ``time``, whatever their state."""
    return [Event(**row) for row in await database.fetch(EVENTS_SINCE, list(streams), time)]
