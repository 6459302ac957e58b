"""Every question gives what was stored, no more, in the order it promises."""

from types import SimpleNamespace

import numpy as np
import pytest

from app.store import queries
from app.store.batch import Audit, Batch, DeliveryMark, GapRow, Outbox, Quarantined
from app.store.rows import POINT, PointFlag, Purpose, Quality, ReadingFlag
from tests.store.builders import (
    DAY,
    NOW,
    SECOND,
    alarm,
    assert_same,
    catalog,
    containment,
    event,
    points,
    readings,
    series,
)

FAR = 2**62


def at(second):
    return NOW + second * SECOND


@pytest.fixture
async def filled(store):
    """Two streams of 100 readings and points; equal times are told apart by their keys."""
    one = series(100)
    two = series(100, stream=2)
    two["readings"]["time"] -= two["readings"]["time"] % (10 * SECOND)
    two["readings"]["key"] = np.arange(100)
    two["points"]["time"], two["points"]["key"] = two["readings"]["time"], two["readings"]["key"]
    rows = {part: np.concatenate([one[part], two[part]]) for part in one}
    await store.write(Batch(id=1, at=NOW, **catalog(2), **rows))
    return SimpleNamespace(one=one, two=two)


async def test_lookup_finds_identities_and_nothing_else(store, filled):
    asked = filled.two["readings"][[3, 50, 99]]
    found = await queries.lookup(
        store,
        np.append(asked["stream"], [1, 2, 1]),
        np.append(asked["time"], [at(5), at(5) + 1, at(500)]),
        np.append(asked["key"], [0, 0, 0]),
    )
    assert_same(found, np.concatenate([filled.one["readings"][[5]], asked]))


async def test_readings_between_holds_both_ends(store, filled):
    rows = filled.two["readings"]
    first, last = rows[12], rows[47]
    ends = [(int(row["time"]), int(row["key"])) for row in (first, last)]
    assert_same(await queries.readings_between(store, 2, *ends, 1000), rows[12:48])
    assert_same(await queries.readings_between(store, 2, *ends, 5), rows[12:17])
    assert_same(await queries.readings_between(store, 2, (-FAR, -(2**63)), None, 1000), rows)
    assert_same(await queries.readings_between(store, 2, (-FAR, 0), (FAR, 0), 1000), rows)


async def test_pages_of_readings_join_without_a_seam(store, filled):
    rows, place, pages = filled.two["readings"], None, []
    while len(page := await queries.readings(store, 2, at(-50), at(1000), place, 7)):
        pages.append(page)
        place = int(page["time"][-1]), int(page["key"][-1])
    assert_same(np.concatenate(pages), rows)
    assert_same(await queries.readings(store, 2, None, None, None, 10), rows[-10:])
    end = int(rows["time"][50])
    assert_same(
        await queries.readings(store, 2, None, end, None, 10), rows[rows["time"] < end][-10:]
    )
    part = rows[(rows["time"] >= at(20)) & (rows["time"] < at(40))]
    assert_same(await queries.readings(store, 2, at(20), at(40), None, 100), part)


async def test_points_before_and_from_meet(store, filled):
    rows = filled.two["points"]
    time, key = int(rows["time"][33]), int(rows["key"][33])
    assert_same(await queries.points_before(store, 2, time, key, 8), rows[25:33])
    assert_same(await queries.points_from(store, 2, time, key, 8), rows[33:41])
    assert_same(await queries.points_before(store, 2, FAR, 0, 1), rows[-1:])
    assert_same(await queries.points_from(store, 2, -FAR, -(2**63), 1000), rows)


async def test_recent_points_are_the_newest_of_each_stream(store, filled):
    ones, twos = filled.one["points"], filled.two["points"]
    found = await queries.recent_points(store, 64)
    assert_same(found, np.concatenate([ones[-64:], twos[-64:]]))
    assert_same(await queries.recent_points(store, 3, first=2, until=3), twos[-3:])
    assert_same(await queries.newest_points(store, 1, 2), ones[-2:])


async def test_newest_per_stream(store, filled):
    late = readings({"stream": 1, "time": at(500), "quality": Quality.BAD, "value": np.nan})
    await store.write(Batch(id=2, at=NOW, readings=late))
    found = await queries.newest_per_stream(store)
    assert found["stream"].tolist() == [1, 2]
    assert found["time"].tolist() == [at(500), int(filled.two["readings"]["time"][-1])]
    assert found["key"].tolist() == [0, 99]
    assert await queries.newest_reading(store, [1, 2]) == at(500)
    assert await queries.newest_reading(store, [3]) is None


async def test_points_missed_by_a_screen(store, filled):
    ones = filled.one["points"]
    assert_same(await queries.points_changed_since(store, 1, 100, 90, 50), ones[90:])
    assert len(await queries.points_changed_since(store, 1, 100, 100, 50)) == 0
    assert await queries.points_changed_since(store, 1, 100, 20, 50) is None
    assert await queries.points_changed_since(store, 1, 100, 101, 50) is None
    changed = ones[[95]].copy()
    changed["seq"] = 101
    await store.write(Batch(id=2, at=NOW, changed_points=changed))
    assert await queries.points_changed_since(store, 1, 101, 90, 50) is None


def grouped(numbers, start, **more):
    """Readings, one a second, of these subgroups."""
    rows = readings(*[{}] * len(numbers), **more)
    rows["time"] = at(start) + np.arange(len(numbers)) * SECOND
    rows["subgroup"] = numbers
    return rows


async def test_what_the_newest_points_leave_open(store):
    closed = grouped([1, 1, 1], 0)
    overtaken = grouped([2, 2], 3)
    newest = grouped([3, 3, 3], 5)
    open_now = grouped([4], 8)
    late = grouped([5], -5000, flags=ReadingFlag.LATE)
    late_done = grouped([1], -4000, flags=ReadingFlag.LATE)
    setup = grouped([6], -3, purpose=Purpose.SETUP)
    bad = readings({"time": at(9), "quality": Quality.BAD, "value": np.nan})
    only = readings({"stream": 2, "time": at(1)}, {"stream": 2, "time": at(2)})
    everything = [closed, overtaken, newest, open_now, late, late_done, setup, bad, only]
    made = points(
        {"time": at(0), "subgroup": 1}, {"time": at(5), "subgroup": 3}, n=3, flags=PointFlag.NAMED
    )
    await store.write(
        Batch(id=1, at=NOW, **catalog(2), readings=np.concatenate(everything), points=made)
    )
    found = await queries.readings_after_last_point(store)
    expected = np.concatenate([late, overtaken, newest, open_now, bad, only])
    assert_same(found, expected)
    assert_same(await queries.readings_after_last_point(store, first=2), only)
    limited = await queries.readings_after_last_point(store, 2, first=1, until=2)
    assert_same(limited[-2:], np.concatenate([open_now, bad]))


async def test_what_single_values_leave_open_is_bounded(store, filled):
    later = readings(*[{}] * 90, purpose=Purpose.SETUP, time=at(200) + np.arange(90))
    await store.write(Batch(id=2, at=NOW, readings=later))
    found = await queries.readings_after_last_point(store, 50, until=2)
    assert_same(found, later[-50:])
    whole = await queries.readings_after_last_point(store, 256, until=2)
    assert_same(whole, np.concatenate([filled.one["readings"][-1:], later]))


async def test_subgroups_are_found_by_name_and_by_number(store):
    named = grouped([77, 78, 77], 0, flags=ReadingFlag.NAMED)
    counted = grouped([77, 79], 10)
    old = grouped([77], -9000, flags=ReadingFlag.NAMED)
    rows = np.concatenate([old, named, counted])
    await store.write(Batch(id=1, at=NOW, **catalog(), readings=rows))
    found = await queries.subgroup_readings(store, 1, [77], at(-10))
    assert_same(found, np.concatenate([named[[0, 2]], counted[[0]]]))
    pairs = await queries.named(store, [1, 1, 1, 2], [77, 79, 78, 77], at(-10))
    assert pairs == {(1, 77), (1, 78)}
    assert await queries.named(store, [1], [78], at(5)) == set()


async def test_points_of_readings_by_identity_and_by_subgroup(store):
    made = points({"time": at(0)}, {"time": at(1)}, {"time": at(2), "subgroup": 9}, n=1)
    await store.write(Batch(id=1, at=NOW, **catalog(), points=made))
    found = await queries.points_of_readings(
        store, [1, 1, 1, 1], [at(1), at(3), at(4), at(9)], [0, 0, 0, 0], [None, 9, 9, None]
    )
    assert_same(found, made[1:])


async def test_bands_lose_no_extreme_and_no_violation(store):
    rows = series(5000)["points"]
    rows["violations"][[7, 4321]] = [1, 2]
    rows["statistic"][1234] = 1e6
    rows["statistic"][2000] = -1e9
    rows["flags"][2000] = PointFlag.EXCLUDED
    rows["version"][2500:] = 2
    rows["dispersion"] = 0.5
    await store.write(Batch(id=1, at=NOW, **catalog(), points=rows))
    assert await queries.count_points(store, 1, None, None) == 5000
    assert await queries.count_points(store, 1, at(10), at(20)) == 10
    bands = await queries.bands(store, 1, None, None, 50)
    assert 50 <= len(bands) <= 52
    assert sum(band.n for band in bands) == 4999
    assert max(band.max for band in bands) == 1e6
    assert min(band.min for band in bands) > 8
    assert all(band.min <= band.mean <= band.max for band in bands)
    assert [(b.violating, b.violations) for b in bands if b.violating] == [(1, 1), (1, 2)]
    assert {band.version for band in bands} == {1, 2}
    assert [b.time for b in bands] == sorted(b.time for b in bands)
    assert all(b.dispersion_min == b.dispersion_max == 0.5 for b in bands)
    assert_same(await queries.violations(store, 1, None, None, 10), rows[[7, 2000, 4321]])
    assert_same(await queries.violations(store, 1, None, None, 1), rows[[4321]])
    assert await queries.bands(store, 1, at(9000), None, 50) == []
    [single] = await queries.bands(store, 1, at(5), at(6), 50)
    assert (single.time, single.until, single.n) == (at(5), at(5), 1)


async def test_lists_continue_where_they_stopped(store):
    numbers = range(1, 26)
    await store.write(
        Batch(
            id=1,
            at=NOW,
            **catalog(),
            alarms=[alarm(n, state="closed" if n % 5 == 0 else "unack") for n in numbers],
            events=[event(n, state="withdrawn" if n == 3 else "open", alarm=1) for n in numbers],
            quarantined=[Quarantined(n, NOW, n % 2, None, "no", b"") for n in numbers],
            gaps=[GapRow(n, n % 2, None, NOW, NOW, None, "skipped", NOW) for n in numbers],
            audits=[Audit(n, NOW, "anna", "close", "alarm", None, None, "") for n in numbers],
            containments=[containment(key=n, time=at(n // 2)) for n in numbers],
        )
    )

    async def ids(question, *chosen):
        found, after = [], None
        while page := await question(store, *chosen, after, 4):
            found += [row.id for row in page]
            after = page[-1].id
        return found

    backwards = list(reversed(numbers))
    assert await ids(queries.quarantine, None) == backwards
    assert await ids(queries.quarantine, 1) == [n for n in backwards if n % 2]
    assert await ids(queries.gaps, 0) == [n for n in backwards if n % 2 == 0]
    assert await ids(queries.audits) == backwards
    assert await ids(queries.alarms, None, None) == [n for n in backwards if n % 5]
    assert await ids(queries.alarms, ["closed"], "bore-1") == [25, 20, 15, 10, 5]
    assert await ids(queries.alarms, [], None) == backwards
    assert await ids(queries.alarms, [], "bore-2") == []
    assert (await queries.quarantined(store, 7)).id == 7
    assert await queries.quarantined(store, 99) is None
    held, after = [], None
    while page := await queries.containments(store, [1], after, 4):
        held += [row.key for row in page]
        after = page[-1].time, page[-1].stream, page[-1].key
    assert held == backwards
    assert await queries.containments(store, [2], None, 4) == []
    assert (await queries.standing_events(store))[1] == (24, None)
    assert (await queries.standing_events(store))[2] == (0, None)
    later = event(26, state="cleared", last_time=at(5), stream=2)
    await store.write(Batch(id=2, at=NOW, events=[later]))
    assert await queries.events_since(store, [2], at(5)) == [later]
    assert await queries.events_since(store, [2], at(6)) == []
    assert len(await queries.events_since(store, [1, 2], at(6))) == 24


async def test_an_alarm_knows_the_event_that_its_sentence_begins_with(store):
    rows = [
        event(1, alarm=1, sentence="It is so. [a]"),
        event(2, alarm=1, sentence="It is so. [a]", state="cleared"),
        event(3, alarm=1, sentence="It is so. [a]", state="withdrawn"),
        event(4, alarm=1, sentence="Else. [b]"),
        event(5, alarm=2, sentence="Over. [c]"),
        event(6, alarm=3, sentence=""),
    ]
    sentences = {1: "It is so. [a] 2 other signals are over.", 2: "Over. [c]", 3: "?"}
    closed = {2: {"state": "closed"}}
    alarms = [alarm(n, sentence=text, **closed.get(n, {})) for n, text in sentences.items()]
    await store.write(Batch(id=1, at=NOW, alarms=alarms, events=rows))
    assert await queries.standing_events(store) == {1: (3, rows[1]), 3: (1, None)}


async def test_marks_of_delivery(store, sql):
    rows = [Outbox(n, n, at(n), {"n": n}) for n in (1, 2, 3)]
    await store.write(Batch(id=1, at=NOW, outbox=rows))
    marks = [
        DeliveryMark(1, "mqtt", 1, delivered_at=NOW),
        DeliveryMark(2, "mqtt", 1, next_at=NOW, error="refused"),
        DeliveryMark(2, "mqtt", 2, next_at=at(9), error="refused"),
        DeliveryMark(9, "mqtt", 1, delivered_at=NOW),
    ]
    assert await queries.mark_deliveries(store, marks) == {(1, "mqtt"), (2, "mqtt")}
    assert await queries.mark_deliveries(store, []) == set()
    waiting = await queries.waiting_announcements(store, "mqtt", 0, 10)
    assert waiting == [(rows[1], 2), (rows[2], 0)]
    assert len(await queries.waiting_announcements(store, "webhook", 1, 10)) == 2
    assert len(await queries.waiting_announcements(store, "webhook", 0, 10, at(3))) == 1
    await queries.prune(store, answers_before=NOW, announcements_before=at(100))
    assert await sql.fetchval("SELECT array_agg(id) FROM outbox") == [3]
    assert await sql.fetchval("SELECT count(*) FROM outbox_delivery") == 0
    assert (await queries.counters(store)).outbox == 3


async def test_the_views_speak_in_names(store, sql, filled):
    reading = dict(await sql.fetchrow("SELECT * FROM reading_view WHERE stream_id = 2 LIMIT 1"))
    assert (reading["characteristic"], reading["quality"]) == ("bore-2", "good")
    assert (reading["purpose"], reading["specification"]) == ("production", "within")
    point = dict(await sql.fetchrow("SELECT * FROM point_view WHERE stream_id = 1 LIMIT 1"))
    assert (point["characteristic"], point["chart"], point["center"]) == ("bore-1", "i_mr", 10.0)


async def test_a_year_of_points_is_found_across_months(store):
    rows = series(400, step=DAY)
    rows["points"]["time"] -= 300 * DAY
    await store.write(Batch(id=1, at=NOW, **catalog(), points=rows["points"]))
    assert_same(await queries.recent_points(store, 40), rows["points"][-40:])
    assert_same(await queries.points_before(store, 1, at(0), 0, 250), rows["points"][50:300])
    assert (await queries.points(store, 1, None, None, 1000)).dtype == POINT
