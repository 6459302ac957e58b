"""The running service: what is started in which order, and what everybody asks it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from app.alarms import Alarms, Mark
from app.announce import Announce, Announcer
from app.catalog import Catalog
from app.engine import Engine, compile_loops
from app.facts import Facts
from app.housekeeping import forget_what_is_over, keep_snapshot, keep_snapshots
from app.http.ports import DatabaseAway, Health, NotReady, Row, Verdict
from app.http.readings import SOURCE as HTTP
from app.intake import Intake
from app.journal import Durable, Journal
from app.judge import Judge
from app.late import LateReadings
from app.live import Door, Live
from app.membership import Membership
from app.metrics import LOOP_LAG, Gauges, SourceState, count
from app.opening import Opening
from app.outcome import JudgedOutcome
from app.pipeline import Pipeline
from app.plantfile import PlantSection
from app.quarantine import Numbers
from app.records import Records
from app.resumed import CONTINUED, Resumed
from app.settings import Settings
from app.snapshot import State
from app.sources import Sources
from app.store.batch import Batch
from app.store.embedded import EmbeddedPostgres
from app.store.errors import DuplicateKey, StoreError, StoreLost
from app.store.postgres import Store
from app.store.spool import Spool
from app.tasks import Tasks
from app.trial import Trials
from app.unit import Unit, whole
from app.verdicts import verdicts_of
from app.watch import Watch
from collectors.kinds import KINDS
from collectors.reading import Counters, Delivery, Outcome, Receipt
from collectors.supervisor import SourceStatus

log = structlog.get_logger(__name__)

LAG_EVERY_S = 0.25
AGAIN_S = 1.0
SPOOL, ASIDE = "spool", "aside"


class Service:
    """All parts of Andon in one process, wired together."""

    def __init__(self, settings: Settings, clock: Callable[[], int], build: str) -> None:
        self.settings = settings
        self.clock = clock
        self.build = build
        self.lock = asyncio.Lock()
        self.embedded: EmbeddedPostgres | None
        self.catalog = Catalog()
        self.engine = Engine(self.catalog)
        self.alarms = Alarms()
        self.spool = Spool(settings.data_dir / SPOOL, settings.spool_max_bytes)
        self.aside = Spool(settings.data_dir / ASIDE, settings.spool_max_bytes)
        if settings.database_url is not None:
            self.url = settings.database_url.get_secret_value()
            self.embedded = None
        else:
            self.embedded = EmbeddedPostgres(settings.data_dir)
            self.url = self.embedded.url()  # known before it runs
        self.store = Store(self.url, clock)
        self.records = Records(self.store)
        self.journal = Journal(self.store, self.spool, self.aside, self.lock)
        self.membership = Membership(self.catalog, self.engine)
        self.late = LateReadings(self.catalog, self.engine, self.membership, self.records)
        self.resumed = Resumed(self.records, self.spool)
        self.intake = Intake(settings.intake_capacity)
        self.facts = Facts(self.catalog, self.alarms, self.records)
        self.numbers = Numbers()
        self.highest: dict[str, int] = {}
        self.state = State(self.catalog, self.engine, self.membership, self.alarms, self.numbers)
        self.judge = Judge(
            self.catalog, self.engine, self.alarms, self.journal, self.late, self.records, clock
        )
        self.pipeline = Pipeline(
            self.intake, self.catalog, self.judge, self.alarms, self.journal, self.lock, clock
        )
        self.sources_running = Sources(self.catalog, self.intake.emit, clock)
        self.hub = Live(self.facts, clock=clock, build=self.build)
        self.door = Door(self.hub, clients=settings.live_clients)
        self.announcer = Announcer((), clock, self.records, state=self._state)
        self.watch = Watch(self.catalog, self.engine, self.alarms, self.facts, self.sources, clock)
        self.http = SourceStatus(HTTP, Counters(), state="up", since=clock())
        self.ready = False
        self.why_not = ["starting"]
        self.lag_s = 0.0
        self.died = False
        self._tasks = Tasks(self._part_died)
        self._serving: asyncio.Task[Any] | None = None  # the pipeline's loop
        self.trials = Trials(self)
        self._opening: Opening
        self._embedded_runs = self._begun = False
        self._wire()

    def _wire(self) -> None:
        judge, pipeline, journal = self.judge, self.pipeline, self.journal
        judge.numbers = self.numbers
        judge.measured = self.sources_running.traits
        judge.describe = self.facts.describe
        judge.past = self.records.fill_past
        pipeline.batch_max = self.settings.batch_max
        pipeline.committed = self._committed
        pipeline.wants_trial = self.trials.want
        self.records.away = lambda: journal.away
        self.records.names = lambda: {one.id: one.name for one in self.catalog.sources.values()}
        catalog = self.catalog
        self.records.stream_names = lambda number: catalog.streams[number].name
        self.records.characteristic_names = lambda number: catalog.characteristics[number].name
        journal.snapshot = self.state.snapshot
        journal.aftermath = self.state.aftermath
        journal.draining = self.resumed.look

    # life

    async def start(self) -> None:
        """Bring everything up; returns when readings are taken, or when waiting for the database.

        Raises:
            StoreError, SettingsInvalid, PlantInvalid: with the sentence to show; nothing runs.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._opening = Opening(self)
        await whole(asyncio.to_thread(self.spool.open))
        await whole(asyncio.to_thread(self.aside.open))
        await asyncio.to_thread(self.resumed.open)
        if self.embedded is not None:
            self._embedded_runs = True
            await whole(asyncio.to_thread(self.embedded.start))
        compiling = asyncio.to_thread(compile_loops)
        _, opened = await asyncio.gather(compiling, self._opening.try_once())
        self._tasks.run(self._measure_lag(), "loop lag")
        if opened:
            await self._begin()
        else:
            self._tasks.run(self._open_later(self._opening), "open the store")

    async def _open_later(self, opening: Opening) -> None:
        """The database is not there and there is no snapshot: nothing is acknowledged until it is."""
        while True:
            try:
                if await opening.try_once():
                    break
            except StoreError as error:
                if self.why_not != [str(error)]:
                    self.why_not = [str(error)]
                    log.error("the store cannot be opened", error=str(error))  # noqa: TRY400
            await asyncio.sleep(AGAIN_S)
        await self._begin()

    async def _begin(self) -> None:
        """Readings are taken from here on."""
        self.watch.started = self.clock()
        self.hub.catalog_changed([entry.name for entry in self.catalog.characteristics.values()])
        await self._reconfigure()
        self.journal.returned = self._returned
        if not self.journal.away:
            async with self.lock:
                try:
                    await self.judge_afterwards()
                except StoreLost:
                    self.journal.leave()  # it is done when the database is back
        self._serving = self._tasks.run(self.pipeline.run(), "pipeline")
        self._tasks.run(self.journal.run(), "journal")
        self._tasks.run(self.hub.run(), "live")
        self._tasks.run(self.announcer.run(), "announce")
        self._tasks.run(self.watch.run(self.pipeline.alone), "watch")
        self._tasks.run(self.trials.run(), "trial limits")
        self._tasks.run(keep_snapshots(self), "snapshots")
        self._tasks.run(forget_what_is_over(self), "forget")
        self.intake.start()
        self.ready, self.why_not = True, []
        self._begun = True
        log.info("ready", streams=len(self.catalog.streams), away=self.journal.away)

    async def stop(self) -> None:
        """Stop the sources first, let the rest drain, then close; harmless when nothing runs."""
        self._tasks.stopping()
        self.ready, self.why_not = False, ["stopping"]
        async with AsyncExitStack() as at_last:
            at_last.callback(self.aside.close)
            at_last.callback(self.spool.close)
            if self._embedded_runs and self.embedded is not None:
                self._embedded_runs = False
                at_last.push_async_callback(asyncio.to_thread, self.embedded.stop)
            at_last.push_async_callback(self.store.close)
            await self.sources_running.stop()
            self.intake.stop()
            await self._drain()
            await self._tasks.stop()
            self.intake.give_up()
            if self._begun:
                self._begun = False
                await keep_snapshot(self)

    async def _drain(self) -> None:
        """Let what was taken become durable, while there is somebody who does it."""
        if not self.intake.depth:
            return
        serving = self._serving
        pipeline = [] if serving is None or serving.done() else [serving]
        drained = asyncio.create_task(self.intake.drained(), name="drain")
        grace_s = self.settings.shutdown_grace / 1e6
        await asyncio.wait(
            {drained, *pipeline}, timeout=grace_s if pipeline else 0, return_when="FIRST_COMPLETED"
        )
        if not drained.done():
            log.warning("stopped before everything was durable", waiting=self.intake.depth)
            drained.cancel()

    def _part_died(self, name: str) -> None:
        self.died = True
        self.ready, self.why_not = False, [f"{name} died"]

    # configuration

    async def _reconfigure(self) -> None:
        """Run what the catalog says: sources, announcements, words."""
        plant = self.catalog.plant
        section = PlantSection.model_validate(plant.get("section", {}))
        self.facts.plant = section
        self.announcer.configure(
            [Announce.model_validate(one) for one in plant.get("announce", ())], plant=section.name
        )
        self.alarms.channels = self.announcer.channels
        self.alarms.page_within = section.page_age
        await self.sources_running.configure(
            [KINDS[one["kind"]].config.model_validate(one) for one in plant.get("sources", ())]
        )

    @property
    def plant(self) -> PlantSection:
        """What holds for the whole plant."""
        return self.facts.plant

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Unit]:
        """A unit of change; while it is open no batch is judged.

        Raises:
            DatabaseAway: nothing was changed.
        """
        if not self.ready:
            raise DatabaseAway
        async with self.lock:
            if self.journal.away:
                raise DatabaseAway
            batch = Batch(id=self.journal.last + 1, at=self.clock())
            unit = Unit(batch, self.catalog, self.alarms, self.highest, self.records.alarm)
            mark = self.alarms.mark()
            try:
                yield unit
            except BaseException:
                self.alarms.rollback(mark)
                raise
            await whole(self._commit(unit, mark))
        if batch.sources or batch.plant is not None:
            await whole(self._reconfigure())

    async def _commit(self, unit: Unit, mark: Mark) -> None:
        """Make an act durable and put it in force."""
        try:
            durable = await self.journal.write_directly(unit.batch)
        except BaseException as error:
            self.alarms.rollback(mark)
            if isinstance(error, DuplicateKey):
                log.error("the state is read again", error=str(error))  # noqa: TRY400
                self.journal.doubt()
                raise DatabaseAway from error
            raise
        self.highest = unit.highest
        names = self.state.take(unit.batch)
        self._committed(unit.batch, durable)
        if names:
            self.hub.catalog_changed(names)

    # what the pipeline tells

    def _committed(self, batch: Batch, durable: Durable) -> None:
        """A batch is durable: count it, show it, call people."""
        self.catalog.put_positions(batch.positions)
        count(batch, durable)
        if batch.streams:
            changed = {stream.characteristic for stream in batch.streams}
            self.hub.catalog_changed([self.catalog.characteristics[c].name for c in changed])
        self.hub.publish(batch.points, batch.changed_points, batch.withdrawn_points, batch.alarms)
        if batch.outbox:
            self.announcer.put(batch.outbox)
        elif batch.alarms:
            self.announcer.beat()

    async def _returned(self) -> None:
        """The database is back; the caller holds the lock."""
        opening = self._opening
        if not self.journal.trusted:
            await opening.load()
            self.hub.catalog_changed([c.name for c in self.catalog.characteristics.values()])
        else:
            opening.count_on(await self.records.counters())
        if not opening.configured:
            await opening.configure()
            await self._reconfigure()
        await self.judge_afterwards()

    async def judge_afterwards(self) -> None:
        """Judge what could not be judged, or not well, while the database was away."""
        self.resumed.drained()
        await self.pipeline.judge_again(self.resumed.since, CONTINUED)
        await self.resumed.settle()
        await self.pipeline.judge_set_aside()

    async def _measure_lag(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.lag_s = max(0.0, clock() - due)
            LOOP_LAG.observe(self.lag_s)

    # what everybody asks

    async def emit(self, delivery: Delivery, *, wait: bool = True) -> Receipt:
        """Hand readings to the intake."""
        if not self.ready:
            raise NotReady
        self.http.counters.messages += 1
        self.http.counters.readings += len(delivery.readings)
        self.http.counters.rejects += len(delivery.rejects)
        receipt = await self.intake.emit(delivery, wait=wait)
        self.http.last_reading_at = delivery.received_at
        return receipt

    async def verdicts(self, delivery: Delivery, outcome: Outcome) -> list[Verdict | None]:
        """One verdict per reading of a durable delivery."""
        if not isinstance(outcome, JudgedOutcome):
            return [None] * len(delivery.readings)
        return await verdicts_of(
            delivery, outcome, self.catalog, self.alarms, self.records, away=self.journal.away
        )

    @property
    def live(self) -> "Service":
        """The live fan-out."""
        return self

    async def endpoint(self, websocket: Any) -> None:
        """Serve one screen until it leaves."""
        await self.door.serve(websocket)

    def sources(self) -> list[SourceState]:
        """Every source with its state, also the HTTP door itself."""
        return [SourceState(HTTP, self.http), *self.sources_running.states()]

    def health(self) -> Health:
        """How the service is, from memory."""
        return Health(
            ready=self.ready and self.journal.taking,
            database="away" if self.journal.away or not self.ready else "up",
            spool_batches=self.spool.depth() + self.aside.depth(),
            sentences=[*self.why_not, *(self.journal.sentences() if self.ready else ())],
        )

    def gauges(self) -> Gauges:
        """Levels for /metrics, from memory."""
        return Gauges(
            loop_lag_s=self.lag_s,
            intake_depth=self.intake.depth,
            intake_capacity=self.intake.capacity,
            spool_batches=self.spool.depth() + self.aside.depth(),
            spool_bytes=self.spool.bytes_used() + self.aside.bytes_used(),
            spool_age_s=self.spool.age(self.clock()),
            streams=len(self.catalog.streams),
            open_alarms=len(self.alarms.open_alarms()),
            live_clients=len(self.hub.clients),
            database_up=self.ready and not self.journal.away,
        )

    def _state(self) -> Row:
        """What the heartbeat says."""
        return {"monitoring": self.ready and self.journal.taking, **self.alarms.summary()}

    async def announce_test(self, channel: str | None) -> list[Row]:
        """Send a test message on one or all channels."""
        return [
            {"channel": one.channel, "ok": one.ok, "detail": one.detail}
            for one in await self.announcer.test(channel)
        ]
