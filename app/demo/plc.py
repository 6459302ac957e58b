"""The PLC of the simulated plant, a Modbus TCP server: ``python -m app.demo.plc PORT SEED``."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from app.demo import leash
from app.demo.item import COUNTER
from app.demo.plant import BY_ID, Gauge, Measured, Plant, schedule
from app.demo.production import now
from collectors.modbus.config import Order
from collectors.modbus.decode import encode

SIZE = 128  # registers of each device
LOT = "string(8)"

Act = Callable[
    [int, int, int, int, list[int], list[int] | list[bool] | None], Awaitable[ExcCodes | None]
]


class Cell(NamedTuple):
    """Where the PLC keeps a value, and how it writes it."""

    address: int
    type: str
    order: Order = "ABCD"
    scale: float = 1.0


class Station(NamedTuple):
    """One device behind the PLC's address."""

    device: int
    counter: int | None  # address of its part counter
    lot: int | None
    cells: dict[tuple[str, str | None], Cell]  # by gauge and cavity


STATIONS = {
    "press": Station(
        1,
        98,
        110,
        {
            ("press-force", None): Cell(100, "float32"),
            ("press-stroke", None): Cell(102, "float32", "CDAB"),
            ("insertion-depth", None): Cell(104, "int16", scale=0.001),
        },
    ),
    "mold": Station(
        2,
        0,
        20,
        {
            ("melt-temperature", None): Cell(2, "uint16", scale=0.1),
            ("injection-pressure", None): Cell(4, "float32", "DCBA"),
            ("fill-time", None): Cell(6, "uint16", scale=0.001),
            **{
                ("part-weight", str(cavity)): Cell(6 + 2 * cavity, "float32", "BADC")
                for cavity in (1, 2, 3, 4)
            },
        },
    ),
    "oven": Station(3, None, None, {("oven-temperature", None): Cell(0, "int16", scale=0.1)}),
}


class Machine:
    """A station's registers, written anew for each part; it stands still until the demo begins."""

    def __init__(self, station: Station, seed: int) -> None:
        self.station = station
        self._seed = seed
        self._plant = Plant(seed)
        self._stands_at: int | None = now()
        self._behind = 0  # microseconds it stood still
        self._written: int | None = None

    def begin(self, start: int) -> None:
        """Work from now on, disturbed as the schedule of ``start`` says."""
        self._plant = Plant(self._seed, schedule(self._seed, start))
        if self._stands_at is not None:
            self._behind = now() - self._stands_at
        self._stands_at = None

    def write(self, registers: list[int]) -> None:
        """Write the newest part, if it is not there yet."""
        station, time = self.station, self._stands_at or now() - self._behind
        clockwork = BY_ID[next(iter(station.cells))[0]]
        part = self._plant.index(clockwork, time)
        if part == self._written:
            return
        self._written = part
        for (name, cavity), cell in station.cells.items():
            one = self._measure(BY_ID[name], part, cavity)
            raw = one.values[0] if cell.scale == 1.0 else round(one.values[0] / cell.scale)
            self._put(registers, cell.address, encode(raw, cell.type, cell.order))
            if station.lot is not None:
                self._put(registers, station.lot, encode(one.lot, LOT))
        if station.counter is not None:
            self._put(registers, station.counter, [part % COUNTER])

    def _measure(self, gauge: Gauge, part: int, cavity: str | None) -> Measured:
        at = self._plant.time(gauge, part) + self._behind
        return self._plant.measure(gauge, part, cavity=cavity, at=at)

    @staticmethod
    def _put(registers: list[int], address: int, words: list[int]) -> None:
        registers[address : address + len(words)] = words


def device(machine: Machine) -> SimDevice:
    """The Modbus device of a machine; what it shows is made when it is read."""

    async def act(
        function_code: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        del function_code, start, address, count
        if values is not None:
            return ExcCodes.ILLEGAL_FUNCTION  # nobody controls a machine from a quality service
        machine.write(registers)
        return None

    registers = SimData(0, count=SIZE, values=0, datatype=DataType.REGISTERS)
    return SimDevice(machine.station.device, simdata=[registers], action=act)


async def main(port: int, seed: int) -> None:
    """Serve; the machines begin to work at the word."""
    machines = [Machine(station, seed) for station in STATIONS.values()]

    def begin(line: str) -> None:
        for machine in machines:
            machine.begin(int(line))

    loop = asyncio.get_running_loop()
    leash.hold(lambda line: loop.call_soon_threadsafe(begin, line))
    server = ModbusTcpServer([device(one) for one in machines], address=("127.0.0.1", port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
