"""The path of a reading: taken from the intake, judged, made durable, acknowledged, shown."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from app.admission import Admitted, SourceTraits, admit, conflict_of
from app.alarms import Alarms, Judged, StreamFacts
from app.arrivals import Sorted, names_of, nothing_known, sort_out
from app.catalog import Catalog
from app.engine import Engine
from app.intake import Intake, Waiting
from app.journal import Durable, Journal
from app.late import Changes, LateReadings
from app.store.batch import Alarm, Batch, GapRow, Quarantined
from app.store.errors import DuplicateKey, SpoolFull, StoreLost, StoreRefused
from app.store.rows import POINT, PointFlag, ReadingFlag
from collectors.reading import Delivery, Outcome, Reading, Reject
from rules import stream as loop
from rules.limits import TRIAL_POINTS

log = structlog.get_logger(__name__)

LINGER_S = 0.02
"""A first small delivery waits so long for company: one commit for many readings."""

LARGE = 2_000
"""Readings above which a batch is prepared in a worker thread, for the event loop's sake."""

SIGNALS_AT_ONCE = 300
"""Rows that signal, above which the alarms are worked out in a worker thread."""

NEVER = np.iinfo(np.int64).max


class Lookup(Protocol):
    """What sorting arrivals asks of the store; each raises StoreLost."""

    async def lookup(
        self, streams: NDArray[np.int32], times: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.void]:
        """The stored readings among these identities."""
        ...

    async def named(
        self, streams: Sequence[int], names: Sequence[int], since: int
    ) -> set[tuple[int, int]]:
        """The pairs of stream and subgroup name that have readings measured since then."""
        ...


class Screens(Protocol):
    """Who watches live."""

    def publish(
        self,
        points: NDArray[np.void],
        changed: NDArray[np.void],
        withdrawn: NDArray[np.void],
        alarms: Sequence[Alarm],
    ) -> None:
        """Show one durable batch; never waits."""
        ...


class Numbers(msgspec.Struct):
    """The highest numbers given so far to rows that only the pipeline writes."""

    gap: int = 0
    quarantine: int = 0


class JudgedOutcome(Outcome):
    """What became of a delivery, with where its verdicts are to be found."""

    rows: NDArray[np.void] | None = None  # the delivery's readings as stored, duplicates too
    items: NDArray[np.int32] | None = None  # which reading each row is
    batch: Batch | None = None


class Prepared(NamedTuple):
    """A batch that waits for its commit, and how to go back."""

    batch: Batch
    admitted: Admitted
    sorted: Sorted
    judged: Judged
    undo: Callable[[], None]
    unjudged: NDArray[np.bool_]


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
        self._lookup = lookup
        self._lock = lock
        self._clock = clock
        self.traits: dict[str, SourceTraits] = {}
        self.measured: Callable[[], Mapping[str, SourceTraits]] = lambda: self.traits
        self.numbers = Numbers()
        self.batch_max = 10_000
        self.trusted = True  # False: the engine's state may lack committed readings
        self.committed: Callable[[Batch, Durable], None] = lambda *_: None
        self.wants_trial: Callable[[int], None] = lambda _: None
        self.describe: Callable[[int], StreamFacts] = _unknown
        self.past: Callable[[Judged], Awaitable[None]] = _nothing

    async def run(self) -> None:
        """Take, judge, commit, answer; without end."""
        while True:
            waiting = await self._intake.take(self.batch_max, LINGER_S)
            started = time.monotonic()
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
        deliveries = [one.delivery for one in waiting]
        try:
            prepared, durable = await self.deliver(deliveries)
        except SpoolFull as error:
            _fail(waiting, error)
            return
        except StoreRefused as error:
            await self._apart(waiting, error)
            return
        outcomes = self._outcomes(deliveries, prepared, durable)
        for one, outcome in zip(waiting, outcomes, strict=True):
            if not one.receipt.done():
                one.receipt.set_result(outcome)

    async def _apart(self, waiting: list[Waiting], error: StoreRefused) -> None:
        """The database refused a batch: find out whose fault it is, one delivery at a time."""
        if len(waiting) > 1:
            for one in waiting:
                await self._serve([one])
            return
        one = waiting[0]
        reason = f"the database refused it: {error}"
        log.error("a delivery goes to the quarantine", source=one.delivery.source, reason=reason)
        delivery = one.delivery
        instead = Delivery(
            delivery.source,
            delivery.received_at,
            [],
            delivery.rejects
            + [
                Reject(reason, msgspec.json.encode(reading), index, reading.characteristic)
                for index, reading in enumerate(delivery.readings)
            ],
            delivery.gaps,
            delivery.position,
        )
        try:
            _, durable = await self.deliver([instead])
        except (StoreRefused, SpoolFull) as again:
            _fail(waiting, again)
            return
        if not one.receipt.done():
            refused = [(index, reason) for index in range(len(delivery.readings))]
            one.receipt.set_result(JudgedOutcome(0, 0, refused, durable))

    async def deliver(self, deliveries: list[Delivery]) -> tuple[Prepared, Durable]:
        """Judge deliveries and make them durable; the caller sees to it that it is alone."""
        prepared = await self._prepare(deliveries, look_everything_up=False)
        try:
            durable = await self._journal.commit(prepared.batch)
        except DuplicateKey:
            # Our memory of what is stored was wrong; the store knows.
            prepared.undo()
            prepared = await self._prepare(deliveries, look_everything_up=True)
            try:
                durable = await self._journal.commit(prepared.batch)
            except BaseException:
                prepared.undo()
                raise
        except BaseException:
            prepared.undo()
            raise
        self._catalog.saved()
        self.committed(prepared.batch, durable)
        self._offer_trials(prepared.batch)
        return prepared, durable

    # preparing

    async def _prepare(self, deliveries: list[Delivery], *, look_everything_up: bool) -> Prepared:
        """Admit, sort out and judge; the state has moved on when this returns."""
        self.traits.update(self.measured())  # clocks run on, and so does what is known of them
        total = sum(len(delivery.readings) for delivery in deliveries)
        if total > LARGE:
            admitted = await asyncio.to_thread(admit, deliveries, self._catalog, self.traits)
        else:
            admitted = admit(deliveries, self._catalog, self.traits)
        engine, rows = self._engine, admitted.rows
        engine.ensure()
        touched = np.unique(rows["stream"]).astype(np.int64)
        mark, alarms_mark = engine.mark(touched), self._alarms.mark()
        late_mark = self._late.mark(touched.tolist())
        numbers = msgspec.structs.replace(self.numbers)

        def undo() -> None:
            engine.rollback(mark)
            self._alarms.rollback(alarms_mark)
            self._late.rollback(late_mark)
            self.numbers = numbers

        try:
            return await self._judge(deliveries, admitted, undo, look_everything_up)
        except BaseException:
            undo()
            raise

    async def _judge(
        self,
        deliveries: list[Delivery],
        admitted: Admitted,
        undo: Callable[[], None],
        look_everything_up: bool,
    ) -> Prepared:
        rows, now = admitted.rows, self._clock()
        known = self._engine.classify(rows)
        if look_everything_up:
            known[:] = 1
        batch = Batch(id=self._journal.last + 1, at=now)
        found, slow, unjudged = await self._sort(rows, np.flatnonzero(known))
        rows["batch"] = batch.id
        stored = found.stored & ~unjudged
        in_order = stored & ~found.late & ~np.isin(rows["stream"], list(slow))
        points = self._engine.advance(rows, np.flatnonzero(in_order), admitted.cuts, admitted.keys)
        changes = [
            await self._out_of_order(stream, admitted, found.late, stored, now)
            for stream in sorted(slow)
        ]
        if unjudged.any():
            batch.unjudged = _unjudged(deliveries, admitted, unjudged)
        batch.readings = rows[stored]
        batch.points = _joined([points, *(change.added for change in changes)])
        batch.changed_points = _joined([change.changed for change in changes])
        batch.withdrawn_points = _joined([change.withdrawn for change in changes])
        for part in (batch.points, batch.changed_points, batch.withdrawn_points):
            part["batch"] = batch.id
        batch.revisions = [revision for change in changes for revision in change.revisions]
        batch.stream_seqs = {s: (seq, seq) for s, seq in self._engine.sequences(slow).items()}
        batch.streams = list(self._catalog.unsaved_streams.values())
        batch.contexts = list(self._catalog.unsaved_contexts.values())
        self._keep_the_rest(batch, deliveries, admitted, found, now)
        judged = await self._judged(batch, changes)
        if judged.signalling() > SIGNALS_AT_ONCE:
            await asyncio.to_thread(self._alarms.evaluate, batch, judged, now)
        else:
            self._alarms.evaluate(batch, judged, now)
        return Prepared(batch, admitted, found, judged, undo, unjudged)

    async def _sort(
        self, rows: NDArray[np.void], doubtful: NDArray[np.int64]
    ) -> tuple[Sorted, set[int], NDArray[np.bool_]]:
        """What each row is, the streams that have to be put in order, the rows that cannot be known."""
        unjudged = np.zeros(len(rows), bool)
        found = nothing_known(rows)
        if not self.trusted:
            return found, set(), ~unjudged
        resumed: set[tuple[int, int]] = set()
        if not self._journal.away:
            try:
                if len(doubtful):
                    asked = rows[doubtful]
                    there = await self._lookup.lookup(asked["stream"], asked["time"], asked["key"])
                    found = sort_out(rows, doubtful, there)
                names = names_of(rows[found.stored & ~found.late], self._engine)
                if names.asked:
                    resumed = await self._resumed(rows, names.asked)
            except StoreLost as error:
                log.warning("database lost", error=str(error))
                self._journal.leave()
        if self._journal.away:
            # What came before cannot be looked up: it is kept, and judged when it can be.
            unjudged[doubtful] = True
            names = names_of(rows[~unjudged], self._engine)
            unjudged |= np.isin(rows["stream"], list(names.tangled))
            return nothing_known(rows), set(), unjudged
        slow = set(np.unique(rows["stream"][found.late]).tolist())
        slow |= names.tangled | {stream for stream, _ in resumed}
        stored = np.unique(rows["stream"][found.stored]).tolist()
        slow |= self._late.unsettled & set(stored)
        return found, slow, unjudged

    async def _resumed(
        self, rows: NDArray[np.void], asked: dict[int, list[int]]
    ) -> set[tuple[int, int]]:
        pairs = [(stream, name) for stream, found in asked.items() for name in set(found)]
        since = int(rows["time"].min()) - loop.NAME_HOLDS
        streams, names = zip(*pairs, strict=True)
        return await self._lookup.named(streams, names, since)

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
        since = self._late.place(rows, admitted.cuts[mine], admitted.keys[mine], late[mine])
        state[loop.SEQ] = seq
        admitted.rows[mine] = rows
        return await self._late.evaluate(stream, rows, now=now, since=since)

    def _keep_the_rest(
        self,
        batch: Batch,
        deliveries: list[Delivery],
        admitted: Admitted,
        found: Sorted,
        now: int,
    ) -> None:
        """Quarantine, gaps and positions: what arrived besides readings."""
        kept = list(admitted.quarantined)
        for i in np.flatnonzero(found.conflict).tolist():
            delivery = deliveries[admitted.delivery[i]]
            item, reason = int(admitted.item[i]), conflict_of(admitted.rows[i], self._catalog)
            admitted.rejected[admitted.delivery[i]].append((item, reason))
            kept.append(
                Quarantined(
                    id=0,
                    received_at=delivery.received_at,
                    source=self.traits[delivery.source].id,
                    characteristic=delivery.readings[item].characteristic,
                    reason=reason,
                    payload=msgspec.json.encode(delivery.readings[item]),
                )
            )
        for one in kept:
            self.numbers.quarantine += 1
            one.id = self.numbers.quarantine
        batch.quarantined = kept
        for delivery in deliveries:
            source = self.traits[delivery.source].id
            if delivery.position is not None:
                batch.positions[source] = delivery.position
            for gap in delivery.gaps:
                self.numbers.gap += 1
                entry = self._catalog.find(gap.characteristic) if gap.characteristic else None
                batch.gaps.append(
                    GapRow(
                        id=self.numbers.gap,
                        source=source,
                        characteristic=entry.id if entry else None,
                        start=gap.start,
                        end=gap.end,
                        missed=gap.missed,
                        reason=gap.reason,
                        recorded_at=now,
                    )
                )

    def _skews(self) -> dict[int, int]:
        """By source, its clock minus ours."""
        return {known.id: known.skew for known in self.traits.values() if known.skew}

    async def _judged(self, batch: Batch, changes: list[Changes]) -> Judged:
        """What the alarms need to know of this batch."""
        judged = Judged(
            describe=self.describe,
            points=batch.points,
            page_age_us=_ages_of_points(batch, self._skews()),
            readings=batch.readings,
            reading_age_us=_ages(batch.readings, self._skews()),
        )
        if not changes:
            return judged
        judged.changed = batch.changed_points
        judged.changed_was = _joined([change.changed_was for change in changes])
        judged.withdrawn = batch.withdrawn_points
        judged.newest_points = _joined([change.newest for change in changes])
        await self.past(judged)
        return judged

    # answering

    def _outcomes(
        self, deliveries: list[Delivery], prepared: Prepared, durable: Durable
    ) -> list[JudgedOutcome]:
        admitted, found = prepared.admitted, prepared.sorted
        bounds = np.searchsorted(admitted.delivery, np.arange(len(deliveries) + 1))
        answers = []
        for number in range(len(deliveries)):
            mine = slice(bounds[number], bounds[number + 1])
            duplicates = int(found.duplicate[mine].sum())
            answers.append(
                JudgedOutcome(
                    accepted=int(found.stored[mine].sum()),
                    duplicates=duplicates,
                    rejected=admitted.rejected[number],
                    durable=durable,
                    rows=admitted.rows[mine],
                    items=admitted.item[mine],
                    batch=prepared.batch,
                )
            )
        return answers

    def _offer_trials(self, batch: Batch) -> None:
        """Streams without limits that have points enough to try some."""
        waiting = batch.points[(batch.points["flags"] & PointFlag.UNJUDGED) != 0]
        for stream in np.unique(waiting["stream"]).tolist():
            if self._engine.integers[stream, loop.SEQ] >= TRIAL_POINTS:
                self.wants_trial(stream)

    async def judge_set_aside(self) -> None:
        """Judge what was stored without a verdict; the caller holds the lock."""
        async for deliveries in self._journal.set_aside():
            await self.deliver(deliveries)
            if self._journal.away:
                return  # they are set aside again

    async def alone(self, fill: Callable[[Batch], None]) -> None:
        """A batch that comes from no source; ``fill`` puts alarms and the like into it."""
        async with self._lock:
            batch = Batch(id=self._journal.last + 1, at=self._clock())
            mark = self._alarms.mark()
            try:
                fill(batch)
                durable = await self._journal.commit(batch)
            except BaseException:
                self._alarms.rollback(mark)
                raise
            self.committed(batch, durable)


def _unjudged(
    deliveries: list[Delivery], admitted: Admitted, unjudged: NDArray[np.bool_]
) -> list[Delivery]:
    """The readings that have to wait for their verdict, as they were delivered."""
    chosen: dict[int, list[Reading]] = {}
    for i in np.flatnonzero(unjudged).tolist():
        number = int(admitted.delivery[i])
        reading = deliveries[number].readings[admitted.item[i]]
        chosen.setdefault(number, []).append(reading)
    return [
        Delivery(deliveries[number].source, deliveries[number].received_at, readings)
        for number, readings in chosen.items()
    ]


def _fail(waiting: list[Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.receipt.done():
            one.receipt.set_exception(error)
            one.receipt.exception()  # told; a sender that has gone needs no warning


def _joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    return np.concatenate(parts) if parts else np.empty(0, POINT)


def _ages(rows: NDArray[np.void], skews: Mapping[int, int]) -> NDArray[np.int64]:
    """How old readings were when they arrived, by a clock as good as ours."""
    ages: NDArray[np.int64] = rows["received_at"] - rows["time"]
    for source, skew in skews.items():
        ages[rows["source"] == source] += skew
    ages[(rows["flags"] & ReadingFlag.HISTORICAL) != 0] = NEVER
    return ages


def _ages_of_points(batch: Batch, skews: Mapping[int, int]) -> NDArray[np.int64]:
    """How old the newest reading of each point was when it arrived."""
    points, readings = batch.points, batch.readings
    newest: dict[tuple[int, int], int] = {}
    ages = np.full(len(points), NEVER)
    if not len(points):
        return ages
    violating = np.flatnonzero(points["violations"])
    if not len(violating):
        return ages
    concerned = np.isin(readings["stream"], points["stream"][violating])
    of_readings = _ages(readings, skews)
    for i in np.flatnonzero(concerned).tolist():
        stream, number = int(readings["stream"][i]), int(readings["subgroup"][i])
        if number != loop.NONE:
            newest[stream, number] = int(of_readings[i])
    single = {
        (int(row["stream"]), int(row["time"]), int(row["key"])): int(age)
        for row, age in zip(readings[concerned], of_readings[concerned], strict=True)
    }
    for i in violating.tolist():
        point = points[i]
        stream = int(point["stream"])
        if point["subgroup"] != loop.NONE:
            ages[i] = newest.get((stream, int(point["subgroup"])), batch.at - int(point["time"]))
        else:
            ages[i] = single.get(
                (stream, int(point["time"]), int(point["key"])), batch.at - int(point["time"])
            )
    return ages


def _unknown(stream: int) -> StreamFacts:
    raise LookupError(stream)


async def _nothing(judged: Judged) -> None:
    del judged
