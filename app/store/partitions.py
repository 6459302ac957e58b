"""The months of ``reading`` and ``point`` on PostgreSQL without TimescaleDB."""

from typing import Any, Final

import asyncpg
import numpy as np
import structlog

log = structlog.get_logger(__name__)

AHEAD: Final = 2
"""Months beyond the present one that are there before a reading needs them."""

FIRST, LAST = "1970-01", "2099-12"
"""What is measured outside of these goes to the default partition: no clock is that wrong."""

MONTHS: Final = """
    SELECT p.relname AS parent, substr(c.relname, length(p.relname) + 2) AS month
    FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
    WHERE p.oid IN ('reading'::regclass, 'point'::regclass) AND p.relkind = 'p'
"""

MAKE: Final = "SELECT make_month($1, $2::text::date)"


async def find(connection: Any) -> "Partitions | None":
    """The partitions there are; None where TimescaleDB keeps its chunks."""
    rows = await connection.fetch(MONTHS)
    if not rows:
        return None
    return Partitions({(row["parent"], row["month"].replace("_", "-")) for row in rows})


class Partitions:
    """Knows which months exist, and makes those that are missing before rows need them."""

    def __init__(self, made: set[tuple[str, str]]) -> None:
        self._made = made

    async def make(self, connection: Any, wanted: set[tuple[str, str]]) -> None:
        """Make the missing ones; where somebody's query is in the way, rows go to the default.

        They move to their month when that is made, at the next start at the latest.
        """
        for table, month in sorted(wanted - self._made):
            self._made.add((table, month))
            if not FIRST <= month <= LAST or len(month) != len(FIRST):
                continue
            try:
                await connection.execute("SET lock_timeout = '2s'")
                try:
                    await connection.fetchval(MAKE, table, f"{month}-01")
                finally:
                    await connection.execute("RESET lock_timeout")
            except asyncpg.LockNotAvailableError:
                log.warning("partition not made, a query holds the table", table=table, month=month)

    async def ahead(self, connection: Any, now: int) -> None:
        """Make this month and the next ones, and those that rows in the default belong to."""
        present = np.datetime64(now, "us").astype("M8[M]")
        coming = [str(present + np.timedelta64(month, "M")) for month in range(AHEAD + 1)]
        wanted = {(table, month) for table in ("reading", "point") for month in coming}
        for table, statement in STRAYED.items():
            rows = await connection.fetch(statement)
            wanted |= {(table, row["month"]) for row in rows}
        await self.make(connection, wanted)


STRAYED: Final = {
    table: f"""
        SELECT DISTINCT to_char(time AT TIME ZONE 'UTC', 'YYYY-MM') AS month
        FROM {table}_default
    """  # noqa: S608 - the two names above
    for table in ("reading", "point")
}
