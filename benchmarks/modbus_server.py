"""A Modbus TCP server full of float32 values: ``python -m benchmarks.modbus_server PORT REGISTERS``."""

import asyncio
import struct
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from benchmarks.running import calm


async def serve(port: int, registers: int) -> None:
    """Answer until killed."""
    values = struct.pack(f">{registers // 2}f", *calm(registers // 2, 3))
    words = list(struct.unpack(f">{registers}H", values))
    data = SimData(0, count=1, values=words, datatype=DataType.REGISTERS)
    server = ModbusTcpServer([SimDevice(1, simdata=[data])], address=("127.0.0.1", port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
