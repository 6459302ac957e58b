"""The path of a batch: undone whole when it fails, never the end of the line, never a reading lost."""

import asyncio

import numpy as np
import pytest

from app import metrics
from app.characteristic import CharacteristicConfig
from app.store.errors import DuplicateKey, StoreLost, StoreRefused
from collectors.reading import Delivery, Gap, Reading, Reject
from tests.app.kept import Kept
from tests.app.line import NOW, SECOND, SOURCE, START, Line

LIMITS = {"center": 10.0, "sigma": 0.1, "n": 1, "method": "entered"}
SINGLE = CharacteristicConfig(id="force", decimals=3, stream=["cavity"], rules=["nelson"])
COUNTED = CharacteristicConfig(
    id="force", decimals=3, chart="xbar_r", subgroup={"size": 3}, rules=["nelson"]
)
SAMPLED = CharacteristicConfig(
    id="force", decimals=3, subgroup={"every_parts": 3}, cut=["part"], rules=["nelson"]
)
OF_SINGLE = {**LIMITS, "chart": "i_mr"}
OF_COUNTED = {**LIMITS, "chart": "xbar_r", "n": 3}


@pytest.fixture
def made(tmp_path):
    lines = []

    def make(config=SINGLE, limits=OF_SINGLE) -> Kept:
        lines.append(Kept(config, limits, tmp_path / str(len(lines))))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


def reading(at: float, value: float = 10.0, **more) -> Reading:
    return Reading("force", value, START + int(at * SECOND), 0, historical=True, **more)


def delivery(*readings: Reading, **more) -> Delivery:
    return Delivery(SOURCE, NOW, list(readings), **more)


def state_of(line: Line) -> list[bytes]:
    columns = (line.engine.integers, line.engine.floats, line.engine.registers, line.engine.memory)
    return [column.tobytes() for column in columns]


# undoing


async def test_what_cannot_be_written_leaves_nothing_behind(made) -> None:
    line = made()
    await line.feed([reading(1, tags={"cavity": "1"})])
    before, room = state_of(line), line.engine.room
    line.store.objection = lambda _: StoreRefused("no")
    with pytest.raises(StoreRefused):
        await line.feed([reading(2, 11.0, tags={"cavity": c}) for c in "123"])
    assert (state_of(line), line.engine.room) == (before, room)
    assert [stream.name for stream in line.catalog.streams.values()] == ["force:1"]
    assert line.alarms.open_alarms() == []
    line.store.objection = lambda _: None
    await line.feed([reading(3, 11.0, tags={"cavity": c}) for c in "432"])
    assert [stream.name for stream in line.store.batches[-1].streams] == [
        "force:4", "force:3", "force:2",
    ]  # fmt: skip
    assert line.store.batches[-1].streams[0].id == 2
    assert len(line.alarms.open_alarms()) == 3


async def test_numbers_go_on_for_the_snapshot_too_after_a_failure(made) -> None:
    line = made()
    line.store.objection = lambda _: StoreRefused("no")
    with pytest.raises(StoreRefused):
        await line.pipeline.deliver([delivery(rejects=[Reject("garbage", b"?")])])
    line.store.objection = lambda _: None
    await line.pipeline.deliver([delivery(rejects=[Reject("garbage", b"?")])])
    assert (line.numbers.quarantine, line.state.numbers.quarantine) == (1, 1)


# the database goes away half-way


@pytest.mark.parametrize("questions", [1, 2, 3])
async def test_the_database_goes_while_a_late_reading_is_judged(made, questions) -> None:
    """Looked up, and then the questions about its neighbours find nobody."""
    line = made()
    await line.feed([reading(1, 10.1), reading(3, 10.3)])
    line.store.patience = questions
    [answer] = await line.feed([reading(2, 10.2), reading(4, 10.4)])
    assert (answer.durable, answer.accepted) == ("spool", 2)
    await line.come_back()
    assert line.values() == [10.1, 10.2, 10.3, 10.4]
    straight = made()
    await straight.feed([reading(i, 10 + i / 10) for i in (1, 2, 3, 4)])
    assert line.points() == straight.points()


async def test_a_stream_that_has_to_be_put_in_order_waits_whole(made) -> None:
    """Its open subgroup began before a late point: only the store can tell what follows."""
    line, straight = made(COUNTED, OF_COUNTED), made(COUNTED, OF_COUNTED)
    first = [reading(i, 10.3) for i in (1, 2, 3, 10)]
    late = [reading(i, 10.15) for i in (11.5, 11.6, 11.7)]
    rest = [[reading(i, 10.3)] for i in (13, 14, 15, 16, 17)]
    for one in (line, straight):
        await one.feed([*first, reading(12, 10.3)])
        await one.feed(late)
    assert line.membership.behind
    line.lose()
    for batch in rest:
        await line.feed(batch)
        await straight.feed(batch)
    assert await line.restart_without_database()
    last = [reading(18, 10.3)]
    await line.feed(last)
    await straight.feed(last)
    await line.come_back()
    assert line.points() == straight.points()
    assert not line.membership.held


# what the database refuses


async def test_one_that_is_refused_stops_nobody(made) -> None:
    line = made()
    line.store.objection = lambda batch: (
        StoreRefused("it cannot be") if 666.0 in batch.readings["value"] else None
    )
    line.intake.start()
    receipts = [
        await line.intake.emit(delivery(reading(1, 10.1))),
        await line.intake.emit(delivery(reading(2, 666.0), gaps=[Gap("missed", 0, 1)])),
        await line.intake.emit(delivery(reading(3, 10.3))),
    ]
    async with line.running():
        good, bad, other = await asyncio.gather(*receipts)
    assert (good.accepted, other.accepted) == (1, 1)
    assert (bad.accepted, [index for index, _ in bad.rejected]) == (0, [0])
    assert line.values() == [10.1, 10.3]
    kept = [one for batch in line.store.batches for one in batch.quarantined]
    assert [(one.characteristic, b"666" in one.payload) for one in kept] == [("force", True)]
    assert "it cannot be" in kept[0].reason


async def test_numbers_that_are_taken_make_us_read_the_state_again(made) -> None:
    line = made()
    await line.feed([reading(1, 10.1)])
    line.store.objection = lambda batch: (
        DuplicateKey("quarantine 1 is there", "quarantine") if batch.quarantined else None
    )
    garbage = Reject("garbage", b"?")
    [answer] = await line.pipeline.deliver([delivery(reading(2, 10.2), rejects=[garbage])])
    assert answer.durable == "spool"
    assert "until what the database holds is known" in " ".join(line.journal.sentences())
    line.store.objection = lambda _: None
    await line.come_back()
    assert line.values() == [10.1, 10.2]
    assert [len(batch.quarantined) for batch in line.store.batches] == [0, 1]


async def test_a_database_that_refuses_everything_gets_it_later(made) -> None:
    line = made()
    line.store.objection = lambda _: StoreRefused("no space left on device")
    line.intake.start()
    receipt = await line.intake.emit(delivery(reading(1, 10.1)))
    async with line.running():
        assert (await receipt).durable == "spool"
    line.store.objection = lambda _: None
    await line.come_back()
    assert line.values() == [10.1]


async def test_what_is_aside_and_refused_does_not_block_the_rest(made) -> None:
    line = made()
    line.journal.doubt()
    line.store.away = True
    for values in ((10.1,), (666.0, 10.3)):
        await line.pipeline.deliver(
            [delivery(reading(value, value), gaps=[Gap("x", 0, 1)]) for value in values]
        )
    line.store.objection = lambda batch: (
        StoreRefused("it cannot be") if 666.0 in batch.readings["value"] else None
    )
    await line.come_back()
    assert line.values() == [10.1, 10.3]
    assert sum(len(batch.quarantined) for batch in line.store.batches) == 1
    assert sum(len(batch.gaps) for batch in line.store.batches) == 3


async def test_nothing_is_numbered_while_the_state_is_in_doubt(made) -> None:
    line = made()
    line.journal.doubt()
    line.store.away = True
    called = []
    await line.pipeline.alone(called.append)
    [answer] = await line.pipeline.deliver([delivery(reading(1), Reading("unknown", 1, START, 0))])
    assert (answer.accepted, called, line.spool.depth(), line.aside.depth()) == (2, [], 0, 1)
    await line.come_back()
    assert line.values() == [10.0]
    assert sum(len(batch.quarantined) for batch in line.store.batches) == 1


# samples


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_late_reading_moves_no_sample(restarted) -> None:
    def part(at: float) -> Reading:
        return reading(at, 10.0 + at / 100, tags={"part": "a"})

    late = reading(9.5, 10.7, tags={"part": "b"})
    line, straight = Line(SAMPLED, OF_SINGLE), Line(SAMPLED, OF_SINGLE)
    await line.feed([part(i) for i in range(1, 12)])
    await line.feed([late])
    if restarted:
        line.restart()
    await line.feed([part(i) for i in range(12, 24)])
    await straight.feed([part(i) for i in range(1, 24)])
    assert line.points() == straight.points()
    assert len(line.store.all_readings(1)) == 24
    assert not any(batch.withdrawn_points.size for batch in line.store.batches)


async def test_a_late_single_reads_its_whole_neighbourhood(made) -> None:
    """Readings that make no points lie between: more than one look takes."""
    line, straight = made(), made()
    line.late.window = 100
    readings = [
        reading(i, 10 + i % 7 / 10, purpose="production" if i % 5 == 0 else "setup")
        for i in range(1, 801)
    ]
    await straight.feed([*readings[:400], reading(400.5, 10.9), *readings[400:]])
    await line.feed(readings)
    await line.feed([reading(400.5, 10.9)])
    assert line.points() == straight.points()


# versions


async def test_trial_limits_stay_advice_when_others_follow(made) -> None:
    line = made(SINGLE, OF_SINGLE)
    [version] = line.catalog.versions.values()
    version.state, version.author = "trial", "andon"
    await line.feed([reading(1)])
    version.state = "superseded"
    trial = line.engine.versions_i[0].copy()
    line.restart()
    line.catalog.put_version(version)
    line.engine.__init__(line.catalog)
    line.engine.version_row(version)
    assert np.array_equal(line.engine.versions_i[0], trial)


# counting


async def test_stages_and_duplicates_are_counted(made) -> None:
    line = made()
    line.intake.start()

    def seen(stage: str) -> float:
        return metrics.REGISTRY.get_sample_value("andon_stage_seconds_count", {"stage": stage}) or 0

    def doubled() -> float:
        name = "andon_readings_total"
        return metrics.REGISTRY.get_sample_value(name, {"outcome": "duplicate"}) or 0

    before = [seen(stage) for stage in metrics.STAGES], doubled()
    async with line.running():
        for _ in range(2):
            await (await line.intake.emit(delivery(reading(1))))
    assert [seen(stage) for stage in metrics.STAGES] == [count + 2 for count in before[0]]
    assert doubled() == before[1] + 1


# intake and receipts


async def test_senders_hear_when_nobody_serves_them_any_more(made) -> None:
    line = made()
    line.intake.capacity = 3
    line.intake.start()
    receipt = await line.intake.emit(delivery(reading(1)))
    waits = asyncio.create_task(line.intake.emit(delivery(reading(2), reading(3))))
    await asyncio.sleep(0)
    line.intake.stop()
    line.intake.give_up()
    await asyncio.wait([waits])
    assert receipt.cancelled()
    assert waits.cancelled()
    assert line.intake.depth == 0


async def test_a_pipeline_that_dies_leaves_no_sender_waiting(made) -> None:
    line = made()
    line.pipeline.committed = lambda *_: 1 / 0
    line.intake.start()
    receipt = await line.intake.emit(delivery(reading(1)))
    with pytest.raises(ZeroDivisionError):
        async with line.running():
            await asyncio.wait([receipt])
    assert receipt.cancelled()


async def test_lost_means_come_back_later() -> None:
    line = Line(SINGLE, OF_SINGLE)
    line.store.away = True
    with pytest.raises(StoreLost):
        await line.feed([reading(1)])
