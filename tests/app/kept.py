"""A line whose batches go through the real journal, to a store in memory and spools on the disk."""

import asyncio
from contextlib import asynccontextmanager, suppress

from app.alarms import Ids
from app.engine import Engine
from app.journal import Journal
from app.quarantine import Numbers
from app.resumed import CONTINUED, Resumed
from app.snapshot import State
from app.store.spool import Spool
from tests.app.line import Line


class Kept(Line):
    """Restarted from the store or from the spool, as the service is."""

    def __init__(self, config, limits, directory, room: int = 2**30) -> None:
        self.spool, self.aside = Spool(directory / "spool", room), Spool(directory / "aside", room)
        self.spool.open()
        self.aside.open()
        super().__init__(config, limits)

    def _journal(self):
        return Journal(self.store, self.spool, self.aside, self.lock)

    def _build(self) -> None:
        super()._build()
        self.numbers = Numbers()
        self.judge.numbers = self.numbers
        self.state = State(self.catalog, self.engine, self.membership, self.alarms, self.numbers)
        journal = self.journal
        journal.snapshot, journal.aftermath = self.state.snapshot, self.state.aftermath
        journal.returned = self._returned
        self.resumed = Resumed(self.store, self.spool)
        self.resumed.open()
        journal.draining = self.resumed.look

    def restart(self) -> None:
        """The process ends and starts with the database."""
        self._again()
        last = self.store.batches[-1].id if self.store.batches else 0
        self.journal.begin(last, 0)

    async def restart_after_the_outage(self, *, half_way: bool = False) -> None:
        """The process ends while the database is away, or the spool drains, and starts again."""
        self.store.away, self.store.mute, self.store.patience = False, False, None
        if half_way:
            await self.journal.drain()
        del self.journal
        self._build()
        await self.journal.drain()
        self._again()
        self.journal.begin(await self.store.last_batch(), 0)
        await self._judge_afterwards()

    async def restart_without_database(self) -> bool:
        """The process ends and starts while the database is away; whether it judges."""
        self.catalog = type(self.catalog)()
        self.engine = Engine(self.catalog)
        del self.journal
        self._build()
        saved = self.spool.load_snapshot()
        self.state.restore(saved.state)
        last, whole = saved.last_batch, True
        for batch in self.spool.after(last):
            whole = whole and batch.id == last + 1
            if whole:
                self.state.follow(batch)
                last = batch.id
        self.journal.begin(last, 0)
        self.journal.leave()
        if not whole or self.spool.in_doubt(last):
            self.journal.doubt()
        return self.journal.trusted

    def _again(self) -> None:
        journal = self.journal
        super().restart()
        self.journal = journal
        count = [len(batch.quarantined) for batch in self.store.batches]
        self.numbers.quarantine = sum(count)
        events = max((e.id for b in self.store.batches for e in b.events), default=0)
        alarms = max((a.id for b in self.store.batches for a in b.alarms), default=0)
        self.alarms.restore([], [], Ids(alarms, events, 0, 0))

    async def _returned(self) -> None:
        if not self.journal.trusted:
            self._again()
            self.journal.begin(await self.store.last_batch(), 0)
        await self._judge_afterwards()

    async def _judge_afterwards(self) -> None:
        self.resumed.drained()
        await self.pipeline.judge_again(self.resumed.since, CONTINUED)
        await self.resumed.settle()
        await self.pipeline.judge_set_aside()

    def lose(self) -> None:
        """The database is away from here on, and that is known."""
        self.store.away = True
        self.journal.leave()

    async def come_back(self) -> None:
        """The database is there again, and the spool drains."""
        self.store.away, self.store.mute, self.store.patience = False, False, None
        running = asyncio.create_task(self.journal.run())
        try:
            async with asyncio.timeout(20):
                while self.journal.away or self.lock.locked():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    def values(self, stream: int = 1) -> list[float]:
        """The values of the stored readings, in the order of time."""
        return self.store.all_readings(stream)["value"].tolist()

    @asynccontextmanager
    async def running(self):
        """The pipeline runs, and takes what is emitted."""
        self.intake.start()
        task = asyncio.create_task(self.pipeline.run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def close(self) -> None:
        self.spool.close()
        self.aside.close()
