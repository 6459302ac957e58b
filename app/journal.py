"""Makes batches durable: in the database, or in the spool while the database is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, Protocol

import structlog

from app.http.ports import DatabaseAway
from app.store.batch import Batch
from app.store.errors import SpoolBroken, SpoolFull, StoreError, StoreLost
from app.store.spool import Spool
from collectors.backoff import backoff
from collectors.reading import Delivery

log = structlog.get_logger(__name__)

ROOM = 2**20
"""Bytes that have to fit on the disk before readings are said to be taken again."""

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
    written in their order when it is back, and new ones queue behind them. Where it is not known
    what the database holds (``trusted`` is false) no batch is made: readings are put aside as
    they came, until the state was read from the database again.
    """

    def __init__(self, store: Writer, spool: Spool, aside: Spool, lock: asyncio.Lock) -> None:
        self._store = store
        self._spool = spool
        self._aside = aside
        self._lock = lock
        self.away = False
        self.trusted = True
        self.snapshot: Callable[[], bytes] = bytes
        self.aftermath: Callable[[Batch], bytes] = lambda _: b""
        self.draining: Callable[[Batch], Awaitable[None]] = _nothing
        self.returned: Callable[[], Awaitable[None]] = _nothing
        self.last = 0  # the newest batch that is durable
        self.epoch = 0  # of the database that the batches are for
        self.stuck = ""  # why the spool does not drain although the database answers
        self.no_room = ""  # why nothing can be kept on the disk
        self._wanted_room = 0  # bytes of what found none
        self._left = asyncio.Event()
        self._snapshot_due = False

    def begin(self, last: int, epoch: int) -> None:
        """The state in memory is that after this batch."""
        self.last, self.epoch, self.trusted = last, epoch, True

    async def commit(self, batch: Batch) -> Durable:
        """Make a batch durable.

        Raises:
            StoreRefused, DuplicateKey: the database answered and said no; nothing was kept.
            SpoolFull, SpoolBroken: the database is away and so is the room on the disk.
        """
        batch.epoch = self.epoch
        if not self.away and await self._written(batch):
            return "database"
        return await self._spooled(batch)

    async def write_directly(self, batch: Batch) -> Durable:
        """Commit what people changed, which is not begun while the database is away.

        Lost on the way it is kept in the spool: whether it was committed is not known, so it
        has to be. Let nobody cancel this half-way.

        Raises:
            DatabaseAway: nothing was changed.
        """
        if self.away:
            raise DatabaseAway
        batch.epoch = self.epoch
        if await self._written(batch):
            return "database"
        try:
            return await self._spooled(batch, settled=False)
        except StoreError as error:
            raise DatabaseAway from error

    async def _written(self, batch: Batch) -> bool:
        """Whether a batch is in the database; if not it is lost on the way, and may be there."""
        self._spool.note_begun(batch.id)
        try:
            await self._store.write(batch)
        except StoreLost as error:
            log.warning("database lost", error=str(error), spool=str(self._spool.path))
            self.leave()
            return False
        except StoreError:
            self._spool.note_committed(self.last)
            raise
        except BaseException:
            self.doubt()
            raise
        self.last = batch.id
        self._spool.note_committed(batch.id)
        return True

    async def _spooled(self, batch: Batch, *, settled: bool = True) -> Durable:
        """Keep a batch on the disk; not ``settled``: the state has yet to follow it."""
        begun = self._spool.in_doubt(self.last)
        try:
            if batch.unjudged:
                # Kept first: should we end here, they are sent again and found to be duplicates.
                await self.put_aside(batch.at, batch.unjudged)
                batch.unjudged = []
            batch.aftermath = self.aftermath(batch)
            await self._append(self._spool, batch)
        except BaseException:
            if begun:
                self.doubt()
            raise
        self.last = batch.id
        if self._snapshot_due and settled:
            # From here on the spool alone tells how things went on.
            self._snapshot_due = not await self._keep_snapshot(batch.id)
        return "spool"

    async def _keep_snapshot(self, last: int) -> bool:
        # The batch is kept all the same; a restart without the database may not judge.
        return await self.keep_snapshot(await asyncio.to_thread(self.snapshot), last)

    async def keep_snapshot(self, state: bytes, last: int) -> bool:
        """Keep what a start without the database needs; whether there was room for it."""
        try:
            await asyncio.to_thread(self._spool.save_snapshot, state, last)
        except (SpoolFull, SpoolBroken) as error:
            log.warning("no snapshot could be kept", error=str(error))
            self._note_no_room(str(error), len(state))
            return False
        self.no_room = ""
        return True

    async def _append(self, spool: Spool, batch: Batch) -> None:
        try:
            await asyncio.to_thread(spool.append, batch)
        except (SpoolFull, SpoolBroken) as error:
            self._note_no_room(str(error), ROOM)
            raise
        self.no_room = ""

    def _note_no_room(self, why: str, size: int) -> None:
        if why != self.no_room:
            log.error("nothing can be kept on the disk", error=why)
        self.no_room, self._wanted_room = why, size

    async def _look_for_room(self) -> None:
        """Find out whether readings can be taken again, without waiting for one that is refused."""
        try:
            for spool in (self._spool, self._aside):
                await asyncio.to_thread(spool.check, self._wanted_room)
        except (SpoolFull, SpoolBroken) as error:
            self.no_room = str(error)
        else:
            log.info("there is room on the disk again")
            self.no_room = ""

    @property
    def taking(self) -> bool:
        """Whether anything could become durable now."""
        return not (self.away and self.no_room)

    def leave(self) -> None:
        """The database is away."""
        if not self.away:
            self.away = self._snapshot_due = True
        self._left.set()

    def doubt(self) -> None:
        """The state in memory may differ from the database: it has to be read again."""
        self.trusted = False
        self.leave()

    def sentences(self) -> list[str]:
        """What is amiss, for people; nothing when all is well."""
        said = []
        if self.away:
            said.append(
                f"the database is away: {self._spool.depth()} batches wait in the spool, "
                "commands have to wait"
            )
        if not self.trusted or self._aside.depth():
            said.append(
                f"readings are kept without a verdict ({self._aside.depth()} batches) until what "
                "the database holds is known"
            )
        if self.no_room:
            said.append(
                f"nothing can be kept on the disk: {self.no_room}; "
                + ("nothing is acknowledged" if self.away else "without the database it would stop")
            )
        if self.stuck:
            said.append(f"the spool cannot drain, a person has to act: {self.stuck}")
        return said

    async def put_aside(self, at: int, deliveries: list[Delivery]) -> None:
        """Keep readings as they came, to be judged when the database is back.

        Raises:
            SpoolFull, SpoolBroken: there is no room on the disk.
        """
        number = self._aside.newest() + 1
        await self._append(self._aside, Batch(number, at, unjudged=deliveries))

    async def run(self) -> None:
        """Bring the spool's batches to the database whenever that comes back, without end."""
        while True:
            if not self.away:
                self._left.clear()
                await self._left.wait()
            waits = backoff(first_s=0.5, cap_s=5.0)
            while self.away:
                await asyncio.sleep(next(waits))
                if self.no_room:
                    await self._look_for_room()
                try:
                    await self._store.open()
                    await self._come_back()
                except StoreLost:
                    self.stuck = ""
                except StoreError as error:
                    if str(error) != self.stuck:
                        self.stuck = str(error)
                        log.error("the spool cannot drain", error=self.stuck)  # noqa: TRY400
            self.stuck = ""

    async def drain(self) -> int:
        """Write what the spool holds, oldest first; returns how many batches that were."""
        written = 0
        while (batch := await asyncio.to_thread(self._spool.peek)) is not None:
            await self.draining(batch)
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
            except BaseException:
                self.leave()
                raise
        if not self.away:
            log.info("database back", batches=written)

    async def set_aside(self) -> AsyncIterator[list[Delivery]]:
        """What was stored without a verdict, oldest first; each is forgotten when the next is taken."""
        while (batch := await asyncio.to_thread(self._aside.peek)) is not None:
            yield batch.unjudged
            await asyncio.to_thread(self._aside.drop, batch.id)


async def _nothing(*_: object) -> None:
    return None
