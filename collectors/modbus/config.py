"""The settings of a Modbus source, checked without the network."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, Field, FiniteFloat, model_validator

from collectors.key import RESERVED_TAGS
from collectors.source import Duration, SourceConfig, parse_duration

REGISTERS_MAX, BITS_MAX = 125, 2000  # one request, Modbus Application Protocol 1.1b3, 6.1 and 6.3

Table = Literal["holding", "input", "coil", "discrete"]
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]

INTEGERS = ("int16", "uint16", "int32", "uint32", "int64", "uint64")
NUMBERS = (*INTEGERS, "float32", "float64")


def _word_type(given: str) -> str:
    if given in (*NUMBERS, "bit"):
        return given
    match = re.fullmatch(r"string\((\d+)\)", given)
    if match is None:
        raise ValueError(
            f"{given!r} is not a type: use one of {', '.join(NUMBERS)}, bit or string(n)"
        )
    if not 1 <= int(match[1]) <= 2 * REGISTERS_MAX:
        raise ValueError(f"{given}: a string has 1 to {2 * REGISTERS_MAX} characters")
    return given


def _endpoint(given: str) -> str:
    parts = urlsplit(given)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{given!r}: {error}") from error
    if parts.scheme != "tcp" or not parts.hostname or parts.path not in ("", "/") or port == 0:
        raise ValueError(f"{given!r} is not a Modbus address: say for instance tcp://10.0.0.7:502")
    return given


def _poll(given: int) -> int:
    if not parse_duration("10ms") <= given <= parse_duration("1d"):
        raise ValueError("the time between two polls is from 10ms to 1d")
    return given


def _timeout(given: int) -> int:
    if not parse_duration("10ms") <= given <= parse_duration("1m"):
        raise ValueError("the time to wait for an answer is from 10ms to 1m")
    return given


def _zone(given: str | None) -> str | None:
    if given is not None:
        try:
            ZoneInfo(given)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(
                f"{given!r} is not a time zone: say for instance Europe/Berlin"
            ) from error
    return given


WordType = Annotated[str, AfterValidator(_word_type)]


def width(word_type: str) -> int:
    """Registers that a value of this type takes."""
    if word_type.startswith("string"):
        return (int(word_type[7:-1]) + 1) // 2
    return {"16": 1, "it": 1, "32": 2, "64": 4}[word_type[-2:]]


class Word(BaseModel, frozen=True, extra="forbid"):
    """Where a value lies in a device, and how it is written there."""

    address: Annotated[int, Field(ge=0, le=65535)]
    type: WordType = "uint16"
    order: Order = "ABCD"
    table: Table | None = None  # None: that of the register it belongs to
    bit: Annotated[int, Field(ge=0, le=15)] | None = None  # of a register, 0 is the lowest

    def objection(self, table: Table) -> str | None:
        """What is wrong with this word in ``table``; None when nothing is."""
        table = self.table or table
        if table in ("coil", "discrete"):
            if self.type != "bit":
                return f'the {table} at {self.address} is a bit: say type = "bit"'
            if self.bit is not None:
                return f"the {table} at {self.address} is a bit itself: leave 'bit' out"
        elif (self.type == "bit") != (self.bit is not None):
            return (
                f"the {self.type} at {self.address} of table {table!r}: a bit of a register needs "
                'type = "bit" and bit = 0 to 15 (0 is the lowest), other types need neither'
            )
        if self.type.startswith("string") and self.order in ("CDAB", "DCBA"):
            return (
                f"the {self.type} at {self.address}: the words of a string are never swapped, "
                "its bytes may be: use order ABCD or BADC"
            )
        if self.address + width(self.type) > 65536:
            return f"the {self.type} at {self.address} runs beyond the last address 65535"
        return None


class Trigger(Word, frozen=True):
    """A part counter: its change says that the registers hold a new part."""

    on: Literal["change"] = "change"
    wrap: Annotated[int, Field(ge=2)] | None = None  # counts before it starts anew

    def period(self) -> int | None:
        """Counts until the counter starts anew; None when it never does."""
        if self.wrap is not None or not self.type.startswith("u"):
            return self.wrap
        return 1 << int(self.type[4:])


class TimeWord(Word, frozen=True):
    """A clock of the device."""

    format: str = "s"  # iso s ms us ns, or a strptime pattern
    zone: Annotated[str | None, AfterValidator(_zone)] = None  # for stamps without one

    def objection(self, table: Table) -> str | None:
        """What is wrong with this clock in ``table``; None when nothing is."""
        if (self.format in ("s", "ms", "us", "ns")) == self.type.startswith("string"):
            return (
                f"the time at {self.address}: a {self.type} does not hold the format "
                f"{self.format!r}; numbers hold s, ms, us or ns, strings iso or a strptime pattern"
            )
        if self.format not in ("s", "ms", "us", "ns", "iso") and "%" not in self.format:
            return f"the time at {self.address}: {self.format!r} is not a strptime pattern"
        return super().objection(table)


class Register(Word, frozen=True):
    """One characteristic: where its value lies and what belongs to it."""

    characteristic: Annotated[str, Field(min_length=1)]
    device: Annotated[int, Field(ge=0, le=255)] = 1
    table: Table = "holding"
    type: WordType = "bit"  # asked for, except where only a bit is possible
    scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    offset: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    invalid: tuple[
        FiniteFloat | Literal["nan"], ...
    ] = ()  # what the device writes where it has no value, unscaled
    trigger: Trigger | None = None
    tags: dict[str, str | Word] = {}  # a text, or where it lies
    key: Word | None = None
    subgroup: Word | None = None
    size: Word | None = None
    time: TimeWord | None = None

    def words(self) -> Iterator[tuple[str, Word]]:
        """Every word of this register with what it is for, its own value first."""
        yield "value", self
        for role in ("trigger", "key", "subgroup", "size", "time"):
            word = getattr(self, role)
            if word is not None:
                yield role, word
        for name, tag in self.tags.items():
            if isinstance(tag, Word):
                yield f"tag {name!r}", tag

    @model_validator(mode="before")
    @classmethod
    def _type_stated(cls, given: Any) -> Any:
        if (
            isinstance(given, dict)
            and "type" not in given
            and given.get("table", "holding") in ("holding", "input")
            and "bit" not in given
        ):
            raise ValueError(
                f"register {given.get('characteristic', '')!r}: its type is missing, "
                'for instance type = "float32"'
            )
        return given

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        for role, word in self.words():
            objection = word.objection(self.table)
            if objection is None and role == "trigger" and word.type not in INTEGERS:
                objection = f"a part counter is one of {', '.join(INTEGERS)}, not {word.type}"
            if objection is None and role == "size" and word.type not in NUMBERS:
                objection = f"a sample size is a number, not a {word.type}"
            if objection is None and role in ("key", "subgroup") and word.type not in INTEGERS:
                objection = (
                    None
                    if word.type.startswith("string")
                    else f"a {role} is an integer or a string, not a {word.type}"
                )
            if objection is not None:
                raise ValueError(f"register {self.characteristic!r}, {role}: {objection}")
        for tag in RESERVED_TAGS.intersection(self.tags):
            raise ValueError(
                f"register {self.characteristic!r}: the tag {tag!r} holds the original of a {tag}; "
                "choose another name"
            )
        if self.scale == 0.0:
            raise ValueError(f"register {self.characteristic!r}: a scale of 0 leaves no value")
        return self


class ModbusConfig(SourceConfig, frozen=True, serialize_by_alias=True):
    """One device or gateway, reached over TCP."""

    kind: Literal["modbus"] = "modbus"
    url: Annotated[str, AfterValidator(_endpoint)]
    poll: Annotated[Duration, AfterValidator(_poll)] = parse_duration("1s")
    timeout: Annotated[Duration, AfterValidator(_timeout)] = parse_duration("1s")
    gap: Annotated[int, Field(ge=0, le=REGISTERS_MAX)] = 16  # unasked registers read on the way
    registers_max: Annotated[int, Field(ge=1, le=REGISTERS_MAX)] = REGISTERS_MAX
    bits_max: Annotated[int, Field(ge=1, le=BITS_MAX)] = BITS_MAX
    register_: Annotated[tuple[Register, ...], Field(alias="register")]

    @property
    def registers(self) -> tuple[Register, ...]:
        """What is read, in the order of the file."""
        return self.register_

    @property
    def host(self) -> str:
        """The device's name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The device's port."""
        return urlsplit(self.url).port or 502

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if not self.registers:
            raise ValueError("a Modbus source needs at least one [[source.register]]")
        counters: dict[tuple[int, str, int], Trigger] = {}
        for register in self.registers:
            for role, word in register.words():
                if width(word.type) > self.registers_max:
                    raise ValueError(
                        f"register {register.characteristic!r}, {role}: a {word.type} does not fit "
                        f"in one request of {self.registers_max} registers"
                    )
            trigger = register.trigger
            if trigger is None:
                continue
            place = (register.device, trigger.table or register.table, trigger.address)
            if counters.setdefault(place, trigger) != trigger:
                raise ValueError(
                    f"register {register.characteristic!r}: the trigger at {trigger.address} is "
                    "described in two different ways; write it the same way everywhere"
                )
        return self
