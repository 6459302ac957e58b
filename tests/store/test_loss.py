"""A database that goes away, freezes or restarts; a writer that is killed: all or nothing."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import asyncpg
import pytest

from app.store import queries
from app.store.batch import Batch
from app.store.errors import StoreLost
from app.store.migrate import migrate
from app.store.postgres import Reader, Store
from tests.servers import last_words
from tests.store.builders import NOW, catalog, everything, series

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["own_embedded", "own_timescale"])
def server(request):
    """A server that the test may stop, kill and freeze."""
    return request.getfixturevalue(request.param)


@pytest.fixture
async def written(server):
    """Its address, and a store on it with one batch."""
    url = server.create_database()
    await migrate(url)
    store = Store(url, lambda: NOW, write_timeout_s=1.5, connect_timeout_s=1.0)
    await store.open()
    store.url = url
    await store.write(everything(1))
    yield store
    await store.close()


async def opened_again(store):
    """Connect as soon as the database lets us."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(StoreLost):
                return await store.open()
            await asyncio.sleep(0.2)


async def test_a_frozen_database_is_lost_and_comes_back(server, written):
    assert len(await queries.open_alarms(written.prompt)) == 1
    never_connected = Reader(written.url, 5.0, 1.0)
    server.freeze()
    try:
        async with asyncio.timeout(10):
            with pytest.raises(StoreLost):
                await written.write(everything(2))
            with pytest.raises(StoreLost):
                await written.write(everything(2))
            with pytest.raises(StoreLost):
                await written.open()
            for reader in (written.prompt, never_connected):
                with pytest.raises(StoreLost):
                    await queries.open_alarms(reader)
    finally:
        server.thaw()
    await opened_again(written)
    outcome = await written.last_batch()
    assert await written.write(everything(2)) == ("already" if outcome == 2 else "written")
    assert await written.write(Batch(id=3, at=NOW, **series(300, start=NOW - 10**9))) == "written"
    assert len(await queries.open_alarms(written.prompt)) == 2
    assert len(await queries.open_alarms(never_connected)) == 2
    await never_connected.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_database_that_restarts_keeps_every_batch(server, written, how):
    await asyncio.to_thread(getattr(server, how))
    with pytest.raises(StoreLost):
        await written.write(everything(2))
    with pytest.raises(StoreLost):
        await queries.open_alarms(written)
    with pytest.raises(StoreLost):
        await written.open()
    await asyncio.to_thread(server.start)
    await opened_again(written)
    assert await written.last_batch() == 1
    assert await written.write(everything(2)) == "written"
    assert len(await queries.open_alarms(written)) == 2


async def test_a_connection_that_was_cut_is_lost_once(server, written):
    admin = await asyncpg.connect(server.database_url("postgres"))
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name LIKE 'andon%'"
    )
    await admin.close()
    with pytest.raises(StoreLost):
        await written.write(everything(2))
    await written.open()
    assert await written.write(everything(2)) == "written"


WRITE = """
    import asyncio, sys
    from app.store.batch import Batch
    from app.store.postgres import Reader, Store
    from tests.store.builders import NOW, everything, series

    async def main():
        store = Store(sys.argv[1], lambda: NOW)
        await store.open()
        number = await store.last_batch()
        while True:
            number += 1
            rows = series(int(sys.argv[2]), start=NOW + number * 10**11)
            for part in rows.values():
                part["batch"] = number
            await store.write(everything(number, **rows) if number % 2 else
                              Batch(id=number, at=NOW, **rows))
            print(number, flush=True)

    asyncio.run(main())
"""

PER_BATCH = """
    SELECT batch, count(*) AS readings,
           (SELECT count(*) FROM point p WHERE p.batch = r.batch) AS points
    FROM reading r GROUP BY batch ORDER BY batch
"""


def writing(url, rows):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITE), url, str(rows)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("rows", [1, 3000])
async def test_a_killed_writer_leaves_whole_batches_and_every_acknowledged_one(url, sql, rows):
    store = Store(url, lambda: NOW)
    await store.open()
    await store.write(Batch(id=1, at=NOW, **catalog()))
    await store.close()
    acknowledged = 1
    for attempt in range(6):
        child = writing(url, rows)
        acknowledged = int(await asyncio.to_thread(child.stdout.readline))
        await asyncio.sleep(0.01 + 0.017 * attempt)  # somewhere within one of the next batches
        child.send_signal(signal.SIGKILL)
        said = await asyncio.to_thread(last_words, child)
        acknowledged = int(said[-1]) if said else acknowledged
        await store.open()
        last = await store.last_batch()
        await store.close()
        assert last in {acknowledged, acknowledged + 1}
        stored = [tuple(row) for row in await sql.fetch(PER_BATCH)]
        assert stored == [(number, rows, rows) for number in range(2, last + 1)]
        assert await sql.fetchval("SELECT count(*) FROM alarm") == last // 2 + last % 2 - 1


async def test_a_writer_that_was_killed_makes_room_for_the_next(url):
    child = writing(url, 1)
    child.stdout.readline()
    child.kill()
    store = Store(url, lambda: NOW)
    await store.open()
    assert await store.last_batch() >= 1
    await store.close()
    await asyncio.to_thread(last_words, child)
