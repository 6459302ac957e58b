"""Modbus servers for the tests: pymodbus's, and libmodbus's, which is not ours."""

import asyncio
import ctypes.util
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from pymodbus.client import ModbusTcpClient

from tests.servers import Missing, Server, dying_with_us

HERE = Path(__file__).parent
EXCEPTION, TORN, SHORT = 900, 901, 902  # registers that command the pymodbus server


class PymodbusServer(Server):
    """Registers 0-199 and 300-499 of every table, the rest does not exist."""

    name = "pymodbus"

    def command(self) -> list[str]:
        return [*dying_with_us(), sys.executable, str(HERE / "pymodbus_server.py"), str(self.port)]


class LibmodbusServer(Server):
    """The same addresses as far as libmodbus can: 0-499 of every table."""

    name = "libmodbus"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        library = ctypes.util.find_library("modbus")
        if library is None:
            raise Missing("libmodbus is not here: apt-get install libmodbus5")
        self.library = library

    def command(self) -> list[str]:
        script = str(HERE / "libmodbus_server.py")
        return [*dying_with_us(), sys.executable, script, str(self.port), self.library]


class Machine:
    """What the machine's own program does: it writes to its PLC."""

    def __init__(self, port: int) -> None:
        self._client = ModbusTcpClient("127.0.0.1", port=port)
        assert self._client.connect()

    def write(self, address: int, registers: Sequence[int]) -> None:
        assert not self._client.write_registers(address, list(registers)).isError()

    def write_bits(self, address: int, bits: Sequence[bool]) -> None:
        assert not self._client.write_coils(address, list(bits)).isError()

    async def part(self, count: int, value: float, counter: int = 98, address: int = 100) -> None:
        """Make a part: its value first, then the counter, as a good program does."""
        high, low = struct.unpack(">HH", struct.pack(">f", value))
        await asyncio.to_thread(self.write, address, [high, low])
        await asyncio.to_thread(self.write, counter, [count])

    def close(self) -> None:
        self._client.close()
