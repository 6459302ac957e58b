"""What the HTTP routes need of the service; the service and the tests' stand-in both provide it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec
from starlette.websockets import WebSocket

from app.catalog import Catalog
from app.characteristic import CharacteristicConfig
from app.plantfile import Plant
from app.settings import Settings
from app.store.batch import Alarm, AlarmChange, Batch, Version
from collectors.reading import Counters, Delivery, Outcome, Receipt

Clock = Callable[[], int]
Row = dict[str, Any]


class NotReady(Exception):  # noqa: N818 - it names what is so
    """Neither the database nor a snapshot is there: nothing can be taken."""


class DatabaseAway(Exception):  # noqa: N818 - it names what is so
    """The database cannot be reached; readings are taken, commands of people are not."""


class Verdict(msgspec.Struct):
    """The answer for one reading that was posted."""

    verdict: Literal["ok", "alarm", "pending", "not_judged"]
    point: Row | None = None
    violations: list[Row] = []
    alarms: list[Row] = []


class SourceState(msgspec.Struct):
    """A source as people see it."""

    name: str
    kind: str
    state: str  # connecting, up, down, refused, stopped
    since: int
    last_error: str | None = None
    attempts: int = 0
    last_reading_at: int | None = None
    counters: Counters = msgspec.field(default_factory=Counters)
    advice: list[str] = []


class Health(msgspec.Struct):
    """Whether readings are taken, and what is amiss."""

    ready: bool
    database: Literal["up", "away"]
    spool_batches: int = 0
    sentences: list[str] = []


class Gauges(msgspec.Struct):
    """Levels that /metrics reads when it is asked."""

    loop_lag_s: float = 0.0
    intake_depth: int = 0
    intake_capacity: int = 0
    spool_batches: int = 0
    spool_bytes: int = 0
    spool_age_s: float = 0.0
    streams: int = 0
    open_alarms: int = 0
    live_clients: int = 0
    database_up: bool = True


class Page(msgspec.Struct):
    """A part of a list; ``next`` continues it."""

    items: list[Row]
    next: str | None = None


class Unit(Protocol):
    """One command of a person: what it changes becomes durable together when the block ends."""

    @property
    def batch(self) -> Batch:
        """The batch being built; alarms and their changes are added here."""
        ...

    def alarm(self, number: int) -> Alarm | None:
        """An open alarm as it is now."""
        ...

    def put_alarm(self, alarm: Alarm, changes: Sequence[AlarmChange]) -> None:
        """Keep an alarm's next state and the lines of its history."""
        ...

    def put_characteristic(self, config: CharacteristicConfig, *, retired: bool = False) -> int:
        """Create or change a characteristic; its number."""
        ...

    def put_version(self, version: Version) -> None:
        """Create or change a version; one in force judges from its ``valid_from`` on."""
        ...

    def put_plant(self, plant: Row, sources: Sequence[Row], announce: Sequence[Row]) -> None:
        """Keep what holds for the whole plant."""
        ...

    def audit(
        self, who: str, action: str, subject: str, was: Row | None, became: Row | None, reason: str
    ) -> None:
        """Write down who did what, and why."""
        ...


class Records(Protocol):
    """Questions to the store; each answers from the database and raises DatabaseAway without it."""

    async def points(
        self, stream: int, start: int | None, end: int | None, limit: int
    ) -> "PointColumns":
        """The newest ``limit`` points of a stream in a range, oldest first."""
        ...

    async def point_bands(
        self, stream: int, start: int, end: int, limit: int
    ) -> Sequence[Row]:
        """A dense range reduced to ``limit`` buckets of min, mean and max."""
        ...

    async def readings(
        self, streams: Sequence[int], start: int | None, end: int | None, limit: int, after: str | None
    ) -> Page:
        """Readings in the order of time."""
        ...


class PointColumns(msgspec.Struct):
    """Points column by column."""

    time: list[int]


class Service(Protocol):
    """The running service, as the routes see it."""

    settings: Settings
    clock: Clock
    catalog: Catalog

    async def emit(self, delivery: Delivery, *, wait: bool = True) -> Receipt:
        """Hand readings to the intake."""
        ...

    async def verdicts(self, delivery: Delivery, outcome: Outcome) -> list[Verdict | None]:
        """One verdict per reading of a durable delivery; None for those that were rejected."""
        ...

    def exclusive(self) -> AbstractAsyncContextManager[Unit]:
        """A unit of change; while it is open no batch is judged."""
        ...
