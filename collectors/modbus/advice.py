"""What ``andon check`` says about a Modbus source: what it refuses, what reads like a wrong order."""

from collections.abc import Sequence
from typing import get_args

from collectors.modbus.config import ModbusConfig, Order, width
from collectors.modbus.decode import Value, decode, encode
from collectors.modbus.device import Device, Refused
from collectors.modbus.plan import Block, Place, plan
from collectors.reading import SourceLost

SENSIBLE = (1e-9, 1e9)  # floating-point values of gauges lie between, or are zero


async def advise(config: ModbusConfig) -> list[str]:
    """Sentences that say what to do about this source; none when all is well."""
    found = [*_doubles(config), *_torn(config)]
    try:
        async with Device(config) as device:
            for block in plan(config).blocks:
                answer = await device.read(block.span)
                if isinstance(answer, Refused):
                    span = block.span
                    found.append(
                        f"{config.id}: device {span.device} refuses {span.table} {span.start} to "
                        f"{span.end - 1} (exception {answer.code}): {answer.meaning}"
                    )
                else:
                    found += _doubtful(config.id, block, block.values(answer))
    except SourceLost as error:
        found.append(f"{config.id}: {error}")
    return found


def _doubles(config: ModbusConfig) -> list[str]:
    return [
        f"{register.characteristic} of {config.id} may double: it has neither trigger, key nor "
        "time, so every poll is a reading; give it the part counter as trigger"
        for register in config.registers
        if register.trigger is None and register.key is None and register.time is None
    ]


def _torn(config: ModbusConfig) -> list[str]:
    return [
        f"{', '.join(member.register.characteristic for member in group.members)} of {config.id}: "
        "trigger and values do not fit in one request, so a part that changes meanwhile is read "
        "again; put them closer together in the device, or raise gap"
        for group in plan(config).groups
        if group.apart
    ]


def _doubtful(source: str, block: Block, values: Sequence[Value]) -> list[str]:
    found: list[str] = []
    for place, value in zip(block.places, values, strict=True):
        if place.field.type not in ("float32", "float64") or _sensible(value):
            continue
        others = [
            f"{order} would be {other:.6g}"
            for order, other in _other_orders(place, value)
            if other != 0.0 and _sensible(other)
        ]
        if others:
            found.append(
                f"{source}: the {place.field.type} at {place.table} {place.field.address} reads "
                f"{value} in order {place.field.order}; {', '.join(others)}"
            )
    return found


def _other_orders(place: Place, value: Value) -> list[tuple[Order, float]]:
    field = place.field
    registers = encode(value, field.type, field.order)
    return [
        (order, float(decode(registers, field.type, order)))
        for order in get_args(Order)
        if order != field.order and width(field.type) > 1
    ]


def _sensible(value: Value) -> bool:
    size = abs(float(value))
    return size == 0.0 or SENSIBLE[0] <= size <= SENSIBLE[1]
