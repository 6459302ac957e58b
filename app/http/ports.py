"""What the HTTP routes need of the service; the service and the tests' stand-in both provide it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket

from app.catalog import Catalog
from app.metrics import Gauges, SourceState
from app.plantfile import Plant, PlantSection
from app.settings import Settings
from app.store.batch import Alarm, AlarmChange, Batch
from collectors.reading import Delivery, Outcome, Receipt

Clock = Callable[[], int]
Row = dict[str, Any]
Numbered = Literal["characteristic", "version", "source", "audit", "boundary", "station_event"]


class NotReady(Exception):
    """Neither the database nor a snapshot is there: nothing can be taken. Try again later."""


class DatabaseAway(Exception):
    """The database is away: measuring goes on, this has to wait."""


class Verdict(msgspec.Struct):
    """The answer for one reading that was posted."""

    verdict: Literal["ok", "alarm", "pending", "not_judged"]
    point: Row | None = None
    violations: list[Row] = []
    alarms: list[int] = []
    """Ids of the open alarms that the reading or its point belongs to."""


class Health(msgspec.Struct):
    """Whether readings are taken, and what is amiss."""

    ready: bool
    database: Literal["up", "away"]
    spool_batches: int = 0
    sentences: list[str] = []


class Page(NamedTuple):
    """Rows of a list, and the cursor that continues it."""

    items: list[Row]
    next: str | None


class Answer(NamedTuple):
    """What a request with this Idempotency-Key was answered."""

    request_hash: str
    response: Row


class Unit(Protocol):
    """One act of a person: what its batch holds becomes durable together when the block ends.

    Rows put into ``batch`` (characteristics, sources, versions, audits, ...) take effect with the
    commit; an exception in the block leaves everything as it was.
    """

    @property
    def batch(self) -> Batch:
        """The batch being built."""
        ...

    def number(self, of: Numbered) -> int:
        """The id of the next new row of a table."""
        ...

    async def alarm(self, number: int) -> Alarm | None:
        """An alarm as it is now, also when it is closed."""
        ...

    def put_alarm(self, alarm: Alarm, changes: Sequence[AlarmChange]) -> Alarm:
        """Keep an alarm's next state and the lines of its history."""
        ...

    def put_plant(self, plant: Plant) -> None:
        """Keep what holds for the whole plant, its sources and its announcements."""
        ...


class Records(Protocol):
    """Questions to the database; each raises DatabaseAway without it."""

    async def points(
        self, stream: int, start: int | None, end: int | None, limit: int
    ) -> NDArray[np.void]:
        """The newest ``limit`` points (POINT rows) of a range, oldest first."""
        ...

    async def count_points(self, stream: int, start: int | None, end: int | None) -> int:
        """How many points a range holds."""
        ...

    async def bands(
        self, stream: int, start: int | None, end: int | None, buckets: int
    ) -> list[Row]:
        """A dense range as rows of time, n, min, mean and max of the statistic."""
        ...

    async def violations(
        self, stream: int, start: int | None, end: int | None, limit: int
    ) -> NDArray[np.void]:
        """The points of a range that violate a rule, oldest first."""
        ...

    async def readings(
        self,
        stream: int,
        start: int | None,
        end: int | None,
        after: tuple[int, int] | None,
        limit: int,
    ) -> NDArray[np.void]:
        """Readings (READING rows) after (time, key), in the order of time."""
        ...

    async def tags(self, contexts: Sequence[int]) -> Mapping[int, Mapping[str, str]]:
        """The tag sets with these numbers."""
        ...

    async def newest_reading(self, streams: Sequence[int]) -> int | None:
        """The time of the newest reading of some streams."""
        ...

    async def alarms(
        self, states: Sequence[str], characteristic: str | None, after: int | None, limit: int
    ) -> list[Alarm]:
        """Alarms, newest first, with ids below ``after``."""
        ...

    async def alarm(self, number: int) -> Alarm | None:
        """One alarm."""
        ...

    async def alarm_history(self, number: int) -> tuple[list[Row], list[Row]]:
        """An alarm's lines of history and its events."""
        ...

    async def quarantine(self, source: str | None, after: int | None, limit: int) -> list[Row]:
        """Quarantined items, newest first, with ids below ``after``."""
        ...

    async def gaps(self, source: str | None, after: int | None, limit: int) -> list[Row]:
        """Gaps, newest first, with ids below ``after``."""
        ...

    async def containments(
        self, streams: Sequence[int] | None, after: tuple[int, int, int] | None, limit: int
    ) -> list[Row]:
        """Parts to be held, newest first, before (time, stream, key)."""
        ...

    async def audits(self, after: int | None, limit: int) -> list[Row]:
        """Who did what, newest first, with ids below ``after``."""
        ...

    async def answered(self, key: str) -> Answer | None:
        """What an Idempotency-Key was answered before."""
        ...


class LiveSocket(Protocol):
    """The live fan-out, as the websocket route needs it."""

    async def endpoint(self, websocket: WebSocket) -> None:
        """Serve one screen until it leaves."""
        ...


class Service(Protocol):
    """The running service, as the routes see it."""

    @property
    def settings(self) -> Settings:
        """What the installation set."""
        ...

    @property
    def clock(self) -> Clock:
        """Microseconds since 1970."""
        ...

    @property
    def catalog(self) -> Catalog:
        """What is configured."""
        ...

    @property
    def records(self) -> Records:
        """Questions to the database."""
        ...

    @property
    def live(self) -> LiveSocket:
        """The live fan-out."""
        ...

    @property
    def build(self) -> str:
        """Names what is running; a screen of another build reloads."""
        ...

    @property
    def plant(self) -> PlantSection:
        """What holds for the whole plant."""
        ...

    async def emit(self, delivery: Delivery, *, wait: bool = True) -> Receipt:
        """Hand readings to the intake."""
        ...

    async def verdicts(self, delivery: Delivery, outcome: Outcome) -> list[Verdict | None]:
        """One verdict per reading of a durable delivery; None for those that were rejected."""
        ...

    def exclusive(self) -> AbstractAsyncContextManager[Unit]:
        """A unit of change; while it is open no batch is judged. Raises DatabaseAway."""
        ...

    def sources(self) -> list[SourceState]:
        """Every source with its state, also the HTTP door itself."""
        ...

    def health(self) -> Health:
        """How the service is, from memory."""
        ...

    def gauges(self) -> Gauges:
        """Levels for /metrics, from memory."""
        ...

    async def announce_test(self, channel: str | None) -> list[Row]:
        """Send a test message on one or all channels: ``{"channel", "ok", "detail"}`` of each."""
        ...
