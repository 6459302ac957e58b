"""One batch: everything that becomes durable together, in the database or in the spool."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.store.rows import POINT, READING
from collectors.reading import Delivery

AlarmClass = Literal["spec", "control", "silent", "missed"]
AlarmState = Literal[
    "unack",
    "ack",
    "rtn_unack",
    "latched",
    "shelved",
    "suppressed",
    "out_of_service",
    "withdrawn",
    "closed",
]


class Characteristic(msgspec.Struct):
    """A characteristic as plant.toml or the API configured it; ``name`` is its id outside."""

    id: int
    name: str
    config: dict[str, Any]
    created_at: int
    retired_at: int | None = None


class Source(msgspec.Struct):
    """A source without its secrets; its position is written by the batches it feeds."""

    id: int
    name: str
    kind: str
    config: dict[str, Any]
    position: dict[str, Any] | None = None  # filled when it is read back


class Context(msgspec.Struct, frozen=True):
    """An interned set of tags."""

    id: int
    tags: dict[str, str]


class Stream(msgspec.Struct):
    """A characteristic's stream; ``name`` is its id towards the outside."""

    id: int
    characteristic: int
    name: str
    tags: dict[str, str]


class Version(msgspec.Struct):
    """What a verdict depends on besides the readings, from ``valid_from`` (measured time) on."""

    id: int
    characteristic: int
    stream: int | None  # None: every stream of the characteristic
    number: int  # 1, 2, ... within the characteristic
    state: Literal["proposed", "rejected", "collecting", "trial", "active", "superseded"]
    valid_from: int | None  # None: since ever
    definition: dict[str, Any]  # chart, subgroup, stream, cut, gap, rules, rule_options, spec
    limits: dict[str, Any] | None  # rules.limits.Limits as a dict; None while collecting
    author: str
    reason: str
    created_at: int
    approved_by: str | None = None
    approved_at: int | None = None


class Event(msgspec.Struct):
    """One (chart, rule, side) while it stays true."""

    id: int
    stream: int
    alarm: int | None
    kind: str  # "location" | "dispersion" | "spec" | "silent" | "missed"
    rule: str  # "nelson-1", ..., "spec", "silent"
    side: Literal["upper", "lower", ""]
    first_time: int
    first_key: int
    last_time: int
    last_key: int
    count: int
    state: Literal["open", "cleared", "withdrawn"]
    priority: int
    retrospective: bool = False
    advisory: bool = False
    sentence: str = ""


class Alarm(msgspec.Struct):
    """The one open per (stream, class): it collects events and asks a person to act."""

    id: int
    stream: int
    characteristic: str  # the id towards the outside
    stream_name: str
    alarm_class: AlarmClass
    state: AlarmState
    priority: int  # 1 outside specification, 2 outside control limits, 3 run rule, 4 no data
    opened: int  # wall clock
    last_time: int
    last_key: int
    count: int
    rules: list[str]
    sentence: str
    version: int  # + 1 with each change
    seq: int  # among all alarm changes of the plant
    active: bool
    paged: bool = False
    needs_cause: bool = False
    seen_by: str | None = None
    seen_at: int | None = None
    cause: str | None = None
    action: str | None = None
    note: str | None = None
    caused_by: str | None = None
    returned_at: int | None = None
    closed_at: int | None = None
    shelved_until: int | None = None


class AlarmChange(msgspec.Struct):
    """A line of an alarm's history (table alarm_event)."""

    alarm: int
    version: int
    at: int
    kind: str  # raised, extended, escalated, rang, returned, seen, cause, comment, closed, withdrawn, shelved, unshelved
    who: str
    text: str


class Outbox(msgspec.Struct):
    """An announcement that has to leave, written in the alarm's own transaction."""

    id: int
    alarm: int | None
    created_at: int
    payload: dict[str, Any]


class DeliveryMark(msgspec.Struct, frozen=True):
    """What became of one announcement on one channel (a row of outbox_delivery)."""

    outbox: int
    channel: str
    attempts: int
    next_at: int | None = None
    delivered_at: int | None = None
    failed_at: int | None = None
    error: str | None = None

    @property
    def final(self) -> bool:
        """Whether nothing more happens."""
        return self.next_at is None


class GapRow(msgspec.Struct):
    """Readings known to be missing."""

    id: int
    source: int
    characteristic: int | None
    start: int
    end: int
    missed: int | None
    reason: str
    recorded_at: int


class Quarantined(msgspec.Struct):
    """What arrived and could not become a reading."""

    id: int
    received_at: int
    source: int
    characteristic: str | None
    reason: str
    payload: bytes  # at most 8 KiB
    truncated: bool = False


class Revision(msgspec.Struct):
    """What a point was before a later reading or a person changed it."""

    stream: int
    time: int
    key: int
    seq: int
    at: int
    why: str
    was: dict[str, Any] | None  # None: the point is new in the past
    became: dict[str, Any] | None  # None: withdrawn


class Containment(msgspec.Struct):
    """One reading out of specification: a part to be held."""

    stream: int
    time: int
    key: int
    value: float
    side: Literal["upper", "lower"]
    lower: float | None
    upper: float | None
    alarm: int | None
    last_good_time: int | None
    recorded_at: int


class ReadingRevision(msgspec.Struct):
    """What a reading was before a person corrected or voided it."""

    stream: int
    time: int
    key: int
    at: int
    who: str
    reason: str
    was: dict[str, Any]
    became: dict[str, Any] | None  # None: void


class Boundary(msgspec.Struct):
    """A person's or a machine's "restart rules" at a measured time."""

    id: int
    characteristic: int
    stream: int | None  # None: every stream of the characteristic
    time: int
    reason: str
    who: str
    at: int


class StationEvent(msgspec.Struct):
    """What happened at a station: a tool change, an adjustment, new material, ..."""

    id: int
    station: str
    kind: str
    time: int
    text: str
    restart_rules: bool
    who: str
    recorded_at: int


class Audit(msgspec.Struct):
    """Who changed what, and why."""

    id: int
    at: int
    who: str
    action: str
    object: str
    was: dict[str, Any] | None
    became: dict[str, Any] | None
    reason: str


class Answered(msgspec.Struct):
    """The answer that a request with this Idempotency-Key got (table idempotency)."""

    key: str
    at: int
    request_hash: str
    response: dict[str, Any]


def no_readings() -> NDArray[np.void]:
    """An empty array of readings."""
    return np.empty(0, READING)


def no_points() -> NDArray[np.void]:
    """An empty array of points."""
    return np.empty(0, POINT)


class Batch(msgspec.Struct):
    """Everything that becomes durable together; ``id`` counts up by one and is stored with it."""

    id: int
    at: int
    epoch: int = 0  # of the database it was built for; 0: any
    readings: NDArray[np.void] = msgspec.field(default_factory=no_readings)  # new ones
    changed_readings: NDArray[np.void] = msgspec.field(default_factory=no_readings)  # by identity
    unjudged: list[Delivery] = []  # what could not be looked up; for the spool alone
    points: NDArray[np.void] = msgspec.field(default_factory=no_points)  # new ones
    changed_points: NDArray[np.void] = msgspec.field(
        default_factory=no_points
    )  # by (stream, time, key)
    withdrawn_points: NDArray[np.void] = msgspec.field(default_factory=no_points)
    revisions: list[Revision] = []
    reading_revisions: list[ReadingRevision] = []
    characteristics: list[Characteristic] = []  # new or changed, by id
    sources: list[Source] = []  # new or changed, by id
    plant: dict[str, Any] | None = None  # what holds for the whole plant
    contexts: list[Context] = []
    streams: list[Stream] = []
    versions: list[Version] = []  # new or changed, by id
    events: list[Event] = []  # new or changed, by id
    alarms: list[Alarm] = []  # new or changed, by id
    alarm_changes: list[AlarmChange] = []
    outbox: list[Outbox] = []
    containments: list[Containment] = []
    gaps: list[GapRow] = []
    quarantined: list[Quarantined] = []
    boundaries: list[Boundary] = []
    station_events: list[StationEvent] = []
    audits: list[Audit] = []
    answered: list[Answered] = []
    positions: dict[int, dict[str, Any]] = {}  # by source id
    stream_seqs: dict[
        int, tuple[int, int]
    ] = {}  # stream: (seq, seq of the last change of an old point)
    aftermath: bytes = b""  # what the state became, for the spool alone
