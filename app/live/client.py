"""One connected screen: two lanes, and what is sent from them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from app.live import wire
from app.live.frames import EXTENSION
from app.live.outlet import Outlet

LANE_A_WAITING = 10_000
BEHIND_PAUSES_MS = 3_000
BEHIND_CLOSES_MS = 30_000
HEARTBEAT_MS = 1_000
TICKS_PER_SECOND = 10

TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008
TOO_SLOW = 4008


class Points(Protocol):
    """Where lane B comes from."""

    def answers(self, client: "Client") -> Iterable[str]:
        """The answers to its subscriptions that are ready."""
        ...

    def news(self, client: "Client") -> Iterable[str]:
        """What it lacks by now: one frame of rows, or snapshots."""
        ...


class Client:
    """A screen with its subscriptions; lane A holds what must arrive, lane B is asked for."""

    def __init__(self, websocket: WebSocket, points: Points, clock_ms: Callable[[], int]) -> None:
        self.streams: dict[int, int] = {}  # stream: window
        self.answers: dict[int, int | None] = {}  # streams that wait for theirs, and since when
        self.fresh: dict[int, int] = {}  # streams answered since the last frame: up to which seq
        self.ready_due = False
        self.cohort: frozenset[int] = frozenset()  # streams that have been answered
        self.cursor = 0  # tick up to which lane B was sent
        self.every = 1  # ticks
        self.faults = 0
        self.closing: tuple[int, str] | None = None
        self._websocket = websocket
        frames = websocket.scope.get("extensions", {}).get(EXTENSION)
        self._outlet = Outlet(websocket.send, frames)
        self._turn: Iterator[str] = iter(())  # what is left to send of this turn
        self._unfinished = False  # one message of the turn is on its way
        self._resting = False  # the task waits for something to do
        self._failed: Exception | None = None  # what sending in its place raised
        self._points = points
        self._clock_ms = clock_ms
        self._lane_a: deque[str] = deque()
        self._wake = asyncio.Event()
        self._sent_at = self._now = clock_ms()
        self._sending_since: int | None = None
        self._received_now: int | None = None
        self._ended = asyncio.Event()

    def push(self, message: str) -> None:
        """Put a message in lane A; a client that does not take them is closed, and resumes."""
        if len(self._lane_a) >= LANE_A_WAITING:
            self.close(TRY_AGAIN_LATER, "too many alarms wait")
            return
        self._lane_a.append(message)
        self._rouse()

    def tick(self, number: int, now: int) -> None:
        """Send what is due when it is this client's turn, as far as that needs no waiting."""
        since = self._sending_since
        if since is not None and now - since > BEHIND_CLOSES_MS:
            self.close(TOO_SLOW, "too slow")
        elif number % self.every == 0:
            try:
                if self._resting and self._send_turn(now):
                    return  # in place of the task
            except Exception as error:  # noqa: BLE001 - the task's to raise, not the other screens'
                self._failed = error
            self._rouse()

    def subscribed(self) -> None:
        """There is something to answer."""
        self._rouse()

    def set_rate(self, rate: float) -> None:
        """Take up how many frames a second the screen wants."""
        self.every = max(1, min(TICKS_PER_SECOND, round(TICKS_PER_SECOND / rate)))

    def received(self, now: int) -> None:
        """The screen says which moment it has seen."""
        self._received_now = now

    def close(self, code: int, reason: str) -> None:
        """End this connection soon."""
        if self.closing is None:
            self.closing = (code, reason)
        self._ended.set()
        self._rouse()

    async def ended(self) -> None:
        """Wait until somebody closes this connection."""
        await self._ended.wait()

    async def send_all(self) -> None:
        """Send what ``tick`` could not, until the connection is lost or to be closed."""
        try:
            while self.closing is None:
                self._resting = True
                await self._wake.wait()
                self._resting = False
                self._wake.clear()
                if self._failed is not None:
                    raise self._failed
                await self._finish_sending()
                while not self._send_turn(self._clock_ms()):
                    await self._finish_sending()
        except WebSocketDisconnect:
            pass
        finally:
            self._resting = False
            self._outlet.drop()

    async def finish(self) -> None:
        """Say goodbye, where the other side still listens."""
        code, reason = self.closing or (1000, "")
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(1):
                await self._websocket.close(code, reason)

    def _rouse(self) -> None:
        """Let the task go on."""
        self._resting = False
        self._wake.set()

    def _send_turn(self, now: int) -> bool:
        """Go on with this turn, or have the next; False where a message has to be waited for."""
        self._now = now
        if not self._unfinished:
            self._turn = iter(self._due())
        for text in self._turn:
            self._sent_at = self._sending_since = now
            if not self._outlet.start(text):
                self._unfinished = True
                return False
        self._unfinished = False
        self._sending_since = None
        return True

    async def _finish_sending(self) -> None:
        await self._outlet.finish()
        self._sending_since = None

    def _due(self) -> Iterable[str]:
        """What is to be sent now, from both lanes."""
        if self._lane_a or self.answers or self.ready_due:
            return self._one_by_one()
        if self._received_now is not None and not self._keeps_up(self._received_now):
            return self._heartbeat()
        return self._points.news(self) or self._heartbeat()

    def _one_by_one(self) -> Iterator[str]:
        while self._lane_a:
            yield self._lane_a.popleft()
        if self._received_now is None or self._keeps_up(self._received_now):
            yield from self._points.answers(self)
            yield from self._points.news(self)
        yield from self._heartbeat()

    def _keeps_up(self, received: int) -> bool:
        """Whether what was sent arrives; where it does not for long, this connection ends."""
        behind = self._now - received
        if behind > BEHIND_CLOSES_MS:
            self.close(TOO_SLOW, "too slow")
        return behind <= BEHIND_PAUSES_MS

    def _heartbeat(self) -> Iterable[str]:
        """Where nothing else was sent for a while."""
        due = self._now - self._sent_at >= HEARTBEAT_MS
        return (wire.text(t="hb", now=self._now),) if due else ()
