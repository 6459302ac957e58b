"""The values of a register's words to a reading, or to what says why they are none."""

import math
from typing import Literal, NamedTuple

import msgspec

from collectors.key import KEY_TAG, SUBGROUP_TAG, name_of, numbered
from collectors.modbus.decode import Value, scaling
from collectors.modbus.plan import Member
from collectors.number import number
from collectors.reading import KEY_MAX, KEY_MIN, Quality, Reading, Reject
from collectors.stamp import stamp_reader


class Moment(NamedTuple):
    """When values were read, and of which part."""

    at: int
    counted: int | None = None  # by the part counter
    skew: int = 0  # the device's clock minus ours, where it is to be corrected


def written(value: Value) -> str:
    """A tag's value as text."""
    if isinstance(value, float):
        return f"{value:.15g}"
    return value if isinstance(value, str) else str(int(value))


def _numbered(name: Value | None, what: str, tags: dict[str, str]) -> int:
    """A key or subgroup as 64 bits; its original goes to the tags where it is not those."""
    number, original = numbered(name_of(name))
    if original is not None:
        tags[what] = original
    return number


def _read(text: str) -> float:
    try:
        return number(text.replace(",", "."), ".")
    except ValueError as error:
        raise ValueError(f"the value {error}") from None


class Part:
    """Makes the readings of one register of the configuration."""

    def __init__(
        self, member: Member, position: int, clock: Literal["source", "arrival", "corrected"]
    ) -> None:
        register = member.register
        self.characteristic = register.characteristic
        self.timed = register.time is not None and clock != "arrival"
        self._member = member
        if register.time is not None:
            self._stamp = stamp_reader(register.time.format, register.time.zone)
        self._position = position  # among the readings of the same characteristic
        self._scaled = scaling(register.scale, register.offset)
        self._invalid = frozenset(value for value in register.invalid if value != "nan")
        self._nan_is_invalid = "nan" in register.invalid
        words = (member.key, member.subgroup, member.size, member.time)
        self._plain = not member.tags and all(slot is None for slot in words)
        bare = (
            self._plain
            and not register.invalid
            and (register.scale, register.offset) == (1.0, 0.0)
            and not register.type.startswith("string")
        )
        # Where a value needs nothing else: characteristic, slot, key.
        self.bare = (self.characteristic, member.value, position) if bare else None
        self._slot = member.value

    def made(self, slots: list[Value], moment: Moment) -> Reading | Reject:
        """The reading in ``slots``."""
        try:
            value, quality = self._value(slots[self._slot])
            if self._plain and (moment.counted is None or KEY_MIN < moment.counted <= KEY_MAX):
                key = self._position if moment.counted is None else moment.counted
                time = moment.at if moment.counted is None else moment.at + self._position
                return Reading(self.characteristic, value, time, key, None, quality)
            return self._composed(slots, moment, value, quality)
        except (ValueError, OverflowError) as error:
            return self._reject(slots, str(error))

    def clock(self, slots: list[Value]) -> int | None:
        """What the device's clock shows; None where there is none that can be read."""
        if self._member.time is None:
            return None
        try:
            return self._stamp(slots[self._member.time])
        except ValueError:
            return None

    def _value(self, raw: Value) -> tuple[float, Quality]:
        if isinstance(raw, str):
            raw = math.nan if raw.casefold() == "nan" else _read(raw)
        if raw in self._invalid or (raw != raw and self._nan_is_invalid):  # noqa: PLR0124 - nan
            return math.nan, "bad"
        value = self._scaled(raw)
        if value - value != 0.0:
            raise ValueError(f"the value is {value}")
        return value, "good"

    def _composed(
        self, slots: list[Value], moment: Moment, value: float, quality: Quality
    ) -> Reading:
        member = self._member
        tags = {
            name: slot if isinstance(slot, str) else written(slots[slot])
            for name, slot in member.tags
        }
        time, key = moment.at, self._position
        if member.time is not None and self.timed:
            time = self._stamp(slots[member.time]) - moment.skew
        if member.key is not None or moment.counted is not None:
            name = moment.counted if member.key is None else slots[member.key]
            key = _numbered(name, KEY_TAG, tags)
            time += self._position  # several readings of one part keep their order and identity
        subgroup = None
        if member.subgroup is not None:
            subgroup = _numbered(slots[member.subgroup], SUBGROUP_TAG, tags)
        size = None if member.size is None else float(slots[member.size])
        return Reading(
            self.characteristic,
            value,
            time,
            key,
            size,
            quality,
            subgroup=subgroup,
            tags=tags or None,
        )

    def _reject(self, slots: list[Value], why: str) -> Reject:
        member = self._member
        register = member.register
        shown = {"value": slots[member.value]}
        if member.time is not None:
            shown["time"] = slots[member.time]
        place = {"device": register.device, "table": register.table, "address": register.address}
        payload = msgspec.json.encode(
            {**place, "type": register.type, **{role: str(value) for role, value in shown.items()}}
        )
        reason = (
            f"{self.characteristic}: {why} ({register.type} at {register.table} {register.address} "
            f"of device {register.device}); check type, order and address"
        )
        return Reject(reason, payload, None, self.characteristic)
