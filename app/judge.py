"""Makes batches of what was delivered: admitted, classified, judged, and not durable yet."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

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
from app.journal import Journal
from app.late import LateReadings
from app.metrics import STAGE
from app.quarantine import Arrived, Numbers, as_delivered, keep_the_rest
from app.store.batch import Batch
from app.store.errors import StoreLost
from app.store.rows import POINT, READING, PointFlag
from collectors.reading import KEY_MIN, Delivery
from rules import stream as loop
from rules.limits import TRIAL_POINTS

log = structlog.get_logger(__name__)

UNJUDGED = int(PointFlag.UNJUDGED)  # its operators would cost more than a small array

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


class Judge:
    """Moves the engine's state on, one batch at a time, and back when that does not become durable."""

    def __init__(
        self,
        catalog: Catalog,
        engine: Engine,
        alarms: Alarms,
        journal: Journal,
        late: LateReadings,
        lookup: Lookup,
        clock: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._alarms = alarms
        self._journal = journal
        self._late = late
        self._membership = late.membership
        self._classifier = Classifier(engine, late.membership, lookup, journal)
        self._clock = clock
        self.traits: Mapping[str, SourceTraits] = {}
        self.measured: Callable[[], Mapping[str, SourceTraits]] = dict
        self.numbers = Numbers()
        self.describe: Callable[[int], StreamFacts] = _unknown
        self.past: Callable[[Judged], Awaitable[None]] = _nothing

    async def prepare(
        self, deliveries: list[Delivery], *, look_everything_up: bool = False
    ) -> Prepared:
        """Admit, classify and judge; the state has moved on when this returns."""
        self.traits = self.measured()  # clocks run on, and so does what is known of them
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

    async def again(self, stream: int, since: int, why: str) -> tuple[Batch, Callable[[], None]]:
        """Judge a stream's stored readings anew, from a measured time on; also how to go back."""
        batch = Batch(id=self._journal.last + 1, at=self._clock())
        undo = self._mark(np.array([stream]), self._engine.room)
        try:
            change = await self._late.evaluate(
                stream, np.empty(0, READING), now=batch.at, since=(since, KEY_MIN), why=why
            )
            self._fill_points(batch, np.empty(0, POINT), [change], [stream])
            await self._find_alarms(batch, [change])
        except BaseException:
            undo()
            raise
        return batch, undo

    def trials_due(self, batch: Batch) -> list[int]:
        """The streams of a batch without limits that have points enough to try some."""
        waiting = batch.points[(batch.points["flags"] & UNJUDGED) != 0]
        if not len(waiting):
            return []
        seqs = self._engine.sequences(np.unique(waiting["stream"]).tolist())
        return [stream for stream, seq in seqs.items() if seq >= TRIAL_POINTS]

    def release(self) -> None:
        """What waited for the database was judged: streams that were held go on by themselves."""
        self._membership.held.clear()

    def _mark(self, touched: NDArray[np.int64], room: Room) -> Callable[[], None]:
        """How to go back to where these streams, and all else, stand now."""
        mark, alarms_mark = self._engine.mark(touched), self._alarms.mark()
        open_mark = self._membership.mark(touched.tolist())
        gap, quarantine = self.numbers.gap, self.numbers.quarantine

        def undo() -> None:
            self._engine.rollback(mark, room)
            self._catalog.unsave()
            self._alarms.rollback(alarms_mark)
            self._membership.rollback(open_mark)
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
        fast = stored & ~np.isin(rows["stream"], list(slow)) if slow else stored
        self._membership.keep(rows, np.flatnonzero(fast & found.late))
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
        with timed("alarms"):
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
            since = await asyncio.to_thread(self._membership.place, *of_mine)
        else:
            since = self._membership.place(*of_mine)
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


def _joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    return np.concatenate(parts) if parts else np.empty(0, POINT)


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Measure how long a stage takes."""
    started = time.monotonic()
    yield
    STAGE.labels(stage).observe(time.monotonic() - started)


def _unknown(stream: int) -> StreamFacts:
    raise LookupError(stream)


async def _nothing(judged: Judged) -> None:
    del judged
