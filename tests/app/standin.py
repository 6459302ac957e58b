"""A service in memory that provides what the HTTP routes ask for, through the same protocol."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket

from app.announcement import iso
from app.catalog import Catalog, Source
from app.characteristic import CharacteristicConfig
from app.http.ports import Answer, DatabaseAway, Health, LiveSocket, Row, Service, Unit, Verdict
from app.metrics import Gauges, SourceState
from app.plantfile import Plant, PlantSection, stored
from app.settings import Settings
from app.store.batch import Alarm, AlarmChange, Batch
from app.store.rows import POINT, READING
from collectors.reading import Counters, Delivery, IntakeFull, Outcome, Receipt
from collectors.supervisor import SourceStatus

START = 1_763_892_000_000_000


class Clock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class MemoryUnit:
    def __init__(self, service: "StandIn") -> None:
        self.batch = Batch(id=1, at=service.clock())
        self.plant: PlantSection | None = None
        self._service = service
        self._given: dict[str, int] = {}

    def number(self, of: str) -> int:
        catalog = self._service.catalog
        first = {
            "characteristic": catalog.next_characteristic(),
            "version": catalog.next_version(),
        }.get(of, 1)
        given = self._given.get(of, 0)
        self._given[of] = given + 1
        return first + given

    async def alarm(self, number: int) -> Alarm | None:
        return self._service.records.alarm_rows.get(number)

    def put_alarm(self, alarm: Alarm, changes: Sequence[AlarmChange]) -> Alarm:
        self.batch.alarms.append(alarm)
        self.batch.alarm_changes += changes
        return alarm

    def put_plant(self, plant: Plant) -> None:
        self.plant = plant.plant
        self._service.catalog.plant = stored(plant)


class MemoryRecords:
    def __init__(self) -> None:
        self.point_rows: NDArray[np.void] = np.empty(0, POINT)
        self.reading_rows: NDArray[np.void] = np.empty(0, READING)
        self.alarm_rows: dict[int, Alarm] = {}
        self.changes: list[AlarmChange] = []
        self.answers: dict[str, Answer] = {}
        self.audit_rows: list[Any] = []
        self.quarantine_rows: list[Row] = []
        self.away = False

    def _within(self, rows: Any, stream: int, start: int | None, end: int | None) -> Any:
        if self.away:
            raise DatabaseAway
        chosen = rows["stream"] == stream
        if start is not None:
            chosen &= rows["time"] >= start
        if end is not None:
            chosen &= rows["time"] < end
        return np.sort(rows[chosen], order=["time", "key"])

    async def points(
        self, stream: int, start: int | None, end: int | None, limit: int
    ) -> NDArray[np.void]:
        return self._within(self.point_rows, stream, start, end)[-limit:]

    async def count_points(self, stream: int, start: int | None, end: int | None) -> int:
        return len(self._within(self.point_rows, stream, start, end))

    async def bands(
        self, stream: int, start: int | None, end: int | None, buckets: int
    ) -> list[Row]:
        rows = self._within(self.point_rows, stream, start, end)
        return [
            {
                "time": int(part["time"][0]),
                "n": len(part),
                "min": float(part["statistic"].min()),
                "mean": float(part["statistic"].mean()),
                "max": float(part["statistic"].max()),
            }
            for part in np.array_split(rows, buckets)
            if len(part)
        ]

    async def violations(
        self, stream: int, start: int | None, end: int | None, limit: int
    ) -> NDArray[np.void]:
        rows = self._within(self.point_rows, stream, start, end)
        return rows[rows["violations"] != 0][:limit]

    async def readings(
        self,
        stream: int,
        start: int | None,
        end: int | None,
        after: tuple[int, int] | None,
        limit: int,
    ) -> NDArray[np.void]:
        rows = self._within(self.reading_rows, stream, start, end)
        if after is not None:
            rows = rows[[(int(r["time"]), int(r["key"])) > after for r in rows]]
        return rows[:limit]

    async def tags(self, contexts: Sequence[int]) -> Mapping[int, Mapping[str, str]]:
        return {context: {"lot": f"L{context}"} for context in contexts}

    async def newest_reading(self, streams: Sequence[int]) -> int | None:
        times = self.reading_rows["time"][np.isin(self.reading_rows["stream"], streams)]
        return int(times.max()) if len(times) else None

    async def alarms(
        self, states: Sequence[str], characteristic: str | None, after: int | None, limit: int
    ) -> list[Alarm]:
        rows = sorted(self.alarm_rows.values(), key=lambda alarm: -alarm.id)
        return [
            alarm
            for alarm in rows
            if alarm.state in states
            and characteristic in (None, alarm.characteristic)
            and (after is None or alarm.id < after)
        ][:limit]

    async def alarm(self, number: int) -> Alarm | None:
        return self.alarm_rows.get(number)

    async def alarm_history(self, number: int) -> tuple[list[Row], list[Row]]:
        mine = [change for change in self.changes if change.alarm == number]
        return [
            {"version": c.version, "at": iso(c.at), "kind": c.kind, "who": c.who, "text": c.text}
            for c in mine
        ], []

    async def quarantine(self, source: str | None, after: int | None, limit: int) -> list[Row]:
        rows = [row for row in self.quarantine_rows if after is None or row["id"] < after]
        return sorted(rows, key=lambda row: -row["id"])[:limit]

    async def gaps(self, source: str | None, after: int | None, limit: int) -> list[Row]:
        return []

    async def containments(
        self, streams: Sequence[int] | None, after: tuple[int, int, int] | None, limit: int
    ) -> list[Row]:
        return []

    async def audits(self, after: int | None, limit: int) -> list[Row]:
        return []

    async def answered(self, key: str) -> Answer | None:
        return self.answers.get(key)


class SilentLive:
    async def endpoint(self, websocket: WebSocket) -> None:
        await websocket.accept("andon.v1")
        await websocket.send_text("{}")
        await websocket.close()


class StandIn:
    """Takes readings and acts of people, and keeps them in lists."""

    def __init__(self, settings: Settings, *configs: CharacteristicConfig) -> None:
        self.settings = settings
        self.time = Clock()
        self.clock: Callable[[], int] = self.time
        self.catalog = Catalog()
        self.records = MemoryRecords()
        self.live: LiveSocket = SilentLive()
        self.build = "test"
        self.plant = PlantSection(name="Plant 1", timezone="Europe/Berlin")
        self.deliveries: list[Delivery] = []
        self.stored: dict[tuple[str, int, int], float] = {}
        self.batches: list[Batch] = []
        self.full = False
        self.verdict_delay_s = 0.0
        self.failure: Exception | None = None
        self._lock = asyncio.Lock()

    async def emit(self, delivery: Delivery, *, wait: bool = True) -> Receipt:
        if self.full:
            raise IntakeFull(2.5)
        self.deliveries.append(delivery)
        receipt: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if self.failure is not None:
            receipt.set_exception(self.failure)
            return receipt
        rejected, accepted, duplicates = [], 0, 0
        for index, reading in enumerate(delivery.readings):
            entry = self.catalog.find(reading.characteristic)
            if entry is None:
                rejected.append((index, "unknown characteristic"))
                continue
            identity = (entry.name, reading.time, reading.key)
            if identity in self.stored:
                duplicates += 1
            else:
                accepted += 1
                self.stored[identity] = reading.value
        if delivery.position is not None:
            self.catalog.put_source(Source(1, delivery.source, delivery.position))
        receipt.set_result(Outcome(accepted, duplicates, rejected, "database"))
        return receipt

    async def verdicts(self, delivery: Delivery, outcome: Outcome) -> list[Verdict | None]:
        await asyncio.sleep(self.verdict_delay_s)
        refused = {index for index, _ in outcome.rejected}
        return [
            None
            if index in refused
            else Verdict("alarm", {"statistic": reading.value}, [{"rule": "nelson-1"}], [7])
            if reading.value > 100
            else Verdict("ok", {"statistic": reading.value})
            for index, reading in enumerate(delivery.readings)
        ]

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Unit]:
        if self.records.away:
            raise DatabaseAway
        async with self._lock:
            unit = MemoryUnit(self)
            yield unit
            self._take(unit)

    def _take(self, unit: MemoryUnit) -> None:
        batch = unit.batch
        self.batches.append(batch)
        for row in batch.characteristics:
            config = CharacteristicConfig.model_validate(row.config)
            self.catalog.put_characteristic(row.id, config, retired=row.retired_at is not None)
        for version in batch.versions:
            self.catalog.put_version(version)
        for alarm in batch.alarms:
            self.records.alarm_rows[alarm.id] = alarm
        self.records.changes += batch.alarm_changes
        for answer in batch.answered:
            self.records.answers[answer.key] = Answer(answer.request_hash, answer.response)
        self.records.audit_rows += batch.audits
        if unit.plant is not None:
            self.plant = unit.plant

    def sources(self) -> list[SourceState]:
        return [SourceState("http", SourceStatus("http", Counters(messages=3), "up", START))]

    def health(self) -> Health:
        away = self.records.away
        return Health(
            not away, "away" if away else "up", 0, ["the database is away"] if away else []
        )

    def gauges(self) -> Gauges:
        return Gauges(intake_depth=5)

    async def announce_test(self, channel: str | None) -> list[Row]:
        if channel not in (None, "webhook"):
            return []
        return [{"channel": "webhook", "ok": True, "detail": "200"}]


def as_service(service: StandIn) -> Service:
    """The protocol holds: mypy and this say so."""
    return service
