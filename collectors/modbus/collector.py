"""Polls one Modbus device: reads every block, finds the new parts, hands their readings over."""

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any, Literal, NamedTuple

import msgspec
import structlog

from collectors.modbus.config import ModbusConfig
from collectors.modbus.count import step
from collectors.modbus.decode import Value, shortest_all
from collectors.modbus.device import Device, Refused
from collectors.modbus.part import Moment, Part
from collectors.modbus.plan import Block, Group, plan
from collectors.reading import (
    Counters,
    Delivery,
    Emit,
    Gap,
    IntakeFull,
    Outcome,
    Reading,
    Receipt,
    Reject,
)

log = structlog.get_logger(__name__)

ATTEMPTS = 3  # reads of one part before the next poll tries again
QUIET = 60_000_000  # microseconds in which the same complaint is made once
WAITING = 1000  # rejects and gaps kept while the intake is full
SKEW_WEIGHT = 0.05
GRACE_S = 2.0  # a clean stop waits for what is under way

Clock = Callable[[], int]
Values = Callable[[Block, Sequence[int] | Sequence[bool]], list[Value]]
Counts = dict[str, tuple[int, int]]  # a counter's name: where it stood, when


class Complaints:
    """Tells what is newly wrong from what has been wrong all along."""

    def __init__(self) -> None:
        self._open: dict[object, object] = {}
        self._made: dict[object, int] = {}

    def __len__(self) -> int:
        """How many places are not well."""
        return len(self._open)

    def new(self, place: object, complaint: object, now: int) -> bool:
        """Whether ``complaint`` about ``place`` is to be made now."""
        known = self._open.get(place) == complaint
        self._open[place] = complaint
        if known or now - self._made.get(place, now - QUIET) < QUIET:
            return False
        self._made[place] = now
        return True

    def over(self, place: object) -> bool:
        """Note that ``place`` is well; whether it was not."""
        return self._open.pop(place, None) is not None


class Followed(NamedTuple):
    """A group with what makes its readings."""

    group: Group
    parts: list[Part]
    bare: "Bare | None"  # those that need nothing but their value
    composed: list[Part]  # the others


class Bare(NamedTuple):
    """Readings that are made in one go: a column each of what they need."""

    characteristics: tuple[str, ...]
    slots: tuple[int, ...]
    keys: tuple[int, ...]

    def made(self, slots: list[Value], at: int) -> list[Reading] | None:
        """The readings; None where a value is not finite."""
        values = [float(slots[slot]) for slot in self.slots]
        if not all(map(math.isfinite, values)):
            return None
        return list(map(Reading, self.characteristics, values, repeat(at), self.keys))


class Round:
    """What one poll found."""

    def __init__(self) -> None:
        self.failed: set[int] = set()  # blocks
        self.polled: list[Reading] = []  # gone when they are not taken
        self.parts: list[Reading] = []  # read again when they are not taken
        self.rejects: list[Reject] = []
        self.gaps: list[Gap] = []
        self.counts: Counts = {}


class ModbusCollector:
    """One device or gateway over one connection; a part counter makes each part read once."""

    def __init__(self, config: ModbusConfig, position: dict[str, Any] | None, clock: Clock) -> None:
        self.name = config.id
        self.counters = Counters()
        self._config = config
        self._clock = clock
        self._plan = plan(config)
        self._followed = _followed(self._plan.groups, config.clock)
        self._slots: list[Value] = [0] * self._plan.slots
        polled = self._plan.blocks[: self._plan.polled]
        self._float32 = [slot for block in polled for slot in block.float32]
        self._arrived = [0] * len(self._plan.blocks)
        self._counts = _restored(position)
        self._complaints = Complaints()
        self._rejects: list[Reject] = []  # not handed over yet
        self._missing: dict[str, Gap] = {}  # by reason: not handed over yet
        self._under_way: set[Receipt] = set()
        self._last_poll: int | None = None

    async def run(self, emit: Emit, connected: Callable[[], None]) -> None:
        """Poll until cancelled; the device counts as connected once it has answered.

        Raises:
            SourceLost: it does not answer.
        """
        interval = self._config.poll / 1e6
        loop = asyncio.get_running_loop()
        try:
            async with Device(self._config) as device:
                first, due = True, loop.time()
                while True:
                    found = await self._poll(device)
                    if first:
                        connected()
                        self._note_outage(found)
                        first = False
                    self._last_poll = self._clock()
                    await self._hand_over(found, emit)
                    due = max(due + interval, loop.time())
                    await asyncio.sleep(due - loop.time())
        except asyncio.CancelledError:
            if self._under_way:
                # Whoever follows begins where these leave off.
                await asyncio.wait(self._under_way, timeout=GRACE_S)
            raise

    async def _poll(self, device: Device) -> Round:
        found = Round()
        for number in range(self._plan.polled):
            await self._read(device, number, found, Block.unpacked)
        if self._float32:
            # All blocks' at once: each call costs more than its numbers.
            short = shortest_all([self._slots[slot] for slot in self._float32])  # type: ignore[misc]
            for slot, value in zip(self._float32, short, strict=True):
                self._slots[slot] = value
        self.counters.messages += 1
        for followed in self._followed:
            if not found.failed.isdisjoint(followed.group.polled):
                continue
            if followed.group.trigger is None:
                self._take(followed, found)
            else:
                await self._follow(device, followed.group, followed.parts, found)
        return found

    async def _read(
        self, device: Device, number: int, found: Round, values: Values = Block.values
    ) -> bool:
        block = self._plan.blocks[number]
        answer = await device.read(block.span)
        self._arrived[number] = now = self._clock()
        if isinstance(answer, Refused):
            found.failed.add(number)
            if self._complaints.new(block.span, answer.code, now):
                self._rejects.append(self._refusal(block, answer))
            return False
        if self._complaints.over(block.span):
            log.info("registers readable again", source=self.name, **block.span._asdict())
        self._slots[block.slots] = values(block, answer)
        return True

    def _refusal(self, block: Block, answer: Refused) -> Reject:
        span = block.span
        log.warning("registers refused", source=self.name, code=answer.code, **span._asdict())
        reason = (
            f"device {span.device} refused {span.table} {span.start} to {span.end - 1} with "
            f"exception {answer.code}: {answer.meaning}"
        )
        return Reject(reason, msgspec.json.encode({**span._asdict(), "exception": answer.code}))

    def _take(self, followed: Followed, found: Round) -> None:
        """Make a reading of every polled register, the plain ones in one go."""
        moment = Moment(self._arrived[followed.group.polled[-1]])
        parts = followed.parts
        if followed.bare is not None and not self._complaints:
            made = followed.bare.made(self._slots, moment.at)
            if made is not None:
                found.polled += made
                parts = followed.composed
        for part in parts:
            one = part.made(self._slots, self._in_time(part, moment) if part.timed else moment)
            if isinstance(one, Reading):
                if self._complaints:
                    self._complaints.over(part)
                found.polled.append(one)
            elif self._complaints.new(part, "no reading", moment.at):
                self._rejects.append(one)

    async def _follow(self, device: Device, group: Group, parts: list[Part], found: Round) -> None:
        """Read a part when its counter changed, and say what the counter says is missing."""
        name, trigger = group.name, group.trigger
        assert name is not None and trigger is not None  # noqa: S101, PT018 - it has a counter
        last = self._counts.get(name)
        looked = self._arrived[group.polled[-1]]
        now = int(self._slots[trigger])
        if last is None:
            found.counts[name] = (now, looked)
            return
        if now == last[0]:
            return
        if group.apart and not await self._read_apart(device, group, found):
            return
        at = self._arrived[(group.apart or group.polled)[-1]]
        now = int(self._slots[trigger])
        seen = step(last[0], now, group.period)
        found.counts[name] = (now, at)
        if seen.reset or seen.missed:
            reason = "counter reset" if seen.reset else "parts missed between two polls"
            missed = None if seen.reset else seen.missed
            for characteristic in dict.fromkeys(part.characteristic for part in parts):
                found.gaps.append(Gap(reason, last[1], at, missed, characteristic))
        if seen.part:
            for part in parts:
                moment = Moment(at, now)
                moment = self._in_time(part, moment) if part.timed else moment
                made = part.made(self._slots, moment)
                (found.parts if isinstance(made, Reading) else found.rejects).append(made)  # type: ignore[arg-type]

    async def _read_apart(self, device: Device, group: Group, found: Round) -> bool:
        """Read what does not fit in one request with its counter; whether it is of one part."""
        again = group.again
        assert again is not None  # noqa: S101 - it is planned apart
        for _ in range(ATTEMPTS):
            for number in group.apart:
                if not await self._read(device, number, found):
                    return False
            answer = await device.read(again.span)
            if isinstance(answer, Refused):
                return False
            before = self._slots[again.first_slot]
            self._slots[again.slots] = again.values(answer)
            if self._slots[again.first_slot] == before:
                return True
        return False

    def _in_time(self, part: Part, moment: Moment) -> Moment:
        shown = part.clock(self._slots)
        if shown is None:
            return moment
        known, counters = self.counters.skew_us, self.counters
        behind = shown - moment.at
        counters.skew_us = behind if known is None else known + SKEW_WEIGHT * (behind - known)
        if self._config.clock == "corrected":
            return moment._replace(skew=round(counters.skew_us))
        return moment

    def _note_outage(self, found: Round) -> None:
        if self._last_poll is not None and found.polled:
            self._miss("the device could not be read", self._last_poll, self._clock(), None)

    def _miss(self, reason: str, start: int, end: int, missed: int | None) -> None:
        known = self._missing.get(reason)
        if known is not None:
            start = min(start, known.start)
            missed = None if missed is None or known.missed is None else missed + known.missed
        self._missing[reason] = Gap(reason, start, end, missed)

    async def _hand_over(self, found: Round, emit: Emit) -> None:
        gaps, rejects = [*self._missing.values(), *found.gaps], [*self._rejects, *found.rejects]
        readings = found.polled + found.parts
        if not (readings or gaps or rejects or found.counts):
            return
        before = {name: self._counts.get(name) for name in found.counts}
        counts = {**self._counts, **found.counts}
        received = self._clock()
        position = {"counts": {name: list(count) for name, count in counts.items()}}
        delivery = Delivery(self.name, received, readings, rejects, gaps, position)
        try:
            receipt = await emit(delivery, wait=False)
        except IntakeFull:
            self.counters.dropped += len(found.polled)
            del self._rejects[:-WAITING]
            if found.polled:
                self._miss(
                    "polls skipped while the intake was full",
                    found.polled[0].time,
                    received,
                    len(found.polled),
                )
            return
        self._under_way.add(receipt)
        self._counts = counts
        self._rejects.clear()
        self._missing.clear()
        self.counters.readings += len(readings)
        self.counters.rejects += len(rejects)
        receipt.add_done_callback(partial(self._settled, found, before))

    def _settled(
        self, found: Round, before: dict[str, tuple[int, int] | None], receipt: Receipt
    ) -> None:
        """Go on after a delivery is durable; take its counters back when it is not."""
        self._under_way.discard(receipt)
        if not receipt.cancelled() and receipt.exception() is None:
            outcome: Outcome = receipt.result()
            self.counters.acknowledged += outcome.accepted + outcome.duplicates
            return
        self.counters.dropped += len(found.polled)
        now = self._clock()
        if found.polled:
            self._miss("not stored", found.polled[0].time, now, len(found.polled))
        for name, last in before.items():
            if self._counts.get(name) != found.counts[name]:
                # Later parts are on their way already: what is lost can only be named.
                self._miss("not stored", found.counts[name][1], now, None)
            elif last is None:
                del self._counts[name]
            else:
                self._counts[name] = last


def _followed(
    groups: tuple[Group, ...], clock: Literal["source", "arrival", "corrected"]
) -> list[Followed]:
    """What makes the readings of each group, numbered where a characteristic is read repeatedly."""
    seen: dict[tuple[object, ...], int] = {}
    followed: list[Followed] = []
    for group in groups:
        parts: list[Part] = []
        for member in group.members:
            texts = tuple(sorted(tag for tag in member.tags if isinstance(tag[1], str)))
            same = (group.name, member.register.characteristic, texts)
            position = seen[same] = seen.get(same, -1) + 1
            parts.append(Part(member, position, clock))
        bare = [part.bare for part in parts if part.bare is not None]
        composed = [part for part in parts if part.bare is None]
        columns = Bare(*zip(*bare, strict=True)) if bare else None
        followed.append(Followed(group, parts, columns, composed))
    return followed


def _restored(position: dict[str, Any] | None) -> Counts:
    counts = (position or {}).get("counts", {})
    return {str(name): (int(count), int(at)) for name, (count, at) in counts.items()}
