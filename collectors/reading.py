"""What a source hands over: readings, what could not be one, and what is known to be missing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

Quality = Literal["good", "uncertain", "bad"]
Purpose = Literal["production", "setup", "master", "study", "rework"]

KEY_MIN, KEY_MAX = -(2**63), 2**63 - 1


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One measured value as its source stated it; times are microseconds since 1970, UTC."""

    characteristic: str  # id or alias, as the source names it
    value: float  # a value claimed good is finite; nan is allowed for quality bad only
    time: int  # source clock
    key: int  # 64 bits: serial, part counter, ..., else the position among equal times
    size: float | None = None  # attribute charts: sample size or area
    quality: Quality = "good"
    purpose: Purpose = "production"
    subgroup: int | None = None  # 64 bits, where the source names its subgroups
    tags: Mapping[str, str] | None = None
    historical: bool = False  # stored and judged, however old; never paged


class Reject(msgspec.Struct, frozen=True):
    """Something that arrived and cannot be a reading, kept for the quarantine."""

    reason: str  # one sentence: what, where, what to do
    payload: bytes
    index: int | None = None  # position within its delivery, where items are numbered
    characteristic: str | None = None


class Gap(msgspec.Struct, frozen=True):
    """Readings known to be missing: counted by the source, or a poll that was skipped."""

    reason: str
    start: int
    end: int
    missed: int | None = None  # None: not known
    characteristic: str | None = None


class Delivery(msgspec.Struct):
    """All that a source hands over at once; it becomes durable as a whole."""

    source: str
    received_at: int
    readings: list[Reading]
    rejects: list[Reject] = []
    gaps: list[Gap] = []
    position: dict[str, Any] | None = None  # stored with the readings, given back after a restart


class Outcome(msgspec.Struct):
    """What became of a delivery, told once it is durable."""

    accepted: int
    duplicates: int
    rejected: list[tuple[int, str]]  # index among the delivery's readings, reason
    durable: Literal["database", "spool"]


class IntakeFull(Exception):
    """The intake is full; nothing of the delivery was taken."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the intake is full; try again in {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s


Receipt = asyncio.Future[Outcome]
"""Resolves when the delivery is durable; fails when it could not be made durable."""


class Emit(Protocol):
    """The door to the intake, as a collector sees it."""

    async def __call__(self, delivery: Delivery, *, wait: bool = True) -> Receipt:
        """Hand over a delivery; wait for room, or raise IntakeFull when ``wait`` is false."""
        ...


class Counters(msgspec.Struct):
    """What a collector has seen since it was made; read by the service at any time."""

    messages: int = 0  # messages or polls
    readings: int = 0
    rejects: int = 0
    dropped: int = 0  # given up without a promise broken (QoS 0 overflow)
    acknowledged: int = 0
    skew_us: float | None = None  # source clock minus ours, smoothed; None where not known


class Collector(Protocol):
    """One source's connection: connect, read, emit, raise."""

    name: str
    counters: Counters

    async def run(self, emit: Emit, connected: Callable[[], None]) -> None:
        """Connect, call ``connected`` once it serves, read and emit until cancelled.

        Raises:
            SourceLost: the source went away or never answered; trying again may help.
            ConfigInvalid: the source answered and refused; only a person can help.
        """
        ...


class CollectorError(Exception):
    """A source cannot be read."""


class SourceLost(CollectorError):
    """The source went away or never answered; the same call may work later."""


class ConfigInvalid(CollectorError):
    """The source answered and refused; retrying cannot help."""


Advice = Callable[[], Awaitable[list[str]]]
"""What ``andon check`` asks of a source: sentences that say what to do, none when all is well."""
