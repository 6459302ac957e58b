"""One connection to a Modbus device: the only place that knows pymodbus and its ways."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from struct import unpack_from
from typing import NamedTuple, Self

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

from collectors.modbus.config import ModbusConfig, Table
from collectors.modbus.plan import Span
from collectors.reading import SourceLost

# It writes whole frames at error level whenever an answer is late; what matters is raised here.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

HEADER = 7  # transaction, protocol, length, device
MEANING = {
    1: "it does not know this table",
    2: "some of these addresses do not exist there; check them, or set gap = 0",
    3: "it does not answer so many addresses at once; lower registers_max or bits_max",
    4: "it failed while answering",
    6: "it is busy",
    10: "the gateway has no path to it",
    11: "it does not answer its gateway",
}


class Refused(NamedTuple):
    """An exception response: the device is there and will not answer this request."""

    code: int

    @property
    def meaning(self) -> str:
        """What it says, in words."""
        return MEANING.get(self.code, "it gives no reason that the standard knows")


class Holding(ReadHoldingRegistersResponse):
    """Takes its registers out of the answer at once, not one by one."""

    def decode(self, data: bytes) -> None:
        """Take in the answer behind its function code."""
        if data[0] >= len(data):
            super().decode(data)  # says what is wrong
        self.registers = unpack_from(f">{data[0] // 2}H", data, 1)

    def __str__(self) -> str:
        """Name it; pymodbus asks for this with every answer, whether it logs or not."""
        return type(self).__name__


class Input(Holding):
    """The same for input registers."""

    function_code = 4


class Device:
    """A connection to one device or gateway; reads blocks, one after the other."""

    def __init__(self, config: ModbusConfig) -> None:
        self._url = config.url
        self._timeout_s = config.timeout / 1e6
        # retries=0: a second request would meet the late answer to the first; the supervisor retries.
        self._client = AsyncModbusTcpClient(
            config.host,
            port=config.port,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=_whole_answers,
        )
        self._client.register(Holding)
        self._client.register(Input)
        read: dict[Table, Callable[..., Awaitable[ModbusPDU]]] = {
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
        }
        self._read = read

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            SourceLost: nobody answers there.
        """
        try:
            async with asyncio.timeout(self._timeout_s + 1.0):
                answered = await self._client.connect()  # False instead of an exception
        except (OSError, TimeoutError) as error:
            raise SourceLost(f"no connection to {self._url}") from error
        if not answered:
            raise SourceLost(f"no connection to {self._url}; check the address and that it is on")
        try:
            _heed_cancellation()
        except asyncio.CancelledError:
            self._client.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        self._client.close()

    async def read(self, span: Span) -> Sequence[int] | Sequence[bool] | Refused:
        """The registers or bits of ``span``.

        Raises:
            SourceLost: no answer in time, or one that is none.
        """
        count = span.end - span.start
        try:
            answer = await self._read[span.table](span.start, count=count, device_id=span.device)
        except (ModbusException, OSError) as error:
            seconds = f"{self._timeout_s:g} s"
            raise SourceLost(
                f"device {span.device} at {self._url} did not answer within {seconds}"
                if self._client.connected
                else f"{self._url} closed the connection"
            ) from error
        _heed_cancellation()
        if answer.isError():
            return Refused(answer.exception_code)
        words = span.table in ("holding", "input")
        found: Sequence[int] | Sequence[bool] = answer.registers if words else answer.bits
        if len(found) < count:
            raise SourceLost(
                f"device {span.device} at {self._url} answered {len(found)} values where {count} "
                "were asked for"
            )
        return found[:count] if len(found) > count else found


def _heed_cancellation() -> None:
    """Be cancelled where ``asyncio.wait_for`` swallowed it: before Python 3.12 it prefers an answer."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _whole_answers(sending: bool, packet: bytes) -> bytes:
    """Keep what is no answer from pymodbus, whose decoder would throw inside the event loop."""
    start = 0
    while not sending and len(packet) - start > HEADER:
        end = start + 6 + int.from_bytes(packet[start + 4 : start + 6], "big")
        if end > len(packet):
            break  # the rest is still on its way
        body = packet[start + HEADER : end]
        refused = len(body) == 2 and body[0] > 0x80
        read = len(body) > 1 and body[0] in (1, 2, 3, 4) and len(body) == 2 + body[1]
        if not refused and not (read and (body[0] < 3 or body[1] % 2 == 0)):
            return packet[:start]
        start = end
    return packet
