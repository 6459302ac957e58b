"""Values to readings: identity, time, tags, quality, and what is none."""

import math

from collectors.key import numbered
from collectors.modbus.config import ModbusConfig
from collectors.modbus.part import Moment, Part
from collectors.modbus.plan import plan
from collectors.reading import Reading, Reject

AT = 1_800_000_000_000_000


def part(position=0, clock="source", **register):
    given = {"characteristic": "force", "address": 100, "type": "float32", **register}
    config = ModbusConfig.model_validate(
        {"id": "plc", "url": "tcp://127.0.0.1:502", "register": [given]}
    )
    (group,) = plan(config).groups
    return Part(group.members[0], position, clock), group.members[0]


def made(slots_by_role, moment=Moment(AT), **given):  # noqa: B008 - it never changes
    one, member = part(**given)
    slots = [0] * 20
    for role, value in slots_by_role.items():
        slot = dict(member.tags)[role] if role in dict(member.tags) else getattr(member, role)
        slots[slot] = value
    return one.made(slots, moment)


def test_a_polled_value():
    assert made({"value": 25.02}) == Reading("force", 25.02, AT, 0)


def test_a_part_is_known_by_its_count():
    found = made({"value": 25.02}, Moment(AT, 117), trigger={"address": 98})
    assert found == Reading("force", 25.02, AT, 117)


def test_several_readings_of_one_part_keep_their_order():
    found = made({"value": 25.02}, Moment(AT, 117), position=2, trigger={"address": 98})
    assert found == Reading("force", 25.02, AT + 2, 117)


def test_all_that_belongs_to_a_value():
    found = made(
        {"value": 3, "key": 4711, "subgroup": 12, "size": 50, "time": 1_800_000_007, "lot": "A 7"},
        type="uint16",
        key={"address": 101, "type": "uint32"},
        subgroup={"address": 103},
        size={"address": 104},
        time={"address": 105, "type": "uint32"},
        tags={"lot": {"address": 107, "type": "string(8)"}, "press": "7"},
    )
    assert found == Reading(
        "force",
        3.0,
        AT + 7_000_000,
        4711,
        50.0,
        subgroup=12,
        tags={"lot": "A 7", "press": "7"},
    )


def test_a_text_key_keeps_its_original():
    found = made({"value": 1.0, "key": "SN-1"}, key={"address": 102, "type": "string(8)"})
    assert found.tags == {"key": "SN-1"}
    assert (
        found.key
        == made({"value": 2.0, "key": "SN-1"}, key={"address": 102, "type": "string(8)"}).key
    )


def test_a_count_or_key_beyond_64_bits_keeps_its_original():
    huge = 2**64 - 3
    for found in (
        made({"value": 1.0}, Moment(AT, huge), trigger={"address": 98, "type": "uint64"}),
        made({"value": 1.0, "key": huge}, key={"address": 102, "type": "uint64"}),
    ):
        assert found.key == numbered(huge)[0]
        assert found.tags == {"key": str(huge)}
    fits = made({"value": 1.0, "key": 2**63 - 1}, key={"address": 102, "type": "uint64"})
    assert (fits.key, fits.tags) == (2**63 - 1, None)


def test_a_subgroup_in_a_text_keeps_its_original():
    given = {"subgroup": {"address": 102, "type": "string(8)"}, "tags": {"press": "7"}}
    found = made({"value": 1.0, "subgroup": "S-12"}, **given)
    assert found.subgroup == numbered("S-12")[0]
    assert found.tags == {"press": "7", "subgroup": "S-12"}


def test_a_value_in_a_text():
    def read(text, **more):
        return made({"value": text}, type="string(12)", **more)

    assert (read("25,02").value, read("+2.5e1").value) == (25.02, 25.0)
    assert read("NaN", invalid=["nan"]).quality == "bad"
    for text in ("NaN", "inf", "1_000", "", "25,02 mm", "1,000.5", "-"):
        assert "the value is" in read(text).reason


def test_a_clock_in_a_text_has_the_zone_it_is_given():
    found = made(
        {"value": 1.0, "time": "06.01.2026 08:00:00"},
        time={
            "address": 102,
            "type": "string(20)",
            "format": "%d.%m.%Y %H:%M:%S",
            "zone": "Europe/Berlin",
        },
    )
    assert found.time == 1_767_682_800_000_000


def test_a_clock_is_ignored_where_arrival_counts():
    clock = {"address": 102, "type": "uint32"}
    assert made({"value": 1.0, "time": 5}, clock="arrival", time=clock).time == AT


def test_a_clock_is_corrected_by_its_skew():
    clock = {"address": 102, "type": "uint32"}
    moment = Moment(AT, skew=3_000_000)
    found = made({"value": 1.0, "time": AT // 1_000_000 + 3}, moment, clock="corrected", time=clock)
    assert found.time == AT


def test_an_invalid_value_is_a_bad_reading():
    for word_type, invalid, raw in (("int16", [32767], 32767), ("float32", ["nan"], math.nan)):
        found = made({"value": raw}, type=word_type, invalid=invalid, scale=0.1)
        assert found.quality == "bad"
        assert math.isnan(found.value)
    assert made({"value": 32766}, type="int16", invalid=[32767]).quality == "good"


def test_what_is_no_number_is_rejected_with_its_place():
    found = made({"value": math.nan})
    assert isinstance(found, Reject)
    assert "the value is nan (float32 at holding 100 of device 1)" in found.reason
    assert b'"value":"nan"' in found.payload
    assert isinstance(made({"value": "12,5x"}, type="string(8)"), Reject)
    assert made({"value": "12,5"}, type="string(8)").value == 12.5


def test_a_clock_that_shows_no_time_is_rejected():
    found = made({"value": 1.0, "time": math.inf}, time={"address": 102, "type": "float64"})
    assert isinstance(found, Reject)


def test_a_bit_is_one_or_zero():
    assert made({"value": True}, table="coil", type="bit").value == 1.0
