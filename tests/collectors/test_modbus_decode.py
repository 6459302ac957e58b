"""Every value survives its registers; decimals stay what the device meant."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.modbus.config import width
from collectors.modbus.decode import Field, Layout, decode, encode, scaling, shortest, shortest_all

ORDERS = ["ABCD", "CDAB", "BADC", "DCBA"]
orders = st.sampled_from(ORDERS)


def integers(word_type):
    bits = int(word_type.lstrip("uint"))
    if word_type[0] == "u":
        return st.integers(0, 2**bits - 1)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
ascii_texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=9)
TYPES = {
    **{name: integers(name) for name in ("int16", "uint16", "int32", "uint32", "int64", "uint64")},
    "float32": float32s.map(shortest),
    "float64": st.floats(allow_nan=False),
    "bit": st.booleans(),
    "string(9)": ascii_texts,
    "string(10)": ascii_texts,
}
typed = st.sampled_from(sorted(TYPES)).flatmap(lambda name: st.tuples(st.just(name), TYPES[name]))


@given(typed, orders)
def test_a_value_survives_its_registers(typed_value, order):
    word_type, value = typed_value
    registers = encode(value, word_type, order)
    assert len(registers) == width(word_type)
    assert all(0 <= register < 65536 for register in registers)
    assert decode(registers, word_type, order) == value


@given(st.lists(st.tuples(typed, orders, st.integers(0, 3)), min_size=1, max_size=12))
def test_a_layout_finds_every_field(rows):
    image, fields, expected = [], [], []
    for (word_type, value), order, hole in rows:
        image += [0xDEAD] * hole
        fields.append(Field(1000 + len(image), word_type, order, 0))
        image += encode(value, word_type, order)
        expected.append(value)
    layout = Layout(1000, len(image), fields[::-1])
    assert layout.values(image) == expected[::-1]


def test_the_four_orders_are_named_after_the_bytes():
    by_order = {
        "ABCD": [0x4148, 0x51EC],
        "CDAB": [0x51EC, 0x4148],
        "BADC": [0x4841, 0xEC51],
        "DCBA": [0xEC51, 0x4841],
    }
    for order, registers in by_order.items():
        assert decode(registers, "float32", order) == 12.52
    assert decode([0x3412], "uint16", "DCBA") == 0x1234
    assert decode([0x3412], "uint16", "BADC") == 0x1234
    assert decode([0x1234], "uint16", "CDAB") == 0x1234
    assert decode([4, 3, 2, 1], "uint64", "CDAB") == 0x0001_0002_0003_0004


@pytest.mark.parametrize("decimal", [25.02, 24.98, 0.1, 10.01, 1e-20, 3.4e38, -7.3, 0.0, 123456.7])
def test_a_float32_is_the_decimal_it_stands_for(decimal):
    widened = struct.unpack(">f", struct.pack(">f", decimal))[0]
    assert shortest(widened) == decimal
    assert decode(encode(decimal, "float32"), "float32") == decimal


@given(st.lists(float32s, min_size=6, max_size=40))
def test_many_float32_are_as_short_as_one(values):
    expected = [float(str(np.float32(value))) for value in values]
    assert shortest_all(values) == expected
    assert all(
        np.float32(found) == np.float32(value)
        for found, value in zip(expected, values, strict=True)
    )


@given(st.lists(st.floats(2**-11, 2**21, width=32), min_size=6, max_size=40))
def test_many_everyday_float32_are_as_short_as_one(values):
    assert shortest_all(values) == [shortest(value) for value in values]


def test_nan_and_infinity_pass_as_they_are():
    found = shortest_all([1.5, math.nan, math.inf, -math.inf, 2.5, 0.1, 0.2])
    assert math.isnan(found[1])
    assert found[2:4] == [math.inf, -math.inf]
    assert math.isnan(float(decode([0x7FC0, 0], "float32")))


@pytest.mark.parametrize(
    ("raw", "scale", "offset", "expected"),
    [
        (24900, 0.001, 0.0, 24.9),
        (3, 0.1, 0.0, 0.3),
        (1, 0.1, 0.2, 0.3),
        (-1250, 0.02, 25.0, 0.0),
        (25.02, 1.0, 0.0, 25.02),
        (2**53 + 1, 1, 0, float(2**53 + 1)),
        (True, 2.0, 0.5, 2.5),
        (True, 1.0, 0.0, 1.0),
    ],
)
def test_scales_are_decimal(raw, scale, offset, expected):
    assert scaling(float(scale), float(offset))(raw) == expected


@given(st.integers(-(2**31), 2**31), st.integers(0, 6))
def test_a_decimal_scale_gives_the_decimal(raw, digits):
    assert scaling(float(f"1e-{digits}"), 0.0)(raw) == float(f"{raw}e-{digits}")


def test_bits_of_a_register():
    fields = [Field(7, "bit", "ABCD", bit) for bit in range(16)]
    assert Layout(7, 1, fields).values([0b1000_0000_0000_0101]) == [
        bit in (0, 2, 15) for bit in range(16)
    ]


def test_texts_end_at_the_first_nul_and_lose_their_blanks():
    assert decode([0x4C4F, 0x5420, 0x0041, 0x4242], "string(8)") == "LOT"
    assert decode([0x4F4C, 0x2054], "string(4)", "BADC") == "LOT"
    assert decode([0xFFFE, 0x0000], "string(4)") == "��"


@pytest.mark.parametrize(
    ("value", "word_type"),
    [(70000, "uint16"), (-1, "uint32"), (1e39, "float32"), ("abc", "string(2)")],
)
def test_what_does_not_fit_is_refused(value, word_type):
    with pytest.raises(ValueError, match=r"fit|longer"):
        encode(value, word_type)
