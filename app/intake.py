"""The one bounded door: everything that arrives waits here for its batch."""

import asyncio
import time
from collections import deque
from typing import NamedTuple

from collectors.reading import Delivery, IntakeFull, Outcome, Receipt

FEW = 100  # readings that are not worth a commit of their own at once
AT_LEAST_S = 0.005  # what is sent together arrives within this
OVERHEAD = 1  # an empty delivery occupies a place too


class Waiting(NamedTuple):
    """A delivery with the receipt that its sender holds."""

    delivery: Delivery
    receipt: Receipt
    weight: int
    since: float  # when it came, by the monotonic clock


class Intake:
    """Full: sources wait, or are told to come back later. Nothing is dropped here."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.depth = 0
        self.open = False
        self._waiting = 0
        self._queue: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._room: deque[asyncio.Future[None]] = deque()
        self._served_at = 0.0  # the last batch, by the monotonic clock
        self._rate = 1000.0  # readings a second that lately became durable

    async def emit(self, delivery: Delivery, *, wait: bool = True) -> Receipt:
        """Take a delivery; its receipt resolves once all of it is durable.

        Raises:
            IntakeFull: there is no room and ``wait`` is false, or the service does not take readings.
        """
        weight = len(delivery.readings) + len(delivery.rejects) + OVERHEAD
        while not self.open or (self.depth and self.depth + weight > self.capacity):
            if not wait:
                raise IntakeFull(self.retry_after())
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(turn)
            await turn
        receipt: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append(Waiting(delivery, receipt, weight, time.monotonic()))
        self.depth += weight
        self._waiting += weight
        self._arrived.set()
        return receipt

    async def take(self, most: int, pace_s: float) -> list[Waiting]:
        """The oldest deliveries, up to about ``most`` readings; waits until there is one.

        When little is there it waits for more, until ``pace_s`` after the batch before: what comes
        now and then is served at once, what comes all the time shares its commits.
        """
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()
        if self._waiting < FEW:
            await asyncio.sleep(max(AT_LEAST_S, self._served_at + pace_s - time.monotonic()))
        taken = [self._queue.popleft()]
        total = taken[0].weight
        while self._queue and total + self._queue[0].weight <= most:
            taken.append(self._queue.popleft())
            total += taken[-1].weight
        self._waiting -= total
        return taken

    def done(self, taken: list[Waiting], seconds: float) -> None:
        """Give back the room of deliveries whose receipts were resolved."""
        total = sum(waiting.weight for waiting in taken)
        self.depth -= total
        if seconds > 0:
            self._rate += 0.2 * (total / seconds - self._rate)
        self._served_at = time.monotonic()
        if self.depth == 0:
            self._empty.set()
        self._wake()

    def start(self) -> None:
        """Begin to take readings."""
        self.open = True
        self._wake()

    def stop(self) -> None:
        """Take nothing more; what waits is still served."""
        self.open = False

    async def drained(self) -> None:
        """Wait until nothing waits and nothing is under way."""
        while self.depth:
            self._empty.clear()
            await self._empty.wait()

    def give_up(self) -> None:
        """Nobody will serve what still waits: its senders keep it."""
        for turn in self._room:
            turn.cancel()
        waiting, self._queue = list(self._queue), deque()
        for one in waiting:
            if not one.receipt.done():
                one.receipt.cancel()
        self._waiting -= sum(one.weight for one in waiting)
        self.done(waiting, 0.0)

    def retry_after(self) -> float:
        """Seconds until about half of what waits will be served."""
        return min(30.0, max(0.1, self.depth / 2 / max(self._rate, 1.0)))

    def _wake(self) -> None:
        turns, self._room = self._room, deque()
        for turn in turns:
            if not turn.done():
                turn.set_result(None)
