"""What alarms and screens say about a stream, from the catalog in memory."""

from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo

from app.alarms import Alarms
from app.catalog import Catalog, Characteristic
from app.live import CharacteristicFacts, History
from app.live import StreamFacts as StreamOnScreen
from app.plantfile import PlantSection
from app.records import Records
from app.sentences import StreamFacts
from app.store.batch import Alarm, Version


class Facts:
    """Answers of the catalog in the words of those who ask."""

    def __init__(self, catalog: Catalog, alarms: Alarms, records: Records) -> None:
        self._catalog = catalog
        self._alarms = alarms
        self._records = records
        self.plant = PlantSection()
        self.epoch_number = 0

    # for alarms

    def describe(self, stream: int) -> StreamFacts:
        """What an alarm says about its stream."""
        catalog = self._catalog
        of = catalog.streams[stream]
        config = catalog.characteristics[of.characteristic].config
        return StreamFacts(
            characteristic=config.id,
            label=config.label
            if of.name == config.id
            else f"{config.label} {of.name.partition(':')[2]}",
            stream_name=of.name,
            zone=ZoneInfo(self.plant.timezone),
            unit=config.unit,
            decimals=config.decimals,
            class_=config.class_,
            expect=config.expect,
            version=catalog.versions.get,
            version_at=lambda time: catalog.in_force(stream, time)[0],
        )

    # for screens

    def epoch(self) -> str:
        """Names this history; another one after a restore or a re-import."""
        return str(self.epoch_number)

    def characteristics(self) -> Iterable[CharacteristicFacts]:
        """All characteristics in use, in the order in which they were added."""
        return [
            self._shown(entry)
            for entry in list(self._catalog.characteristics.values())
            if not entry.retired
        ]

    def characteristic(self, name: str) -> CharacteristicFacts | None:
        """One of them by its id."""
        entry = self._catalog.find(name)
        return None if entry is None or entry.retired else self._shown(entry)

    def _shown(self, entry: Characteristic) -> CharacteristicFacts:
        config, catalog = entry.config, self._catalog
        plausible = config.plausible
        return CharacteristicFacts(
            id=config.id,
            name=config.label,
            unit=config.unit,
            decimals=config.decimals,
            station=config.station,
            part=config.part,
            class_=config.class_,
            chart=config.chart,
            n=config.subgroup.size,
            expect_s=None if config.expect is None else config.expect / 1e6,
            plausible=(None, None) if plausible is None else (plausible.lower, plausible.upper),
            causes=config.causes or self.plant.causes,
            actions=config.actions or self.plant.actions,
            streams=tuple(
                StreamOnScreen(number, catalog.streams[number].name, catalog.streams[number].tags)
                for number in catalog.streams_of(entry.id)
            ),
        )

    def stream(self, name: str) -> int | None:
        """The stream that is called ``name`` towards the outside."""
        return self._catalog.stream_named(name)

    def versions(self, stream: int) -> Sequence[Version]:
        """All versions that hold, held or are proposed for a stream, oldest first."""
        of = self._catalog.streams[stream].characteristic
        return [
            version
            for version in self._catalog.versions_of(of)
            if version.stream in (None, stream) and version.state != "rejected"
        ]

    def in_force(self, stream: int) -> Version | None:
        """The version that would judge a point of now."""
        history = self._catalog.history(stream)
        return history[-1] if history else None

    def open_alarms(self) -> Sequence[Alarm]:
        """Every alarm that is not closed."""
        return self._alarms.open_alarms()

    def alarm_seq(self) -> int:
        """The number of the newest alarm change."""
        return self._alarms.ids.seq

    async def history(self, stream: int, window: int) -> History:
        """The newest points as stored."""
        return await self._records.history(stream, window)
