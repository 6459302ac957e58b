"""Which requests read all registers of a device: as few as can be, and what belongs together in one."""

from bisect import bisect_left
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


Name = tuple[Place, int | None] | int
"""What is read alike: a part counter with its period, or one polled register's number."""


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
        return self._bits(answer) if self.layout is None else self.layout.values(answer)

    def unpacked(self, answer: Sequence[int] | Sequence[bool]) -> list[Value]:
        """The same, but with each float32 as it is, not as its shortest decimal."""
        return self._bits(answer) if self.layout is None else self.layout.unpacked(answer)

    @property
    def float32(self) -> list[int]:
        """The slots of its float32 values."""
        return [] if self.layout is None else [self.first_slot + n for n in self.layout.float32]

    def _bits(self, answer: Sequence[int] | Sequence[bool]) -> list[Value]:
        return [bool(answer[place.field.address - self.span.start]) for place in self.places]


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
    grouped: dict[Name, list[Register]] = {}
    for index, register in enumerate(config.registers):
        trigger = _trigger(register)
        grouped.setdefault(index if trigger is None else trigger, []).append(register)
    polled: list[tuple[Place, Span]] = []  # what every poll reads, and what holds it
    indivisible: list[Span] = []
    together: dict[Name, Span] = {}  # what is read in one request
    apart: dict[Name, list[Place]] = {}
    for name, registers in grouped.items():
        places = [_place(register, word) for register in registers for _, word in register.words()]
        whole = cover((place.span for place in places), limits)
        if len(whole) == 1 and len(places) > 1:
            polled += [(place, whole[0]) for place in places]
            indivisible += whole
            together[name] = whole[0]
        elif len(whole) == 1 or isinstance(name, int):
            polled += [(place, place.span) for place in places]
            indivisible += whole
        else:
            counter = name[0]
            polled.append((counter, counter.span))
            indivisible.append(counter.span)
            apart[name] = [place for place in places if place != counter]
    spans = cover(indivisible, limits)
    blocks = _blocks(polled, spans, 0)
    count = len(blocks)
    shared = _slots(blocks, range(count))
    holds = _Holders(spans)
    own: dict[Name, range] = {name: holds.first(span) for name, span in together.items()}
    for name, places in apart.items():
        first_slot = blocks[-1].slots.stop
        spans = cover((place.span for place in places), limits)
        own[name] = range(len(blocks), len(blocks) + len(spans))
        blocks += _blocks([(place, place.span) for place in places], spans, first_slot)
    groups = [
        _group(
            name,
            registers,
            ChainMap(_slots(blocks, own.get(name, ())), shared),  # its own blocks' before others'
            own[name] if name in apart else range(0),
        )
        for name, registers in grouped.items()
    ]
    return Plan(tuple(blocks), count, tuple(_joined(groups)))


class _Holders:
    """Finds the first of some requests, as cover() gives them, that reads a span whole."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        # Starts and ends ascend both: of those that do not end too early this one begins first.
        self._ends = [(span.device, span.table, span.end) for span in spans]

    def first(self, inner: Span) -> range:
        """Its number; none where none does."""
        number = bisect_left(self._ends, (inner.device, inner.table, inner.end))
        held = number < len(self._spans) and _holds(self._spans[number], inner)
        return range(number, number + held)


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


def _blocks(
    places: Iterable[tuple[Place, Span]], spans: Sequence[Span], first_slot: int
) -> list[Block]:
    """The requests with the places that each fills, every one in the first that holds its span."""
    holds = _Holders(spans)
    held: list[dict[Place, None]] = [{} for _ in spans]
    for place, span in places:
        for number in holds.first(span):
            held[number][place] = None
    blocks: list[Block] = []
    for span, inside in zip(spans, held, strict=True):
        layout = None
        if span.table in ("holding", "input"):
            fields = [place.field for place in inside]
            layout = Layout(span.start, span.end - span.start, fields)
        blocks.append(Block(span, tuple(inside), first_slot, layout))
        first_slot += len(inside)
    return blocks


def _holds(outer: Span, inner: Span) -> bool:
    return outer[:2] == inner[:2] and outer.start <= inner.start and inner.end <= outer.end


def _slots(blocks: Sequence[Block], numbers: Iterable[int]) -> dict[Place, tuple[int, int]]:
    """Where these blocks put each place: block, slot."""
    return {
        place: (number, slot)
        for number in numbers
        for slot, place in enumerate(blocks[number].places, blocks[number].first_slot)
    }


def _group(
    name: Name,
    registers: Sequence[Register],
    slots: Mapping[Place, tuple[int, int]],
    apart: range,
) -> Group:
    counter = None if isinstance(name, int) else name
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
        needed = tuple(sorted(number for number in used if number not in apart))
        return Group(None, None, None, tuple(members), needed, (), None)
    number, trigger = slots[counter[0]]
    used.add(number)
    device, table, field = counter[0]
    return Group(
        trigger,
        f"{device}/{table}/{field.address}",
        counter[1],
        tuple(members),
        tuple(sorted(number for number in used if number not in apart)),
        tuple(apart),
        _blocks([(counter[0], counter[0].span)], [counter[0].span], trigger)[0] if apart else None,
    )
