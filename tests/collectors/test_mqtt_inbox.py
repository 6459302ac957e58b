import asyncio

import pytest
from structlog.testing import capture_logs

from collectors.mqtt.inbox import MOST_BYTES, MOST_UNCONFIRMED, Arrived, Inbox
from collectors.mqtt.window import Window
from collectors.reading import Counters, Outcome, SourceLost

DURABLE = Outcome(1, 0, [], "database")


def message(mid: int, *, qos: int = 1, payload: bytes = b"1") -> Arrived:
    return Arrived("t", payload, len(payload), mid, qos, False, False, mid)


def filled(*messages: Arrived) -> Inbox:
    inbox = Inbox("broker", Counters())
    for entry in messages:
        inbox.put(entry)
    return inbox


async def mids(inbox: Inbox, most: int = 10) -> list[int]:
    return [entry.mid for entry in await inbox.take(most, idle_s=0.01)]


async def test_what_waits_is_taken_in_order_and_in_bulk() -> None:
    inbox = filled(*map(message, range(5)))
    assert await mids(inbox, 3) == [0, 1, 2]
    assert await mids(inbox) == [3, 4]
    assert await mids(inbox) == []


async def test_what_is_put_back_comes_first() -> None:
    inbox = filled(*map(message, range(4)))
    taken = await inbox.take(3)
    inbox.put_back(taken[1:])
    assert await mids(inbox) == [1, 2, 3]


async def test_taking_waits_for_the_first_and_lingers_for_more() -> None:
    inbox = filled()
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, inbox.put, message(1))
    loop.call_later(0.02, inbox.put, message(2))
    loop.call_later(0.03, inbox.put, message(3))
    taken = await inbox.take(10, enough=3, until=loop.time() + 20)
    assert [entry.mid for entry in taken] == [1, 2, 3]


async def test_lingering_has_an_end() -> None:
    inbox = filled(message(1), message(2))
    taken = await inbox.take(10, until=asyncio.get_running_loop().time() + 0.01)
    assert [entry.mid for entry in taken] == [1, 2]


async def test_lingering_ends_when_no_more_come() -> None:
    inbox = filled(message(1))
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, inbox.put, message(2))
    taken = await inbox.take(10, until=loop.time() + 20, pause_s=0.1)
    assert [entry.mid for entry in taken] == [1, 2]


async def test_qos_0_is_dropped_and_counted_when_there_is_no_room() -> None:
    counters = Counters()
    inbox = Inbox("broker", counters)
    with capture_logs() as logs:
        for mid in range(MOST_UNCONFIRMED + 5):
            inbox.put(message(mid, qos=0))
        inbox.put(message(77, qos=1))  # held back at the socket, never dropped
        assert counters.dropped == 5
        taken = await mids(inbox, MOST_UNCONFIRMED * 2)
        assert taken[-2:] == [MOST_UNCONFIRMED - 1, 77]
        inbox.put(message(1, qos=0))
        assert await mids(inbox) == [1]
    assert [(line["log_level"], line.get("dropped")) for line in logs] == [
        ("warning", None),
        ("info", 5),
    ]


async def test_memory_is_bounded_by_bytes_too() -> None:
    big = b"x" * (1 << 20)
    inbox = filled(*(message(mid, payload=big) for mid in range(MOST_BYTES >> 20)))
    assert not inbox.full
    inbox.put(message(0))
    assert inbox.full
    await inbox.take(10)
    assert not inbox.full


async def test_after_a_loss_only_what_the_broker_does_not_keep_is_handed_out() -> None:
    inbox = filled(message(1), message(2, qos=0), message(3))
    inbox.close(SourceLost("gone"))
    inbox.close(SourceLost("too late"))
    assert await mids(inbox) == [2]
    with pytest.raises(SourceLost, match="gone"):
        await inbox.take(10)


async def test_a_loss_wakes_who_waits() -> None:
    inbox = filled()
    asyncio.get_running_loop().call_later(0.01, inbox.close, SourceLost("gone"))
    with pytest.raises(SourceLost, match="gone"):
        await inbox.take(10)


class Line:
    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.errors: list[Exception] = []
        self.window = Window(self.acknowledged.extend, self.errors.append)

    def send(self, *mids: int) -> "asyncio.Future[Outcome]":
        receipt: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.window.add(receipt, mids)
        return receipt


async def test_acknowledged_in_order_whatever_resolves_first() -> None:
    line = Line()
    first, second, third = line.send(1, 2), line.send(3), line.send(4)
    second.set_result(DURABLE)
    await asyncio.sleep(0)
    assert line.acknowledged == []
    first.set_result(DURABLE)
    await asyncio.sleep(0)
    assert line.acknowledged == [1, 2, 3]
    line.window.add_durable([5])
    await asyncio.sleep(0)
    assert line.acknowledged == [1, 2, 3]
    third.set_result(DURABLE)
    await asyncio.sleep(0)
    assert line.acknowledged == [1, 2, 3, 4, 5]
    assert line.window.empty


async def test_a_failure_ends_acknowledging() -> None:
    line = Line()
    first, second = line.send(1), line.send(2)
    second.set_result(DURABLE)
    first.set_exception(OSError("disk full"))
    await asyncio.sleep(0)
    assert line.acknowledged == []
    assert [str(error) for error in line.errors] == [
        "readings could not be made durable: disk full"
    ]


async def test_a_receipt_that_is_given_up_is_a_failure() -> None:
    line = Line()
    line.send(1).cancel()
    await asyncio.sleep(0)
    assert len(line.errors) == 1


async def test_nothing_is_acknowledged_after_closing() -> None:
    line = Line()
    first, second = line.send(1), line.send(2)
    asyncio.get_running_loop().call_later(0.01, first.set_result, DURABLE)
    await line.window.close(0.05)
    assert line.acknowledged == [1]
    second.set_exception(OSError("disk full"))
    await asyncio.sleep(0)
    assert line.acknowledged == [1]
    assert line.errors == []
