"""The path of a reading: taken from the intake, judged, made durable, acknowledged, shown."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from app import ages
from app.admission import Admitted, SourceTraits, admit
from app.alarms import Alarms, Judged, StreamFacts
from app.catalog import Catalog
from app.changes import Changes
from app.classification import Classified, Classifier, Lookup
from app.engine import Engine, Room
from app.intake import Intake, Waiting
from app.journal import Durable, Journal
from app.late import LateReadings
from app.metrics import READINGS, STAGE
from app.outcome import JudgedOutcome, outcomes, put_aside
from app.quarantine import Arrived, Numbers, as_delivered, keep_the_rest
from app.store.batch import Batch
from app.store.errors import DuplicateKey, StoreError, StoreLost, StoreRefused
from app.store.rows import POINT, READING, PointFlag
from collectors.reading import KEY_MIN, Delivery, Reject
from rules import stream as loop
from rules.limits import TRIAL_POINTS

__all__ = ["Lookup", "Numbers", "Pipeline"]

log = structlog.get_logger(__name__)

PACE_S = 0.025
"""Small batches follow each other no faster than this: one commit for many readings."""

LARGE = 2_000
"""Readings above which a batch is prepared in a worker thread, for the event loop's sake."""

SIGNALS_AT_ONCE = 300
"""Rows that signal, above which the alarms are worked out in a worker thread."""

PLACED_AT_ONCE = 300
"""Rows of a stream out of order, above which a worker thread places them."""


class Prepared(NamedTuple):
    """A batch that waits for its commit, and how to go back."""

    batch: Batch
    admitted: Admitted
    classified: Classified
    undo: Callable[[], None]


class Pipeline:
    """One batch after the other; nothing else moves the engine's state."""

    def __init__(
        self,
        intake: Intake,
        catalog: Catalog,
        engine: Engine,
        alarms: Alarms,
        journal: Journal,
        late: LateReadings,
        lookup: Lookup,
        lock: asyncio.Lock,
        clock: Callable[[], int],
    ) -> None:
        self._intake = intake
        self._catalog = catalog
        self._engine = engine
        self._alarms = alarms
        self._journal = journal
        self._late = late
        self._classifier = Classifier(engine, late, lookup, journal)
        self._lock = lock
        self._clock = clock
        self.traits: dict[str, SourceTraits] = {}
        self.measured: Callable[[], Mapping[str, SourceTraits]] = lambda: self.traits
        self.numbers = Numbers()
        self.batch_max = 10_000
        self.committed: Callable[[Batch, Durable], None] = lambda *_: None
        self.wants_trial: Callable[[int], None] = lambda _: None
        self.describe: Callable[[int], StreamFacts] = _unknown
        self.past: Callable[[Judged], Awaitable[None]] = _nothing

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
        with _timed("judge"):
            prepared = await self._prepare(deliveries, look_everything_up)
        batch = prepared.batch
        try:
            with _timed("write"):
                durable = await self._journal.commit(batch)
        except BaseException:
            prepared.undo()
            raise
        self._catalog.saved()
        with _timed("publish"):
            self.committed(batch, durable)
        self._offer_trials(batch)
        found = prepared.classified.sorted
        READINGS.labels("duplicate").inc(int(np.count_nonzero(found.duplicate)))
        unjudged = prepared.classified.unjudged
        return outcomes(deliveries, prepared.admitted, found, unjudged, batch, durable)

    # preparing

    async def _prepare(self, deliveries: list[Delivery], look_everything_up: bool) -> Prepared:
        """Admit, classify and judge; the state has moved on when this returns."""
        self.traits.update(self.measured())  # clocks run on, and so does what is known of them
        while True:
            try:
                return await self._attempt(deliveries, look_everything_up)
            except StoreLost as error:
                if self._journal.away:
                    raise
                log.warning("database lost", error=str(error))
                self._journal.leave()

    async def _attempt(self, deliveries: list[Delivery], look_everything_up: bool) -> Prepared:
        room = self._engine.room
        total = sum(len(delivery.readings) for delivery in deliveries)
        try:
            if total > LARGE:
                admitted = await asyncio.to_thread(admit, deliveries, self._catalog, self.traits)
            else:
                admitted = admit(deliveries, self._catalog, self.traits)
            self._engine.ensure()
        except BaseException:
            self._catalog.unsave()
            raise
        undo = self._mark(np.unique(admitted.rows["stream"]).astype(np.int64), room)
        try:
            classified = await self._classifier.classify(
                admitted.rows, look_everything_up=look_everything_up
            )
            batch = await self._judge(deliveries, admitted, classified)
        except BaseException:
            undo()
            raise
        return Prepared(batch, admitted, classified, undo)

    def _mark(self, touched: NDArray[np.int64], room: Room) -> Callable[[], None]:
        """How to go back to where these streams, and all else, stand now."""
        mark, alarms_mark = self._engine.mark(touched), self._alarms.mark()
        late_mark = self._late.mark(touched.tolist())
        gap, quarantine = self.numbers.gap, self.numbers.quarantine

        def undo() -> None:
            self._engine.rollback(mark, room)
            self._catalog.unsave()
            self._alarms.rollback(alarms_mark)
            self._late.rollback(late_mark)
            self.numbers.gap, self.numbers.quarantine = gap, quarantine

        return undo

    async def _judge(
        self, deliveries: list[Delivery], admitted: Admitted, classified: Classified
    ) -> Batch:
        rows, now = admitted.rows, self._clock()
        found, slow, unjudged = classified
        batch = Batch(id=self._journal.last + 1, at=now)
        rows["batch"] = batch.id
        stored = found.stored & ~unjudged
        fast = stored & ~np.isin(rows["stream"], list(slow))
        self._late.keep(rows, np.flatnonzero(fast & found.late))
        in_order = np.flatnonzero(fast & ~found.late)
        points = self._engine.advance(rows, in_order, admitted.cuts, admitted.keys)
        changes = [
            await self._out_of_order(stream, admitted, found.late, stored, now)
            for stream in sorted(slow)
        ]
        if unjudged.any():
            batch.unjudged = as_delivered(deliveries, admitted, unjudged)
        batch.readings = rows[stored]
        self._fill_points(batch, points, changes, slow)
        batch.streams = list(self._catalog.unsaved_streams.values())
        batch.contexts = list(self._catalog.unsaved_contexts.values())
        arrived = Arrived(deliveries, admitted, found)
        keep_the_rest(batch, arrived, self.numbers, self._catalog, self.traits)
        await self._find_alarms(batch, changes)
        return batch

    def _fill_points(
        self, batch: Batch, points: NDArray[np.void], changes: list[Changes], slow: Iterable[int]
    ) -> None:
        """Put in the points of a batch: those in order, and what became of the ``slow`` streams."""
        batch.points = _joined([points, *(change.added for change in changes)])
        batch.changed_points = _joined([change.changed for change in changes])
        batch.withdrawn_points = _joined([change.withdrawn for change in changes])
        for part in (batch.points, batch.changed_points, batch.withdrawn_points):
            part["batch"] = batch.id
        batch.revisions = [revision for change in changes for revision in change.revisions]
        batch.stream_seqs = {s: (seq, seq) for s, seq in self._engine.sequences(slow).items()}

    async def _find_alarms(self, batch: Batch, changes: list[Changes]) -> None:
        judged = await self._judged(batch, changes)
        with _timed("alarms"):
            if judged.signalling() > SIGNALS_AT_ONCE:
                await asyncio.to_thread(self._alarms.evaluate, batch, judged, batch.at)
            else:
                self._alarms.evaluate(batch, judged, batch.at)

    async def _out_of_order(
        self,
        stream: int,
        admitted: Admitted,
        late: NDArray[np.bool_],
        stored: NDArray[np.bool_],
        now: int,
    ) -> Changes:
        """Place and judge one stream's readings where order of arrival is not order of time."""
        mine = np.flatnonzero((admitted.rows["stream"] == stream) & stored)
        rows = admitted.rows[mine]
        state = self._engine.integers[stream]
        seq = int(state[loop.SEQ])
        of_mine = rows, admitted.cuts[mine], admitted.keys[mine], late[mine]
        if len(mine) > PLACED_AT_ONCE:
            since = await asyncio.to_thread(self._late.place, *of_mine)
        else:
            since = self._late.place(*of_mine)
        state[loop.SEQ] = seq
        admitted.rows[mine] = rows
        return await self._late.evaluate(stream, rows, now=now, since=since)

    def _skews(self) -> dict[int, int]:
        """By source, its clock minus ours."""
        return {known.id: known.skew for known in self.traits.values() if known.skew}

    async def _judged(self, batch: Batch, changes: list[Changes]) -> Judged:
        """What the alarms need to know of this batch."""
        skews = self._skews()
        judged = Judged(
            describe=self.describe,
            points=batch.points,
            page_age_us=ages.of_points(batch.points, batch.readings, skews, batch.at),
            readings=batch.readings,
            reading_age_us=ages.of_readings(batch.readings, skews),
        )
        if not changes:
            return judged
        judged.changed = batch.changed_points
        judged.changed_was = _joined([change.changed_was for change in changes])
        judged.withdrawn = batch.withdrawn_points
        judged.newest_points = _joined([change.newest for change in changes])
        await self.past(judged)
        return judged

    def _offer_trials(self, batch: Batch) -> None:
        """Streams without limits that have points enough to try some."""
        waiting = batch.points[(batch.points["flags"] & PointFlag.UNJUDGED) != 0]
        for stream in np.unique(waiting["stream"]).tolist():
            if self._engine.integers[stream, loop.SEQ] >= TRIAL_POINTS:
                self.wants_trial(stream)

    async def judge_again(self, since: dict[int, int], why: str) -> None:
        """Judge stored readings of some streams anew, from a measured time each.

        The caller holds the lock. Takes out of ``since`` what is done.

        Raises:
            StoreError: it could not be made durable.
        """
        for stream, first in list(since.items()):
            batch = Batch(id=self._journal.last + 1, at=self._clock())
            undo = self._mark(np.array([stream]), self._engine.room)
            try:
                change = await self._late.evaluate(
                    stream, np.empty(0, READING), now=batch.at, since=(first, KEY_MIN), why=why
                )
                self._fill_points(batch, np.empty(0, POINT), [change], [stream])
                await self._find_alarms(batch, [change])
                durable = await self._journal.commit(batch)
            except BaseException:
                undo()
                raise
            self.committed(batch, durable)
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
        self._late.held.clear()

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
                durable = await self._journal.commit(batch)
            except BaseException:
                self._alarms.rollback(mark)
                raise
            self.committed(batch, durable)


def _fail(waiting: list[Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.receipt.done():
            one.receipt.set_exception(error)
            one.receipt.exception()  # told; a sender that has gone needs no warning


def _joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    return np.concatenate(parts) if parts else np.empty(0, POINT)


@contextmanager
def _timed(stage: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    STAGE.labels(stage).observe(time.monotonic() - started)


def _unknown(stream: int) -> StreamFacts:
    raise LookupError(stream)


async def _nothing(judged: Judged) -> None:
    del judged
