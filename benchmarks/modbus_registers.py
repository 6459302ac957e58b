"""Registers per second that become readings, against bare pymodbus reading the same blocks."""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import uvloop
from pymodbus.client import AsyncModbusTcpClient

from app.clock import wall_clock
from benchmarks.row import Row, interleaved, ratio
from benchmarks.running import directory
from collectors.modbus.collector import ModbusCollector
from collectors.modbus.config import ModbusConfig
from collectors.modbus.plan import Span, plan
from collectors.reading import Delivery, Outcome, Receipt
from tests.servers import Server, answers, dying_with_us

BLOCKS, WORDS = 60, 124  # so many requests of so many registers: one round takes longer than a poll
POLLS, ROUNDS = 30, 7
LIMIT = 0.8
WIDTH = {"float32": 2, "uint16": 1}


class Plc(Server):
    """The server's process."""

    name = "plc"

    def command(self) -> list[str]:
        program = [sys.executable, "-m", "benchmarks.modbus_server"]
        return [*dying_with_us(), *program, str(self.port), str(BLOCKS * WORDS)]

    def ready(self) -> bool:
        return answers(self.port)


def config(port: int, kind: str) -> ModbusConfig:
    """Every register a value of a characteristic of its own."""
    registers = [
        {"characteristic": f"gauge-{address}", "address": address, "type": kind}
        for address in range(0, BLOCKS * WORDS, WIDTH[kind])
    ]
    return ModbusConfig.model_validate(
        {
            "id": "plc",
            "kind": "modbus",
            "url": f"tcp://127.0.0.1:{port}",
            "poll": "10ms",
            "registers_max": WORDS,
            "register": registers,
        }
    )


class Counted(Exception):
    """Enough was read."""


async def collect(made: ModbusConfig) -> float:
    """Seconds for some polls of the collector, whose readings are durable at once."""
    collector = ModbusCollector(made, None, wall_clock)
    polls = readings = 0
    start = end = 0.0

    async def emit(delivery: Delivery, *, wait: bool = True) -> Receipt:  # noqa: ARG001
        nonlocal polls, readings, start, end
        receipt: Receipt = asyncio.get_running_loop().create_future()
        receipt.set_result(Outcome(len(delivery.readings), 0, [], "database"))
        if not polls:
            start = time.perf_counter()
        else:
            readings += len(delivery.readings)
        polls += 1
        if polls > POLLS:
            end = time.perf_counter()
            raise Counted
        return receipt

    with suppress(Counted):
        await collector.run(emit, lambda: None)
    if readings != POLLS * len(made.registers):
        raise RuntimeError(f"only {readings} readings")
    return end - start


async def read_bare(port: int, spans: list[Span]) -> float:
    """Seconds for the same blocks as often, with nothing made of the answers."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0)
    await client.connect()
    start = time.perf_counter()
    for _ in range(POLLS):
        for span in spans:
            answer = await client.read_holding_registers(
                span.start, count=span.end - span.start, device_id=span.device
            )
            if answer.isError():
                raise RuntimeError(str(answer))
    seconds = time.perf_counter() - start
    client.close()
    return seconds


def compared(port: int, kind: str) -> Row:
    """Read everything by the one and by the other, and again."""
    made = config(port, kind)
    spans = [block.span for block in plan(made).blocks]
    if len(spans) != BLOCKS:
        raise RuntimeError(f"{len(spans)} blocks")
    first, second = interleaved(
        lambda: uvloop.run(collect(made)),
        lambda: uvloop.run(read_bare(port, spans)),
        rounds=ROUNDS,
    )
    registers = POLLS * BLOCKS * WORDS
    return Row(
        f"Modbus registers as {kind}",
        registers / statistics.median(first),
        "registers/s",
        "bare pymodbus",
        registers / statistics.median(second),
        ratio(second, first),
        LIMIT,
        ">=",
        {"ratio_of": "throughput", "rounds": ROUNDS},
    )


def run() -> Iterable[Row]:
    """Measure registers of two words and of one."""
    with directory() as place:
        plc = Plc(Path(place)).start()
        try:
            for kind in WIDTH:
                yield compared(plc.port, kind)
        finally:
            plc.stop()
