import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from collectors.backoff import backoff
from collectors.reading import (
    ConfigInvalid,
    Counters,
    Delivery,
    Emit,
    Outcome,
    Reading,
    Receipt,
    SourceLost,
)
from collectors.supervisor import STAYED_UP_US, Supervisor
from tests.collectors.mqtt_door import until

Act = Callable[[Emit, Callable[[], None]], Awaitable[None]]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


class Scripted:
    """A collector whose runs are given; the last one goes on for ever."""

    name = "press-7"

    def __init__(self, *acts: Act) -> None:
        self.counters = Counters()
        self.done = asyncio.Event()
        self._acts = list(acts)

    async def run(self, emit: Emit, connected: Callable[[], None]) -> None:
        if self._acts:
            await self._acts.pop(0)(emit, connected)
        else:
            connected()
            self.done.set()
            await asyncio.Event().wait()


async def emit(delivery: Delivery, *, wait: bool = True) -> Receipt:
    receipt: Receipt = asyncio.get_running_loop().create_future()
    receipt.set_result(Outcome(len(delivery.readings), 0, [], "database"))
    return receipt


def fails(error: Exception, *, up: bool = False) -> Act:
    async def act(_: Emit, connected: Callable[[], None]) -> None:
        if up:
            connected()
        raise error

    return act


@asynccontextmanager
async def supervised(supervisor: Supervisor, collector: Scripted) -> AsyncIterator[None]:
    task = asyncio.create_task(supervisor.run(collector, emit))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


def quick(clock: Clock) -> Supervisor:
    return Supervisor(clock, first_wait_s=0.001, longest_wait_s=0.002, refused_wait_s=0.001)


async def test_losses_are_retried_and_only_edges_are_logged() -> None:
    supervisor = quick(Clock())
    collector = Scripted(*[fails(SourceLost("no answer"))] * 5)
    with capture_logs() as logs:
        async with supervised(supervisor, collector):
            await collector.done.wait()
            assert supervisor.status.state == "up"
            assert supervisor.status.last_error is None
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "source is lost"),
        ("info", "source is back"),
    ]
    assert logs[1]["attempts"] == 6
    assert supervisor.status.state == "stopped"


async def test_a_refusal_waits_for_a_person() -> None:
    supervisor = Supervisor(Clock(), first_wait_s=0.001, refused_wait_s=3600)
    collector = Scripted(fails(ConfigInvalid("wrong password")))
    with capture_logs() as logs:
        async with supervised(supervisor, collector):
            await until(lambda: supervisor.status.state == "refused")
            assert supervisor.status.last_error == "wrong password"
            supervisor.retry_now()
            await collector.done.wait()
    assert logs[0]["reason"] == "wrong password"


async def test_a_bug_is_named_with_its_type_once_and_retried() -> None:
    supervisor = quick(Clock())
    collector = Scripted(*[fails(KeyError("x"))] * 3)
    with capture_logs() as logs:
        async with supervised(supervisor, collector):
            await collector.done.wait()
    assert [line["reason"] for line in logs if "reason" in line] == ["KeyError: 'x'"]


async def test_a_collector_that_returns_is_started_again() -> None:
    async def returns(_: Emit, connected: Callable[[], None]) -> None:
        connected()

    collector = Scripted(returns)
    async with supervised(quick(Clock()), collector):
        await collector.done.wait()


async def test_every_change_of_state_has_its_time() -> None:
    clock = Clock()
    supervisor = Supervisor(clock, first_wait_s=3600, longest_wait_s=3600)

    async def up_for_a_while(_: Emit, connected: Callable[[], None]) -> None:
        connected()
        clock.now += STAYED_UP_US
        raise SourceLost("gone")

    collector = Scripted(up_for_a_while)
    async with supervised(supervisor, collector):
        await until(lambda: supervisor.status.state == "down")
        assert supervisor.status.since == 1_000 + STAYED_UP_US
        assert supervisor.status.attempts == 0  # counted from the last time it was up
        supervisor.retry_now()
        await collector.done.wait()


async def test_the_newest_reading_is_known() -> None:
    supervisor = quick(Clock())

    async def reads(door: Emit, connected: Callable[[], None]) -> None:
        connected()
        await door(Delivery("press-7", 5, [Reading("a", 1.0, 5, 0)]))
        await door(Delivery("press-7", 9, []))

    collector = Scripted(reads)
    async with supervised(supervisor, collector):
        await collector.done.wait()
    assert supervisor.status.last_reading_at == 5


def test_waits_grow_to_their_cap() -> None:
    waits = backoff(0.5, 60.0)
    ceilings = [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    for ceiling in ceilings:
        assert 0 <= next(waits) <= ceiling


@pytest.mark.parametrize("error", [SourceLost("a"), ConfigInvalid("b")])
async def test_stopping_during_a_wait(error: Exception) -> None:
    supervisor = Supervisor(Clock(), first_wait_s=3600, longest_wait_s=3600)
    async with supervised(supervisor, Scripted(fails(error))):
        await until(lambda: supervisor.status.state != "connecting")
    assert supervisor.status.state == "stopped"
