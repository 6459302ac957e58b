"""How the service comes to know where it stood: from the database, or from its snapshot without it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog
from pydantic import ValidationError

from app import apply
from app.alarms import Ids
from app.catalog import Source
from app.characteristic import CharacteristicConfig
from app.http.ports import DatabaseAway
from app.http.readings import SOURCE as HTTP
from app.mistakes import explain
from app.plantfile import load_plant
from app.restart import bring_back
from app.store.batch import Batch, Characteristic
from app.store.batch import Source as SourceRow
from app.store.errors import StoreLost, StoreRefused
from app.store.migrate import migrate
from app.store.queries import Counters
from app.store.spool import Snapshot
from app.unit import OTHERS, Unit

if TYPE_CHECKING:
    from app.service import Service

log = structlog.get_logger(__name__)

BY = "andon serve"
UNREADABLE = (ValueError, LookupError, msgspec.MsgspecError)
"""What another version's snapshot fails with."""


class Opening:
    """Opens the stores of a service, as often as it takes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._told = False
        named = service.settings.plant
        self._plant = None if named is None else load_plant(named)
        self.configured = False
        """Whether the plant file was applied; that needs the database."""

    async def try_once(self) -> bool:
        """Whether readings can be taken now.

        Raises:
            StoreError: a person has to act; the sentence says how.
        """
        service = self._service
        try:
            await migrate(service.url)
            await service.store.open()
            written = await service.journal.drain()
            if written:
                log.info("spool written to the database", batches=written)
            await self.load()
            await self.configure()
        except (StoreLost, DatabaseAway) as error:
            if not self._told:
                log.warning("the database is away", error=str(error))
                self._told = True
            service.why_not = [str(error)]
            return await self._without_database()
        return True

    async def load(self) -> None:
        """Take everything up from the database; what is known stays until all is there."""
        service = self._service
        records, catalog = service.records, service.catalog
        last = await service.store.last_batch()
        plant = await records.plant() or {}
        characteristics = [
            (row.id, _config(row), row.retired_at is not None)
            for row in await records.characteristics()
        ]
        streams, versions = await records.streams(), await records.versions()
        sources, contexts = await records.sources(), await records.newest_contexts()
        highest = await records.counters()
        alarms, events, standing = await records.open_alarms()
        remains = await records.remains(max((stream.id for stream in streams), default=0))
        self.forget()
        catalog.plant = plant
        for number, config, retired in characteristics:
            catalog.put_characteristic(number, config, retired=retired)
        for stream in streams:
            catalog.put_stream(stream)
        for version in versions:
            catalog.put_version(version)
        for source in sources:
            catalog.put_source(Source(source.id, source.name, source.position))
        catalog.restore_contexts(contexts, highest.context + 1)
        self.count_on(highest)
        service.numbers.gap, service.numbers.quarantine = highest.gap, highest.quarantine
        ids = Ids(highest.alarm, highest.event, highest.outbox, highest.alarm_seq)
        service.alarms.restore(alarms, events, ids, standing)
        await asyncio.to_thread(bring_back, service.engine, service.membership, catalog, remains)
        service.facts.epoch_number = service.state.epoch = service.store.epoch
        service.journal.begin(last, service.store.epoch)

    def count_on(self, highest: Counters) -> None:
        """Go on with the numbers of what people change."""
        self._service.highest = {name: getattr(highest, name) for name in OTHERS}

    def forget(self) -> None:
        """Begin with nothing known."""
        service = self._service
        service.catalog.__init__()  # type: ignore[misc]
        service.engine.__init__(service.catalog)  # type: ignore[misc]
        service.membership.forget()

    async def configure(self) -> None:
        """Make sure that the HTTP door has a number, and apply the plant file that was named."""
        service = self._service
        batch = Batch(id=service.journal.last + 1, at=service.clock())
        unit = Unit(batch, service.catalog, service.alarms, service.highest, service.records.alarm)
        if HTTP not in service.catalog.sources:
            batch.sources.append(SourceRow(unit.number("source"), HTTP, HTTP, {}))
        if self._plant is not None:
            plan = apply.plan(self._plant, service.catalog)
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
            unit.put_plant(self._plant)
        await service.journal.write_directly(batch)
        service.highest = unit.highest
        service.state.take(batch)
        self.configured = True

    async def _without_database(self) -> bool:
        """Start from the snapshot and what came after it, if there is one."""
        service = self._service
        saved = await asyncio.to_thread(service.spool.load_snapshot)
        if saved is None:
            return False
        self.forget()
        try:
            last, whole = await asyncio.to_thread(self._follow, saved)
        except UNREADABLE as error:
            log.warning("the snapshot is another Andon's", error=str(error).partition("\n")[0])
            self.forget()
            return False
        service.facts.epoch_number = service.state.epoch
        service.journal.begin(max(last, service.spool.last_committed()), service.state.epoch)
        service.journal.leave()
        if not whole or service.spool.in_doubt(last):
            service.journal.doubt()
        log.warning(
            "started without the database", from_batch=last, judging=service.journal.trusted
        )
        return True

    def _follow(self, saved: Snapshot) -> tuple[int, bool]:
        """Take up a snapshot and the spool; the newest batch, and whether none was missing."""
        service = self._service
        service.state.restore(saved.state)
        last = saved.last_batch
        for batch in service.spool.after(last):
            if batch.id != last + 1:
                return last, False
            service.state.follow(batch)
            last = batch.id
        return last, True


def _config(row: Characteristic) -> CharacteristicConfig:
    try:
        return CharacteristicConfig.model_validate(row.config)
    except ValidationError as error:
        sentence = explain(error, CharacteristicConfig, f"characteristic {row.name}")[0]
        raise StoreRefused(f"the database holds what this Andon cannot read: {sentence}") from error
