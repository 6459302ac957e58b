"""The path of a reading: taken from the intake, judged, made durable, acknowledged, shown."""

import asyncio
import time
from collections.abc import Callable

import msgspec
import numpy as np
import structlog

from app.alarms import Alarms
from app.catalog import Catalog
from app.intake import Intake, Waiting
from app.journal import Durable, Journal
from app.judge import Judge, timed
from app.metrics import READINGS, STAGE
from app.outcome import JudgedOutcome, outcomes, put_aside
from app.store.batch import Batch
from app.store.errors import DuplicateKey, StoreError, StoreRefused
from collectors.reading import Delivery, Reject

log = structlog.get_logger(__name__)

PACE_S = 0.025
"""Small batches follow each other no faster than this: one commit for many readings."""


class Pipeline:
    """One batch after the other; nothing else moves the engine's state."""

    def __init__(
        self,
        intake: Intake,
        catalog: Catalog,
        judge: Judge,
        alarms: Alarms,
        journal: Journal,
        lock: asyncio.Lock,
        clock: Callable[[], int],
    ) -> None:
        self._intake = intake
        self._catalog = catalog
        self._judge = judge
        self._alarms = alarms
        self._journal = journal
        self._lock = lock
        self._clock = clock
        self.batch_max = 10_000
        self.committed: Callable[[Batch, Durable], None] = lambda *_: None
        self.wants_trial: Callable[[int], None] = lambda _: None

    async def run(self) -> None:
        """Take, judge, commit, answer; without end."""
        while True:
            waiting = await self._intake.take(self.batch_max, PACE_S)
            started = time.monotonic()
            STAGE.labels("intake").observe(started - min(one.since for one in waiting))
            try:
                async with self._lock:
                    await self._serve(waiting)
            finally:
                for one in waiting:
                    if not one.receipt.done():
                        one.receipt.cancel()
                self._intake.done(waiting, time.monotonic() - started)

    async def _serve(self, waiting: list[Waiting]) -> None:
        """Make these deliveries durable and answer their senders."""
        try:
            answers = await self.deliver([one.delivery for one in waiting])
        except StoreRefused as error:
            if len(waiting) > 1:  # find out whose fault it is
                for one in waiting:
                    await self._serve([one])
                return
            await self._answer_refused(waiting, error)
            return
        except StoreError as error:
            _fail(waiting, error)
            return
        for one, answer in zip(waiting, answers, strict=True):
            if not one.receipt.done():
                one.receipt.set_result(answer)

    async def _answer_refused(self, waiting: list[Waiting], error: StoreRefused) -> None:
        (one,) = waiting
        try:
            try:
                answer = await self._quarantine(one.delivery, error)
            except (StoreRefused, DuplicateKey) as again:
                log.error("the database takes nothing", error=str(again))  # noqa: TRY400
                self._journal.doubt()
                (answer,) = await self._put_aside([one.delivery])
        except StoreError as again:
            _fail(waiting, again)
            return
        if not one.receipt.done():
            one.receipt.set_result(answer)

    async def _quarantine(self, delivery: Delivery, error: StoreError) -> JudgedOutcome:
        """What the database does not take goes to the quarantine, as it came."""
        reason = f"the database refused it: {error}"
        log.error("a delivery goes to the quarantine", source=delivery.source, reason=reason)
        rejects = [
            Reject(reason, msgspec.json.encode(reading), index, reading.characteristic)
            for index, reading in enumerate(delivery.readings)
        ]
        (answer,) = await self._store(
            [msgspec.structs.replace(delivery, readings=[], rejects=delivery.rejects + rejects)]
        )
        answer.rejected = [(index, reason) for index in range(len(delivery.readings))]
        return answer

    async def deliver(self, deliveries: list[Delivery]) -> list[JudgedOutcome]:
        """Judge deliveries and make them durable; the caller sees to it that it is alone.

        Raises:
            StoreRefused: the database does not take one of them; nothing was kept.
            SpoolFull: the database is away and so is the room on the disk.
        """
        if not self._journal.trusted:
            return await self._put_aside(deliveries)
        try:
            return await self._store(deliveries)
        except DuplicateKey as error:
            log.warning("the store knows more than we do", error=str(error))
        try:
            return await self._store(deliveries, look_everything_up=True)
        except DuplicateKey as error:
            log.error("the state is read again", error=str(error))  # noqa: TRY400
            self._journal.doubt()
            return await self._put_aside(deliveries)

    async def _put_aside(self, deliveries: list[Delivery]) -> list[JudgedOutcome]:
        await self._journal.put_aside(self._clock(), deliveries)
        return put_aside(deliveries)

    async def _store(
        self, deliveries: list[Delivery], *, look_everything_up: bool = False
    ) -> list[JudgedOutcome]:
        """Judge and commit; on failure everything is as it was."""
        with timed("judge"):
            prepared = await self._judge.prepare(deliveries, look_everything_up=look_everything_up)
        batch = prepared.batch
        durable = await self._commit(batch, prepared.undo)
        for stream in self._judge.trials_due(batch):
            self.wants_trial(stream)
        found = prepared.classified.sorted
        READINGS.labels("duplicate").inc(int(np.count_nonzero(found.duplicate)))
        unjudged = prepared.classified.unjudged
        return outcomes(deliveries, prepared.admitted, found, unjudged, batch, durable)

    async def _commit(self, batch: Batch, undo: Callable[[], None]) -> Durable:
        """Make a batch durable and tell of it; what failed is undone."""
        try:
            with timed("write"):
                durable = await self._journal.commit(batch)
        except BaseException:
            undo()
            raise
        self._catalog.saved()
        with timed("publish"):
            self.committed(batch, durable)
        return durable

    async def judge_again(self, since: dict[int, int], why: str) -> None:
        """Judge stored readings of some streams anew, from a measured time each.

        The caller holds the lock. Takes out of ``since`` what is done.

        Raises:
            StoreError: it could not be made durable.
        """
        for stream, first in list(since.items()):
            if stream in self._catalog.streams:
                batch, undo = await self._judge.again(stream, first, why)
                await self._commit(batch, undo)
            del since[stream]

    async def judge_set_aside(self) -> None:
        """Judge what was stored without a verdict; the caller holds the lock.

        Raises:
            StoreRefused, DuplicateKey: the database takes nothing; what is left stays aside.
        """
        async for deliveries in self._journal.set_aside():
            try:
                await self._store(deliveries, look_everything_up=False)
            except (DuplicateKey, StoreRefused):
                for delivery in deliveries:
                    await self._judge_doubtful(delivery)
            if self._journal.away:
                return  # they are set aside again
        self._judge.release()

    async def _judge_doubtful(self, delivery: Delivery) -> None:
        """One delivery that was aside with others, of which the database refused one."""
        try:
            await self._store([delivery], look_everything_up=True)
        except (DuplicateKey, StoreRefused) as error:
            await self._quarantine(delivery, error)

    async def alone(self, fill: Callable[[Batch], None]) -> None:
        """A batch that comes from no source; ``fill`` puts alarms and the like into it.

        Raises:
            StoreError: it could not be made durable; nothing was changed.
        """
        async with self._lock:
            if not self._journal.trusted:
                return
            batch = Batch(id=self._journal.last + 1, at=self._clock())
            mark = self._alarms.mark()
            try:
                fill(batch)
            except BaseException:
                self._alarms.rollback(mark)
                raise
            await self._commit(batch, lambda: self._alarms.rollback(mark))


def _fail(waiting: list[Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.receipt.done():
            one.receipt.set_exception(error)
            one.receipt.exception()  # told; a sender that has gone needs no warning
