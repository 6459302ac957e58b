"""Registers to values and back: types, orders, shortest decimals, scales."""

import math
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import starmap
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from collectors.modbus.config import Order, width

Value = int | float | bool | str

CODES = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
    "bit": "H",
}
FEW = 6  # below this many a loop beats numpy
# Between these, two decimals of seven digits never stand for one float32, so the nearest one that
# reads back is also the shortest; with fewer digits the last ones are zeros.
LEAST, MOST = 1e-3, 1e6
DECADES = np.array([float(f"1e{n}") for n in range(-2, 6)])
SCALES = np.array([[float(f"1e{digits + 2 - n}") for n in range(9)] for digits in (7, 8, 9)])


class Field(NamedTuple):
    """A value's place within a block."""

    address: int
    type: str
    order: Order = "ABCD"
    bit: int | None = None


def shortest(value: float) -> float:
    """The double of the shortest decimal that reads back as the same float32: 25.02, not 25.0200005."""
    return float(str(np.float32(value))) if math.isfinite(value) else value


def shortest_all(values: Sequence[float]) -> list[float]:
    """``shortest`` for many values at once."""
    if len(values) < FEW:
        return [shortest(value) for value in values]
    single = np.array(values, np.float32)
    exact = single.astype(np.float64)
    size = np.abs(exact)
    easy = (size >= LEAST) & (size < MOST) | (size == 0.0)
    if easy.all():
        # Nearly all that is measured has seven digits at most.
        scale = SCALES[0][np.searchsorted(DECADES, size, side="right")]
        found = np.rint(exact * scale) / scale
        if (found.astype(np.float32) == single).all():
            plain: list[float] = found.tolist()
            return plain
    else:
        exact[~easy] = size[~easy] = 0.0
    scale = SCALES[:, np.searchsorted(DECADES, size, side="right")]
    seven, eight, nine = candidate = np.rint(exact * scale) / scale
    reads_back = candidate[:2].astype(np.float32) == single
    found = np.where(reads_back[0], seven, np.where(reads_back[1], eight, nine))
    result: list[float] = found.tolist()
    for index in np.flatnonzero(~easy).tolist():
        result[index] = shortest(values[index])
    return result


def text(raw: bytes) -> str:
    """A string as PLCs write it: up to the first NUL, without the blanks that fill it."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def places(field: Field) -> list[int]:
    """Byte positions, counted from the field's own register, that put it in big-endian order."""
    words = list(range(width(field.type)))
    if field.order in ("CDAB", "DCBA"):
        words.reverse()
    low, high = (1, 0) if field.order in ("BADC", "DCBA") else (0, 1)
    return [2 * word + side for word in words for side in (low, high)]


class Layout:
    """The fields of one block of registers, taken out in a few calls for all of them."""

    def __init__(self, start: int, count: int, fields: Sequence[Field]) -> None:
        self._image = struct.Struct(f">{count}H")
        slots: list[int] = []
        positions: list[int] = []
        code = ">"
        for slot, field in sorted(enumerate(fields), key=lambda one: one[1].address):
            shift = 2 * (field.address - start)
            positions += [shift + place for place in places(field)]
            code += CODES.get(field.type) or f"{2 * width(field.type)}s"
            slots.append(slot)
        # Overlapping fields are fine: every field has its own copy of its bytes.
        self._gather = itemgetter(*positions) if positions != list(range(2 * count)) else None
        self._unpack = struct.Struct(code).unpack
        order = [slots.index(slot) for slot in range(len(fields))]
        self._sorted = order if order != list(range(len(fields))) else None
        self._float32 = [slot for slot, field in enumerate(fields) if field.type == "float32"]
        self._all_float32 = len(self._float32) == len(fields)
        self._strings = [
            (slot, int(field.type[7:-1]))
            for slot, field in enumerate(fields)
            if field.type.startswith("string")
        ]
        self._bits = [
            (slot, field.bit or 0) for slot, field in enumerate(fields) if field.type == "bit"
        ]

    @property
    def float32(self) -> list[int]:
        """Which of the fields are float32."""
        return self._float32

    def values(self, registers: Sequence[int]) -> list[Value]:
        """The fields' values, in the order in which the fields were given."""
        found = self.unpacked(registers)
        if self._all_float32:
            return shortest_all(found)  # type: ignore[arg-type,return-value]
        for slot, value in zip(
            self._float32,
            shortest_all([found[slot] for slot in self._float32]),  # type: ignore[misc]
            strict=True,
        ):
            found[slot] = value
        return found

    def unpacked(self, registers: Sequence[int]) -> list[Value]:
        """The same, but each float32 is the double it stands for, not yet its shortest decimal."""
        image = self._image.pack(*registers)
        found = list(self._unpack(image if self._gather is None else bytes(self._gather(image))))
        if self._sorted is not None:
            found = [found[place] for place in self._sorted]
        for slot, length in self._strings:
            found[slot] = text(found[slot][:length])
        for slot, bit in self._bits:
            found[slot] = bool(found[slot] >> bit & 1)
        return found


def decode(registers: Sequence[int], word_type: str, order: Order = "ABCD") -> Value:
    """One value from its registers."""
    return Layout(0, len(registers), [Field(0, word_type, order, 0)]).values(registers)[0]


def encode(value: Value, word_type: str, order: Order = "ABCD") -> list[int]:
    """The registers that hold a value: what the device does.

    Raises:
        ValueError: the value does not fit in the type.
    """
    if word_type.startswith("string"):
        length = int(word_type[7:-1])
        raw = str(value).encode()
        if len(raw) > length:
            raise ValueError(f"{value!r} is longer than {length} bytes")
        raw = raw.ljust(2 * width(word_type), b"\0")
    else:
        try:
            raw = struct.pack(f">{CODES[word_type]}", value)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{value!r} does not fit in a {word_type}") from error
    swapped = bytearray(len(raw))
    for byte, place in zip(raw, places(Field(0, word_type, order)), strict=True):
        swapped[place] = byte
    return list(
        starmap(lambda high, low: high << 8 | low, zip(swapped[::2], swapped[1::2], strict=True))
    )


def scaling(scale: float, offset: float) -> Callable[[float], float]:
    """The function ``raw * scale + offset`` in decimal: 24900 * 0.001 is 24.9, not 24.900000000000002."""
    if scale == 1.0 and offset == 0.0:
        return float
    by, plus = Decimal(repr(scale)), Decimal(repr(offset))

    def scaled(raw: float) -> float:
        if not math.isfinite(raw):
            return raw
        return float((Decimal(raw) if isinstance(raw, int) else Decimal(repr(raw))) * by + plus)

    return scaled
