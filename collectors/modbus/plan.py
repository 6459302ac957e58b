"""Which requests read all registers of a device: as few as can be, and what belongs together in one."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from collectors.modbus.config import (
    BITS_MAX,
    REGISTERS_MAX,
    ModbusConfig,
    Register,
    Table,
    Word,
    width,
)
from collectors.modbus.decode import Field, Layout, Value


class Limits(NamedTuple):
    """What one request may read."""

    registers: int = REGISTERS_MAX
    bits: int = BITS_MAX
    gap: int = 16  # addresses nobody asked for that are read on the way

    def count(self, table: Table) -> int:
        """Addresses of ``table`` that one request may read."""
        return self.bits if table in ("coil", "discrete") else self.registers


class Span(NamedTuple):
    """Addresses of one table that are read at once, from ``start`` up to ``end``."""

    device: int
    table: Table
    start: int
    end: int


class Place(NamedTuple):
    """A word with everything that says where it lies."""

    device: int
    table: Table
    field: Field

    @property
    def span(self) -> Span:
        """The addresses it takes."""
        start = self.field.address
        return Span(self.device, self.table, start, start + width(self.field.type))


class Block(NamedTuple):
    """One request and the slots that its answer fills."""

    span: Span
    places: tuple[Place, ...]
    first_slot: int
    layout: Layout | None  # None: a table of bits

    @property
    def slots(self) -> slice:
        """Where its values go."""
        return slice(self.first_slot, self.first_slot + len(self.places))

    def values(self, answer: Sequence[int] | Sequence[bool]) -> list[Value]:
        """The values of its places in an answer."""
        if self.layout is None:
            return [bool(answer[place.field.address - self.span.start]) for place in self.places]
        return self.layout.values(answer)


class Member(NamedTuple):
    """A register of the configuration with the slots of its words."""

    register: Register
    value: int
    key: int | None
    subgroup: int | None
    size: int | None
    time: int | None
    tags: tuple[tuple[str, int | str], ...]  # a slot, or the text itself


class Group(NamedTuple):
    """Registers that are read alike: those of one part counter, or polled ones of the same blocks."""

    trigger: int | None  # its slot
    name: str | None  # under which its count is kept
    period: int | None
    members: tuple[Member, ...]
    polled: tuple[int, ...]  # blocks it needs of every poll
    apart: tuple[int, ...]  # blocks read only after its trigger changed
    again: Block | None  # its trigger alone, read again after those


class Plan(NamedTuple):
    """All requests of a device; the first ``polled`` ones are made at every poll."""

    blocks: tuple[Block, ...]
    polled: int
    groups: tuple[Group, ...]

    @property
    def slots(self) -> int:
        """How many values all blocks fill."""
        return sum(len(block.places) for block in self.blocks)


def cover(spans: Iterable[Span], limits: Limits) -> list[Span]:
    """The fewest requests, in order of address, each within the limits, that read every span whole."""
    found: list[Span] = []
    for span in sorted(set(spans)):
        if found:
            last = found[-1]
            end = max(last.end, span.end)
            if (
                last[:2] == span[:2]
                and span.start - last.end <= limits.gap
                and end - last.start <= limits.count(span.table)
            ):
                found[-1] = last._replace(end=end)
                continue
        found.append(span)
    return found


def plan(config: ModbusConfig) -> Plan:
    """Plan the requests of a source."""
    limits = Limits(config.registers_max, config.bits_max, config.gap)
    grouped: dict[tuple[Place, int | None] | int, list[Register]] = {}
    for index, register in enumerate(config.registers):
        trigger = _trigger(register)
        grouped.setdefault(index if trigger is None else trigger, []).append(register)
    polled: list[Place] = []  # what every poll reads
    indivisible: list[Span] = []
    apart: dict[tuple[Place, int | None] | int, list[Place]] = {}
    for name, registers in grouped.items():
        places = [_place(register, word) for register in registers for _, word in register.words()]
        whole = cover((place.span for place in places), limits)
        if len(whole) == 1 or isinstance(name, int):
            polled += places
            indivisible += whole
        else:
            counter = name[0]
            polled.append(counter)
            indivisible.append(counter.span)
            apart[name] = [place for place in places if place != counter]
    blocks = _blocks(polled, cover(indivisible, limits), 0)
    count = len(blocks)
    own: dict[tuple[Place, int | None] | int, range] = {}
    for name, places in apart.items():
        first_slot = blocks[-1].slots.stop
        spans = cover((place.span for place in places), limits)
        own[name] = range(len(blocks), len(blocks) + len(spans))
        blocks += _blocks(places, spans, first_slot)
    groups = [
        _group(name, registers, blocks, count, own.get(name, range(0)))
        for name, registers in grouped.items()
    ]
    return Plan(tuple(blocks), count, tuple(_joined(groups)))


def _joined(groups: Iterable[Group]) -> Iterator[Group]:
    """Make one group of all polled registers that need the same blocks."""
    polled: dict[tuple[int, ...], list[Member]] = {}
    for group in groups:
        if group.trigger is not None:
            yield group
        else:
            polled.setdefault(group.polled, []).extend(group.members)
    for blocks, members in polled.items():
        yield Group(None, None, None, tuple(members), blocks, (), None)


def _place(register: Register, word: Word) -> Place:
    field = Field(word.address, word.type, word.order, word.bit)
    return Place(register.device, word.table or register.table, field)


def _trigger(register: Register) -> tuple[Place, int | None] | None:
    if register.trigger is None:
        return None
    return _place(register, register.trigger), register.trigger.period()


def _blocks(places: Iterable[Place], spans: Iterable[Span], first_slot: int) -> list[Block]:
    wanted = list(dict.fromkeys(places))
    blocks: list[Block] = []
    for span in spans:
        inside = tuple(place for place in wanted if _holds(span, place.span))
        wanted = [place for place in wanted if not _holds(span, place.span)]
        layout = None
        if span.table in ("holding", "input"):
            fields = [place.field for place in inside]
            layout = Layout(span.start, span.end - span.start, fields)
        blocks.append(Block(span, inside, first_slot, layout))
        first_slot += len(inside)
    return blocks


def _holds(outer: Span, inner: Span) -> bool:
    return outer[:2] == inner[:2] and outer.start <= inner.start and inner.end <= outer.end


def _group(
    name: tuple[Place, int | None] | int,
    registers: Sequence[Register],
    blocks: Sequence[Block],
    polled: int,
    apart: range,
) -> Group:
    counter = None if isinstance(name, int) else name
    slots: dict[Place, tuple[int, int]] = {}  # block, slot; its own blocks before shared ones
    for number in (*range(polled), *apart):
        block = blocks[number]
        for slot, place in enumerate(block.places, block.first_slot):
            slots[place] = (number, slot)
    members: list[Member] = []
    used: set[int] = set()
    for register in registers:

        def slot_of(word: Word | None, register: Register = register) -> int | None:
            if word is None:
                return None
            number, slot = slots[_place(register, word)]
            used.add(number)
            return slot

        value = slot_of(register)
        assert value is not None  # noqa: S101 - a register is a word
        tags = [
            (tag, word if isinstance(word, str) else slot_of(word) or 0)
            for tag, word in register.tags.items()
        ]
        members.append(
            Member(
                register,
                value,
                slot_of(register.key),
                slot_of(register.subgroup),
                slot_of(register.size),
                slot_of(register.time),
                tuple(tags),
            )
        )
    if counter is None:
        needed = tuple(sorted(number for number in used if number < polled))
        return Group(None, None, None, tuple(members), needed, (), None)
    number, trigger = slots[counter[0]]
    used.add(number)
    device, table, field = counter[0]
    return Group(
        trigger,
        f"{device}/{table}/{field.address}",
        counter[1],
        tuple(members),
        tuple(sorted(number for number in used if number < polled)),
        tuple(apart),
        _blocks([counter[0]], [counter[0].span], trigger)[0] if apart else None,
    )
