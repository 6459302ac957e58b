"""What arrived and waits to be mapped: bounded, taken in bulk."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence

import msgspec
import structlog

from collectors.reading import Counters

MOST_BYTES = 64 << 20
MOST_UNCONFIRMED = 10_000  # messages of QoS 0: no window at the broker holds them back

log = structlog.get_logger()


class Arrived(msgspec.Struct, gc=False):
    """A message as it came from the broker."""

    topic: str
    payload: bytes
    size: int  # of the payload, which is cut when it is too large
    mid: int
    qos: int
    retained: bool
    repeated: bool
    received_at: int


class Inbox:
    """Between the socket and the mapping.

    Messages of QoS 1 are held back at the socket when it is full; of QoS 0, the newest are dropped
    and counted.
    """

    def __init__(self, name: str, counters: Counters) -> None:
        self._name = name
        self._counters = counters
        self._waiting: deque[Arrived] = deque()
        self._bytes = 0
        self._unconfirmed = 0
        self._dropped = 0
        self._enough = 1
        self._newest = 0.0  # when the last message came, by the loop's clock
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._error: Exception | None = None

    @property
    def full(self) -> bool:
        """Whether more waits than memory should be given to."""
        return self._bytes > MOST_BYTES

    def put(self, message: Arrived) -> None:
        """Take a message from the socket; never waits."""
        if message.qos == 0:
            if self.full or self._unconfirmed >= MOST_UNCONFIRMED:
                self._drop()
                return
            self._unconfirmed += 1
        self._bytes += len(message.payload)
        self._waiting.append(message)
        self._newest = self._loop.time()
        if len(self._waiting) >= self._enough:
            self._ready.set()

    def put_back(self, messages: Sequence[Arrived]) -> None:
        """Return what was taken and is for the next time."""
        self._waiting.extendleft(reversed(messages))
        self._bytes += sum(len(message.payload) for message in messages)
        self._unconfirmed += sum(message.qos == 0 for message in messages)

    def close(self, error: Exception) -> None:
        """Nothing more will come; whoever takes gets the error after what only exists here."""
        if self._error is None:
            self._error = error
            # The broker sends the others again: to hand them over too would only double work.
            self._waiting = deque(message for message in self._waiting if message.qos == 0)
            self._ready.set()

    async def take(
        self,
        most: int,
        *,
        enough: int | None = None,
        until: float = 0.0,
        pause_s: float = math.inf,
        idle_s: float | None = None,
    ) -> list[Arrived]:
        """The oldest messages, at least one; none when ``idle_s`` passed without any.

        To be cheaper per message it waits until there are ``enough``, but not beyond ``until``, by
        the loop's clock, nor when none has come for ``pause_s``.
        """
        if not self._waiting:
            await self._wait(1, idle_s)
        enough = most if enough is None else enough
        while 0 < len(self._waiting) < enough and self._error is None:
            rest_s = min(until, self._newest + pause_s) - self._loop.time()
            if rest_s <= 0:
                break
            await self._wait(enough, rest_s)
        if self._error is not None and not self._waiting:
            raise self._error
        if len(self._waiting) <= most:
            taken = list(self._waiting)
            self._waiting.clear()
            self._bytes = self._unconfirmed = 0
            self._recovered()
            return taken
        taken = [self._waiting.popleft() for _ in range(most)]
        self._bytes -= sum(len(message.payload) for message in taken)
        self._unconfirmed -= sum(message.qos == 0 for message in taken)
        return taken

    async def _wait(self, enough: int, timeout_s: float | None) -> None:
        self._enough = enough
        if self._error is not None or len(self._waiting) >= enough:
            return
        self._ready.clear()
        # Cheaper than a timeout, which is an exception: this happens all the time.
        end = None if timeout_s is None else self._loop.call_later(timeout_s, self._ready.set)
        try:
            await self._ready.wait()
        finally:
            if end is not None:
                end.cancel()

    def _drop(self) -> None:
        if not self._dropped:
            log.warning("messages of QoS 0 are dropped: no room", source=self._name)
        self._dropped += 1
        self._counters.dropped += 1

    def _recovered(self) -> None:
        if self._dropped:
            log.info("messages fit again", source=self._name, dropped=self._dropped)
            self._dropped = 0
