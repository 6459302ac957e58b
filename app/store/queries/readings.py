"""Questions about readings."""

# ruff: noqa: S608 - the SQL is composed of constants of this package alone

from collections.abc import AsyncIterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.store.batch import ReadingRevision
from app.store.connection import Database
from app.store.copy import decode
from app.store.rows import READING

Integers = Sequence[int] | NDArray[np.signedinteger]
Identity = tuple[int, int]
"""Time and key."""

NEWEST: Final = np.dtype(
    [("stream", "i4"), ("time", "i8"), ("key", "i8"), ("received_at", "i8"), ("source", "i4")]
)
"""Of each stream's newest reading."""

STREAMS_AT_ONCE: Final = 2_000
MAX_KEY: Final = 2**63 - 1

# In the order of READING, without NULLs, so that all rows are of one width.
COLUMNS: Final = """
    r.stream, r.time, r.key, coalesce(r.value, 'NaN') AS value, coalesce(r.size, 'NaN') AS size,
    r.quality, r.purpose, r.spec, r.flags, coalesce(r.subgroup, -9223372036854775808) AS subgroup,
    r.context, r.source, r.received_at, r.batch
"""

SENT: Final = "SELECT string_agg(record_send(x), '') FROM ("

LOOKUP: Final = f"""
    {SENT} SELECT {COLUMNS}
    FROM unnest($1::integer[], $2::timestamptz[], $3::bigint[]) AS n (stream, time, key)
    JOIN reading r ON r.stream = n.stream AND r.time = n.time AND r.key = n.key
    WHERE r.time BETWEEN $4 AND $5
    ORDER BY r.stream, r.time, r.key) x
"""


def integers(values: Integers) -> list[int]:
    """As the driver takes them."""
    listed: list[int] = np.asarray(values, np.int64).tolist()
    return listed


async def lookup(
    database: Database, streams: Integers, times: Integers, keys: Integers
) -> NDArray[np.void]:
    """The stored readings among these identities."""
    if not len(times):
        return np.empty(0, READING)
    asked = integers(times)
    sent = await database.fetchval(
        LOOKUP, integers(streams), asked, integers(keys), min(asked), max(asked)
    )
    return decode(sent, READING)


BETWEEN: Final = f"""
    {SENT} SELECT {COLUMNS} FROM reading r
    WHERE r.stream = $1 AND r.time BETWEEN $2 AND $4
      AND (r.time, r.key) >= ($2, $3) AND (r.time, r.key) <= ($4, $5)
    ORDER BY r.time, r.key LIMIT $6) x
"""


async def readings_between(
    database: Database, stream: int, start: Identity, end: Identity | None, limit: int
) -> NDArray[np.void]:
    """A stream's oldest readings from start to end, both included, ascending."""
    last = end or (2**63, MAX_KEY)
    return decode(await database.fetchval(BETWEEN, stream, *start, *last, limit), READING)


PAGE: Final = f"""
    {SENT} SELECT {COLUMNS} FROM reading r
    WHERE r.stream = $1 AND r.time >= coalesce($2::timestamptz, '-infinity')
      AND r.time < coalesce($3::timestamptz, 'infinity') AND (r.time, r.key) > ($4, $5)
    ORDER BY r.time, r.key LIMIT $6) x
"""

NEWEST_PAGE: Final = f"""
    {SENT} SELECT * FROM (
        SELECT {COLUMNS} FROM reading r
        WHERE r.stream = $1 AND r.time < coalesce($2::timestamptz, 'infinity')
        ORDER BY r.time DESC, r.key DESC LIMIT $3) newest
    ORDER BY time, key) x
"""


async def readings(
    database: Database,
    stream: int,
    start: int | None,
    end: int | None,
    after: Identity | None,
    limit: int,
) -> NDArray[np.void]:
    """A stream's readings after (time, key), ascending; the newest when nothing says where from."""
    if start is None and after is None:
        return decode(await database.fetchval(NEWEST_PAGE, stream, end, limit), READING)
    place = after or (-(2**63), -(2**63))
    since = max(start if start is not None else place[0], place[0])
    return decode(await database.fetchval(PAGE, stream, since, end, *place, limit), READING)


OF_SUBGROUPS: Final = f"""
    {SENT} SELECT * FROM (
        SELECT {COLUMNS} FROM reading r
        WHERE r.stream = $1 AND r.subgroup = ANY($2) AND r.flags & 4 <> 0 AND r.time >= $3
        UNION ALL
        SELECT {COLUMNS} FROM reading r
        WHERE r.stream = $1 AND r.subgroup = ANY($2) AND r.flags & 4 = 0 AND r.time >= $3) members
    ORDER BY time, key) x
"""


async def subgroup_readings(
    database: Database, stream: int, subgroups: Integers, since: int
) -> NDArray[np.void]:
    """Readings of these subgroups that were measured since ``since``, ascending."""
    return decode(
        await database.fetchval(OF_SUBGROUPS, stream, integers(subgroups), since), READING
    )


NAMED: Final = """
    SELECT n.stream, n.subgroup
    FROM (SELECT DISTINCT * FROM unnest($1::integer[], $2::bigint[]) AS a (stream, subgroup)) n
    WHERE EXISTS (SELECT FROM reading r
                  WHERE r.stream = n.stream AND r.subgroup = n.subgroup AND r.flags & 4 <> 0
                    AND r.time >= $3)
"""


async def named(
    database: Database, streams: Integers, names: Integers, since: int
) -> set[Identity]:
    """The pairs of stream and subgroup name that have readings measured since then."""
    rows = await database.fetch(NAMED, integers(streams), integers(names), since)
    return {(row["stream"], row["subgroup"]) for row in rows}


NEWEST_PER_STREAM: Final = f"""
    {SENT} SELECT r.stream, r.time, r.key, r.received_at, r.source
    FROM stream s CROSS JOIN LATERAL (
        SELECT * FROM reading r WHERE r.stream = s.id ORDER BY r.time DESC, r.key DESC LIMIT 1) r
    WHERE s.id >= $1 AND s.id < $2
    ORDER BY r.stream) x
"""


async def newest_per_stream(database: Database) -> NDArray[np.void]:
    """Identity and arrival (NEWEST) of each stream's newest reading, whatever its quality."""
    parts = [
        decode(await database.fetchval(NEWEST_PER_STREAM, *some), NEWEST)
        async for some in some_streams(database, 0, None)
    ]
    return np.concatenate([np.empty(0, NEWEST), *parts])


NEWEST_TIME: Final = """
    SELECT max(newest.time) FROM unnest($1::integer[]) AS s (id) CROSS JOIN LATERAL (
        SELECT r.time FROM reading r WHERE r.stream = s.id
        ORDER BY r.time DESC, r.key DESC LIMIT 1) newest
"""


async def newest_reading(database: Database, streams: Integers) -> int | None:
    """The time of the newest reading of some streams."""
    time: int | None = await database.fetchval(NEWEST_TIME, integers(streams))
    return time


# Three kinds per stream: the newest readings since its newest point began; those, near the end,
# of subgroups that have no point, because another subgroup overtook theirs; the late ones that
# arrived last, where they are of such subgroups.
AFTER_LAST_POINT: Final = f"""
    {SENT} SELECT DISTINCT {COLUMNS}
    FROM stream s
    CROSS JOIN LATERAL (
        SELECT coalesce((array_agg(time))[1], '-infinity') AS time,
               coalesce((array_agg(key))[1], -9223372036854775808) AS key,
               coalesce(min(time), '-infinity') AS earliest,
               coalesce(array_agg(subgroup) FILTER (WHERE subgroup IS NOT NULL), '{{}}') AS subgroups
        FROM (SELECT time, key, subgroup FROM point
              WHERE stream = s.id ORDER BY time DESC, key DESC LIMIT 8) newest) p
    CROSS JOIN LATERAL (
        (SELECT * FROM reading r
         WHERE r.stream = s.id AND r.time >= p.time AND (r.time, r.key) >= (p.time, p.key)
         ORDER BY r.time DESC, r.key DESC LIMIT $3)
        UNION ALL
        (SELECT * FROM (
             SELECT * FROM reading r
             WHERE cardinality(p.subgroups) > 0
               AND r.stream = s.id AND r.time >= p.earliest AND r.time <= p.time
             ORDER BY r.time DESC, r.key DESC LIMIT 4 * $3) near
         WHERE near.purpose = 0 AND near.subgroup <> ALL (p.subgroups) AND NOT EXISTS (
             SELECT FROM point q WHERE q.stream = s.id AND q.subgroup = near.subgroup))
        UNION ALL
        (SELECT * FROM (
             SELECT * FROM reading r WHERE r.stream = s.id AND r.flags & 2 <> 0
             ORDER BY r.received_at DESC LIMIT $3) late
         WHERE late.purpose = 0 AND late.subgroup <> ALL (p.subgroups) AND NOT EXISTS (
             SELECT FROM point q WHERE q.stream = s.id AND q.subgroup = late.subgroup))) r
    WHERE s.id >= $1 AND s.id < $2
    ORDER BY r.stream, r.time, r.key) x
"""


async def readings_after_last_point(
    database: Database, limit: int = 256, *, first: int = 0, until: int | None = None
) -> NDArray[np.void]:
    """What the streams' newest points leave open, ascending by stream, time and key.

    That is: up to ``limit`` newest readings since the newest point began, whatever their quality
    and purpose, and production readings of subgroups that have no point, near the end or among
    the ``limit`` late ones that arrived last. Of the streams with ids from ``first``, and below
    ``until``.
    """
    parts = [
        decode(await database.fetchval(AFTER_LAST_POINT, *some, limit), READING)
        async for some in some_streams(database, first, until)
    ]
    return np.concatenate([np.empty(0, READING), *parts])


LAST_STREAM: Final = "SELECT coalesce(max(id), 0) FROM stream"


async def some_streams(
    database: Database, first: int, until: int | None
) -> AsyncIterator[tuple[int, int]]:
    """Ranges of stream ids small enough for one question each."""
    end = await database.fetchval(LAST_STREAM) + 1 if until is None else until
    for start in range(first, end, STREAMS_AT_ONCE):
        yield start, min(start + STREAMS_AT_ONCE, end)


REVISIONS: Final = """
    SELECT stream, time, key, at, who, reason, was, became FROM reading_revision
    WHERE stream = $1 AND time >= coalesce($2::timestamptz, '-infinity')
      AND time < coalesce($3::timestamptz, 'infinity')
    ORDER BY time, key, id LIMIT $4
"""


async def reading_revisions(
    database: Database, stream: int, start: int | None, end: int | None, limit: int
) -> list[ReadingRevision]:
    """What people corrected in a stream, in the order of measured time."""
    rows = await database.fetch(REVISIONS, stream, start, end, limit)
    return [ReadingRevision(**row) for row in rows]
