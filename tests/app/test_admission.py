"""What may become a row, and what goes to the quarantine with a reason."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.admission import NAME_KEPT, PAYLOAD_KEPT, SourceTraits, admit
from app.catalog import STREAMS_PER_CHARACTERISTIC, Catalog
from app.characteristic import CharacteristicConfig
from app.objection import TAG_LENGTH, TAGS
from app.store.batch import Stream
from collectors.reading import Delivery, Reading, Reject
from tests.app.line import NOW, SECOND

DAY = 86_400 * SECOND
CONFIGS = [
    CharacteristicConfig(
        id="force", decimals=2, plausible={"lower": 0, "upper": 100}, aliases=["Kraft"]
    ),
    CharacteristicConfig(id="leaks", chart="p"),
    CharacteristicConfig(id="bore", stream=["cavity"], cut=["part"], subgroup={"keys": ["lot"]}),
]


def stocked() -> Catalog:
    made = Catalog()
    for number, config in enumerate(CONFIGS, 1):
        made.put_characteristic(number, config)
    return made


@pytest.fixture
def catalog() -> Catalog:
    return stocked()


def admitted(catalog, *readings, skew=0, **more):
    traits = {"gauge": SourceTraits(7, skew=skew)}
    return admit([Delivery("gauge", NOW, list(readings), **more)], catalog, traits)


def reading(value=10.0, name="force", time=NOW, key=1, **more) -> Reading:
    return Reading(name, value, time, key, **more)


def test_a_row_carries_what_the_reading_said(catalog) -> None:
    found = admitted(
        catalog,
        reading(25.019999, name="Kraft", key=-5, quality="uncertain", purpose="setup"),
        reading(1.0, name="bore", subgroup=77, historical=True, tags={"cavity": "3", "lot": "L"}),
    )
    one, two = found.rows
    assert (one["value"], one["key"], one["quality"], one["purpose"]) == (25.02, -5, 1, 1)
    assert (two["subgroup"], two["flags"], two["context"], two["source"]) == (77, 36, 1, 7)
    assert catalog.streams[two["stream"]].name == "bore:3"
    assert found.rejected == [[]]
    assert found.keys[1] != 0
    assert found.keys[0] == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (reading(name="unknown"), "unknown characteristic"),
        (reading(100.5), "not plausible"),
        (reading(math.nan), "is nan, yet its quality is good"),
        (reading(math.inf), "is inf"),
        (reading(1.1e15, name="bore"), "bore: 1.1e+15 is beyond 1e+15"),
        (reading(-1e308, name="bore"), "is beyond 1e+15"),
        (reading(1e308), "is beyond 1e+15"),
        (reading(1.0, name="leaks", size=1e16), "is not a whole number of parts"),
        (reading(1.0, name="leaks", size=2.5), "is not a whole number of parts"),
        (reading(1.0, name="leaks", size=math.nan), "is not a whole number of parts"),
        (reading(1.0, size=1e308), "the size 1e+308 is none"),
        (reading(1.0, size=math.nan), "the size nan is none"),
        (reading(1.0, size=-1), "the size -1 is none"),
        (reading(time=NOW + 61 * SECOND), "lies in the future"),
        (reading(time=NOW - 8 * DAY), "older than the source's max_age"),
        (reading(time=-(2**60), historical=True), "before the year 1900"),
        (reading(key=2**63), "does not fit in 64 bits"),
        (reading(1.5, name="leaks", size=50), "is not a count"),
        (reading(3, name="leaks", size=2), "3 defective parts among 2"),
        (reading(3, name="leaks", size=0), "is not a whole number of parts"),
        (reading(tags={str(i): "x" for i in range(TAGS + 1)}), "tags"),
        (reading(tags={"lot": "x" * (TAG_LENGTH + 1)}), "longer than"),
        (reading(tags={"x" * (TAG_LENGTH + 1): "lot"}), "longer than"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_cannot_be_a_reading_is_kept_with_its_reason(catalog, wrong, said) -> None:
    found = admitted(catalog, reading(key=3), wrong, reading(key=4))
    assert found.rows["key"].tolist() == [3, 4]
    assert found.item.tolist() == [0, 2]
    [(item, reason)] = found.rejected[0]
    assert item == 1
    assert said in reason
    [kept] = found.quarantined
    assert (kept.reason, kept.source, kept.characteristic) == (reason, 7, wrong.characteristic)
    assert json.loads(kept.payload)["characteristic"] == wrong.characteristic


@pytest.mark.parametrize(
    "fine",
    [
        reading(math.nan, quality="bad"),
        reading(time=NOW + 59 * SECOND),
        reading(time=NOW - 8 * DAY, historical=True),
        reading(1, name="leaks"),
        reading(1e15, name="bore"),
        reading(-1e15, name="bore"),
        reading(1e308, quality="bad"),
        reading(1.0, size=2.5),
        reading(tags={str(i): "x" * TAG_LENGTH for i in range(TAGS)}),
        reading(name="bore", tags={"cavity": "1", "part": "\ud800"}),
    ],
)
def test_what_is_unusual_is_no_mistake(catalog, fine) -> None:
    assert len(admitted(catalog, fine).rows) == 1


def test_a_clock_that_runs_ahead_is_no_future(catalog) -> None:
    ahead = reading(time=NOW + 300 * SECOND)
    assert len(admitted(catalog, ahead).rows) == 0
    assert len(admitted(catalog, ahead, skew=300 * SECOND).rows) == 1


@pytest.mark.parametrize("ahead", [1800 * SECOND, 3600 * SECOND, 365 * DAY])
def test_a_clock_that_is_plainly_wrong_stays_so_however_long_it_is(catalog, ahead) -> None:
    found = admitted(catalog, reading(time=NOW + ahead), skew=ahead)
    assert len(found.rows) == 0
    assert "lies in the future" in found.rejected[0][0][1]


def test_streams_are_bounded(catalog) -> None:
    for number in range(1, STREAMS_PER_CHARACTERISTIC + 1):
        catalog.put_stream(Stream(number, 3, f"bore:{number}", {"cavity": str(number)}))
    known, new = ({"cavity": text} for text in ("17", "one more"))
    found = admitted(catalog, reading(name="bore", tags=new), reading(name="bore", tags=known))
    assert found.rows["stream"].tolist() == [17]
    assert "too many streams; check the tags cavity" in found.rejected[0][0][1]


def test_rejects_keep_the_beginning_of_what_came(catalog) -> None:
    garbage = Reject("garbage", b"x" * (PAYLOAD_KEPT + 1), None, "y" * 60_000)
    [kept] = admitted(catalog, rejects=[garbage]).quarantined
    assert (len(kept.payload), kept.truncated) == (PAYLOAD_KEPT, True)
    assert kept.characteristic == "y" * NAME_KEPT


@given(st.sets(st.tuples(*[st.text(alphabet=":\\\\ab %", max_size=4)] * 3), max_size=30))
def test_no_two_streams_have_one_name(values) -> None:
    catalog = Catalog()
    tags = ("part", "cavity", "head")
    catalog.put_characteristic(1, CharacteristicConfig(id="bore", stream=tags))
    for one in values:
        admitted(catalog, reading(name="bore", tags=dict(zip(tags, one, strict=True))))
    names = {stream.name for stream in catalog.streams.values()}
    assert len(names) == len(catalog.streams) == len(values)
    for number, stream in catalog.streams.items():
        assert catalog.stream_named(stream.name) == number


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (("a", "b"), "bore:a:b"),
        (("a:b", ""), "bore:a\\:b:"),
        (("", "a:b"), "bore::a\\:b"),
        (("a\\", "b"), "bore:a\\\\:b"),
        ((None, None), "bore::"),
    ],
)
def test_a_stream_is_called_by_its_tags(values, name) -> None:
    catalog = Catalog()
    catalog.put_characteristic(1, CharacteristicConfig(id="bore", stream=["part", "cavity"]))
    tags = {tag: value for tag, value in zip(("part", "cavity"), values, strict=True) if value}
    admitted(catalog, reading(name="bore", tags=tags))
    assert [stream.name for stream in catalog.streams.values()] == [name]


@given(st.lists(st.floats(-1e15, 1e15), min_size=2, max_size=50))
def test_statistics_of_what_is_admitted_are_finite(values) -> None:
    catalog = Catalog()
    catalog.put_characteristic(1, CharacteristicConfig(id="bore"))
    rows = admitted(catalog, *(reading(v, name="bore", key=k) for k, v in enumerate(values))).rows
    assert len(rows) == len(values)
    found = rows["value"]
    for statistic in (found.sum(), np.ptp(found), found.var(), (found**2).sum() ** 2):
        assert np.isfinite(statistic)


def test_a_stream_that_was_never_stored_is_forgotten(catalog) -> None:
    tags = [{"cavity": "1", "lot": "a"}, {"cavity": "2", "lot": "b"}]
    admitted(catalog, reading(name="bore", tags=tags[0]))
    catalog.saved()
    admitted(catalog, reading(name="bore", tags=tags[1]), reading())
    catalog.unsave()
    assert list(catalog.streams) == [1]
    assert catalog.stream_named("bore:2") is None
    assert catalog.find("force").sole_stream is None
    found = admitted(catalog, reading(), reading(name="bore", tags=tags[1]))
    assert found.rows["stream"].tolist() == [2, 3]
    assert found.rows["context"].tolist() == [0, 2]
    assert [context.tags for context in catalog.unsaved_contexts.values()] == [tags[1]]


TAG_SETS = [None, {}, {"cavity": "1"}, {"cavity": "2", "lot": "a"}, {"lot": "x" * (TAG_LENGTH + 1)}]
readings = st.builds(
    Reading,
    characteristic=st.sampled_from(["force", "Kraft", "leaks", "bore", "unknown"]),
    value=st.sampled_from([0.0, 1.0, 25.019999, -3.0, 1e9, 1e308, math.nan, math.inf]),
    time=st.sampled_from([NOW, NOW - SECOND, NOW + 61 * SECOND, NOW - 8 * DAY, -(2**70)]),
    key=st.sampled_from([0, 7, -(2**63), 2**63 - 1, 2**63]),
    size=st.sampled_from([None, None, 0.0, 50.0, 2.5, math.nan]),
    quality=st.sampled_from(["good", "good", "uncertain", "bad"]),
    purpose=st.sampled_from(["production", "production", "setup"]),
    subgroup=st.sampled_from([None, None, 0, 77]),
    tags=st.sampled_from(TAG_SETS),
    historical=st.booleans(),
)


@given(st.lists(st.lists(readings, max_size=4), min_size=1, max_size=4))
def test_readings_are_admitted_together_as_one_by_one(batch) -> None:
    together, alone = stocked(), stocked()
    traits = {"gauge": SourceTraits(7), "other": SourceTraits(8, max_age=SECOND)}
    deliveries = [
        Delivery(("gauge", "other")[i % 2], NOW + i, found, [Reject("garbage", b"%d" % i)])
        for i, found in enumerate(batch)
    ]
    found = admit(deliveries, together, traits)
    rows, places, quarantined, rejected = [], [], [], []
    for number, delivery in enumerate(deliveries):
        quarantined += admit([replace(delivery, readings=[])], alone, traits).quarantined
        reasons = []
        for item, one in enumerate(delivery.readings):
            only = admit([replace(delivery, readings=[one], rejects=[])], alone, traits)
            rows += [(*row.tolist(), *stamps) for row, *stamps in zip(*only[:3], strict=True)]
            places += [(number, item)] * len(only.rows)
            quarantined += only.quarantined
            reasons += [(item, reason) for _, reason in only.rejected[0]]
        rejected.append(reasons)
    several = [(*row.tolist(), *stamps) for row, *stamps in zip(*found[:3], strict=True)]
    assert repr(several) == repr(rows)  # nan is what it is
    assert list(zip(found.delivery.tolist(), found.item.tolist(), strict=True)) == places
    assert (found.quarantined, found.rejected) == (quarantined, rejected)
    assert together.unsaved_streams == alone.unsaved_streams
    assert together.unsaved_contexts == alone.unsaved_contexts


TAGGED = [(), ("cavity",), ("part",), ("part", "cavity")]


@pytest.mark.parametrize("before", TAGGED)
@pytest.mark.parametrize("after", TAGGED)
@pytest.mark.parametrize("restarted", [False, True])
def test_other_stream_tags_make_other_streams(before, after, restarted) -> None:
    """A version with other stream tags leaves the old streams as they are, also after a restart."""
    tags = {"part": "1", "cavity": "1"}
    catalog = Catalog()
    catalog.put_characteristic(1, CharacteristicConfig(id="bore", stream=before))
    admitted(catalog, reading(name="bore", tags=tags))
    new = CharacteristicConfig(id="bore", stream=after)
    catalog.put_characteristic(1, new)
    if restarted:
        catalog = again(catalog)
    first = admitted(catalog, reading(name="bore", tags=tags)).rows["stream"].tolist()
    catalog = again(catalog)
    second = admitted(catalog, reading(name="bore", tags=tags)).rows["stream"].tolist()
    assert first == second == ([1] if before == after else [2])
    assert len({stream.name for stream in catalog.streams.values()}) == len(catalog.streams)
    catalog.put_characteristic(1, CharacteristicConfig(id="bore", stream=before))
    assert admitted(catalog, reading(name="bore", tags=tags)).rows["stream"].tolist() == [1]


def again(catalog: Catalog) -> Catalog:
    """The catalog as a restart reads it."""
    made = Catalog()
    for number, entry in catalog.characteristics.items():
        made.put_characteristic(number, entry.config)
    for stream in catalog.streams.values():
        made.put_stream(Stream(stream.id, stream.characteristic, stream.name, dict(stream.tags)))
    return made
