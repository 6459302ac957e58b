"""Few requests, every register in one, what belongs together in the same one."""

from hypothesis import given
from hypothesis import strategies as st

from collectors.modbus.config import ModbusConfig
from collectors.modbus.plan import Limits, Span, cover, plan

spans = st.builds(
    lambda device, table, start, length: Span(device, table, start, start + length),
    st.integers(1, 2),
    st.sampled_from(["holding", "input", "coil", "discrete"]),
    st.integers(0, 600),
    st.integers(1, 8),
)
limits_ = st.builds(Limits, st.integers(8, 125), st.integers(8, 2000), st.integers(0, 40))


def config(*registers, **settings):
    return ModbusConfig.model_validate(
        {"id": "plc", "url": "tcp://127.0.0.1:502", "register": list(registers), **settings}
    )


@given(st.lists(spans, min_size=1, max_size=40), limits_)
def test_every_span_is_read_whole_and_no_request_is_too_long(wanted, limits):
    found = cover(wanted, limits)
    for span in wanted:
        assert any(
            one[:2] == span[:2] and one.start <= span.start and span.end <= one.end for one in found
        )
    for one in found:
        assert one.end - one.start <= limits.count(one.table)
        inside = sorted(
            span
            for span in wanted
            if span[:2] == one[:2] and one.start <= span.start and span.end <= one.end
        )
        reached = one.start
        for span in inside:
            assert span.start - reached <= limits.gap
            reached = max(reached, span.end)
        assert reached == one.end


@given(st.lists(st.tuples(st.integers(0, 3000), st.booleans()), min_size=1, max_size=60), limits_)
def test_every_slot_of_a_plan_is_filled_by_the_register_it_stands_for(rows, limits):
    registers = [
        {
            "characteristic": f"c{number}",
            "address": address,
            "type": "uint32",
            "tags": {"lot": {"address": address + 30, "type": "string(8)"}},
            **({"trigger": {"address": 5 + address // 1000}} if triggered else {}),
        }
        for number, (address, triggered) in enumerate(rows)
    ]
    made = plan(
        config(*registers, registers_max=limits.registers, bits_max=limits.bits, gap=limits.gap)
    )
    slots = [0] * made.slots
    for block in made.blocks:
        assert block.span.end - block.span.start <= limits.registers
        image = [address % 65536 for address in range(block.span.start, block.span.end)]
        slots[block.slots] = block.values(image)
    members = [member for group in made.groups for member in group.members]
    assert len(members) == len(rows)
    for member in members:
        address = member.register.address
        assert slots[member.value] == (address << 16) + address + 1
    for group in made.groups:
        assert all(number < made.polled for number in group.polled)
        assert all(number >= made.polled for number in group.apart)
        if group.trigger is not None:
            assert slots[group.trigger] == int(group.name.rpartition("/")[2])
        # Without another look at the counter, one request must hold everything.
        assert group.trigger is None or group.apart or len(group.polled) == 1


def test_trigger_value_and_tags_are_one_request():
    made = plan(
        config(
            {
                "characteristic": "press-force",
                "address": 100,
                "type": "float32",
                "trigger": {"address": 98},
                "tags": {"lot": {"address": 110, "type": "string(16)"}},
            }
        )
    )
    assert [block.span for block in made.blocks] == [Span(1, "holding", 98, 118)]
    assert made.groups[0].again is None


def test_a_trigger_far_away_is_looked_at_again():
    made = plan(
        config(
            {"characteristic": "a", "address": 400, "type": "int16", "trigger": {"address": 98}},
            {"characteristic": "b", "address": 100, "type": "int16", "trigger": {"address": 98}},
        )
    )
    (group,) = made.groups
    assert made.polled == 1
    assert [block.span.start for block in made.blocks] == [98, 100, 400]
    assert group.again.span == Span(1, "holding", 98, 99)
    assert [member.register.characteristic for member in group.members] == ["a", "b"]


def test_a_bit_that_triggers_nothing_lies_in_its_own_table():
    made = plan(
        config(
            {"characteristic": "door", "table": "discrete", "address": 9},
            {"characteristic": "lid", "table": "discrete", "address": 11},
            {"characteristic": "valve", "table": "coil", "address": 9},
        )
    )
    assert [block.span for block in made.blocks] == [
        Span(1, "coil", 9, 10),
        Span(1, "discrete", 9, 12),
    ]
    assert made.blocks[1].values([True, False, False]) == [True, False]


def test_a_whole_plc_takes_few_requests():
    registers = [
        {"characteristic": f"c{number}", "address": 2 * number, "type": "float32"}
        for number in range(500)
    ]
    assert len(plan(config(*registers)).blocks) == 9  # 62 of them fit in 125 registers
