"""Whatever is posted becomes readings, rejects or one of two errors, and nothing else."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.formats import Unreadable
from app.http.items import ITEMS, Parsed, TooMany, parse
from collectors.reading import KEY_MAX, KEY_MIN

ARRIVED = 1_800_000_000_000_000
forms = st.sampled_from(["json", "ndjson", "csv"])
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
stamps = st.sampled_from(
    [
        "2026-11-23T10:00:00Z",
        "2026-11-23 10:00:00+01:00",
        "2026-11-23T10:00:00",
        "9999-12-31T23:59:59Z",
    ]
)
items = st.fixed_dictionaries(
    {},
    optional={
        "characteristic": st.text(max_size=5) | junk,
        "value": st.floats() | st.integers() | junk,
        "values": st.lists(st.floats(), max_size=4) | junk,
        "time": stamps | junk,
        "key": st.integers() | st.text(max_size=8) | junk,
        "size": st.floats() | junk,
        "quality": st.sampled_from(["good", "bad", "uncertain"]) | junk,
        "purpose": st.sampled_from(["production", "setup"]) | junk,
        "subgroup": st.integers() | st.text(max_size=8) | junk,
        "tags": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3) | junk,
        "other": junk,
    },
)


def read(body: bytes, form: str, identity: str | None = "k") -> Parsed | None:
    try:
        return parse(body, form, str, ARRIVED, identity)
    except (Unreadable, TooMany):
        return None


def check(parsed: Parsed | None) -> None:
    if parsed is None:
        return
    assert len(parsed.readings) == len(parsed.index)
    touched = {*parsed.index, *(reject.index for reject in parsed.rejects)}
    assert touched <= set(range(parsed.items))
    for reading in parsed.readings:
        assert math.isfinite(reading.value) or reading.quality == "bad"
        assert KEY_MIN < reading.key <= KEY_MAX
        assert reading.subgroup is None or KEY_MIN < reading.subgroup <= KEY_MAX
        assert "\0" not in reading.characteristic
        for text in (reading.characteristic, *(reading.tags or {}), *(reading.tags or {}).values()):
            text.encode()
        msgspec.json.encode(reading)
    for reject in parsed.rejects:
        assert reject.reason
        assert "\0" not in reject.reason
        reject.reason.encode()


@given(st.binary(max_size=200), forms)
def test_any_bytes(body, form):
    check(read(body, form))


@given(st.lists(items, max_size=5))
def test_any_items(many):
    check(read(json.dumps({"readings": many}).encode(), "json"))
    check(read("\n".join(json.dumps(item) for item in many).encode(), "ndjson"))


@given(st.text(alphabet='characteristic,value;time"\n\r \t0123-:TZ\0\ud800', max_size=200))
def test_any_table(text):
    head = "characteristic,value,time\n"
    check(read((head + text).encode("utf-8", "surrogatepass"), "csv"))


@given(st.lists(st.tuples(st.sampled_from("ab"), stamps.filter(lambda s: "Z" in s)), max_size=8))
def test_the_usual_way_and_the_careful_way_agree(pairs):
    plain = [{"characteristic": name, "value": 1.5, "time": time} for name, time in pairs]
    quick = read(json.dumps({"readings": plain}).encode(), "json")
    careful = read("\n".join(json.dumps(item) for item in plain).encode(), "ndjson")
    assert quick == careful


@pytest.mark.slow
def test_a_request_has_a_largest_number_of_readings():
    values = json.dumps({"readings": [{"characteristic": "a", "values": [1] * (ITEMS + 1)}]})
    assert read(values.encode(), "json") is None
    assert len(read(b"x\n" * ITEMS, "ndjson").rejects) == ITEMS
    assert read(b'{"readings":[' + b"1," * ITEMS + b"1]}", "json") is None
    assert read(b"x\n" * (ITEMS + 1), "ndjson") is None
    assert read(b"characteristic,value\n" + b"a\n" * (ITEMS + 1), "csv") is None
    single = {"characteristic": "a", "value": 1, "time": "2026-11-23T10:00:00Z"}
    assert read(json.dumps({"readings": [single] * (ITEMS + 1)}).encode(), "json") is None


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"characteristic": "a", "size": "x"}, "size: send a number, not text"),
        ({"characteristic": "a", "values": [1, None]}, "values[1]: send a number, not null"),
        ({"characteristic": "a", "values": {}}, "values: send a list, not an object"),
        ({"characteristic": "a", "key": []}, "key: send text or a number, not a list"),
        ({"characteristic": 5}, "characteristic: send text, not a number"),
        ({"value": 1}, "characteristic is missing"),
        ({"characteristic": "a", "valve": 1}, "unknown field valve; there are characteristic, "),
        ({"characteristic": "a", "quality": "x"}, "quality: 'x' is none of good, uncertain, bad"),
        (5, "send an object, not a number"),
        ({"characteristic": "a", "quality": "x - at `$b"}, "quality: 'x - at `$b' is none of good"),
        ({"characteristic": "a", "quality": "x - at `$.b`"}, "quality: 'x - at `$.b`' is none of"),
        ({"characteristic": "a", "x - at `$.b": 1}, "unknown field x - at `$.b; there are"),
        ({"characteristic": "a", "value": math.nan, "quality": "\ud800"}, "holds characters"),
    ],
)
@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_a_wrong_item_is_told_in_words(item, told, form):
    body = json.dumps(item if form == "ndjson" else {"readings": [item]}).encode()
    [reject] = parse(body, form, str, ARRIVED, "k").rejects
    assert reject.reason.startswith(told)


def test_a_reject_names_its_characteristic_where_it_can():
    wrong = [
        {"characteristic": "scrap", "value": 3, "size": "x"},
        {"characteristic": "scrap", "value": 3, "nonsense": 1},
        {"characteristic": 7, "value": 3},
        {"value": 3},
        "scrap",
    ]
    named = ["scrap", "scrap", None, None, None]
    for form, body in (
        ("json", json.dumps({"readings": wrong})),
        ("ndjson", "\n".join(json.dumps(item) for item in wrong)),
    ):
        assert [reject.characteristic for reject in read(body.encode(), form).rejects] == named
