"""Keeps one source running: connects again after a loss, and tells what state it is in."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import msgspec
import structlog

from collectors.backoff import backoff
from collectors.reading import (
    Collector,
    ConfigInvalid,
    Counters,
    Delivery,
    Emit,
    Receipt,
    SourceLost,
)

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
REFUSED_WAIT_S = 60.0
STAYED_UP_US = 30_000_000  # a run that lasted this long was a good one: waits begin small again

State = Literal["connecting", "up", "down", "refused", "stopped"]

log = structlog.get_logger()


class SourceStatus(msgspec.Struct):
    """What is known of a source right now."""

    name: str
    counters: Counters
    state: State = "connecting"
    since: int = 0  # of the state
    last_error: str | None = None
    attempts: int = 0  # since it was last up
    last_reading_at: int | None = None  # arrival of the newest reading


class Supervisor:
    """Runs one collector for good.

    A loss is retried with growing, jittered waits; a refusal slowly, for a person has to act. The log
    gets a line when a source is lost and one when it is back, not one for each attempt.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        first_wait_s: float = FIRST_WAIT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
        refused_wait_s: float = REFUSED_WAIT_S,
    ) -> None:
        self._clock = clock
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._refused_wait_s = refused_wait_s
        self._again = asyncio.Event()
        self.status = SourceStatus("", Counters(), since=clock())

    async def run(self, collector: Collector, emit: Emit) -> None:
        """Run ``collector`` until cancelled, whatever becomes of its source."""
        self.status = SourceStatus(collector.name, collector.counters, since=self._clock())
        waits = backoff(self._first_wait_s, self._longest_wait_s)
        try:
            while True:
                error = await self._attempt(collector, emit)
                if self._stayed_up():
                    waits = backoff(self._first_wait_s, self._longest_wait_s)
                self._lost(error)
                refused = isinstance(error, ConfigInvalid)
                await self._wait(self._refused_wait_s if refused else next(waits))
        finally:
            self._enter("stopped")

    def retry_now(self) -> None:
        """Cut the present wait short: somebody says that the source is there."""
        self._again.set()

    async def _attempt(self, collector: Collector, emit: Emit) -> Exception:
        """One run; returns what ended it."""

        async def noted(delivery: Delivery, *, wait: bool = True) -> Receipt:
            receipt = await emit(delivery, wait=wait)
            if delivery.readings:
                self.status.last_reading_at = delivery.received_at
            return receipt

        self.status.attempts += 1
        try:
            await collector.run(noted, self._connected)
        except (SourceLost, ConfigInvalid) as error:
            return error
        except Exception as error:  # noqa: BLE001 - a collector's bug must not stop the line
            return error
        return SourceLost(f"{collector.name} stopped by itself")

    def _connected(self) -> None:
        status = self.status
        if status.last_error is not None:
            log.info("source is back", source=status.name, attempts=status.attempts)
        else:
            log.info("source is up", source=status.name)
        status.last_error = None
        status.attempts = 0
        self._enter("up")

    def _lost(self, error: Exception) -> None:
        status = self.status
        known = isinstance(error, SourceLost | ConfigInvalid)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        state: State = "refused" if isinstance(error, ConfigInvalid) else "down"
        if state != status.state or (not known and text != status.last_error):
            log.warning("source is lost", source=status.name, state=state, reason=text)
        status.last_error = text
        self._enter(state)

    def _enter(self, state: State) -> None:
        if state != self.status.state:
            self.status.state = state
            self.status.since = self._clock()

    def _stayed_up(self) -> bool:
        return self.status.state == "up" and self._clock() - self.status.since >= STAYED_UP_US

    async def _wait(self, seconds: float) -> None:
        self._again.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._again.wait()
