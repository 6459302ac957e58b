"""A pipeline on a store in memory, and plants to run through it."""

import asyncio
from zoneinfo import ZoneInfo

from app.admission import SourceTraits
from app.alarms import Alarms
from app.catalog import Catalog
from app.characteristic import CharacteristicConfig
from app.engine import Engine
from app.intake import Intake
from app.judge import Judge
from app.late import LateReadings
from app.membership import Membership
from app.pipeline import Pipeline
from app.restart import bring_back
from app.sentences import StreamFacts
from app.store.batch import Version
from collectors.reading import Delivery, Reading
from tests.app.memory_store import MemoryStore

NOW = 2_000_000_000_000_000
SECOND = 1_000_000
START = NOW - 100_000 * SECOND
SOURCE = "gauge"


class DirectJournal:
    """Every batch goes straight to the store in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.last = 0
        self.away = False
        self.trusted = True

    async def commit(self, batch):
        await self.store.write(batch)
        self.last = batch.id
        return "database"

    def leave(self) -> None:
        self.away = True


def version(number, characteristic, config, limits):
    return Version(
        id=number,
        characteristic=characteristic,
        stream=None,
        number=1,
        state="active",
        valid_from=None,
        definition=config.definition(),
        limits=limits,
        author="test",
        reason="",
        created_at=0,
    )


class Line:
    """One characteristic behind a pipeline, to be fed batch by batch and restarted anywhere."""

    def __init__(self, config: CharacteristicConfig, limits: dict) -> None:
        self.config = config
        self.limits = limits
        self.store = MemoryStore()
        self.catalog = self._catalog()
        self.engine = Engine(self.catalog)
        self._build()

    def _catalog(self) -> Catalog:
        catalog = Catalog()
        catalog.put_characteristic(1, self.config)
        catalog.put_version(version(1, 1, self.config, self.limits))
        return catalog

    def _build(self) -> None:
        self.membership = Membership(self.catalog, self.engine)
        self.late = LateReadings(self.catalog, self.engine, self.membership, self.store)
        self.alarms = Alarms()
        self.intake = Intake(10**6)
        self.lock = getattr(self, "lock", None) or asyncio.Lock()
        self.journal = getattr(self, "journal", None) or self._journal()
        self.judge = Judge(
            self.catalog, self.engine, self.alarms, self.journal, self.late, self.store, lambda: NOW
        )
        self.pipeline = Pipeline(
            self.intake, self.catalog, self.judge, self.alarms, self.journal, self.lock, lambda: NOW
        )
        self.judge.measured = lambda: {SOURCE: SourceTraits(1)}
        self.judge.describe = lambda stream: StreamFacts(
            characteristic=self.config.id,
            label=self.config.id,
            stream_name=self.catalog.streams[stream].name,
            zone=ZoneInfo("UTC"),
            version=self.catalog.versions.get,
        )

    def _journal(self):
        return DirectJournal(self.store)

    async def feed(self, readings: list[Reading]):
        """One delivery, one batch."""
        return await self.pipeline.deliver([Delivery(SOURCE, NOW, readings)])

    def restart(self) -> None:
        """Forget everything and take it up again from the store's rows."""
        before = self.catalog
        self.catalog = self._catalog()
        for stream in before.streams.values():
            self.catalog.put_stream(stream)
        self.catalog.restore_contexts(*before.remembered_contexts())
        self.engine = Engine(self.catalog)
        self._build()
        bring_back(self.engine, self.membership, self.catalog, self.store.remains())

    def points(self):
        """Every stored point with its verdict, as plain values."""
        return [
            (
                int(point["stream"]),
                int(point["time"]),
                int(point["key"]),
                int(point["subgroup"]),
                float(point["n"]),
                float(point["statistic"]),
                repr(float(point["dispersion"])),
                int(point["violations"]),
                int(point["flags"]) & 0b111100011,
            )
            for stream in sorted(self.store.points)
            for point in self.store.all_points(stream)
        ]
