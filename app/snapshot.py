"""What the service knows, as bytes beside the spool: enough to judge while the database is away."""

from typing import Any

import msgspec
import numpy as np

from app.alarms import Alarms
from app.catalog import Catalog, Source
from app.characteristic import CharacteristicConfig
from app.engine import Engine, EngineState
from app.membership import LateSubgroup, Membership
from app.quarantine import Numbers
from app.store.batch import Batch, Characteristic, Context, Stream, Version


class Snapshot(msgspec.Struct):
    """Configuration, versions and state after one batch."""

    characteristics: list[Characteristic]
    streams: list[Stream]
    versions: list[Version]
    sources: list[Source]
    contexts: list[Context]
    next_context: int
    plant: dict[str, Any]
    engine: EngineState
    alarms: bytes
    filling: dict[int, LateSubgroup]
    behind: list[int]
    held: list[int]
    numbers: Numbers
    epoch: int


class Aftermath(msgspec.Struct):
    """The state of the streams that one batch touched, after it."""

    streams: list[int]
    integers: bytes
    floats: bytes
    registers: bytes
    memory: bytes
    values: bytes
    versions: dict[int, int]  # by the rows that these streams name
    alarms: bytes
    filling: dict[int, LateSubgroup]
    behind: list[int]
    held: list[int]
    numbers: Numbers


class State:
    """The parts of the service that a restart has to bring back."""

    def __init__(
        self,
        catalog: Catalog,
        engine: Engine,
        membership: Membership,
        alarms: Alarms,
        numbers: Numbers,
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._membership = membership
        self._alarms = alarms
        self.numbers = numbers
        self.epoch = 0
        self._saved: list[Characteristic] = []
        self._saved_as_of = -1

    def snapshot(self) -> bytes:
        """All of it."""
        catalog = self._catalog
        contexts, next_context = catalog.remembered_contexts()
        return msgspec.msgpack.encode(
            Snapshot(
                characteristics=self._saved_characteristics(),
                streams=list(catalog.streams.values()),
                versions=list(catalog.versions.values()),
                sources=list(catalog.sources.values()),
                contexts=contexts,
                next_context=next_context,
                plant=catalog.plant,
                engine=self._engine.save(),
                alarms=self._alarms.to_bytes(),
                filling=self._saved_filling(),
                behind=sorted(self._membership.behind),
                held=sorted(self._membership.held),
                numbers=self.numbers,
                epoch=self.epoch,
            )
        )

    def _saved_characteristics(self) -> list[Characteristic]:
        catalog = self._catalog
        if self._saved_as_of != catalog.revision:
            self._saved = [
                Characteristic(
                    entry.id, entry.name, entry.config.stored(), 0, 0 if entry.retired else None
                )
                for entry in catalog.characteristics.values()
            ]
            self._saved_as_of = catalog.revision
        return self._saved

    def _saved_filling(self) -> dict[int, LateSubgroup]:
        """With ids of versions, for their rows are another process's own."""
        return {
            stream: msgspec.structs.replace(group, row=int(self._engine.version_ids[group.row]))
            for stream, group in self._membership.filling.items()
        }

    def restore(self, saved: bytes) -> None:
        """Take up a snapshot; everything here must be empty."""
        state = msgspec.msgpack.decode(saved, type=Snapshot)
        catalog = self._catalog
        for row in state.characteristics:
            config = CharacteristicConfig.model_validate(row.config)
            catalog.put_characteristic(row.id, config, retired=row.retired_at is not None)
        for stream in state.streams:
            catalog.put_stream(stream)
        for version in state.versions:
            catalog.put_version(version)
        for source in state.sources:
            catalog.put_source(source)
        catalog.restore_contexts(state.contexts, state.next_context)
        catalog.plant = state.plant
        self._engine.load(state.engine)
        self._rest(state)
        self.epoch = state.epoch

    def aftermath(self, batch: Batch) -> bytes:
        """What a batch that goes to the spool made of the state."""
        engine = self._engine
        touched = {int(s) for s in np.unique(batch.readings["stream"])} | batch.stream_seqs.keys()
        streams = sorted(touched)
        mark = engine.mark(np.array(streams, np.int64))
        return msgspec.msgpack.encode(
            Aftermath(
                streams=streams,
                integers=mark.integers.tobytes(),
                floats=mark.floats.tobytes(),
                registers=mark.registers.tobytes(),
                memory=mark.memory.tobytes(),
                values=mark.values.tobytes(),
                versions=engine.named_versions(mark),
                alarms=self._alarms.to_bytes(),
                filling=self._saved_filling(),
                behind=sorted(self._membership.behind),
                held=sorted(self._membership.held),
                numbers=self.numbers,
            )
        )

    def follow(self, batch: Batch) -> None:
        """Take up a spooled batch that came after the snapshot."""
        catalog, engine = self._catalog, self._engine
        if changes_configuration(batch):
            self.take(batch)
        for stream in batch.streams:
            if stream.id not in catalog.streams:
                catalog.put_stream(stream)
        catalog.restore_contexts(
            batch.contexts, max((context.id for context in batch.contexts), default=0) + 1
        )
        catalog.put_positions(batch.positions)
        engine.ensure()
        state = msgspec.msgpack.decode(batch.aftermath, type=Aftermath)
        engine.follow(
            np.array(state.streams, np.int64),
            state.versions,
            state.integers,
            state.floats,
            state.registers,
            state.memory,
            state.values,
        )
        self._rest(state)

    def take(self, batch: Batch) -> list[str]:
        """Put in force what people changed in a committed batch; the characteristics concerned."""
        catalog, engine = self._catalog, self._engine
        concerned = {version.characteristic for version in batch.versions}
        judged = {(version.characteristic, version.stream) for version in batch.versions}
        for row in batch.characteristics:
            config = CharacteristicConfig.model_validate(row.config)
            catalog.put_characteristic(row.id, config, retired=row.retired_at is not None)
            concerned.add(row.id)
        for version in batch.versions:
            catalog.put_version(version)
        for source in batch.sources:
            known = catalog.sources.get(source.name)
            position = known.position if known else None
            catalog.put_source(Source(source.id, source.name, position))
        if batch.plant is not None:
            catalog.plant = batch.plant
        engine.ensure()
        for number, only in judged:
            for stream in catalog.streams_of(number) if only is None else [only]:
                engine.enter_version(stream)
        return [catalog.characteristics[number].name for number in sorted(concerned)]

    def _rest(self, state: Snapshot | Aftermath) -> None:
        self._alarms.from_bytes(state.alarms)
        self._membership.forget()
        for stream, group in state.filling.items():
            group.row = self._engine.version_row(self._catalog.versions[group.row])
            self._membership.filling[stream] = group
        self._membership.behind.update(state.behind)
        self._membership.held.update(state.held)
        self.numbers.gap = state.numbers.gap
        self.numbers.quarantine = state.numbers.quarantine


def changes_configuration(batch: Batch) -> bool:
    """Whether a batch carries what people configure."""
    return bool(batch.characteristics or batch.versions or batch.sources or batch.plant is not None)
