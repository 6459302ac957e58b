"""Messages that leave at once, and those that have to wait."""

import asyncio
from typing import Any

import pytest

from app.live.client import Client
from app.live.outlet import Outlet


class Connection:
    """Takes messages while it is open for them."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.writable = asyncio.Event()
        self.lost = False
        self.given_up = 0
        self.scope: dict[str, Any] = {}

    async def send(self, message: dict[str, Any]) -> None:
        try:
            await self.writable.wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.lost:
            raise ConnectionResetError
        self.taken.append(message["text"])


class Ready(Connection):
    """Never has to be waited for."""

    async def send(self, message: dict[str, Any]) -> None:
        if self.lost:
            raise ConnectionResetError
        self.taken.append(message["text"])


async def test_a_message_leaves_at_once_where_nothing_has_to_be_waited_for() -> None:
    connection = Ready()
    outlet = Outlet(connection.send)
    assert outlet.start("a")
    assert outlet.start("b")
    assert connection.taken == ["a", "b"]
    await outlet.finish()
    connection.lost = True
    with pytest.raises(ConnectionResetError):
        outlet.start("c")


async def test_a_message_that_waits_is_finished_by_another_task() -> None:
    connection = Connection()
    outlet = Outlet(connection.send)
    assert not outlet.start("a")
    finishing = asyncio.create_task(outlet.finish())
    await asyncio.sleep(0)
    assert connection.taken == []
    connection.writable.set()
    await finishing
    assert connection.taken == ["a"]


async def test_whoever_finishes_learns_that_the_connection_is_lost() -> None:
    connection = Connection()
    outlet = Outlet(connection.send)
    assert not outlet.start("a")
    connection.lost = True
    connection.writable.set()
    with pytest.raises(ConnectionResetError):
        await outlet.finish()


async def test_a_cancelled_message_hears_of_it() -> None:
    connection = Connection()
    outlet = Outlet(connection.send)
    assert not outlet.start("a")
    finishing = asyncio.create_task(outlet.finish())
    await asyncio.sleep(0)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    assert connection.given_up == 1


async def test_a_dropped_message_never_leaves() -> None:
    connection = Connection()
    outlet = Outlet(connection.send)
    assert not outlet.start("a")
    outlet.drop()
    connection.writable.set()
    await outlet.finish()
    assert connection.taken == []


class Lane:
    """Has one frame for every turn."""

    def __init__(self) -> None:
        self.turn = 0

    def answers(self, _: Client) -> list[str]:
        return []

    def news(self, _: Client) -> list[str]:
        self.turn += 1
        return [f"points {self.turn}"]


async def test_a_screen_goes_on_in_order_after_it_had_to_be_waited_for() -> None:
    connection = Connection()
    client = Client(connection, Lane(), lambda: 0)  # type: ignore[arg-type]
    sending = asyncio.create_task(client.send_all())
    await asyncio.sleep(0)
    for number in range(3):
        client.tick(number, 0)
        client.push(f"alarm {number}")
        for _ in range(3):
            await asyncio.sleep(0)
    assert connection.taken == []
    connection.writable.set()
    for _ in range(20):
        await asyncio.sleep(0)
    told = ["points 1", "alarm 0", "alarm 1", "alarm 2", "points 2"]
    assert connection.taken == told
    client.tick(3, 0)
    for _ in range(5):
        await asyncio.sleep(0)
    assert connection.taken == [*told, "points 3"]
    client.close(1000, "")
    await sending
