"""Batches in and out of real databases."""

import asyncio

import msgspec
import numpy as np
import pytest

from app.store import queries
from app.store.batch import Batch, Context
from app.store.errors import AlreadyWriting, DuplicateKey, StoreLost, StoreRefused
from app.store.postgres import SMALL, Store, is_quiet
from app.store.rows import NO_SUBGROUP, POINT, READING
from tests.store.builders import (
    DAY,
    NOW,
    SECOND,
    alarm,
    assert_same,
    catalog,
    everything,
    points,
    readings,
    series,
    version,
)


async def counted(sql):
    tables = ("reading", "point", "alarm", "event", "outbox", "gap", "quarantine", "audit")
    return [await sql.fetchval(f"SELECT count(*) FROM {table}") for table in tables]  # noqa: S608 - named above


async def test_every_part_of_a_batch_is_stored_and_comes_back(store, sql):
    batch = everything()
    assert await store.write(batch) == "written"
    assert await store.last_batch() == 1
    assert await queries.characteristics(store) == batch.characteristics
    assert await queries.streams(store) == batch.streams
    assert await queries.versions(store) == batch.versions
    [source] = await queries.sources(store)
    assert source.position == {"count": 1}
    assert await queries.plant(store) == {"name": "Plant 1"}
    assert await queries.newest_contexts(store, 10) == batch.contexts
    assert await queries.boundaries(store) == batch.boundaries
    assert await queries.open_alarms(store) == batch.alarms
    assert await queries.open_events(store) == batch.events
    assert await queries.alarm_history(store, 1) == (batch.alarm_changes, batch.events)
    assert await queries.quarantine(store, None, None, 10) == batch.quarantined
    assert await queries.gaps(store, None, None, 10) == batch.gaps
    assert await queries.containments(store, None, None, 10) == batch.containments
    assert await queries.audits(store, None, 10) == batch.audits
    assert await queries.station_events(store, None, None, 10) == batch.station_events
    assert await queries.answered(store, "key-1") == batch.answered[0]
    assert await queries.waiting_announcements(store, "mqtt", 0, 10) == [(batch.outbox[0], 0)]
    assert await queries.point_revisions(store, 1, None, None, 10) == batch.revisions
    assert await queries.reading_revisions(store, 1, None, None, 10) == batch.reading_revisions
    assert await queries.stream_seqs(store) == {1: (1, 1)}
    assert_same(await queries.readings(store, 1, None, None, None, 10), batch.readings)
    assert_same(await queries.points(store, 1, None, None, 10), batch.points)
    counters = await queries.counters(store)
    assert set(msgspec.structs.astuple(counters)) == {1}


async def test_a_batch_that_is_there_is_not_written_again(store, sql):
    for _ in range(2):
        await store.write(everything())
    before = await counted(sql)
    assert await store.write(everything()) == "already"
    assert await store.write(Batch(id=1, at=NOW, **series(3, start=NOW + DAY))) == "already"
    assert await counted(sql) == before


@pytest.mark.parametrize("count", [1, SMALL // 2, SMALL, 5000])
async def test_small_and_large_batches_store_the_same(store, sql, count):
    await store.write(Batch(id=1, at=NOW, **catalog()))
    batch = Batch(id=2, at=NOW, **series(count), positions={1: {"n": count}})
    batch.contexts = [Context(5, {"serial": "X\x00Y"})]
    if count > 1:
        batch.readings["value"][0] = np.nan
        batch.readings["size"][::2] = 50
        batch.readings["subgroup"][::3] = -7
        batch.points["dispersion"][1::2] = 0.25
        batch.points["subgroup"][::3] = 2**63 - 1
    assert is_quiet(batch) == (2 * count < SMALL)
    await store.write(batch)
    assert_same(await queries.readings_between(store, 1, (0, 0), None, 10_000), batch.readings)
    assert_same(await queries.points(store, 1, None, None, 10_000), batch.points)
    assert (await queries.sources(store))[0].position == {"n": count}
    assert await queries.contexts(store, [5]) == {5: {"serial": "X\ufffdY"}}


@pytest.mark.parametrize("count", [1, 500])
async def test_a_duplicate_stores_nothing_of_its_batch(store, sql, count):
    await store.write(Batch(id=1, at=NOW, **catalog(), **series(1)))
    with pytest.raises(DuplicateKey) as caught:
        await store.write(Batch(id=2, at=NOW, **series(count), positions={1: {"n": 1}}))
    assert caught.value.table in {"reading", "point"}
    assert await store.last_batch() == 1
    assert await sql.fetchval("SELECT count(*) FROM point") == 1
    fresh = series(count, start=NOW + DAY)
    with pytest.raises(DuplicateKey) as caught:
        await store.write(
            Batch(id=2, at=NOW, readings=fresh["readings"], points=series(1)["points"])
        )
    assert caught.value.table == "point"
    assert await store.write(Batch(id=2, at=NOW, **fresh)) == "written"


@pytest.mark.parametrize("part", [{}, {"alarms": [alarm()]}])
async def test_batches_come_in_order_and_for_this_database(store, part):
    with pytest.raises(StoreRefused, match="batch 3 does not follow batch 0"):
        await store.write(Batch(id=3, at=NOW, **part))
    with pytest.raises(StoreRefused, match="another database"):
        await store.write(Batch(id=1, at=NOW, epoch=12, **part))
    assert store.epoch == 77
    assert await store.write(Batch(id=1, at=NOW, epoch=77, **part)) == "written"


async def test_what_the_database_refuses_leaves_the_store_usable(store, sql):
    twice = catalog(2)
    twice["characteristics"][1].name = "bore-1"
    with pytest.raises(DuplicateKey) as caught:
        await store.write(Batch(id=1, at=NOW, **twice))
    assert caught.value.table == "characteristic"
    orphan = Batch(id=1, at=NOW, versions=[version(characteristic=99)])
    with pytest.raises(StoreRefused, match="foreign key"):
        await store.write(orphan)
    with pytest.raises(StoreRefused):
        await store.write(Batch(id=1, at=NOW, alarms=[alarm(2**70)]))
    for time in (2**63 - 1, -(2**62)):
        with pytest.raises(StoreRefused, match="calendar"):
            await store.write(Batch(id=1, at=NOW, readings=readings({"time": time})))
    assert store.connected
    assert await store.write(Batch(id=1, at=NOW, **catalog())) == "written"


async def test_points_change_and_go_by_identity(store, sql):
    await store.write(Batch(id=1, at=NOW, **catalog(), **series(10)))
    stored = await queries.points(store, 1, None, None, 100)
    changed, gone = stored[2:5].copy(), stored[7:9]
    changed["statistic"], changed["violations"], changed["seq"] = 99.5, 3, [11, 12, 13]
    changed["dispersion"][1] = 4.5
    corrected = (await queries.readings_between(store, 1, (0, 0), None, 1)).copy()
    corrected["value"], corrected["flags"] = 7.25, 8
    await store.write(
        Batch(
            id=2,
            at=NOW,
            changed_points=changed,
            withdrawn_points=gone,
            changed_readings=corrected,
            stream_seqs={1: (15, 15)},
        )
    )
    after = await queries.points(store, 1, None, None, 100)
    expected = np.concatenate([stored[:2], changed, stored[5:7], stored[9:]])
    assert_same(after, expected)
    assert_same(await queries.readings_between(store, 1, (0, 0), None, 1), corrected)
    assert await queries.stream_seqs(store) == {1: (15, 15)}
    assert await queries.revised_seq(store, 1) == 15
    assert await queries.revised_seq(store, 2) == 0


@pytest.mark.parametrize("part", ["changed_points", "withdrawn_points"])
async def test_a_change_of_a_point_that_is_not_there_is_refused(store, part):
    await store.write(Batch(id=1, at=NOW, **catalog(), **series(3)))
    unknown = points({"time": NOW}, {"time": NOW + 50 * SECOND})
    with pytest.raises(StoreRefused, match="2 "):
        await store.write(Batch(id=2, at=NOW, **{part: unknown}))
    assert len(await queries.points(store, 1, None, None, 10)) == 3
    assert await store.last_batch() == 1


SHY = """
    CREATE SEQUENCE asked;
    CREATE FUNCTION shy() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF nextval('asked') <= 3 THEN RETURN NULL; END IF; RETURN coalesce(NEW, OLD); END $$;
    CREATE TRIGGER shy BEFORE UPDATE OR DELETE ON point FOR EACH ROW EXECUTE FUNCTION shy();
"""


@pytest.mark.parametrize("part", ["changed_points", "withdrawn_points"])
async def test_a_change_that_touches_no_row_at_first_is_tried_again(store, sql, part):
    """As the first change of rows in a compressed chunk, which only decompresses them."""
    rows = series(5)
    await store.write(Batch(id=1, at=NOW, **catalog(), **rows))
    await sql.execute(SHY)
    try:
        changed = rows["points"][:3].copy()
        changed["statistic"] = 77
        await store.write(Batch(id=2, at=NOW, **{part: changed}))
    finally:
        await sql.execute("DROP FUNCTION shy CASCADE; DROP SEQUENCE asked")
    left = await queries.points(store, 1, None, None, 10)
    if part == "changed_points":
        assert_same(left, np.concatenate([changed, rows["points"][3:]]))
    else:
        assert_same(left, rows["points"][3:])


async def test_rows_are_replaced_by_their_id(store):
    await store.write(everything(1))
    later = everything(
        2,
        alarms=[alarm(1, state="closed", version=2, seq=2, cause="tool", closed_at=NOW)],
        events=[],
        alarm_changes=[],
    )
    later.versions[0].state = "superseded"
    later.characteristics[0].retired_at = NOW
    await store.write(later)
    assert await queries.open_alarms(store) == []
    assert await queries.alarm(store, 1) == later.alarms[0]
    assert await queries.alarms_since(store, 1, 10) == later.alarms
    assert (await queries.versions(store))[0].state == "superseded"
    assert (await queries.characteristics(store))[0].retired_at == NOW


async def test_a_second_writer_is_told_who_holds_the_database(store, url):
    second = Store(url, lambda: NOW, lock_wait_s=0.2)
    with pytest.raises(AlreadyWriting, match=r"process \d+ on .+ writes to this database"):
        await second.open()
    await store.close()
    await second.open()
    assert await second.last_batch() == 0
    await second.close()


async def test_any_text_can_be_stored(store):
    odd = "a\x00b\ud800c 'quoted' \\u0000 \U0001f600"
    batch = everything()
    batch.alarms[0].cause = odd
    batch.gaps[0].reason = odd
    batch.quarantined[0].characteristic = odd
    batch.contexts = [Context(1, {odd: odd})]
    batch.audits[0].was = {"nested": [{odd: odd}]}
    await store.write(batch)
    [kept] = await queries.open_alarms(store)
    assert kept.cause == "a\ufffdb?c 'quoted' \\u0000 \U0001f600"
    assert (await queries.contexts(store, [1]))[1] == {kept.cause: kept.cause}


async def test_writing_without_a_connection_is_lost_not_a_crash(url):
    closed = Store(url, lambda: NOW)
    with pytest.raises(StoreLost):
        await closed.write(Batch(id=1, at=NOW))
    with pytest.raises(StoreLost):
        await closed.last_batch()


async def test_a_cancelled_write_leaves_nothing_half_done(store, sql):
    await store.write(Batch(id=1, at=NOW, **catalog()))
    await sql.execute("BEGIN; LOCK TABLE alarm IN ACCESS EXCLUSIVE MODE")
    task = asyncio.create_task(store.write(everything(2)))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sql.execute("ROLLBACK")
    assert not store.connected
    await store.open()
    assert await store.last_batch() == 1
    assert await store.write(everything(2)) == "written"


async def test_a_statement_that_waits_too_long_is_lost(url, sql):
    hasty = Store(url, lambda: NOW, write_timeout_s=0.5)
    await hasty.open()
    await sql.execute("BEGIN; LOCK TABLE alarm IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(StoreLost):
        await hasty.write(everything(1))
    with pytest.raises(StoreLost):
        await queries.open_alarms(hasty.prompt)
    await sql.execute("ROLLBACK")
    await hasty.open()
    assert await hasty.write(everything(1)) == "written"
    assert len(await queries.open_alarms(hasty.prompt)) == 1
    await hasty.close()


async def test_questions_without_answers_give_empty_rows(store):
    assert (await queries.lookup(store, [], [], [])).dtype == READING
    assert len(await queries.lookup(store, [1], [NOW], [0])) == 0
    assert (await queries.points(store, 1, None, None, 5)).dtype == POINT
    assert len(await queries.recent_points(store)) == 0
    assert await queries.newest_reading(store, [1, 2]) is None
    assert await queries.alarm(store, 1) is None
    assert await queries.plant(store) is None
    assert np.iinfo(np.int64).min == NO_SUBGROUP
