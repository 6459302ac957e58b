"""MQTT messages become deliveries; the broker is acknowledged once they are durable."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from collectors.mqtt.config import MqttConfig
from collectors.mqtt.inbox import Arrived, Inbox
from collectors.mqtt.mapping import (
    Mapped,
    Route,
    Routes,
    SubscriptionMapping,
    Target,
    oversized,
    unmapped,
)
from collectors.mqtt.pace import PAUSE_S, Pace
from collectors.mqtt.payload import LARGEST_PAYLOAD
from collectors.mqtt.sequence import Missed, Sequences
from collectors.mqtt.session import Protocol, Session, VersionUnsupported, session
from collectors.mqtt.topic import TopicPattern
from collectors.mqtt.window import Window
from collectors.reading import Counters, Delivery, Emit, Gap, SourceLost
from collectors.skew import Skew

MOST_MESSAGES = 500  # in one delivery
MOST_READINGS = 4_000  # in one delivery: mapping more would hold up the event loop
IDLE_S = 1.0  # between looks at missing numbers
GRACE_S = 2.0  # a clean stop waits for what is under way, so that it need not be sent again
SEEN_EVERY_US = 10_000_000

log = structlog.get_logger()


def no_target(_name: str) -> None:
    """No characteristic has a target."""


class MqttCollector:
    """One broker's persistent session."""

    def __init__(
        self,
        config: MqttConfig,
        position: dict[str, Any] | None,
        clock: Callable[[], int],
        target: Target = no_target,
    ) -> None:
        self.name = config.id
        self.counters = Counters()
        self._config = config
        self._clock = clock
        self._routes = Routes(
            [SubscriptionMapping(entry, config.clock, target) for entry in config.subscription]
        )
        self._filters = {
            TopicPattern(entry.topic).filter: config.qos_of(entry) for entry in config.subscription
        }
        self._patterns = {entry.topic for entry in config.subscription}
        self._corrected = config.clock == "corrected"
        position = position or {}
        self._known_filters: list[str] = position.get("filters", [])
        self._last_seen: int | None = position.get("seen")
        self._skew = Skew(position.get("correction"))
        self._sequences = Sequences(position.get("sequence"), clock())
        self._numbered = any(entry.sequence is not None for entry in config.subscription)
        self._stored: dict[str, Any] = {}
        self._protocol: Protocol = config.protocol

    async def run(self, emit: Emit, connected: Callable[[], None]) -> None:
        """Connect, read and emit until cancelled.

        Raises:
            SourceLost: the broker went away or never answered.
            ConfigInvalid: it refuses the user or a topic.
        """
        inbox = Inbox(self.name, self.counters)
        async with self._session(inbox) as opened:
            # The broker's answer may stand behind a whole session's messages, and those behind
            # our acknowledgements: who waits for the answer before reading may wait forever.
            subscribing = asyncio.create_task(
                self._subscribe(opened, inbox, connected), name=f"mqtt subscribe {self.name}"
            )
            try:
                await self._read(opened, inbox, emit)
            finally:
                subscribing.cancel()
                await asyncio.gather(subscribing, return_exceptions=True)

    async def _subscribe(
        self, opened: Session, inbox: Inbox, connected: Callable[[], None]
    ) -> None:
        left_over = [topic for topic in self._known_filters if topic not in self._filters]
        as_before = opened.resumed and all(topic in self._known_filters for topic in self._filters)
        if as_before:
            connected()
        try:
            if left_over and opened.resumed:
                await opened.unsubscribe(left_over)
            await opened.subscribe(self._filters)
        except Exception as error:  # noqa: BLE001 - whoever reads gets it, whatever it is
            inbox.close(error)
            return
        if not as_before:
            connected()

    @asynccontextmanager
    async def _session(self, inbox: Inbox) -> AsyncIterator[Session]:
        versions: list[Protocol] = ["5", "3.1.1"] if self._protocol == "5" else ["3.1.1"]
        async with AsyncExitStack() as stack:
            for protocol in versions:
                try:
                    opened = await stack.enter_async_context(
                        session(self._config, protocol, inbox, self._clock)
                    )
                except VersionUnsupported as error:
                    if protocol == "3.1.1":
                        raise SourceLost(f"{self.name}: {error}") from error
                    log.info("trying MQTT 3.1.1", source=self.name, reason=str(error))
                    if error.said_so:
                        self._protocol = "3.1.1"
                else:
                    yield opened
                    return

    async def _read(self, opened: Session, inbox: Inbox, emit: Emit) -> None:
        def acknowledge(mids: Sequence[int]) -> None:
            opened.acknowledge(mids)
            self.counters.acknowledged += len(mids)

        window = Window(acknowledge, inbox.close)
        at_once = min(MOST_MESSAGES, max(1, self._config.inflight // 2))
        pace, clock = Pace(at_once), asyncio.get_running_loop().time
        grace_s = 0.0
        try:
            if lost := self._lost_meanwhile(opened):
                window.add(await emit(self._delivery([], inbox, lost)), [])
            while True:
                messages = await inbox.take(
                    at_once,
                    enough=pace.enough(clock()),
                    until=pace.until,
                    pause_s=PAUSE_S,
                    idle_s=IDLE_S if self._sequences.waiting else None,
                )
                pace.hand_over(clock(), len(messages), under_way=not window.empty)
                delivery = self._delivery(messages, inbox, [])
                opened.go_on()
                mids = [message.mid for message in messages if message.qos]
                if delivery.readings or delivery.rejects or delivery.gaps:
                    window.add(await emit(delivery), mids)
                elif mids:
                    window.add_durable(mids)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            grace_s = GRACE_S
            raise
        finally:
            self._last_seen = self._clock()
            await window.close(grace_s)

    def _lost_meanwhile(self, opened: Session) -> list[Gap]:
        """What nobody kept while we were away: without a session all, with one QoS 0."""
        unconfirmed = [topic for topic, qos in self._filters.items() if qos == 0]
        if self._last_seen is None or (opened.resumed and not unconfirmed):
            return []
        reason = (
            f"The broker keeps nothing of QoS 0 while Andon is away: {', '.join(unconfirmed)}."
            if opened.resumed
            else "The broker kept no session while Andon was away; what was published is lost."
        )
        return [Gap(reason, self._last_seen, self._clock())]

    def _delivery(self, messages: list[Arrived], inbox: Inbox, gaps: list[Gap]) -> Delivery:
        """What messages became; those beyond the bound go back, and out of ``messages``."""
        delivery = Delivery(self.name, self._clock(), [], [], gaps)
        for place, message in enumerate(messages):
            if len(delivery.readings) + len(delivery.rejects) >= MOST_READINGS:
                inbox.put_back(messages[place:])
                del messages[place:]
                break
            self.counters.messages += 1
            if not message.retained:
                self._map(message, delivery)
        if messages:
            delivery.received_at = messages[-1].received_at
        if self._sequences.waiting:
            for scope, missed in self._sequences.overdue(self._clock()):
                delivery.gaps.append(self._gap(scope, missed))
        self.counters.readings += len(delivery.readings)
        self.counters.rejects += len(delivery.rejects)
        self.counters.skew_us = self._skew.value
        delivery.position = self._position(delivery.received_at)
        return delivery

    def _map(self, message: Arrived, delivery: Delivery) -> None:
        route = self._routes.find(message.topic)
        if route is None:
            delivery.rejects.append(unmapped(message.topic, message.payload))
            return
        if message.size > LARGEST_PAYLOAD:
            delivery.rejects.append(oversized(route, message.payload, message.size))
            return
        correction = self._skew.correction if self._corrected else 0
        mapped = route.subscription.read(route, message.payload, message.received_at, correction)
        delivery.readings += mapped.readings
        delivery.rejects += mapped.rejects
        if mapped.readings and route.subscription.timed and not message.repeated:
            self._skew.see(mapped.readings[0].time + correction, message.received_at)
        if mapped.numbers:
            self._note(route, message, mapped, delivery)

    def _note(self, route: Route, message: Arrived, mapped: Mapped, delivery: Delivery) -> None:
        time = mapped.readings[0].time if mapped.readings else message.received_at
        for number in mapped.numbers:
            given_up = self._sequences.see(
                route.scope, number, time, message.received_at, repeated=message.repeated
            )
            delivery.gaps += [self._gap(route.scope, missed) for missed in given_up]

    def _gap(self, scope: str, missed: Missed) -> Gap:
        numbers = f"{missed.first}" if missed.many == 1 else f"{missed.first} to {missed.last}"
        route = None if scope in self._patterns else self._routes.find(scope)
        return Gap(
            f"The messages {numbers} on {scope} never arrived.",
            missed.start,
            missed.end,
            missed.many,
            route and route.characteristic,
        )

    def _position(self, now: int) -> dict[str, Any] | None:
        """What a restart needs to know, where it is other than what was last handed over."""
        seen = self._stored.get("seen", 0)
        position: dict[str, Any] = {
            "filters": list(self._filters),
            "seen": seen if 0 <= now - seen < SEEN_EVERY_US else now,
        }
        if self._corrected:
            position["correction"] = self._skew.correction
        if self._numbered and (numbers := self._sequences.stored()) is not None:
            position["sequence"] = numbers
        if position == self._stored:
            return None
        self._stored = position
        return position
