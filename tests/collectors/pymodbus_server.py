"""A PLC for the tests: python pymodbus_server.py PORT."""

import asyncio
import sys

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

EXCEPTION, TORN = 900, 901


async def act(function_code, start, address, count, registers, values):
    """Refuse, or make a part while the last one is read, when told to."""
    if function_code != 3 or values is not None:
        return None
    if code := registers[EXCEPTION - start]:
        return ExcCodes(code)
    if address >= 300 and registers[TORN - start]:
        registers[TORN - start] -= 1
        registers[98 - start] += 1
    return None


async def main(port: int) -> None:
    def words(address, count):
        return SimData(address, count=count, values=0, datatype=DataType.REGISTERS)

    def bits(address, count):
        return SimData(address, count=count, values=False, datatype=DataType.BITS)

    def holes():
        return [words(0, 200), words(300, 200)]

    device = SimDevice(
        id=0,
        simdata=([bits(0, 512)], [bits(0, 512)], [*holes(), words(900, 10)], holes()),
        action=act,
    )
    await ModbusTcpServer(device, address=("127.0.0.1", port)).serve_forever()


asyncio.run(main(int(sys.argv[1])))
