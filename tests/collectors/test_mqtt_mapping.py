import datetime as dt
import json
import math
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.key import numbered
from collectors.mqtt.config import Subscription
from collectors.mqtt.mapping import Mapped, Routes, SubscriptionMapping, oversized, unmapped
from collectors.mqtt.payload import LARGEST_PAYLOAD, MOST_ITEMS, Columns
from collectors.reading import Reading

NOW = 1_714_557_600_000_000
STAMP = "2024-05-01T10:00:00.123456Z"
AT = NOW + 123_456


def targets(name: str) -> float | None:
    return {"bore": 25.0}.get(name)


def mapping(
    clock: Literal["source", "arrival", "corrected"] = "source", **keys: Any
) -> SubscriptionMapping:
    if "characteristic" not in keys:
        keys.setdefault("topic", "plant/{station}/{characteristic}")
    subscription = Subscription.model_validate({"topic": "plant/op-20/bore", **keys})
    return SubscriptionMapping(subscription, clock, targets)


def read(
    given: SubscriptionMapping, payload: Any, topic: str = "plant/op-20/bore", correction: int = 0
) -> Mapped:
    route = given.route(topic)
    assert route is not None
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return given.read(route, raw, NOW, correction)


def one(given: SubscriptionMapping, payload: Any, **keys: Any) -> Reading:
    mapped = read(given, payload, **keys)
    assert mapped.rejects == []
    (reading,) = mapped.readings
    return reading


def refused(given: SubscriptionMapping, payload: Any) -> str:
    mapped = read(given, payload)
    assert mapped.readings == []
    (reject,) = mapped.rejects
    assert len(reject.payload) <= 8192
    assert reject.reason.startswith("The message on plant/op-20/bore ")
    assert reject.reason.endswith(".")
    assert len(reject.reason) < 500
    return reject.reason


def test_a_message_with_everything() -> None:
    everything = mapping(
        items="/items",
        value="/value",
        time="/time",
        key="/serial",
        sequence="/n",
        size="/size",
        subgroup="/sample",
        quality="/q",
        purpose="/mode",
        tags={"lot": "/lot", "cavity": "/cav", "hot": "/hot", "none": "/none"},
    )
    item = {
        "value": 25.01,
        "time": STAMP,
        "serial": 4711,
        "n": 7,
        "size": 50,
        "sample": "S-1",
        "q": "uncertain",
        "mode": "setup",
        "lot": "A",
        "cav": 3,
        "hot": True,
        "none": None,
        "more": {"is": ["skipped"]},
    }
    mapped = read(everything, {"items": [item], "other": 1})
    assert mapped.numbers == [7]
    assert mapped.readings == [
        Reading(
            characteristic="bore",
            value=25.01,
            time=AT,
            key=4711,
            size=50.0,
            quality="uncertain",
            purpose="setup",
            subgroup=numbered("S-1")[0],
            tags={
                "station": "op-20",
                "lot": "A",
                "cavity": "3",
                "hot": "true",
                "subgroup": "S-1",
            },
        )
    ]


# where things lie


@pytest.mark.parametrize(
    ("keys", "payload", "values"),
    [
        ({}, 25.5, [25.5]),
        ({}, [25.5, 26], [25.5, 26.0]),
        ({"value": "/v"}, {"v": 1}, [1.0]),
        ({"value": "/v"}, [{"v": 1}, {"v": 2}], [1.0, 2.0]),
        ({"value": "/v", "items": "/a"}, {"a": [{"v": 1}, {"v": 2}]}, [1.0, 2.0]),
        ({"value": "/v", "items": "/a"}, {"a": {"v": 1}}, [1.0]),
        ({"items": "/a"}, {"a": [1, 2]}, [1.0, 2.0]),
        ({"items": "/a/b"}, {"a": {"b": [1, 2]}}, [1.0, 2.0]),
        ({"value": "/1", "items": "/a"}, {"a": [["x", 1], ["y", 2]]}, [1.0, 2.0]),
        ({"value": "/v/w"}, {"v": {"w": 3}}, [3.0]),
        ({"value": "/v/1"}, {"v": [4, 5]}, [5.0]),
        ({"value": "/a~1b"}, {"a/b": 6}, [6.0]),
        ({"value": "/m~0n"}, {"m~n": 7}, [7.0]),
        ({"value": "/"}, {"": 8}, [8.0]),
    ],
)
def test_pointers(keys: dict[str, Any], payload: Any, values: list[float]) -> None:
    mapped = read(mapping(**keys), payload)
    assert mapped.rejects == []
    assert [reading.value for reading in mapped.readings] == values


def test_the_envelope_holds_what_all_items_share() -> None:
    given_once = mapping(items="/r", value="/v", time="^/at", tags={"lot": "^/lot"})
    mapped = read(given_once, {"at": STAMP, "lot": "A", "r": [{"v": 1}, {"v": 2}]})
    assert [(r.value, r.time, r.key) for r in mapped.readings] == [(1.0, AT, 0), (2.0, AT, 1)]
    assert {r.tags["lot"] for r in mapped.readings if r.tags} == {"A"}


@pytest.mark.parametrize("name", ["/name", "^/name"])
def test_the_payload_may_name_the_characteristic(name: str) -> None:
    named = mapping(topic="lab", characteristic=name, value="/v")
    assert one(named, {"name": "Bohrung Ø 1", "v": 1}, topic="lab").characteristic == "Bohrung Ø 1"
    route = named.route("lab")
    assert route is not None
    assert "names no characteristic" in named.read(route, b'{"v":1}', NOW).rejects[0].reason


def test_a_subscription_may_be_one_characteristic() -> None:
    assert one(mapping(characteristic="Bore"), 1).characteristic == "Bore"


# values


@pytest.mark.parametrize(
    ("keys", "payload", "value"),
    [
        ({}, b"25.01", 25.01),
        ({}, b" 25 \n", 25.0),
        ({}, b"+3", 3.0),
        ({}, b'"12.5"', 12.5),
        ({}, b"1e308", 1e308),
        ({"decimal": ","}, b"25,01", 25.01),
        ({"decimal": ","}, b'"-,5"', -0.5),
        ({"decimal": ","}, b"25.01", 25.01),  # a JSON number is one in every country
        ({"scale": 0.5, "offset": 1}, b"3", 2.5),
        ({"relative_to": "target"}, b"0.25", 25.25),
        ({"relative_to": "target", "scale": 0.001}, b"250", 25.25),
    ],
)
def test_values(keys: dict[str, Any], payload: bytes, value: float) -> None:
    reading = one(mapping(**keys), payload)
    assert (reading.value, reading.quality) == (value, "good")


@pytest.mark.parametrize(
    ("keys", "payload"),
    [
        ({"invalid": [9999.9]}, b"9999.9"),
        ({"invalid": [9999.9]}, b"9999.900390625"),  # the same in float32
        ({"invalid": [32767]}, b"32767"),
        ({"invalid": ["-----"]}, b'" ----- "'),
        ({"invalid": ["OVER"], "scale": 2}, b"OVER"),
        ({"value": "/v", "quality": "/q"}, b'{"v":null,"q":"bad"}'),
        ({"value": "/v", "quality": "/q"}, b'{"q":"uncertain"}'),
    ],
)
def test_no_measurement_is_a_reading_of_quality_bad(keys: dict[str, Any], payload: bytes) -> None:
    reading = one(mapping(**keys), payload)
    assert math.isnan(reading.value)
    assert reading.quality == "bad"


@pytest.mark.parametrize(
    ("keys", "payload", "says"),
    [
        ({}, b"", "is empty"),
        ({}, b"[]", "holds no item"),
        ({}, b"true", "has a value that is no number: true"),
        ({}, b"null", "has no value"),
        ({}, b"{}", "is no number: an object"),
        ({}, b"[[1]]", "is no number: an array"),
        ({}, b"1e999", "is not finite"),
        ({}, b"NaN", "is no number"),
        ({}, b"-Infinity", "is no number"),
        ({}, b'"inf"', "is no number"),
        ({}, b"25,01", 'is no number with "." as its decimal sign'),
        ({}, b'"1_000"', "is no number"),
        ({}, '"٣"'.encode(), "is no number"),
        ({}, b"9" * 5000, "is no JSON"),
        ({}, b"\xff\xfe\x00", "is no JSON"),
        ({}, b"\0", "is no JSON"),
        ({}, b"[" * 100_000, "nested too deeply"),
        ({}, b'{"a":' * 100_000, "nested too deeply"),
        ({}, b"[1,", "is no JSON"),
        ({"decimal": ","}, b'"1.234,5"', 'is no number with "," as its decimal sign'),
        ({"value": "/v"}, b'{"v":NaN}', "NaN and Infinity are no JSON"),
        ({"value": "/v"}, b"{}", 'has no value at "/v"'),
        ({"value": "/v"}, b"5", 'has no value at "/v"'),
        ({"value": "/v"}, b'{"v":{}}', 'has a value at "/v" that is no number'),
        ({"value": "/v", "quality": "/q"}, b'{"v":null,"q":192}', "has no value"),
        ({"value": "/v", "quality": "/q"}, b'{"v":1,"q":"so-so"}', 'unknown quality "so-so"'),
        ({"value": "/v", "quality": "/q"}, b'{"v":1,"q":[]}', "unknown quality an array"),
        ({"value": "/v", "purpose": "/p"}, b'{"v":1,"p":"lunch"}', 'unknown purpose "lunch"'),
        ({"value": "/v", "size": "/n"}, b'{"v":1,"n":"many"}', 'a size at "/n" that is no number'),
        ({"value": "/v", "key": "/k"}, b'{"v":1,"k":1.5}', "has a key that is neither"),
        ({"value": "/v", "key": "/k"}, b'{"v":1,"k":true}', "has a key that is neither"),
        ({"value": "/v", "key": "/k"}, b'{"v":1,"k":"\\u0000"}', "cannot be stored"),
        ({"value": "/v", "sequence": "/n"}, b'{"v":1,"n":-1}', "has a sequence that is no whole"),
        ({"value": "/v", "tags": {"t": "/t"}}, b'{"v":1,"t":{}}', 'has a tag "t" that is neither'),
        ({"items": "/a"}, b'{"b":[1]}', 'has nothing at "/a"'),
        ({"scale": 1e300}, b"1e300", "not finite after scaling"),
        ({"value": "/v", "time": "/t"}, b'{"v":1}', 'has no time at "/t"'),
        ({"value": "/v", "time": "/t"}, b'{"v":1,"t":"noon"}', "is no ISO 8601 time"),
        ({"value": "/v", "time": "/t"}, b'{"v":1,"t":"2024-05-01T10:00"}', "names no time zone"),
    ],
)
def test_what_cannot_be_a_reading_says_why(keys: dict[str, Any], payload: bytes, says: str) -> None:
    assert says in refused(mapping(**keys), payload)


def test_one_bad_item_does_not_spoil_the_others() -> None:
    mapped = read(mapping(value="/v"), [{"v": 1}, {"v": "x"}, {"w": 2}, None, {"v": 3}])
    assert [reading.value for reading in mapped.readings] == [1.0, 3.0]
    assert [(reject.index, reject.payload) for reject in mapped.rejects] == [
        (1, b'{"v":"x"}'),
        (2, b'{"w":2}'),
        (3, b"null"),
    ]


def test_a_reject_names_the_characteristic_as_far_as_it_is_known() -> None:
    named = mapping(topic="lab", characteristic="/name", value="/v")
    rejects = read(named, [{"name": "a", "v": "x"}, {"v": 1}, {"name": 5}], topic="lab").rejects
    assert [reject.characteristic for reject in rejects] == ["a", None, None]
    assert read(mapping(), b"{").rejects[0].characteristic == "bore"


def test_too_large_and_too_many() -> None:
    assert "more than the" in refused(mapping(), b" " * LARGEST_PAYLOAD + b"1")
    assert "10001 items" in refused(mapping(), [1] * (MOST_ITEMS + 1))
    assert len(read(mapping(), [1] * MOST_ITEMS).readings) == MOST_ITEMS
    route = mapping().route("plant/op-20/bore")
    assert route is not None
    large = oversized(route, b"x" * 9000, 5_000_000)
    assert "has 5000000 bytes" in large.reason
    assert (large.characteristic, len(large.payload)) == ("bore", 8192)
    assert "matches no subscription" in unmapped("t", b"x").reason


def test_a_target_that_is_not_there() -> None:
    relative = mapping(relative_to="target")
    route = relative.route("plant/op-20/depth")
    assert route is not None
    (reject,) = relative.read(route, b"0.1", NOW).rejects
    assert '"depth", which has none' in reject.reason


# times


@pytest.mark.parametrize(
    ("time_format", "zone", "stamp", "micros"),
    [
        ("iso", None, STAMP, AT),
        ("iso", None, "2024-05-01T12:00:00.123456+02:00", AT),
        ("iso", None, "2024-05-01 10:00:00Z", NOW),
        ("iso", None, "20240501T100000Z", NOW),
        ("iso", "Europe/Berlin", "2024-05-01T12:00:00", NOW),
        ("iso", "Europe/Berlin", "2024-05-01T10:00:00Z", NOW),
        ("iso", "Europe/Berlin", "2024-10-27T02:30:00", 1_729_989_000_000_000),  # the first of two
        ("s", None, 1_714_557_600, NOW),
        ("s", None, 1_714_557_600.123456, AT),
        ("s", None, "1714557600.123456", AT),
        ("ms", None, 1_714_557_600_123, NOW + 123_000),
        ("us", None, AT, AT),
        ("us", None, str(AT), AT),
        ("ns", None, AT * 1000 + 999, AT),
        ("%d.%m.%Y %H:%M:%S", "Europe/Berlin", "01.05.2024 12:00:00", NOW),
        ("%d.%m.%Y %H:%M:%S %z", None, "01.05.2024 12:00:00 +0200", NOW),
    ],
)
def test_times(time_format: str, zone: str | None, stamp: Any, micros: int) -> None:
    timed = mapping(value="/v", time="/t", time_format=time_format, time_zone=zone)
    assert one(timed, {"v": 1, "t": stamp}).time == micros


@pytest.mark.parametrize(
    ("time_format", "stamp", "says"),
    [
        ("s", "noon", "is no number"),
        ("s", True, "is no number"),
        ("s", 1e300, "is no time between"),
        ("us", 2**80, "is no time between"),
        ("iso", 5, "is no ISO 8601 time"),
        ("iso", "0001-01-01T00:00:00", "names no time zone"),
        ("%d.%m.%Y", "2024-05-01", 'does not read as "%d.%m.%Y"'),
        ("%d.%m.%Y", 5, "is no text"),
    ],
)
def test_unreadable_times(time_format: str, stamp: Any, says: str) -> None:
    timed = mapping(value="/v", time="/t", time_format=time_format)
    assert says in refused(timed, {"v": 1, "t": stamp})


def test_the_time_of_arrival() -> None:
    assert one(mapping(), 1).time == NOW
    ignored = mapping(clock="arrival", value="/v", time="/t")
    assert one(ignored, {"v": 1, "t": "rubbish"}).time == NOW


def test_a_clock_is_corrected() -> None:
    assert (
        one(mapping(value="/v", time="/t"), {"v": 1, "t": STAMP}, correction=456).time == AT - 456
    )


# identity


def test_items_of_equal_time_are_numbered() -> None:
    timed = mapping(value="/v", time="/t")
    stamps = [STAMP, STAMP, "2024-05-01T10:00:01Z", STAMP]
    mapped = read(timed, [{"v": 1, "t": stamp} for stamp in stamps])
    assert [reading.key for reading in mapped.readings] == [0, 1, 0, 2]


def test_items_of_other_characteristics_are_numbered_apart() -> None:
    named = mapping(topic="lab", characteristic="/c", value="/v")
    mapped = read(named, [{"c": c, "v": 1} for c in "abab"], topic="lab")
    assert [reading.key for reading in mapped.readings] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("raw", "key", "original"),
    [
        (4711, 4711, None),
        (-1, -1, None),
        (4711.0, 4711, None),
        (2**63 - 1, 2**63 - 1, None),
        ("4711", None, "4711"),
        ("SN-1", 3_736_693_352_736_480_855, "SN-1"),
        (2**63, None, str(2**63)),
        (-(2**63), None, str(-(2**63))),
        (10**30, None, str(10**30)),
        ("007", None, "007"),
        (None, 0, None),
    ],
)
def test_keys(raw: Any, key: int | None, original: str | None) -> None:
    reading = one(mapping(value="/v", key="/k"), {"v": 1, "k": raw})
    if original is not None:
        assert reading.key == numbered(original)[0]
    if key is not None:
        assert reading.key == key
    assert (reading.tags or {}).get("key") == original
    assert -(2**63) < reading.key < 2**63


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (1.5, "neither a whole number nor text: 1.5"),
        (True, "neither a whole number nor text: true"),
        ([1], "neither a whole number nor text: an array"),
        (1e30, "too large to be exact as a floating-point number: 1e+30"),
        (10**60, "a huge number"),
        ("x" * 257, "more than 256 characters"),
        ("a\0b", "cannot be stored"),
    ],
)
@pytest.mark.parametrize("what", ["key", "subgroup"])
def test_keys_and_subgroups_that_are_none(raw: Any, says: str, what: str) -> None:
    assert f"has a {what} that" in refused(mapping(value="/v", **{what: "/k"}), {"v": 1, "k": raw})
    assert says in refused(mapping(value="/v", **{what: "/k"}), {"v": 1, "k": raw})


def test_a_subgroup_that_is_no_integer_keeps_its_original() -> None:
    shape = mapping(value="/v", subgroup="/s", tags={"lot": "/l"})
    named = one(shape, {"v": 1, "s": "2026-W17/3", "l": "L7"})
    assert named.subgroup == numbered("2026-W17/3")[0]
    assert named.tags == {"station": "op-20", "lot": "L7", "subgroup": "2026-W17/3"}
    assert one(shape, {"v": 1, "s": 12, "l": "L7"}).tags == {"station": "op-20", "lot": "L7"}


def test_a_number_given_to_the_whole_message_counts_once() -> None:
    counted = mapping(items="/r", sequence="^/n")
    assert read(counted, {"n": 5, "r": [1, 2, 3]}).numbers == [5]
    assert read(
        mapping(value="/v", sequence="/n"), [{"v": 1, "n": 5}, {"v": 1, "n": "6"}]
    ).numbers == [
        5,
        6,
    ]


# words


@pytest.mark.parametrize(
    ("raw", "quality"),
    [
        ("Good", "good"), (" OK ", "good"), (True, "good"), (192, "good"), (216, "good"),
        (192.0, "good"), ("192", "good"), ("uncertain", "uncertain"), (64, "uncertain"),
        (0x40000000, "uncertain"), ("BAD", "bad"), (False, "bad"), (0, "bad"), (24, "bad"),
        (128, "bad"), (0x80340000, "bad"), ("GUT", "good"), ("7", "uncertain"), (7, "uncertain"),
        (None, "good"),
    ],
)  # fmt: skip
def test_qualities(raw: Any, quality: str) -> None:
    own = mapping(value="/v", quality="/q", qualities={"gut": "good", "7": "uncertain"})
    for _ in range(2):  # the second time it is remembered
        assert one(own, {"v": 1, "q": raw}).quality == quality


def test_a_remembered_word_is_not_mistaken_for_its_number() -> None:
    both = mapping(value="/v", quality="/q")
    assert one(both, {"v": 1, "q": True}).quality == "good"
    assert one(both, {"v": 1, "q": 1}).quality == "bad"


def test_purposes() -> None:
    own = mapping(value="/v", purpose="/p", purposes={"RUEST": "setup", "3": "master"})
    assert [
        one(own, {"v": 1, "p": raw}).purpose
        for raw in ("rüst".replace("ü", "ue"), 3, "Rework", None)
    ] == ["setup", "master", "rework", "production"]


def test_the_first_subscription_that_covers_a_topic_counts() -> None:
    routes = Routes(
        [
            mapping(topic="a/{characteristic}"),
            mapping(topic="{x}/{characteristic}", sequence="/n", sequence_scope="subscription"),
        ]
    )
    first, second = routes.find("a/b"), routes.find("c/b")
    assert first is not None
    assert second is not None
    assert (first.tags, first.scope) == (None, "a/b")
    assert (second.tags, second.scope) == ({"x": "c"}, "{x}/{characteristic}")
    assert routes.find("a/b") is first
    assert routes.find("a/b/c") is None


# whatever arrives

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from([STAMP, "2024-05-01T10:00:00", "12,5", "12.5", 1e308, 2**70, "good", 192]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["v", "t", "k", "n", "q", "p", "s", "l", "r", ""]), inner)
    ),
    max_leaves=20,
)
payloads = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())
FULL: dict[str, Any] = {
    "value": "/v", "time": "/t", "key": "/k", "sequence": "/n", "size": "/s", "subgroup": "/l",
    "quality": "/q", "purpose": "/p", "tags": {"lot": "/l", "same": "/v"},
}  # fmt: skip
SHAPES = [
    mapping(),
    mapping(decimal=",", invalid=["x", 5], scale=1e300),
    mapping(value="/v"),
    mapping(**FULL),
    mapping(**FULL, items="/r", time_zone="Europe/Berlin"),
    mapping(**{**FULL, "time": "^/t"}, items="/r", time_format="s", relative_to="target"),
    mapping(topic="lab/{x}/y", characteristic="/q", value="/r/0", time="/t", time_format="%Y"),
]


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(payloads, st.sampled_from(SHAPES))
def test_everything_becomes_readings_or_rejects(payload: bytes, shape: SubscriptionMapping) -> None:
    route = shape.route("lab/x/y") or shape.route("plant/op-20/bore")
    assert route is not None
    mapped = shape.read(route, payload, NOW)
    assert mapped.readings or mapped.rejects
    for reading in mapped.readings:
        assert math.isfinite(reading.value) or reading.quality == "bad"
        assert -(2**63) < reading.key < 2**63
        assert abs(reading.time) < 2**62
        assert all(isinstance(text, str) for text in (reading.tags or {}).values())
    for reject in mapped.rejects:
        assert reject.reason.endswith(".")
        assert len(reject.payload) <= 8192


ITEM = st.fixed_dictionaries(
    {},
    optional={
        "v": st.floats(allow_nan=False, allow_infinity=False)
        | st.integers()
        | st.sampled_from(["1.5", None]),
        "t": st.datetimes(timezones=st.just(dt.UTC)).map(dt.datetime.isoformat),
        "k": st.integers() | st.text(max_size=5) | st.none(),
        "q": st.sampled_from(["good", 192, True]),
        "l": st.text(max_size=5) | st.integers() | st.booleans(),
        "x": json_values,
    },
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(ITEM, min_size=1, max_size=5) | ITEM)
def test_the_compiled_way_and_the_thorough_way_agree(message: Any) -> None:
    keys = {"value": "/v", "time": "/t", "key": "/k", "quality": "/q", "tags": {"lot": "/l"}}
    payload = json.dumps(message, allow_nan=True).encode()
    compiled = mapping(**keys)
    thorough = mapping(**keys)
    thorough._columns = Columns("", ["/v", "/t", "/k", "/q", "/l"], [Any] * 5)
    thorough._columns._decoder = None
    assert read(compiled, payload) == read(thorough, payload)
