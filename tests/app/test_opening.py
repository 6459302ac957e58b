"""Starting and stopping: without the database, half-way, twice; nothing is left running."""

import asyncio
import os
import sqlite3
from contextlib import closing

import msgspec
import pytest

from app.characteristic import CharacteristicConfig
from app.duration import UNITS
from app.http.ports import DatabaseAway, NotReady
from app.plantfile import PlantInvalid
from app.service import Service
from app.settings import Settings
from app.store.batch import Batch, Stream
from app.store.errors import AlreadyWriting, SpoolBroken, StoreRefused
from app.store.spool import Spool
from collectors.reading import Delivery, Reading
from tests.app.line import NOW, SECOND, version

pytestmark = pytest.mark.slow

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def settings(directory, **more) -> Settings:
    return Settings(
        data_dir=directory, database_url=NOWHERE, shutdown_grace=f"{UNITS['s']}us", **more
    )


def free(directory) -> bool:
    """Whether nobody holds the spools any more."""
    for name in ("spool", "aside"):
        spool = Spool(directory / name)
        spool.open()
        spool.close()
    return True


def tasks() -> set[str]:
    """The names of what runs besides the test."""
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


@pytest.fixture
async def service():
    made = []

    def make(directory, **more) -> Service:
        made.append(Service(settings(directory, **more), lambda: NOW, "test"))
        return made[-1]

    yield make
    for one in made:
        await one.stop()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith("ANDON_")]:
        monkeypatch.delenv(name)


async def test_with_neither_database_nor_snapshot_nothing_is_acknowledged(
    tmp_path, service
) -> None:
    one = service(tmp_path)
    await one.start()
    assert not one.health().ready
    assert "the database does not answer" in one.health().sentences[0]
    with pytest.raises(NotReady):
        await one.emit(Delivery("http", NOW, [Reading("force", 1.0, NOW, 0)]))
    with pytest.raises(DatabaseAway):
        async with one.exclusive():
            pass
    await one.stop()
    await one.stop()
    assert free(tmp_path)
    assert tasks() == set()


async def test_a_second_one_says_who_is_there_and_leaves_it_alone(tmp_path, service) -> None:
    one, other = service(tmp_path), service(tmp_path)
    await one.start()
    with pytest.raises(AlreadyWriting, match=f"process {os.getpid()}"):
        await other.start()
    with pytest.raises(AlreadyWriting):
        free(tmp_path)
    await one.stop()
    assert free(tmp_path)


async def test_a_start_that_fails_leaves_nothing_behind(tmp_path, service) -> None:
    plant = tmp_path / "plant.toml"
    plant.write_text("[plant]\nnombre = 1\n")
    with pytest.raises(PlantInvalid):
        await service(tmp_path / "data", plant=plant).start()
    assert tasks() == set()
    assert free(tmp_path / "data")
    (tmp_path / "data" / "aside" / "spool.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(SpoolBroken):
        await service(tmp_path / "data").start()
    spool = Spool(tmp_path / "data" / "spool")
    spool.open()
    spool.close()


async def test_a_snapshot_of_another_version_is_none(tmp_path, service) -> None:
    spool = Spool(tmp_path / "spool")
    spool.open()
    spool.save_snapshot(msgspec.msgpack.encode({"of": "another version"}), 7)
    spool.close()
    one = service(tmp_path)
    await one.start()
    assert not one.health().ready
    await one.stop()


async def test_from_a_snapshot_readings_are_taken_and_kept(tmp_path, service) -> None:
    one = service(tmp_path)
    spool = Spool(tmp_path / "spool")
    spool.open()
    spool.save_snapshot(one.state.snapshot(), 7)
    spool.note_begun(8)  # and killed
    spool.close()
    await one.start()
    health = one.health()
    assert health.ready
    assert "database is away" in health.sentences[0]
    assert "without a verdict" in health.sentences[1]
    receipt = await one.emit(Delivery("http", NOW, [Reading("force", 1.0, NOW, 0)]))
    outcome = await receipt
    assert (outcome.accepted, outcome.durable) == (1, "spool")
    assert one.gauges().spool_batches == 1
    await one.stop()
    again = service(tmp_path)
    await again.start()
    assert again.aside.depth() == 1
    await again.stop()


async def test_a_damaged_batch_is_told_and_nothing_runs(tmp_path, service) -> None:
    one = service(tmp_path)
    spool = Spool(tmp_path / "spool")
    spool.open()
    spool.save_snapshot(one.state.snapshot(), 0)
    spool.append(Batch(1, NOW))
    spool.close()
    with closing(sqlite3.connect(spool.path, isolation_level=None)) as file:
        file.execute("UPDATE batch SET packed = x'00'")
    with pytest.raises(SpoolBroken, match="batch 1 is damaged"):
        await one.start()
    assert free(tmp_path)


async def test_what_cannot_be_stored_does_not_end_the_watch(tmp_path, service) -> None:
    one = service(tmp_path)
    config = CharacteristicConfig(id="force", expect="1s")
    one.catalog.put_characteristic(1, config)
    one.catalog.put_version(version(1, 1, config, None))
    one.catalog.put_stream(Stream(1, 1, "force", {}))
    one.engine.ensure()
    one.watch.started = NOW - 60 * SECOND  # nothing came for a minute
    tried = asyncio.Event()

    async def refuse(_) -> None:
        tried.set()
        raise StoreRefused("no")

    watching = asyncio.create_task(one.watch.run(refuse))
    await tried.wait()
    await asyncio.sleep(0)
    assert not watching.done()
    watching.cancel()


@pytest.mark.servers
async def test_what_was_set_aside_is_judged_at_a_start_with_the_database(
    embedded_url, tmp_path
) -> None:
    (tmp_path / "plant.toml").write_text('[[characteristic]]\nid = "force"\n')
    given = Settings(
        data_dir=tmp_path / "data", database_url=embedded_url, plant=tmp_path / "plant.toml"
    )
    first = Service(given, lambda: NOW, "test")
    await first.start()
    await first.stop()
    aside = Spool(given.data_dir / "aside")
    aside.open()
    readings = [Reading("force", 1.0, NOW, 0), Reading("force", 1.0, NOW - 30 * UNITS["d"], 0)]
    aside.append(Batch(1, NOW, unjudged=[Delivery("http", NOW, readings)]))
    aside.close()
    again = Service(given, lambda: NOW, "test")
    await again.start()
    try:
        assert again.aside.depth() == 0
        (stream,) = again.catalog.streams
        assert len(await again.records.points(stream, None, None, 10)) == 1
        (kept,) = await again.records.quarantine(None, None, 10)
        assert "older than" in kept["reason"] or "days" in kept["reason"]
    finally:
        await again.stop()
