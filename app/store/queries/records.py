"""Questions about what the service keeps a list of."""

# ruff: noqa: S608 - the SQL is composed of constants of this package alone

from collections.abc import Sequence
from typing import Final

from app.store.batch import Answered, Audit, Containment, GapRow, Quarantined, StationEvent
from app.store.connection import Database

HIGHEST: Final = 2**63 - 1

QUARANTINE: Final = """
    SELECT id, received_at, source, characteristic, reason, payload, truncated FROM quarantine
    WHERE ($1::integer IS NULL OR source = $1) AND id < $2 ORDER BY id DESC LIMIT $3
"""


async def quarantine(
    database: Database, source: int | None, after: int | None, limit: int
) -> list[Quarantined]:
    """Quarantined items, newest first, with ids below ``after``."""
    rows = await database.fetch(QUARANTINE, source, HIGHEST if after is None else after, limit)
    return [Quarantined(**row) for row in rows]


async def quarantined(database: Database, number: int) -> Quarantined | None:
    """One quarantined item."""
    rows = await quarantine(database, None, number + 1, 1)
    return rows[0] if rows and rows[0].id == number else None


GAPS: Final = """
    SELECT id, source, characteristic, start_time AS start, end_time AS "end", missed, reason,
           recorded_at
    FROM gap WHERE ($1::integer IS NULL OR source = $1) AND id < $2 ORDER BY id DESC LIMIT $3
"""


async def gaps(
    database: Database, source: int | None, after: int | None, limit: int
) -> list[GapRow]:
    """Gaps, newest first, with ids below ``after``."""
    rows = await database.fetch(GAPS, source, HIGHEST if after is None else after, limit)
    return [GapRow(**row) for row in rows]


CONTAINMENT_COLUMNS: Final = """
    stream, time, key, value, side, lower, upper, alarm, last_good_time, recorded_at
"""

CONTAINMENTS: Final = f"""
    SELECT {CONTAINMENT_COLUMNS} FROM containment
    WHERE ($1::integer[] IS NULL OR stream = ANY($1)) AND (time, stream, key) < ($2, $3, $4)
    ORDER BY time DESC, stream DESC, key DESC LIMIT $5
"""


async def containments(
    database: Database,
    streams: Sequence[int] | None,
    after: tuple[int, int, int] | None,
    limit: int,
) -> list[Containment]:
    """Parts to be held, newest first, before (time, stream, key)."""
    place = after or (HIGHEST, 0, 0)
    chosen = None if streams is None else list(streams)
    rows = await database.fetch(CONTAINMENTS, chosen, *place, limit)
    return [Containment(**row) for row in rows]


AUDITS: Final = """
    SELECT id, at, who, action, object, was, became, reason FROM audit
    WHERE id < $1 ORDER BY id DESC LIMIT $2
"""


async def audits(database: Database, after: int | None, limit: int) -> list[Audit]:
    """Who did what, newest first, with ids below ``after``."""
    rows = await database.fetch(AUDITS, HIGHEST if after is None else after, limit)
    return [Audit(**row) for row in rows]


STATION_EVENTS: Final = """
    SELECT id, station, kind, time, text, restart_rules, who, recorded_at FROM station_event
    WHERE ($1::text IS NULL OR station = $1) AND id < $2 ORDER BY id DESC LIMIT $3
"""


async def station_events(
    database: Database, station: str | None, after: int | None, limit: int
) -> list[StationEvent]:
    """What happened at a station, or at all, last reported first, with ids below ``after``."""
    rows = await database.fetch(STATION_EVENTS, station, HIGHEST if after is None else after, limit)
    return [StationEvent(**row) for row in rows]


ANSWERED: Final = "SELECT key, at, request_hash, response FROM idempotency WHERE key = $1"


async def answered(database: Database, key: str) -> Answered | None:
    """What an Idempotency-Key was answered before."""
    row = await database.fetchrow(ANSWERED, key)
    return Answered(**row) if row else None
