"""Nothing acknowledged is lost, whatever becomes of the database half-way."""

import asyncio
import shutil

import msgspec
import pytest

from app.characteristic import CharacteristicConfig
from app.http.ports import DatabaseAway
from app.store.batch import Audit, Batch
from app.store.errors import SpoolBroken, SpoolFull, StoreRefused
from app.store.spool import Spool
from app.unit import whole
from collectors.reading import Delivery, Reading
from tests.app.kept import Kept
from tests.app.line import NOW, SECOND, SOURCE, START

FORCE = CharacteristicConfig(id="force", decimals=3, rules=["nelson"])
LIMITS = {"chart": "i_mr", "center": 10.0, "sigma": 0.1, "n": 1, "method": "entered"}


@pytest.fixture
def line(tmp_path):
    made = Kept(FORCE, LIMITS, tmp_path)
    yield made
    made.close()


def reading(at: int, value: float = 10.0) -> Reading:
    return Reading("force", value, START + at * SECOND, 0, historical=True)


def act(line: Kept) -> Batch:
    """What a person does: a batch with nothing but a line in the audit trail."""
    number = line.journal.last + 1
    return Batch(number, NOW, audits=[Audit(number, NOW, "A. Roth", "x", "y", None, None, "")])


async def test_an_act_of_unknown_outcome_takes_no_readings_with_it(line) -> None:
    await line.feed([reading(1, 10.01)])
    line.store.mute = True
    assert await line.journal.write_directly(act(line)) == "spool"
    await line.feed([reading(2, 10.02)])
    await line.come_back()
    assert line.values() == [10.01, 10.02]
    assert [len(batch.audits) for batch in line.store.batches] == [0, 1, 0]


async def test_an_act_that_was_lost_before_it_arrived_is_done(line) -> None:
    await line.feed([reading(1)])
    line.store.away = True
    assert await line.journal.write_directly(act(line)) == "spool"
    with pytest.raises(DatabaseAway):
        await line.journal.write_directly(act(line))
    await line.come_back()
    assert [len(batch.audits) for batch in line.store.batches] == [0, 1]


async def test_a_batch_of_unknown_outcome_that_finds_no_room(line) -> None:
    """Its number may be taken: the next readings must not go under the same one."""
    await line.feed([reading(1, 10.01)])
    line.store.mute = True
    line.spool.max_bytes = 0  # the disk is full
    with pytest.raises(SpoolFull):
        await line.feed([reading(2, 10.02)])
    line.spool.max_bytes = 2**30
    [answer] = await line.feed([reading(3, 10.03)])
    assert (answer.durable, answer.accepted) == ("spool", 1)
    await line.come_back()
    assert line.values() == [10.01, 10.02, 10.03]
    await line.feed([reading(2, 10.02), reading(4, 10.04)])
    assert line.values() == [10.01, 10.02, 10.03, 10.04]


async def test_what_is_put_aside_twice_is_kept_twice(line) -> None:
    """A batch that found no room in the spool leaves its number to the next one."""
    await line.feed([reading(2)])
    line.lose()
    line.spool.max_bytes = 0
    with pytest.raises(SpoolFull):
        await line.feed([reading(1, 10.01)])
    line.spool.max_bytes = 2**30
    await line.feed([reading(1, 10.01)])
    await line.come_back()
    assert line.values() == [10.01, 10.0]


async def test_a_spool_that_cannot_drain_says_so_and_goes_on_taking(line) -> None:
    await line.feed([reading(1, 10.01)])
    line.lose()
    await line.feed([reading(2, 10.02)])
    assert "1 batches wait in the spool" in line.journal.sentences()[0]
    line.store.away = False
    line.store.objection = lambda _: StoreRefused("the table reading is gone")
    running = asyncio.create_task(line.journal.run())
    while not line.journal.stuck:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert "the table reading is gone" in line.journal.sentences()[-1]
    await line.feed([reading(3, 10.03)])
    running.cancel()
    line.store.objection = lambda _: None
    await line.come_back()
    assert line.values() == [10.01, 10.02, 10.03]
    assert line.journal.sentences() == []


@pytest.mark.parametrize("database_comes_back", [False, True])
async def test_a_spool_that_is_taken_away_takes_nothing_with_it(
    line, tmp_path, database_comes_back
) -> None:
    """What memory and open files still hold is written anew as soon as that can be."""
    await line.feed([reading(1, 10.01)])
    line.lose()
    await line.feed([reading(2, 10.02)])
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "spool").write_text("in its place")
    for _ in range(2):
        with pytest.raises(SpoolBroken, match="was taken away"):
            await line.feed([reading(3, 10.03)])
    assert not line.journal.taking
    assert "nothing is acknowledged" in line.journal.sentences()[-1]
    if not database_comes_back:
        running = asyncio.create_task(line.journal.run())
        (tmp_path / "spool").unlink()
        async with asyncio.timeout(20):
            while not line.journal.taking:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        running.cancel()
        [answer] = await line.feed([reading(3, 10.03)])
        assert answer.durable == "spool"
        shutil.copytree(tmp_path / "spool", tmp_path / "found")
        found = Spool(tmp_path / "found")
        found.open()
        assert [len(batch.readings) for batch in found.after(0)] == [1, 1]
        found.close()
    await line.come_back()
    assert line.journal.taking
    await line.feed([reading(3, 10.03), reading(4, 10.04)])
    assert line.values() == [10.01, 10.02, 10.03, 10.04]


async def test_a_snapshot_that_finds_no_room_is_said_and_stops_nothing(line, tmp_path) -> None:
    await line.feed([reading(1, 10.01)])
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "spool").write_text("in its place")
    assert not await line.journal.keep_snapshot(line.state.snapshot(), line.journal.last)
    assert line.journal.taking
    assert "without the database it would stop" in line.journal.sentences()[-1]
    await line.feed([reading(2, 10.02)])
    (tmp_path / "spool").unlink()
    assert await line.journal.keep_snapshot(line.state.snapshot(), line.journal.last)
    assert line.journal.sentences() == []
    assert line.values() == [10.01, 10.02]


async def test_whoever_asked_may_leave_while_an_act_is_committed(line) -> None:
    await line.feed([reading(1, 10.01)])
    batch = act(line)
    going = asyncio.Event()

    async def slowly() -> None:
        going.set()
        await asyncio.sleep(0.02)
        await line.journal.write_directly(batch)

    asking = asyncio.create_task(whole(slowly()))
    await going.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert line.journal.last == batch.id == line.store.batches[-1].id


async def test_killed_while_the_database_commits(line) -> None:
    """The database has a batch that nobody heard of; without it nothing is numbered."""
    line.lose()
    await line.feed([reading(1, 10.01)])
    await line.come_back()
    line.spool.save_snapshot(line.state.snapshot(), line.journal.last)
    line.spool.note_begun(line.journal.last + 1)
    rows = await line.store.last_batch()
    line.store.batches.append(Batch(rows + 1, NOW))  # committed, and the process is killed
    line.store.away = True
    assert not await line.restart_without_database()
    [answer] = await line.pipeline.deliver([Delivery(SOURCE, NOW, [reading(2, 10.02)])])
    assert answer.durable == "spool"
    await line.come_back()
    assert line.values() == [10.01, 10.02]


async def test_killed_while_the_database_is_away(line) -> None:
    await line.feed([reading(1, 10.01)])
    line.lose()
    await line.feed([reading(2, 10.02), reading(3, 10.5)])
    assert await line.restart_without_database()
    await line.feed([reading(4, 10.04)])
    await line.come_back()
    assert line.values() == [10.01, 10.02, 10.5, 10.04]
    assert [point[7] & 1 for point in line.points()] == [0, 0, 1, 0]


async def test_an_act_in_the_spool_is_in_force_after_a_restart(line) -> None:
    await line.feed([reading(1, 10.01)])
    line.lose()
    await line.feed([reading(2)])
    await line.come_back()
    line.spool.save_snapshot(line.state.snapshot(), line.journal.last)
    batch = act(line)
    batch.versions.append(
        msgspec.structs.replace(
            line.catalog.versions[1],
            id=2,
            number=2,
            valid_from=START + 10 * SECOND,
            limits={**LIMITS, "center": 20.0},
        )
    )
    line.store.away = True
    await line.journal.write_directly(batch)
    assert await line.restart_without_database()
    await line.feed([reading(11, 20.0)])
    await line.come_back()
    assert [point[7] for point in line.points()] == [0, 0, 0]
    assert line.store.all_points(1)["version"].tolist() == [1, 1, 2]
