"""How the service comes to know where it stood: from the database, or from its snapshot without it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from app import apply
from app.alarms import Ids
from app.catalog import Source
from app.characteristic import CharacteristicConfig
from app.http.readings import SOURCE as HTTP
from app.plantfile import load_plant
from app.restart import bring_back
from app.store.batch import Batch
from app.store.batch import Source as SourceRow
from app.store.errors import StoreLost
from app.store.migrate import migrate
from app.unit import OTHERS, Unit

if TYPE_CHECKING:
    from app.service import Service

log = structlog.get_logger(__name__)

BY = "andon serve"


class Opening:
    """Opens the stores of a service, as often as it takes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._told = False

    async def try_once(self) -> bool:
        """Whether readings can be taken now.

        Raises:
            StoreError: a person has to act; the sentence says how.
        """
        service = self._service
        try:
            await migrate(service.url)
            await service.store.open()
            service.journal.last = await service.store.last_batch()
            written = await service.journal.drain()
            if written:
                log.info("spool written to the database", batches=written)
            service.journal.last = await service.store.last_batch()
            await self.load()
            await self._configure()
            await service.pipeline.judge_set_aside()
        except StoreLost as error:
            if not self._told:
                log.warning("the database is away", error=str(error))
                self._told = True
            service.why_not = [str(error)]
            return await self._without_database()
        return True

    async def load(self) -> None:
        """Take everything up from the database."""
        service = self._service
        records, catalog = service.records, service.catalog
        self.forget()
        catalog.plant = await records.plant() or {}
        for row in await records.characteristics():
            config = CharacteristicConfig.model_validate(row.config)
            catalog.put_characteristic(row.id, config, retired=row.retired_at is not None)
        for stream in await records.streams():
            catalog.put_stream(stream)
        for version in await records.versions():
            catalog.put_version(version)
        for source in await records.sources():
            catalog.put_source(Source(source.id, source.name, source.position))
        highest = await records.counters()
        catalog.restore_contexts(await records.newest_contexts(), highest.context + 1)
        service.numbers.gap, service.numbers.quarantine = highest.gap, highest.quarantine
        service.highest = {name: getattr(highest, name) for name in OTHERS}
        ids = Ids(highest.alarm, highest.event, highest.outbox, highest.alarm_seq)
        alarms, events, standing = await records.open_alarms()
        service.alarms.restore(alarms, events, ids, standing)
        remains = await records.remains(catalog.newest_stream)
        await asyncio.to_thread(bring_back, service.engine, service.late, catalog, remains)
        service.facts.epoch_number = service.state.epoch = service.journal.epoch = (
            service.store.epoch
        )

    def forget(self) -> None:
        """Begin with nothing known."""
        service = self._service
        service.catalog.__init__()  # type: ignore[misc]
        service.engine.__init__(service.catalog)  # type: ignore[misc]
        service.late.filling.clear()
        service.late.behind.clear()

    async def _configure(self) -> None:
        """Make sure that the HTTP door has a number, and apply the plant file that was named."""
        service = self._service
        batch = Batch(id=service.journal.last + 1, at=service.clock())
        unit = Unit(batch, service.catalog, service.alarms, service.highest, service.records.alarm)
        if HTTP not in service.catalog.sources:
            batch.sources.append(SourceRow(unit.number("source"), HTTP, HTTP, {}))
        if service.settings.plant is not None:
            plant = load_plant(service.settings.plant)
            plan = apply.plan(plant, service.catalog)
            newest = {
                entry.name: await service.records.newest_reading(
                    service.catalog.streams_of(entry.id)
                )
                for entry in service.catalog.characteristics.values()
            }
            by = apply.Author(BY, batch.at, apply.APPLIED)
            apply.rows(plan.steps, service.catalog, batch, number=unit.number, newest=newest, by=by)
            for step in plan.steps:
                log.info(
                    "plant file", step=step.kind, of=step.of, name=step.name, what=step.sentence
                )
            unit.put_plant(plant)
        await service.journal.write_directly(batch)
        service.highest = unit.highest
        service.state.take(batch)

    async def _without_database(self) -> bool:
        """Start from the snapshot and what came after it, if there is one."""
        service = self._service
        saved = await asyncio.to_thread(service.spool.load_snapshot)
        if saved is None:
            return False
        self.forget()
        service.state.restore(saved.state)
        last = saved.last_batch
        for batch in service.spool.after(last):
            service.pipeline.trusted &= batch.id == last + 1
            service.state.follow(batch)
            last = batch.id
        service.pipeline.trusted &= last >= service.spool.last_committed()
        service.journal.last = max(last, service.spool.last_committed())
        service.facts.epoch_number = service.journal.epoch = service.state.epoch
        service.journal.leave()
        log.warning(
            "started without the database", from_batch=last, judging=service.pipeline.trusted
        )
        return True
