"""Questions about points."""

# ruff: noqa: S608 - the SQL is composed of constants of this package alone

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.store.batch import Revision
from app.store.connection import Database
from app.store.copy import decode
from app.store.queries.readings import SENT, Integers, integers, some_streams
from app.store.rows import POINT

# In the order of POINT, without NULLs, so that all rows are of one width.
COLUMNS: Final = """
    p.stream, p.time, p.key, coalesce(p.subgroup, -9223372036854775808) AS subgroup, p.n,
    p.statistic, coalesce(p.dispersion, 'NaN') AS dispersion, p.version, p.violations, p.flags,
    p.seq, p.batch
"""

BEFORE: Final = f"""
    {SENT} SELECT * FROM (
        SELECT {COLUMNS} FROM point p
        WHERE p.stream = $1 AND p.time <= $2 AND (p.time, p.key) < ($2, $3)
        ORDER BY p.time DESC, p.key DESC LIMIT $4) newest
    ORDER BY time, key) x
"""

FROM: Final = f"""
    {SENT} SELECT {COLUMNS} FROM point p
    WHERE p.stream = $1 AND p.time >= $2 AND (p.time, p.key) >= ($2, $3)
    ORDER BY p.time, p.key LIMIT $4) x
"""


async def points_before(
    database: Database, stream: int, time: int, key: int, limit: int
) -> NDArray[np.void]:
    """The newest points before (time, key), ascending."""
    return decode(await database.fetchval(BEFORE, stream, time, key, limit), POINT)


async def points_from(
    database: Database, stream: int, time: int, key: int, limit: int
) -> NDArray[np.void]:
    """The oldest points at or after (time, key), ascending."""
    return decode(await database.fetchval(FROM, stream, time, key, limit), POINT)


NEWEST: Final = f"""
    {SENT} SELECT * FROM (
        SELECT {COLUMNS} FROM point p
        WHERE p.stream = $1 AND p.time >= coalesce($2::timestamptz, '-infinity')
          AND p.time < coalesce($3::timestamptz, 'infinity')
        ORDER BY p.time DESC, p.key DESC LIMIT $4) newest
    ORDER BY time, key) x
"""


async def points(
    database: Database, stream: int, start: int | None, end: int | None, limit: int
) -> NDArray[np.void]:
    """The newest ``limit`` points of a range, ascending."""
    return decode(await database.fetchval(NEWEST, stream, start, end, limit), POINT)


async def newest_points(database: Database, stream: int, limit: int) -> NDArray[np.void]:
    """A stream's newest points, ascending."""
    return await points(database, stream, None, None, limit)


async def points_changed_since(
    database: Database, stream: int, seq: int, since: int, limit: int
) -> NDArray[np.void] | None:
    """The points after change number ``since`` up to ``seq``, for a screen that was away.

    None when they cannot be told apart so: more than ``limit``, or an old point changed.
    """
    missed = seq - since
    if not 0 <= missed <= limit:
        return None
    found = await newest_points(database, stream, missed)
    expected = np.arange(since + 1, seq + 1)
    return found if np.array_equal(found["seq"], expected) else None


RECENT: Final = f"""
    {SENT} SELECT {COLUMNS}
    FROM stream s CROSS JOIN LATERAL (
        SELECT * FROM point p WHERE p.stream = s.id
        ORDER BY p.time DESC, p.key DESC LIMIT $3) p
    WHERE s.id >= $1 AND s.id < $2
    ORDER BY p.stream, p.time, p.key) x
"""


async def recent_points(
    database: Database, limit: int = 64, *, first: int = 0, until: int | None = None
) -> NDArray[np.void]:
    """Each stream's newest points, ascending by stream, time and key.

    Of the streams with ids from ``first``, and below ``until``.
    """
    parts = [
        decode(await database.fetchval(RECENT, *some, limit), POINT)
        async for some in some_streams(database, first, until)
    ]
    return np.concatenate([np.empty(0, POINT), *parts])


COUNT: Final = """
    SELECT count(*) FROM point p
    WHERE p.stream = $1 AND p.time >= coalesce($2::timestamptz, '-infinity')
      AND p.time < coalesce($3::timestamptz, 'infinity')
"""


async def count_points(database: Database, stream: int, start: int | None, end: int | None) -> int:
    """How many points a range holds."""
    return int(await database.fetchval(COUNT, stream, start, end))


# 8: excluded by a person; those stay visible but are no part of a band.
VIOLATIONS: Final = f"""
    {SENT} SELECT * FROM (
        SELECT {COLUMNS} FROM point p
        WHERE p.stream = $1 AND p.time >= coalesce($2::timestamptz, '-infinity')
          AND p.time < coalesce($3::timestamptz, 'infinity')
          AND (p.violations <> 0 OR p.flags & 8 <> 0)
        ORDER BY p.time DESC, p.key DESC LIMIT $4) newest
    ORDER BY time, key) x
"""


async def violations(
    database: Database, stream: int, start: int | None, end: int | None, limit: int
) -> NDArray[np.void]:
    """The newest points of a range that violate a rule or are excluded, ascending."""
    return decode(await database.fetchval(VIOLATIONS, stream, start, end, limit), POINT)


class Band(msgspec.Struct, frozen=True):
    """Neighbouring points of one version, reduced; ``time`` is that of the first."""

    time: int
    until: int  # of the last
    n: int  # points
    min: float
    mean: float
    max: float
    dispersion_min: float | None
    dispersion_mean: float | None
    dispersion_max: float | None
    version: int
    violating: int  # points that violate a rule
    violations: int  # bits of all of them together


BANDS: Final = """
    WITH extent AS (
        SELECT first.time AS first,
               greatest((last.time - first.time) / $4::float8, interval '1 microsecond') AS width
        FROM (SELECT time FROM point
              WHERE stream = $1 AND time >= coalesce($2::timestamptz, '-infinity')
              ORDER BY time, key LIMIT 1) first,
             (SELECT time FROM point
              WHERE stream = $1 AND time < coalesce($3::timestamptz, 'infinity')
              ORDER BY time DESC, key DESC LIMIT 1) last
    )
    SELECT min(p.time) AS time, max(p.time) AS until, count(*) AS n,
           min(p.statistic) AS min, avg(p.statistic) AS mean, max(p.statistic) AS max,
           min(p.dispersion) AS dispersion_min, avg(p.dispersion) AS dispersion_mean,
           max(p.dispersion) AS dispersion_max, p.version,
           count(*) FILTER (WHERE p.violations <> 0) AS violating,
           bit_or(p.violations) AS violations
    FROM point p, extent
    WHERE p.stream = $1 AND p.time >= coalesce($2::timestamptz, '-infinity')
      AND p.time < coalesce($3::timestamptz, 'infinity') AND p.flags & 8 = 0
    GROUP BY date_bin(extent.width, p.time, extent.first), p.version
    ORDER BY 1
"""


async def bands(
    database: Database, stream: int, start: int | None, end: int | None, buckets: int
) -> list[Band]:
    """A dense range as some ``buckets`` of equal time; a version's end splits its bucket."""
    rows = await database.fetch(BANDS, stream, start, end, buckets)
    return [Band(**row) for row in rows]


OF_READINGS: Final = f"""
    {SENT} SELECT DISTINCT {COLUMNS}
    FROM unnest($1::integer[], $2::timestamptz[], $3::bigint[], $4::bigint[])
         AS n (stream, time, key, subgroup)
    CROSS JOIN LATERAL (
        SELECT * FROM point p
        WHERE n.subgroup IS NULL AND p.stream = n.stream AND p.time = n.time AND p.key = n.key
        UNION ALL
        SELECT * FROM point p
        WHERE p.stream = n.stream AND p.subgroup = n.subgroup AND p.subgroup IS NOT NULL
    ) p
    ORDER BY p.stream, p.time, p.key) x
"""


async def points_of_readings(
    database: Database,
    streams: Integers,
    times: Integers,
    keys: Integers,
    subgroups: list[int | None],
) -> NDArray[np.void]:
    """The points that these readings belong to: by subgroup, else by their own identity.

    A name that a source uses again gives all of its subgroups.
    """
    return decode(
        await database.fetchval(
            OF_READINGS, integers(streams), integers(times), integers(keys), subgroups
        ),
        POINT,
    )


REVISIONS: Final = """
    SELECT stream, time, key, seq, at, why, was, became FROM point_revision
    WHERE stream = $1 AND time >= coalesce($2::timestamptz, '-infinity')
      AND time < coalesce($3::timestamptz, 'infinity')
    ORDER BY time, key, id LIMIT $4
"""


async def point_revisions(
    database: Database, stream: int, start: int | None, end: int | None, limit: int
) -> list[Revision]:
    """What a stream's points were before they changed, in the order of measured time."""
    rows = await database.fetch(REVISIONS, stream, start, end, limit)
    return [Revision(**row) for row in rows]
