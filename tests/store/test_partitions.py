"""Months on plain PostgreSQL; TimescaleDB makes its chunks itself."""

import asyncio

import asyncpg
import pytest

from app.store import queries
from app.store.batch import Batch
from app.store.errors import DuplicateKey
from app.store.migrate import migrate
from app.store.postgres import Store
from tests.store.builders import DAY, NOW, assert_same, readings, series

PARTITIONS = """
    SELECT inhrelid::regclass::text FROM pg_inherits
    WHERE inhparent = 'reading'::regclass ORDER BY 1
"""

CHUNKS = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = $1"


@pytest.fixture
async def plain_url(embedded_url):
    await migrate(embedded_url)
    return embedded_url


@pytest.fixture
async def plain(plain_url):
    connection = await asyncpg.connect(plain_url)
    yield connection
    await connection.close()


async def names(plain):
    return [row[0] for row in await plain.fetch(PARTITIONS)]


async def written(url, *batches):
    store = Store(url, lambda: NOW)
    await store.open()
    try:
        for batch in batches:
            await store.write(batch)
        return await queries.readings_between(store, 1, (-(2**62), 0), None, 10_000)
    finally:
        await store.close()


async def test_the_writer_makes_this_month_and_the_next_ones(plain_url, plain):
    await written(plain_url)
    assert {"reading_2026_09", "reading_2026_10", "reading_2026_11"} <= set(await names(plain))


async def test_rows_find_their_month_whenever_they_were_measured(plain_url, plain):
    rows = readings(*[{}] * 5)
    rows["time"] = [NOW, NOW - 5000 * DAY, 0, NOW - 31 * DAY, NOW + 90 * DAY]
    rows.sort(order="time")
    assert_same(await written(plain_url, Batch(id=1, at=NOW, readings=rows)), rows)
    assert {"reading_1970_01", "reading_2013_01", "reading_2026_12"} <= set(await names(plain))
    assert await plain.fetchval("SELECT count(*) FROM reading_default") == 0


async def test_beyond_all_months_the_default_catches(plain_url, plain):
    rows = readings({"time": -DAY}, {"time": 200_000 * DAY}, {"time": 4_000_000 * DAY})
    assert_same(await written(plain_url, Batch(id=1, at=NOW, readings=rows)), rows)
    assert await plain.fetchval("SELECT count(*) FROM reading_default") == 3


async def test_rows_move_out_of_the_default_when_their_month_is_made(plain_url, plain):
    # a query that does not end holds the default partition while a late reading arrives
    await plain.execute("BEGIN; LOCK TABLE reading_default IN ACCESS SHARE MODE")
    late = series(3, start=NOW - 2000 * DAY)
    store = Store(plain_url, lambda: NOW)
    await store.open()
    await store.write(Batch(id=1, at=NOW, **late))
    assert await plain.fetchval("SELECT count(*) FROM reading_default") == 3
    await store.close()
    await plain.execute("COMMIT")
    assert_same(await written(plain_url), late["readings"])
    assert await plain.fetchval("SELECT count(*) FROM reading_default") == 0
    assert await plain.fetchval("SELECT count(*) FROM reading_2021_03") == 3
    with pytest.raises(DuplicateKey):
        await written(plain_url, Batch(id=2, at=NOW, **late))


async def test_two_who_make_the_same_month_do_not_collide(plain_url, plain):
    other = await asyncpg.connect(plain_url)
    make = "SELECT make_month('reading', '1999-12-31')"
    made = await asyncio.gather(plain.fetchval(make), other.fetchval(make))
    assert sorted(made) == [False, True]
    assert "reading_1999_12" in await names(plain)
    await other.close()


async def test_a_month_has_the_keys_of_its_table(plain_url, plain):
    await written(plain_url)
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'reading_2026_09'"
    definitions = " ".join(row[0] for row in await plain.fetch(indexes))
    assert "UNIQUE" in definitions
    assert "& 4) <> 0)" in definitions


async def test_timescale_makes_chunks(timescale_url):
    await migrate(timescale_url)
    rows = readings(*[{}] * 3)
    rows["time"] = [NOW - 5000 * DAY, NOW, NOW + 90 * DAY]
    assert_same(await written(timescale_url, Batch(id=1, at=NOW, readings=rows)), rows)
    connection = await asyncpg.connect(timescale_url)
    assert await connection.fetchval(CHUNKS, "reading") == 3
    await connection.close()
