"""What calls people leaves here: from the outbox to webhooks and brokers, tried until it is there."""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import structlog

from app.alarm_step import SYSTEM
from app.announcement import iso
from app.channel import Announce, Channel, ChannelStatus, Rejected, Undelivered
from app.deliveries import Deliveries, Nowhere, Waiting
from app.duration import UNITS
from app.heartbeat import Broker
from app.lane import Item, Lane
from app.metrics import ANNOUNCEMENTS
from app.store.batch import DeliveryMark, Outbox
from app.store.errors import StoreError, StoreLost
from app.webhook import Webhook

__all__ = ["Announce", "Announcer", "Deliveries", "Tested", "Waiting"]

ROOM: Final = 10_000
"""Announcements in memory for each channel; more wait in the outbox."""

MARKS_KEPT: Final = 50_000
ATTEMPTS: Final = 500
SENDERS: Final = 4
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 300.0
REREAD_S: Final = 5.0
PAGE: Final = 1000
MARK_EVERY_S: Final = 0.2

log = structlog.get_logger()


class Tested(msgspec.Struct, frozen=True):
    """How a test message fared."""

    channel: str
    ok: bool
    detail: str


class Route:
    """One channel with what waits for it."""

    def __init__(self, config: Announce, channel: Channel, clock: Callable[[], int]) -> None:
        self.config = config
        self.channel = channel
        self.lane = Lane(ROOM)
        self.wake = asyncio.Event()
        self.status = ChannelStatus(config.id, config.kind, "idle")
        self.unread = config.takes_alarms
        """The outbox may hold more than memory does."""
        self._clock = clock

    def back(self) -> None:
        """The other side is there: what waits for a retry goes now."""
        self._now("up")
        self.lane.hurry(asyncio.get_running_loop().time())
        self.wake.set()

    def went(self) -> None:
        """One more was delivered."""
        if self.status.state == "down":
            log.info("announcements are delivered again", channel=self.config.id)
        self._now("up")
        self.status.last_error = None
        self.status.delivered += 1
        ANNOUNCEMENTS.labels(self.config.id, "sent").inc()
        self.status.last_delivered_at = self._clock()

    def stuck(self, reason: str) -> None:
        """One could not be delivered."""
        if self.status.state != "down":
            log.warning("announcements are not delivered", channel=self.config.id, error=reason)
        self._now("down")
        self.status.last_error = reason

    def gave_up(self, item: Item, reason: str) -> None:
        """One was given up; that is an error that somebody has to see."""
        self.status.failed += 1
        ANNOUNCEMENTS.labels(self.config.id, "failed").inc()
        self.status.last_error = reason
        log.error(
            "announcement given up",
            channel=self.config.id,
            announcement=item.row.id,
            alarm=item.row.alarm,
            attempts=item.attempts,
            error=reason,
        )

    def _now(self, state: Literal["up", "down"]) -> None:
        if self.status.state != state:
            self.status.state = state
            self.status.since = self._clock()


class Announcer:
    """Sends what is in the outbox, from memory first; what became of it is written behind.

    At least once: a receiver knows a repetition by its Idempotency-Key. While the database is
    away everything still leaves, and the marks are written when it is back.
    """

    def __init__(
        self,
        configs: Sequence[Announce],
        clock: Callable[[], int],
        deliveries: Deliveries | None = None,
        *,
        plant: str = "",
        state: Callable[[], Mapping[str, Any]] = lambda: {"monitoring": True},
    ) -> None:
        self._clock = clock
        self._deliveries: Deliveries = deliveries or Nowhere()
        self._state = state
        self._plant = plant
        self._routes: dict[str, Route] = {}
        self._marks: dict[tuple[int, str], DeliveryMark] = {}
        self._changed = asyncio.Event()
        self.configure(configs, plant=plant)

    def configure(self, configs: Sequence[Announce], *, plant: str | None = None) -> None:
        """Take up another list of channels; those that stay keep what waits for them."""
        renamed = plant is not None and plant != self._plant
        self._plant = self._plant if plant is None else plant
        routes: dict[str, Route] = {}
        for config in configs:
            known = self._routes.get(config.id)
            if known is not None and known.config == config and not renamed:
                routes[config.id] = known
                continue
            route = Route(config, self._made(config), self._clock)
            if known is not None:
                route.lane, route.status = known.lane, known.status
            routes[config.id] = route
        self._routes = routes
        self._changed.set()

    def _made(self, config: Announce) -> Channel:
        if config.kind == "webhook":
            return Webhook(config, self._plant, self._clock)
        return Broker(config, self._plant, self._clock, self._state)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that a new announcement is for."""
        return tuple(name for name, route in self._routes.items() if route.config.takes_alarms)

    def status(self) -> list[ChannelStatus]:
        """Every channel as people see it."""
        for route in self._routes.values():
            route.status.waiting = len(route.lane)
        return [route.status for route in self._routes.values()]

    @property
    def unwritten(self) -> int:
        """Marks that wait for the database."""
        return len(self._marks)

    def put(self, rows: Iterable[Outbox]) -> None:
        """Take announcements that are durable; never waits."""
        now = asyncio.get_running_loop().time()
        for row in rows:
            for route in self._meant(row, {*self._routes}):
                if not route.lane.put(row, now):
                    route.unread = True
                route.wake.set()
        self.beat()

    def beat(self) -> None:
        """Tell the state of the plant now, for instance after an alarm was seen."""
        for route in self._routes.values():
            if isinstance(route.channel, Broker):
                route.channel.changed()

    def _meant(self, row: Outbox, wanted: Collection[str] | None) -> list[Route]:
        return [
            route
            for name, route in self._routes.items()
            if route.config.takes_alarms
            and (wanted is None or name in wanted)
            and (route.config.send == "all" or row.payload.get("page"))
        ]

    async def test(self, channel: str | None = None) -> list[Tested]:
        """Send a test message on one channel or on all, once, and say how each fared."""
        at = self._clock()
        text = "This is a test: announcements from here arrive."
        payload = {"id": 0, "change": "test", "page": False, "at": iso(at), "who": SYSTEM}
        row = Outbox(0, None, at, {**payload, "text": text, "alarm": None})
        chosen = [r for name, r in self._routes.items() if channel in {None, name}]
        return await asyncio.gather(*(_tested(route, row) for route in chosen))

    # the work

    async def run(self) -> None:
        """Deliver until cancelled; brokers are told that the watch ends."""
        while True:
            self._changed.clear()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._write_marks(), name="announcement marks")]
                for name, route in self._routes.items():
                    tasks.append(group.create_task(route.channel.serve(route.back), name=name))
                    tasks += [
                        group.create_task(self._deliver(route), name=f"announce {name}")
                        for _ in range(SENDERS if route.config.kind == "webhook" else 1)
                    ]
                    tasks.append(group.create_task(self._reread(route), name=f"outbox {name}"))
                await self._changed.wait()
                for task in tasks:
                    task.cancel()

    async def _deliver(self, route: Route) -> None:
        loop = asyncio.get_running_loop()
        while True:
            item = route.lane.take(loop.time())
            if item is None:
                route.wake.clear()
                wait = route.lane.wait(loop.time())
                try:
                    async with asyncio.timeout(wait):
                        await route.wake.wait()
                except TimeoutError:
                    pass
                continue
            try:
                await self._try(route, item)
            except asyncio.CancelledError:
                route.lane.again(item, loop.time())
                raise

    async def _try(self, route: Route, item: Item) -> None:
        now, loop = self._clock(), asyncio.get_running_loop()
        if now - item.row.created_at > route.config.give_up_after:
            last = route.status.last_error
            self._give_up(route, item, f"too old to be sent{f'; {last}' if last else ''}")
            return
        item.attempts += 1
        try:
            await route.channel.send(item.row)
        except Rejected as error:
            self._give_up(route, item, str(error))
        except Undelivered as error:
            reason = str(error)
            route.stuck(reason)
            if item.attempts >= ATTEMPTS:
                self._give_up(route, item, reason)
                return
            wait = error.retry_after_s or pause(item.attempts)
            self._mark(route, item, next_at=self._clock() + round(wait * UNITS["s"]), error=reason)
            route.lane.again(item, loop.time() + wait)
        else:
            route.went()
            self._mark(route, item, delivered_at=self._clock())
            route.lane.done(item, loop.time())
        route.wake.set()

    def _give_up(self, route: Route, item: Item, reason: str) -> None:
        route.gave_up(item, reason)
        self._mark(route, item, failed_at=self._clock(), error=reason)
        route.lane.done(item, asyncio.get_running_loop().time())

    # what is kept of it

    def _mark(
        self,
        route: Route,
        item: Item,
        *,
        next_at: int | None = None,
        delivered_at: int | None = None,
        failed_at: int | None = None,
        error: str | None = None,
    ) -> None:
        key = item.row.id, route.config.id
        self._marks.pop(key, None)
        self._marks[key] = DeliveryMark(
            *key, item.attempts, next_at, delivered_at, failed_at, error
        )
        if len(self._marks) > MARKS_KEPT:
            # Losing the oldest means, at worst, that it is sent once more after a restart.
            del self._marks[next(iter(self._marks))]

    async def _write_marks(self) -> None:
        away = False
        try:
            while True:
                await asyncio.sleep(REREAD_S if away else MARK_EVERY_S)
                away = not await self._flush()
        finally:
            await asyncio.shield(asyncio.wait_for(self._flush(), timeout=2.0))

    async def _flush(self) -> bool:
        """Write the marks there are; false when some could not be written yet."""
        marks = list(self._marks.values())
        if not marks:
            return True
        try:
            kept = await self._deliveries.mark(marks)
        except StoreLost:
            return False
        except StoreError as error:
            log.error("marks of announcements are refused", error=str(error))  # noqa: TRY400
            return False
        for mark in marks:
            key = mark.outbox, mark.channel
            if key in kept and self._marks.get(key) is mark:
                del self._marks[key]
        return not self._marks

    async def _reread(self, route: Route) -> None:
        """Read from the outbox what memory has not: after a start, and after an overflow."""
        loop = asyncio.get_running_loop()
        while True:
            if route.unread and len(route.lane) < ROOM // 2:
                try:
                    await self._read_outbox(route, loop.time())
                except StoreLost:
                    pass  # it stays unread
                except StoreError as error:
                    route.stuck(f"the outbox cannot be read: {error}")
            await asyncio.sleep(REREAD_S)

    async def _read_outbox(self, route: Route, now: float) -> None:
        after = 0
        while True:
            found = await self._deliveries.waiting(
                route.config.id, after, PAGE, calls_only=route.config.send == "calls"
            )
            for waiting in found:
                after = waiting.row.id
                known = self._marks.get((after, route.config.id))
                if (known is not None and known.final) or route not in self._meant(
                    waiting.row, waiting.row.payload.get("channels")
                ):
                    continue
                if not route.lane.put(waiting.row, now, waiting.attempts):
                    return
            route.wake.set()
            if len(found) < PAGE:
                route.unread = False
                return


def pause(attempts: int) -> float:
    """Seconds before the next try: doubling up to five minutes, half of it by chance."""
    ceiling = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempts - 1))
    return random.uniform(ceiling / 2, ceiling)


async def _tested(route: Route, row: Outbox) -> Tested:
    try:
        said = await route.channel.send(row)
    except Undelivered as error:
        return Tested(route.config.id, ok=False, detail=f"Not delivered: {str(error).rstrip('.')}.")
    return Tested(route.config.id, ok=True, detail=f"Delivered: {said}.")
