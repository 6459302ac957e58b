"""Makes batches durable: in the database, or in the spool while the database is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, Protocol

import structlog

from app.http.ports import DatabaseAway
from app.store.batch import Batch
from app.store.errors import SpoolFull, StoreError, StoreLost
from app.store.spool import Spool
from collectors.backoff import backoff
from collectors.reading import Delivery

log = structlog.get_logger(__name__)

Durable = Literal["database", "spool"]


class Writer(Protocol):
    """The database, as far as the journal needs it."""

    async def open(self) -> None:
        """Connect again; raises StoreLost."""
        ...

    async def write(self, batch: Batch) -> object:
        """Commit a batch, or find that it was committed before; raises StoreLost."""
        ...


class Journal:
    """One order of batches, whether the database answers or not.

    While it is away batches go to the spool, with what the engine's state became; they are
    written in their order when it is back, and new ones queue behind them.
    """

    def __init__(self, store: Writer, spool: Spool, aside: Spool, lock: asyncio.Lock) -> None:
        self._store = store
        self._spool = spool
        self._aside = aside
        self._lock = lock
        self.away = False
        self.snapshot: Callable[[], bytes] = bytes
        self.aftermath: Callable[[Batch], bytes] = lambda _: b""
        self.returned: Callable[[], Awaitable[None]] = _nothing
        self.last = 0  # the newest batch that is durable
        self.epoch = 0  # of the database that the batches are for
        self._left = asyncio.Event()

    async def commit(self, batch: Batch) -> Durable:
        """Make a batch durable.

        Raises:
            StoreRefused, DuplicateKey: the database answered and said no; nothing was kept.
            SpoolFull: the database is away and so is the room on the disk.
        """
        batch.epoch = self.epoch
        if not self.away:
            try:
                await self._store.write(batch)
            except StoreLost as error:
                log.warning("database lost", error=str(error), spool=str(self._spool.path))
                self.leave()
            else:
                self.last = batch.id
                self._spool.note_committed(batch.id)
                return "database"
        first = self._spool.depth() == 0
        if batch.unjudged:
            # Kept first: should we end here, they are sent again and found to be duplicates.
            aside, batch.unjudged = Batch(batch.id, batch.at, unjudged=batch.unjudged), []
            await asyncio.to_thread(self._aside.append, aside)
        batch.aftermath = self.aftermath(batch)
        await asyncio.to_thread(self._spool.append, batch)
        self.last = batch.id
        if first:
            # From here on the spool alone tells how things went on.
            await self._keep_snapshot(batch.id)
        return "spool"

    async def _keep_snapshot(self, last: int) -> None:
        try:
            await asyncio.to_thread(self._spool.save_snapshot, self.snapshot(), last)
        except SpoolFull as error:
            # The batch is kept all the same; a restart without the database would not judge.
            log.warning("no snapshot could be kept", error=str(error))

    def leave(self) -> None:
        """The database is away."""
        self.away = True
        self._left.set()

    async def write_directly(self, batch: Batch) -> None:
        """Commit what people changed, which never waits in the spool.

        Raises:
            DatabaseAway: nothing was changed.
        """
        if self.away:
            raise DatabaseAway
        batch.epoch = self.epoch
        try:
            await self._store.write(batch)
        except StoreLost as error:
            log.warning("database lost", error=str(error))
            self.leave()
            raise DatabaseAway from error
        self.last = batch.id
        self._spool.note_committed(batch.id)

    async def run(self) -> None:
        """Bring the spool's batches to the database whenever that comes back, without end."""
        while True:
            if not self.away:
                self._left.clear()
                await self._left.wait()
            waits = backoff(first_s=0.5, cap_s=5.0)
            refused = ""
            while self.away:
                await asyncio.sleep(next(waits))
                try:
                    await self._store.open()
                    await self._come_back()
                except StoreLost:
                    continue
                except StoreError as error:
                    if str(error) != refused:
                        refused = str(error)
                        log.error("the spool cannot drain", error=refused)  # noqa: TRY400

    async def drain(self) -> int:
        """Write what the spool holds, oldest first; returns how many batches that were."""
        written = 0
        while (batch := await asyncio.to_thread(self._spool.peek)) is not None:
            await self._store.write(batch)
            self._spool.note_committed(batch.id)
            await asyncio.to_thread(self._spool.drop, batch.id)
            written += 1
        return written

    async def _come_back(self) -> None:
        written = await self.drain()
        async with self._lock:
            written += await self.drain()
            self.away = False
            try:
                await self.returned()
            except StoreLost:
                self.away = True
                raise
        log.info("database back", batches=written)

    async def set_aside(self) -> AsyncIterator[list[Delivery]]:
        """What was stored without a verdict, oldest first; each is forgotten when the next is taken."""
        while (batch := await asyncio.to_thread(self._aside.peek)) is not None:
            yield batch.unjudged
            await asyncio.to_thread(self._aside.drop, batch.id)


async def _nothing() -> None:
    return None
