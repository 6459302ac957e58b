"""A batch in the spool is the batch that was put there."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.store.batch import Batch
from app.store.packing import pack, unpack
from app.store.rows import NO_SUBGROUP, POINT, READING
from collectors.reading import Delivery, Reading
from tests.store.builders import NOW, assert_same, everything, series

ARRAYS = (
    "readings",
    "changed_readings",
    "points",
    "changed_points",
    "withdrawn_points",
)


def assert_same_batch(found, expected):
    for name in expected.__struct_fields__:
        if name in ARRAYS:
            assert_same(getattr(found, name), getattr(expected, name))
        else:
            assert getattr(found, name) == getattr(expected, name), name


def test_every_part_survives():
    batch = everything()
    batch.changed_points = batch.points.copy()
    reading = Reading("bore-1", 10.5, NOW, 1, tags={"lot": "7"})
    batch.unjudged = [Delivery("broker", NOW, [reading], position={"count": 1})]
    batch.aftermath = b"\x00state"
    assert_same_batch(unpack(pack(batch)), batch)


rows = st.binary(max_size=5 * READING.itemsize)


@given(
    octets=rows,
    texts=st.dictionaries(st.text(), st.text(), max_size=3),
    position=st.dictionaries(st.text(max_size=5), st.integers(-(2**63), 2**63) | st.floats()),
)
@settings(max_examples=200)
def test_any_bits_survive(octets, texts, position):
    batch = everything()
    batch.readings = np.frombuffer(
        octets[: len(octets) // READING.itemsize * READING.itemsize], READING
    )
    batch.points = np.frombuffer(octets[: len(octets) // POINT.itemsize * POINT.itemsize], POINT)
    batch.contexts = [msgspec.structs.replace(batch.contexts[0], tags=texts)]
    batch.positions = {1: position}
    found = unpack(pack(batch))
    assert found.readings.tobytes() == batch.readings.tobytes()
    assert found.points.tobytes() == batch.points.tobytes()
    assert found.contexts == batch.contexts
    assert repr(found.positions) == repr(batch.positions)


def test_rows_that_come_back_can_be_changed():
    found = unpack(pack(Batch(id=1, at=NOW, **series(2))))
    found.readings["value"] = 3
    assert found.readings["value"].tolist() == [3, 3]


def test_rows_of_an_older_andon_are_understood():
    old = np.dtype(
        [(name, READING[name]) for name in READING.names if name not in {"source", "subgroup"}]
    )
    batch = Batch(id=1, at=NOW, **series(3))
    kept = batch.readings
    batch.readings = np.empty(3, old)
    for name in old.names:
        batch.readings[name] = kept[name]
    found = unpack(pack(batch)).readings
    assert found.dtype == READING
    assert found["value"].tolist() == kept["value"].tolist()
    assert found["subgroup"].tolist() == [NO_SUBGROUP] * 3


def test_what_is_no_batch_is_refused():
    with pytest.raises(msgspec.DecodeError):
        unpack(pack(everything())[:-20])
