"""The database: one connection that writes batch after batch, a few that answer questions."""

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

import asyncpg

from app.store import partitions, statements, tables
from app.store.batch import Batch
from app.store.connection import connect, dial, errors_named, server_settings
from app.store.errors import AlreadyWriting, StoreLost, StoreRefused
from app.store.migrate import REVISION

LOCK: Final = (0x616E646F, 0x6E)  # "ando", "n"
"""The advisory lock that the one writer holds on its writing connection."""

SMALL: Final = 200
"""Rows up to which one statement is faster than a transaction with COPYs."""

READERS: Final = 6
PATIENT_S: Final = 30.0
LOCK_EVERY_S: Final = 0.1

Written = Literal["written", "already"]

TAKE_TURN: Final = """
    UPDATE writer SET last_batch = $1 WHERE last_batch = $1 - 1 AND ($2::bigint = 0 OR epoch = $2)
"""

WRITER: Final = "SELECT epoch, last_batch FROM writer"

CLAIM: Final = """
    UPDATE writer SET holder = $1, held_since = $2 RETURNING epoch, last_batch
"""

HOLDER: Final = """
    SELECT w.holder, a.backend_start, host(a.client_addr) AS address
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid, writer w
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2
      AND l.objsubid = 2 AND l.database = (SELECT oid FROM pg_database
                                           WHERE datname = current_database())
"""


class Store:
    """Batches in, rows out. It never connects again by itself: whoever writes decides when."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], int],
        *,
        write_timeout_s: float = 10.0,
        connect_timeout_s: float = 5.0,
        lock_wait_s: float = 5.0,
    ) -> None:
        self.epoch = 0
        self._url = url
        self._clock = clock
        self._write_timeout_s = write_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._lock_wait_s = lock_wait_s
        self._writer: Any = None
        self._turn = asyncio.Lock()
        self._partitions: partitions.Partitions | None = None
        self._reader = Reader(url, PATIENT_S, connect_timeout_s)
        self.prompt = Reader(url, write_timeout_s, connect_timeout_s)

    @property
    def connected(self) -> bool:
        """Whether the writing connection was there when it was last used."""
        return self._writer is not None and not self._writer.is_closed()

    async def open(self) -> None:
        """Connect and become the one writer; do nothing when that is so already.

        Raises:
            StoreLost: the database does not answer, or not yet.
            StoreRefused: it is not a database of this Andon; ``andon migrate`` may help.
            AlreadyWriting: another process holds it; says who.
        """
        async with self._turn:
            if self.connected:
                return
            self._drop()
            writer = await connect(
                self._url, name="andon writer", timeout_s=self._connect_timeout_s,
                statement_timeout_s=self._write_timeout_s,
            )  # fmt: skip
            try:
                with errors_named("opening the database"):
                    async with asyncio.timeout(self._write_timeout_s + self._lock_wait_s):
                        await self._claim(writer)
            except BaseException:
                writer.terminate()
                raise
            self._writer = writer

    async def _claim(self, writer: Any) -> None:
        await self._check_schema(writer)
        if await writer.fetchval("SELECT current_setting('synchronous_commit')") == "off":
            # an acknowledgement says that the reading is on the disk
            await writer.execute("SET synchronous_commit = on")
        await self._lock(writer)
        name = f"process {os.getpid()} on {socket.gethostname()}"
        row = await writer.fetchrow(CLAIM, name, self._clock())
        self.epoch = row["epoch"]
        self._partitions = await partitions.find(writer)
        if self._partitions:
            await self._partitions.ahead(writer, self._clock())

    async def _lock(self, writer: Any) -> None:
        # a writer that was killed a moment ago holds the lock until the server notices
        for _ in range(int(self._lock_wait_s / LOCK_EVERY_S) + 1):
            if await writer.fetchval("SELECT pg_try_advisory_lock($1, $2)", *LOCK):
                return
            await asyncio.sleep(LOCK_EVERY_S)
        raise AlreadyWriting(await self._who(writer))

    async def _check_schema(self, writer: Any) -> None:
        try:
            found = await writer.fetchval("SELECT version_num FROM alembic_version")
        except asyncpg.UndefinedTableError:
            found = None
        if found != REVISION:
            raise StoreRefused(
                f"the database's tables are at {found or 'nothing'}, this Andon works with "
                f"{REVISION}: "
                + ("use a newer Andon" if (found or "") > REVISION else "run `andon migrate`")
            )

    async def _who(self, writer: Any) -> str:
        row = await writer.fetchrow(HOLDER, *LOCK)
        if row is None:
            return "another Andon writes to this database"
        where = f" (connected from {row['address']})" if row["address"] else ""
        return f"{row['holder']} writes to this database{where}; stop it first"

    async def close(self) -> None:
        """Give the database up."""
        await self._reader.close()
        await self.prompt.close()
        async with self._turn:
            writer, self._writer = self._writer, None
            if writer is not None:
                try:
                    await writer.close(timeout=2.0)
                except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    writer.terminate()

    async def last_batch(self) -> int:
        """The newest batch that is committed; tells what became of one whose outcome is unknown."""
        row = await self._alone("asking for the last batch", lambda c: c.fetchrow(WRITER))
        return int(row["last_batch"])

    async def write(self, batch: Batch) -> Written:
        """Commit a batch whole; batches come in the order of their ids, without a gap.

        Raises:
            StoreLost: not known whether it was committed: keep it, and write it again later.
            DuplicateKey: it holds a reading or point that exists; nothing was stored.
            StoreRefused: nothing was stored, and the same batch will never be.
        """
        written: Written = await self._alone(
            f"writing batch {batch.id}", lambda c: self._write(c, batch)
        )
        return written

    async def change(self, statement: str, *args: Any) -> list[Any]:
        """Change a few rows beside the batches, such as marks of delivery; one statement."""
        rows: list[Any] = await self._alone("writing", lambda c: c.fetch(statement, *args))
        return rows

    async def _alone(self, doing: str, work: Callable[[Any], Any]) -> Any:
        """Use the writing connection; after a failure that leaves its state unknown it is dropped."""
        async with self._turn:
            if not self.connected:
                self._drop()
                raise StoreLost
            try:
                with errors_named(doing):
                    async with asyncio.timeout(self._write_timeout_s):
                        return await work(self._writer)
            except (StoreLost, asyncio.CancelledError):
                self._drop()
                raise

    def _drop(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.terminate()

    async def _write(self, connection: Any, batch: Batch) -> Written:
        tables.check_times(batch.readings, batch.points)
        if self._partitions:
            await self._partitions.make(connection, tables.months(batch.readings, batch.points))
        if is_quiet(batch):
            written = await tables.quiet(connection, batch)
            return "written" if written else await self._not_its_turn(connection, batch)
        await connection.execute("BEGIN")
        try:
            turn = await connection.execute(TAKE_TURN, batch.id, batch.epoch)
            if tables.affected(turn):
                await write_parts(connection, batch)
                await connection.execute("COMMIT")
                return "written"
            await connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, StoreRefused, ValueError):
            # the connection is sound: the server said no, or the driver before asking
            await connection.execute("ROLLBACK")
            raise
        return await self._not_its_turn(connection, batch)

    async def _not_its_turn(self, connection: Any, batch: Batch) -> Literal["already"]:
        row = await connection.fetchrow(WRITER)
        if batch.epoch not in (0, row["epoch"]):
            raise StoreRefused(f"batch {batch.id} was made for another database")
        if row["last_batch"] < batch.id:
            raise StoreRefused(f"batch {batch.id} does not follow batch {row['last_batch']}")
        return "already"

    # the questions of app.store.queries, see its Database

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """All rows."""
        return await self._reader.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """The first row, or None."""
        return await self._reader.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._reader.fetchval(query, *args)


def is_quiet(batch: Batch) -> bool:
    """Whether a batch is small and carries new rows, tags and positions alone, as most do."""
    rows = len(batch.readings) + len(batch.points) + len(batch.contexts)
    return rows <= SMALL and not (
        batch.events
        or batch.alarms
        or batch.alarm_changes
        or batch.stream_seqs
        or batch.revisions
        or len(batch.changed_points)
        or len(batch.withdrawn_points)
        or len(batch.changed_readings)
        or batch.containments
        or batch.outbox
        or batch.gaps
        or batch.quarantined
        or batch.streams
        or batch.versions
        or batch.characteristics
        or batch.sources
        or batch.boundaries
        or batch.reading_revisions
        or batch.station_events
        or batch.audits
        or batch.answered
        or batch.plant is not None
    )


async def write_parts(connection: Any, batch: Batch) -> None:
    """Write all that a batch carries, within the caller's transaction; what is empty costs nothing."""
    await statements.many(connection, statements.BEFORE_ROWS, batch)
    await statements.contexts(connection, batch.contexts)
    for rows in (batch.readings, batch.points):
        if len(rows):
            await tables.copy(connection, rows)
    for rows in (batch.changed_readings, batch.changed_points):
        if len(rows):
            await tables.change(connection, rows)
    if len(batch.withdrawn_points):
        await tables.withdraw(connection, batch.withdrawn_points)
    await statements.many(connection, statements.AFTER_ROWS, batch)
    await statements.quarantined(connection, batch.quarantined)
    await statements.containments(connection, batch.containments)
    await statements.positions(connection, batch.positions)
    await statements.stream_seqs(connection, batch.stream_seqs)


class Reader:
    """A few connections that only read; each question takes a bounded time."""

    def __init__(self, url: str, timeout_s: float, connect_timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """All rows."""
        rows: list[Any] = await self._ask(lambda connection: connection.fetch(query, *args))
        return rows

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """The first row, or None."""
        return await self._ask(lambda connection: connection.fetchrow(query, *args))

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._ask(lambda connection: connection.fetchval(query, *args))

    async def close(self) -> None:
        """Close its connections, at once."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    async def _ask(self, question: Callable[[Any], Any]) -> Any:
        with errors_named("reading"):
            async with asyncio.timeout(self._timeout_s):
                pool = self._pool or await self._open()
                connection = await pool.acquire()
                try:
                    return await question(connection)
                except (TimeoutError, OSError, asyncio.CancelledError, asyncpg.InterfaceError):
                    connection.terminate()
                    raise
                finally:
                    await pool.release(connection)

    async def _open(self) -> Any:
        async with self._opening:
            if self._pool is None:
                settings = server_settings("andon reader", self._timeout_s)
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=READERS,
                    connect=partial(dial, timeout_s=self._connect_timeout_s),
                    reset=_nothing_to_reset,
                    server_settings={**settings, "default_transaction_read_only": "on"},
                )
            return self._pool


async def _nothing_to_reset(_connection: Any) -> None:
    return None
