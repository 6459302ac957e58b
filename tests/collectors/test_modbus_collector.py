"""The collector against real Modbus servers, one of them not ours."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from collectors.modbus.advice import advise
from collectors.modbus.collector import ModbusCollector
from collectors.modbus.config import ModbusConfig
from collectors.modbus.decode import encode
from collectors.reading import Delivery, IntakeFull, Outcome, Receipt, SourceLost
from tests.collectors.modbus_servers import (
    EXCEPTION,
    TORN,
    LibmodbusServer,
    Machine,
    PymodbusServer,
)
from tests.servers import Missing, Server, free_port

FORCE = {
    "characteristic": "force",
    "address": 100,
    "type": "float32",
    "trigger": {"address": 98},
    "tags": {"lot": {"address": 110, "type": "string(16)"}},
}
PATIENCE = "20s"  # nobody restarts the collector here: a machine under load is no lost device
POLLED = {"characteristic": "heat", "table": "input", "address": 10, "type": "int16"}


def clock() -> int:
    return time.time_ns() // 1000


class Intake:
    """The other side of the seam: takes deliveries, or is full, or fails to store them."""

    def __init__(self) -> None:
        self.full = False
        self.fails = False
        self.slow = False
        self.receipts: list[Receipt] = []
        self.deliveries: list[Delivery] = []
        self.position: dict | None = None

    async def __call__(self, delivery: Delivery, *, wait: bool = True) -> Receipt:
        assert not wait
        if self.full:
            raise IntakeFull(0.1)
        receipt: Receipt = asyncio.get_running_loop().create_future()
        if self.fails:
            receipt.set_exception(OSError("the disk is full"))
            return receipt
        self.deliveries.append(delivery)
        self.position = delivery.position
        if self.slow:
            self.receipts.append(receipt)
            return receipt
        receipt.set_result(Outcome(len(delivery.readings), 0, [], "database"))
        return receipt

    @property
    def readings(self):
        return [reading for delivery in self.deliveries for reading in delivery.readings]

    @property
    def gaps(self):
        return [gap for delivery in self.deliveries for gap in delivery.gaps]

    @property
    def rejects(self):
        return [reject for delivery in self.deliveries for reject in delivery.rejects]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the condition is the collector's, not ours
            await asyncio.sleep(0.005)


def config(port: int, *registers: dict, **settings) -> ModbusConfig:
    return ModbusConfig.model_validate(
        {
            "id": "plc",
            "url": f"tcp://127.0.0.1:{port}",
            "poll": "10ms",
            "timeout": PATIENCE,
            "register": list(registers or [FORCE]),
            **settings,
        }
    )


@contextlib.asynccontextmanager
async def running(
    given: ModbusConfig, intake: Intake, position: dict | None = None
) -> AsyncIterator[ModbusCollector]:
    """The collector at work, once it has polled."""
    collector = ModbusCollector(given, position, clock)
    up = asyncio.Event()
    task = asyncio.create_task(collector.run(intake, up.set))
    waiting = asyncio.create_task(up.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        assert up.is_set(), task
        yield collector
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(params=[PymodbusServer, LibmodbusServer])
def plc(request, tmp_path):
    try:
        server = request.param(tmp_path)
    except Missing as missing:
        pytest.skip(str(missing))
    yield server.start()
    server.stop()


@pytest.fixture
def pymodbus_plc(tmp_path):
    server = PymodbusServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def machine_of():
    machines: list[Machine] = []

    def make(server: Server) -> Machine:
        machines.append(Machine(server.port))
        return machines[-1]

    yield make
    for machine in machines:
        machine.close()


async def test_each_part_is_read_once(plc, machine_of) -> None:
    machine, intake = machine_of(plc), Intake()
    machine.write(98, [7])
    machine.write(110, encode("LOT-1", "string(16)"))
    async with running(config(plc.port), intake) as collector:
        for count, value in ((8, 25.02), (9, 24.98), (10, 25.0)):
            await machine.part(count, value)
            await until(lambda count=count: intake.readings and intake.readings[-1].key == count)
        await asyncio.sleep(0.1)
    assert [(one.key, one.value) for one in intake.readings] == [(8, 25.02), (9, 24.98), (10, 25.0)]
    assert intake.readings[0].tags == {"lot": "LOT-1"}
    assert intake.gaps == []
    assert collector.counters.readings == collector.counters.acknowledged == 3


async def test_all_tables_and_types_of_both_servers(plc, machine_of) -> None:
    machine, intake = machine_of(plc), Intake()
    values = {"int16": -5, "uint32": 70000, "int64": -(2**40), "float64": 0.1, "float32": 12.52}
    registers, address = [], 0
    for word_type, value in values.items():
        for order in ("ABCD", "CDAB", "BADC", "DCBA"):
            words = encode(value, word_type, order)
            machine.write(address, words)
            registers.append(
                {
                    "characteristic": f"{word_type}-{order}",
                    "address": address,
                    "type": word_type,
                    "order": order,
                }
            )
            address += len(words)
    machine.write_bits(3, [True, False])
    registers += [
        {"characteristic": "on", "table": "coil", "address": 3},
        {"characteristic": "off", "table": "coil", "address": 4},
        {"characteristic": "dark", "table": "discrete", "address": 4},
        POLLED,
    ]
    async with running(config(plc.port, *registers), intake):
        await until(lambda: intake.readings)
    found = {one.characteristic: one.value for one in intake.deliveries[0].readings}
    assert found == {
        **{
            f"{name}-{order}": value
            for name, value in values.items()
            for order in ("ABCD", "CDAB", "BADC", "DCBA")
        },
        "on": 1.0,
        "off": 0.0,
        "dark": 0.0,
        "heat": 0.0,
    }


async def test_parts_missed_wrap_and_reset(plc, machine_of) -> None:
    machine, intake = machine_of(plc), Intake()
    machine.write(98, [65530])
    async with running(config(plc.port), intake):
        for count in (65533, 65534, 1, 500, 3, 0, 1):
            before = len(intake.deliveries)
            await machine.part(count, float(count))
            await until(lambda before=before: len(intake.deliveries) > before)
    assert [one.key for one in intake.readings] == [65533, 65534, 1, 500, 3, 1]
    assert [(gap.reason, gap.missed) for gap in intake.gaps] == [
        ("parts missed between two polls", 2),
        ("parts missed between two polls", 2),
        ("parts missed between two polls", 498),
        ("counter reset", None),
        ("counter reset", None),
    ]
    assert {gap.characteristic for gap in intake.gaps} == {"force"}
    assert all(gap.start <= gap.end for gap in intake.gaps)


async def test_the_count_is_kept_across_restarts(plc, machine_of) -> None:
    machine, intake = machine_of(plc), Intake()
    machine.write(98, [7])
    async with running(config(plc.port), intake):
        await machine.part(8, 25.02)
        await until(lambda: intake.readings)
    async with running(config(plc.port), intake, intake.position):
        await asyncio.sleep(0.1)
    assert [one.key for one in intake.readings] == [8]
    await machine.part(12, 25.0)
    async with running(config(plc.port), intake, intake.position):
        await until(lambda: len(intake.readings) > 1)
    assert [one.key for one in intake.readings] == [8, 12]
    assert [gap.missed for gap in intake.gaps] == [3]


async def test_a_part_that_changes_while_it_is_read_is_read_again(pymodbus_plc, machine_of) -> None:
    machine, intake = machine_of(pymodbus_plc), Intake()
    apart = {**FORCE, "address": 300, "tags": {}}
    machine.write(300, encode(25.02, "float32"))
    machine.write(98, [7])
    async with running(config(pymodbus_plc.port, apart), intake):
        machine.write(TORN, [2])
        machine.write(98, [8])
        await until(lambda: intake.readings)
    assert [(one.key, one.value) for one in intake.readings] == [(10, 25.02)]
    assert [gap.missed for gap in intake.gaps] == [2]


async def test_a_part_that_never_stands_still_is_not_guessed(pymodbus_plc, machine_of) -> None:
    machine, intake = machine_of(pymodbus_plc), Intake()
    apart = {**FORCE, "address": 300, "tags": {}}
    async with running(config(pymodbus_plc.port, apart), intake) as collector:
        machine.write(TORN, [9])
        machine.write(98, [1])
        await until(lambda: intake.readings)
    assert [one.key for one in intake.readings] == [10]
    assert collector.counters.messages >= 3


async def test_polled_registers_go_on_while_others_are_refused(pymodbus_plc, machine_of) -> None:
    machine, intake = machine_of(pymodbus_plc), Intake()
    async with running(config(pymodbus_plc.port, FORCE, POLLED), intake) as collector:
        machine.write(EXCEPTION, [4])
        await until(lambda: intake.rejects)
        seen = len(intake.readings)
        await until(lambda: len(intake.readings) > seen + 10)
        machine.write(EXCEPTION, [0])
        await asyncio.sleep(0.05)
        await machine.part(1, 25.02)
        await until(lambda: any(one.characteristic == "force" for one in intake.readings))
    (reject,) = intake.rejects
    assert "refused holding 98 to 117 with exception 4: it failed while answering" in reject.reason
    assert b'"exception":4' in reject.payload
    assert collector.counters.rejects == 1


async def test_a_hole_is_named(plc) -> None:
    intake = Intake()
    hole = {**POLLED, "table": "holding", "address": 600}
    async with running(config(plc.port, hole), intake):
        await until(lambda: intake.rejects)
    assert "exception 2: some of these addresses do not exist" in intake.rejects[0].reason


async def test_nan_is_quarantined_and_a_poll_says_it_once(pymodbus_plc, machine_of) -> None:
    machine, intake = machine_of(pymodbus_plc), Intake()
    machine.write(120, [0x7FC0, 0])
    polled = {"characteristic": "heat", "address": 120, "type": "float32"}
    async with running(config(pymodbus_plc.port, FORCE, polled), intake) as collector:
        await until(lambda: collector.counters.messages > 10)
        for count in (1, 2):
            await machine.part(count, float("nan"))
            await until(lambda count=count: len(intake.rejects) > count)
    assert [one.characteristic for one in intake.rejects] == ["heat", "force", "force"]
    assert intake.readings == []


async def test_a_silent_plc_is_lost_and_read_again(plc, machine_of) -> None:
    machine, intake = machine_of(plc), Intake()
    collector = ModbusCollector(config(plc.port, FORCE, POLLED, timeout="1s"), None, clock)
    task = asyncio.create_task(collector.run(intake, lambda: None))
    await until(lambda: intake.readings)
    plc.freeze()
    with pytest.raises(SourceLost, match="did not answer within"):
        await task
    with pytest.raises(SourceLost):
        await collector.run(intake, pytest.fail)
    plc.thaw()
    seen = len(intake.readings)
    task = asyncio.create_task(collector.run(intake, lambda: None))
    await until(lambda: len(intake.readings) > seen)
    await machine.part(1, 25.02)
    await until(
        lambda: intake.readings[-1].characteristic == "force" or intake.readings[-2].key == 1
    )
    task.cancel()
    await asyncio.wait([task])
    assert [gap.reason for gap in intake.gaps] == ["the device could not be read"]


async def test_a_restarted_plc(plc, machine_of) -> None:
    intake = Intake()
    machine = machine_of(plc)
    machine.write(98, [7])
    collector = ModbusCollector(config(plc.port), None, clock)
    task = asyncio.create_task(collector.run(intake, lambda: None))
    await until(lambda: intake.position)
    plc.kill()
    with pytest.raises(SourceLost):
        await task
    with pytest.raises(SourceLost, match="no connection"):
        await collector.run(intake, pytest.fail)
    plc.start()
    task = asyncio.create_task(collector.run(intake, lambda: None))
    await until(lambda: intake.gaps)
    task.cancel()
    await asyncio.wait([task])
    assert [gap.reason for gap in intake.gaps] == ["counter reset"]
    assert intake.readings == []


async def test_skipped_polls_are_counted_and_a_part_is_tried_again(
    pymodbus_plc, machine_of
) -> None:
    machine, intake = machine_of(pymodbus_plc), Intake()
    async with running(config(pymodbus_plc.port, FORCE, POLLED), intake) as collector:
        await until(lambda: intake.readings)
        intake.full = True
        await machine.part(1, 25.02)
        await until(lambda: collector.counters.dropped >= 5)
        intake.full = False
        await until(lambda: intake.gaps)
        await until(lambda: len(intake.readings) > 10)
    parts = [(one.key, one.value) for one in intake.readings if one.characteristic == "force"]
    assert parts == [(1, 25.02)]
    (gap,) = intake.gaps
    assert gap.reason == "polls skipped while the intake was full"
    assert gap.missed == collector.counters.dropped >= 5
    assert gap.start < gap.end


async def test_a_part_that_could_not_be_stored_is_read_again(pymodbus_plc, machine_of) -> None:
    machine, intake = machine_of(pymodbus_plc), Intake()
    async with running(config(pymodbus_plc.port), intake) as collector:
        await until(lambda: intake.position)
        intake.fails = True
        await machine.part(1, 25.02)
        polls = collector.counters.messages
        await until(lambda: collector.counters.messages > polls + 5)
        assert intake.readings == []
        intake.fails = False
        await until(lambda: intake.readings)
    assert [(one.key, one.value) for one in intake.readings] == [(1, 25.02)]
    assert intake.position["counts"]["1/holding/98"][0] == 1


async def test_a_stop_waits_for_what_is_under_way(pymodbus_plc, machine_of) -> None:
    """The next one begins at the stored count: it must not read the same part again."""
    machine, intake = machine_of(pymodbus_plc), Intake()
    machine.write(98, [7])
    collector = ModbusCollector(config(pymodbus_plc.port), None, clock)
    task = asyncio.create_task(collector.run(intake, lambda: None))
    await until(lambda: intake.position)
    intake.slow = True
    await machine.part(8, 25.02)
    await until(lambda: intake.readings)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    for receipt in intake.receipts:
        receipt.set_result(Outcome(1, 0, [], "database"))
    await asyncio.wait([task])
    assert task.cancelled()
    assert collector.counters.acknowledged == 1


async def test_nobody_there() -> None:
    collector = ModbusCollector(config(free_port()), None, clock)
    with pytest.raises(SourceLost, match=r"no connection to tcp://127\.0\.0\.1"):
        await collector.run(Intake(), pytest.fail)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x01\x00\x00\x00\x03\x01\x03\xff",
        b"\x00\x01\x00\x00\x00\x03\x01\x07\x00",
        b"\x00\x01\x00\x00\x00\x02\x01\x03",
        b"\x00\x01\x00\x00\x00\x04\x01\x03\x01\x00",
        b"\x00\x01\x00\x00\x00\x05\x01\x03\x02\x00\x07",
        b"\x00\x09\x00\x00\x00\x05\x01\x03\x02\x00\x07\x00\x01\x00\x00\x00\x02\x01\x63",
        b"",
    ],
)
async def test_garbage_is_no_answer(answer, caplog) -> None:
    def reply(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer)
            if answer:
                connection.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        replying = asyncio.create_task(asyncio.to_thread(reply, listener))
        port = listener.getsockname()[1]
        collector = ModbusCollector(config(port, timeout="100ms"), None, clock)
        with pytest.raises(SourceLost):
            await collector.run(Intake(), pytest.fail)
        await replying
    assert caplog.records == []


async def test_a_slow_device_does_not_delay_another(pymodbus_plc, machine_of) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        slow = ModbusCollector(config(deaf.getsockname()[1], timeout="30s"), None, clock)
        task = asyncio.create_task(slow.run(Intake(), pytest.fail))
        machine, intake = machine_of(pymodbus_plc), Intake()
        async with running(config(pymodbus_plc.port), intake):
            await machine.part(1, 25.02)
            await until(lambda: intake.readings)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])


async def test_advice_names_a_wrong_order_refusals_and_what_may_double(
    pymodbus_plc, machine_of
) -> None:
    machine = machine_of(pymodbus_plc)
    machine.write(100, encode(10.01, "float32", "CDAB"))
    hole = {**POLLED, "table": "holding", "address": 250}
    found = await advise(config(pymodbus_plc.port, FORCE, hole))
    assert any("in order ABCD; CDAB would be 10.01" in sentence for sentence in found)
    assert any("refuses holding 250 to 250 (exception 2)" in sentence for sentence in found)
    assert any("heat of plc may double" in sentence for sentence in found)
    assert len(found) == 3


async def test_advice_on_a_sound_source_and_on_none(pymodbus_plc) -> None:
    assert await advise(config(pymodbus_plc.port)) == []
    (sentence,) = await advise(config(free_port()))
    assert "no connection" in sentence
