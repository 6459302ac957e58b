"""Rows survive the way into the database and out of it, whatever they hold."""

import asyncio
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.store.connection import FIRST_TIME, LAST_TIME, connect
from app.store.copy import EPOCH, SIGNATURE, TRAILER, decode, encode
from app.store.queries.points import COLUMNS as POINT_COLUMNS
from app.store.queries.readings import COLUMNS as READING_COLUMNS
from app.store.queries.readings import SENT
from app.store.rows import NO_SUBGROUP, POINT, READING
from app.store.tables import columns, table_of
from tests.store.builders import assert_same

COPIED = {"reading": READING_COLUMNS, "point": POINT_COLUMNS}


def of(dtype):
    """Arrays of rows: sentinels, extremes, any bits of a double."""
    return arrays.arrays(
        dtype,
        st.integers(0, 12),
        elements=st.tuples(*(_column(dtype, name) for name in dtype.names)),
        fill=st.nothing(),
    )


def _column(dtype, name):
    if name in {"time", "received_at"}:
        return st.integers(FIRST_TIME + EPOCH, LAST_TIME + EPOCH)
    kind = dtype[name]
    if kind.kind == "f":
        return st.floats(allow_subnormal=True) | st.sampled_from([np.nan, -0.0, 1e308, 5e-324])
    bounds = np.iinfo(kind)
    edges = st.sampled_from([0, bounds.min, bounds.max])
    return edges | st.integers(int(bounds.min), int(bounds.max))


@pytest.fixture(scope="session")
def same_columns(migrated):
    """A loop and a connection with a table of the same columns and no keys, to put rows in."""
    with asyncio.Runner() as runner:
        connection = runner.run(connect(migrated))
        for table in COPIED:
            runner.run(
                connection.execute(
                    f"DROP TABLE IF EXISTS any_{table}; CREATE TABLE any_{table} (LIKE {table});"
                    f"ALTER TABLE any_{table} ADD place serial"
                )
            )
        yield runner, connection
        for table in COPIED:
            runner.run(connection.execute(f"DROP TABLE any_{table}"))
        runner.run(connection.close())


@given(rows=of(READING) | of(POINT))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_copied_rows_come_back_bit_by_bit(same_columns, rows):
    runner, connection = same_columns
    table = "reading" if rows.dtype == READING else "point"
    if table == "point":
        rows["n"] = np.nan_to_num(rows["n"])
    found = runner.run(_round_trip(connection, table, rows))
    assert_same(found, rows)


async def _round_trip(connection, table, rows):
    await connection.execute(f"TRUNCATE any_{table}")
    payload = encode(rows)

    async def source():
        yield payload

    await connection.copy_to_table(
        f"any_{table}", source=source(), columns=rows.dtype.names, format="binary"
    )
    alias = table[0]
    sent = await connection.fetchval(
        f"{SENT} SELECT {COPIED[table]} FROM any_{table} {alias} ORDER BY place) x"  # noqa: S608 - named above
    )
    return decode(sent, rows.dtype)


@given(rows=of(READING))
@settings(max_examples=200)
def test_columns_say_none_where_the_database_says_null(rows):
    value, size = (columns(rows)[rows.dtype.names.index(name)] for name in ("value", "size"))
    assert [v is None for v in value] == np.isnan(rows["value"]).tolist()
    assert [s is None for s in size] == np.isnan(rows["size"]).tolist()
    subgroup = columns(rows)[rows.dtype.names.index("subgroup")]
    assert [s is None for s in subgroup] == (rows["subgroup"] == NO_SUBGROUP).tolist()


def test_the_payload_is_what_the_manual_says():
    row = np.zeros(1, POINT)
    row["stream"], row["time"], row["statistic"], row["dispersion"] = 7, EPOCH + 5, 1.5, np.nan
    row["subgroup"] = NO_SUBGROUP
    fields = [
        (b">i", 7), (b">q", 5), (b">q", 0), None, (b">d", 0.0), (b">d", 1.5), None,
        (b">i", 0), (b">q", 0), (b">h", 0), (b">q", 0), (b">q", 0),
    ]  # fmt: skip
    expected = SIGNATURE + struct.pack(">h", len(fields))
    for field in fields:
        if field is None:
            expected += struct.pack(">i", -1)
        else:
            octets = struct.pack(field[0].decode(), field[1])
            expected += struct.pack(">i", len(octets)) + octets
    assert encode(row) == expected + TRAILER


def test_rows_of_no_table_are_a_mistake_of_ours():
    with pytest.raises(TypeError, match="no table"):
        table_of(np.zeros(1, [("x", "i4")]))
