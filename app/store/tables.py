"""Readings and points on their way into their tables: new, changed, withdrawn."""

from collections.abc import AsyncIterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.store.batch import Batch
from app.store.connection import FIRST_TIME, LAST_TIME
from app.store.copy import EPOCH, NULLABLE, encode
from app.store.errors import StoreRefused
from app.store.rows import NO_SUBGROUP, POINT, READING

TRIES: Final = 3
"""An UPDATE of rows in a compressed chunk may only decompress them and report none."""

UPDATE_READINGS: Final = """
    UPDATE reading AS r SET value = n.value, size = n.size, quality = n.quality,
        purpose = n.purpose, spec = n.spec, flags = n.flags, subgroup = n.subgroup,
        context = n.context, source = n.source, received_at = n.received_at, batch = n.batch
    FROM unnest($1::integer[], $2::timestamptz[], $3::bigint[], $4::float8[], $5::float8[],
                $6::smallint[], $7::smallint[], $8::smallint[], $9::smallint[], $10::bigint[],
                $11::integer[], $12::integer[], $13::timestamptz[], $14::bigint[])
         AS n (stream, time, key, value, size, quality, purpose, spec, flags, subgroup, context,
               source, received_at, batch)
    WHERE r.stream = n.stream AND r.time = n.time AND r.key = n.key
      AND r.time BETWEEN $15 AND $16
"""

UPDATE_POINTS: Final = """
    UPDATE point AS p SET subgroup = n.subgroup, n = n.n, statistic = n.statistic,
        dispersion = n.dispersion, version = n.version, violations = n.violations,
        flags = n.flags, seq = n.seq, batch = n.batch
    FROM unnest($1::integer[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::float8[],
                $6::float8[], $7::float8[], $8::integer[], $9::bigint[], $10::smallint[],
                $11::bigint[], $12::bigint[])
         AS n (stream, time, key, subgroup, n, statistic, dispersion, version, violations, flags,
               seq, batch)
    WHERE p.stream = n.stream AND p.time = n.time AND p.key = n.key
      AND p.time BETWEEN $13 AND $14
"""

DELETE_POINTS: Final = """
    DELETE FROM point AS p
    USING unnest($1::integer[], $2::timestamptz[], $3::bigint[]) AS n (stream, time, key)
    WHERE p.stream = n.stream AND p.time = n.time AND p.key = n.key
      AND p.time BETWEEN $4 AND $5
"""

# One statement is one transaction and one round trip. Nothing is inserted unless it is the
# batch's turn.
QUIET: Final = """
    WITH turn AS (
        UPDATE writer SET last_batch = $1
        WHERE last_batch = $1 - 1 AND ($2::bigint = 0 OR epoch = $2) RETURNING last_batch
    ), readings AS (
        INSERT INTO reading (stream, time, key, value, size, quality, purpose, spec, flags,
                             subgroup, context, source, received_at, batch)
        SELECT n.* FROM turn, unnest(
            $3::integer[], $4::timestamptz[], $5::bigint[], $6::float8[], $7::float8[],
            $8::smallint[], $9::smallint[], $10::smallint[], $11::smallint[], $12::bigint[],
            $13::integer[], $14::integer[], $15::timestamptz[], $16::bigint[]) AS n
    ), points AS (
        INSERT INTO point (stream, time, key, subgroup, n, statistic, dispersion, version,
                           violations, flags, seq, batch)
        SELECT n.* FROM turn, unnest(
            $17::integer[], $18::timestamptz[], $19::bigint[], $20::bigint[], $21::float8[],
            $22::float8[], $23::float8[], $24::integer[], $25::bigint[], $26::smallint[],
            $27::bigint[], $28::bigint[]) AS n
    ), positions AS (
        UPDATE source SET position = n.position
        FROM turn, unnest($29::integer[], $30::jsonb[]) AS n (id, position)
        WHERE source.id = n.id
    ), contexts AS (
        INSERT INTO context (id, tags)
        SELECT n.* FROM turn, unnest($31::integer[], $32::jsonb[]) AS n
        ON CONFLICT (id) DO NOTHING
    )
    SELECT last_batch FROM turn
"""


def columns(rows: NDArray[np.void]) -> list[list[Any]]:
    """The rows as one list a column, NULL as None."""
    lists: list[list[Any]] = []
    for name in rows.dtype.names or ():
        values = rows[name].tolist()
        if name == "subgroup":
            values = [None if value == NO_SUBGROUP else value for value in values]
        elif name in NULLABLE:
            values = [None if value != value else value for value in values]  # noqa: PLR0124 - nan
        lists.append(values)
    return lists


async def copy(connection: Any, rows: NDArray[np.void]) -> None:
    """Add rows to ``reading`` or ``point``, whichever they are of."""
    await connection.copy_to_table(
        table_of(rows), source=_whole(encode(rows)), columns=rows.dtype.names, format="binary"
    )


async def _whole(payload: bytes) -> AsyncIterator[bytes]:
    """All at once: the driver would read a file in another thread, piece by piece."""
    yield payload


def table_of(rows: NDArray[np.void]) -> str:
    """The table these rows are of."""
    if rows.dtype == READING:
        return "reading"
    if rows.dtype == POINT:
        return "point"
    raise TypeError(f"rows of no table: {rows.dtype}")


def months(*parts: NDArray[np.void]) -> set[tuple[str, str]]:
    """The tables and months (YYYY-MM) these rows fall into."""
    found = set()
    for rows in parts:
        if len(rows):
            times = rows["time"]
            ends = _months(np.array([times.min(), times.max()]))
            each = ends[:1] if ends[0] == ends[1] else np.unique(_months(times))
            found |= {(table_of(rows), str(month)) for month in each}
    return found


def _months(times: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return times.astype("M8[us]").astype("M8[M]")


def check_times(*parts: NDArray[np.void]) -> None:
    """Refuse what the database's calendar has no day for.

    Raises:
        StoreRefused: a time lies thousands of years away.
    """
    for rows in parts:
        if len(rows) and not (
            rows["time"].min() >= FIRST_TIME + EPOCH and rows["time"].max() <= LAST_TIME + EPOCH
        ):
            raise StoreRefused(f"a row of {table_of(rows)} has a time beyond the calendar")


async def change(connection: Any, rows: NDArray[np.void]) -> None:
    """Give rows that exist, by their identity, their new columns.

    Raises:
        StoreRefused: one of them does not exist.
    """
    statement = UPDATE_READINGS if rows.dtype == READING else UPDATE_POINTS
    between = int(rows["time"].min()), int(rows["time"].max())
    for _ in range(TRIES):
        done = await connection.execute(statement, *columns(rows), *between)
        if affected(done) == len(rows):
            return
    raise StoreRefused(
        f"{len(rows)} changed rows of {table_of(rows)} were to be stored, "
        f"the database knows {affected(done)} of them"
    )


async def withdraw(connection: Any, points: NDArray[np.void]) -> None:
    """Remove points, by their identity.

    Raises:
        StoreRefused: one of them does not exist.
    """
    between = int(points["time"].min()), int(points["time"].max())
    gone = 0
    for _ in range(TRIES):
        done = await connection.execute(
            DELETE_POINTS,
            points["stream"].tolist(),
            points["time"].tolist(),
            points["key"].tolist(),
            *between,
        )
        gone += affected(done)
        if gone == len(points):
            return
    raise StoreRefused(f"{len(points)} points were to be withdrawn, the database knew {gone}")


def affected(status: str) -> int:
    """How many rows a statement touched, as its status ("UPDATE 3") tells."""
    return int(status.rsplit(" ", 1)[1])


async def quiet(connection: Any, batch: Batch) -> bool:
    """Write a small batch that carries no more than is_quiet() allows; False: it is not its turn."""
    turn = await connection.fetchval(
        QUIET,
        batch.id,
        batch.epoch,
        *columns(batch.readings),
        *columns(batch.points),
        list(batch.positions),
        list(batch.positions.values()),
        [row.id for row in batch.contexts],
        [row.tags for row in batch.contexts],
    )
    return turn is not None
