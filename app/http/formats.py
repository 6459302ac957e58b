"""How a body is written, JSON, NDJSON or CSV: told apart into items."""

import csv
import io
import json
import re
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

from collectors.reading import Purpose, Quality

SHAPE = 'write {"readings": [{"characteristic": ..., "value": ...}, ...]}'

Format: TypeAlias = Literal["json", "ndjson", "csv"]
Scalar: TypeAlias = str | int | float | bool | None


class Unreadable(Exception):
    """The body cannot be told apart into items."""


class Item(Struct, forbid_unknown_fields=True):
    """One item of a request, as MES systems send it."""

    characteristic: str
    value: float | UnsetType | None = UNSET
    values: list[float] | UnsetType = UNSET
    time: str | None = None
    key: int | float | str | None = None
    size: float | None = None
    quality: Quality = "good"
    purpose: Purpose = "production"
    subgroup: int | float | str | None = None
    tags: dict[str, Scalar] | None = None
    historical: bool = False


Parts: TypeAlias = Iterable[tuple[Item | str, bytes | msgspec.Raw]]


class _Body(Struct, forbid_unknown_fields=True):
    readings: list[Item]


class _Loose(Struct, forbid_unknown_fields=True):
    readings: list[msgspec.Raw]


_body = msgspec.json.Decoder(_Body)
_loose = msgspec.json.Decoder(_Loose)
_item = msgspec.json.Decoder(Item)


def items_of(body: bytes, form: Format) -> Parts:
    """The items of a body, each with its own octets; a sentence stands for one that is wrong.

    Raises:
        Unreadable: it cannot be told apart into items.
    """
    if form == "csv":
        return _csv(body)
    if form == "ndjson":
        return _lines(body)
    try:
        return [(item, b"") for item in _body.decode(body).readings]
    except msgspec.ValidationError:
        pass  # one item at a time then: the others are fine
    except (msgspec.DecodeError, RecursionError) as error:
        return _python_json(body, error)
    try:
        return [_one(raw) for raw in _loose.decode(body).readings]
    except msgspec.ValidationError as error:
        raise Unreadable(f"{SHAPE}: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        return _python_json(body, error)


def _one(raw: bytes | msgspec.Raw) -> tuple[Item | str, bytes | msgspec.Raw]:
    try:
        return _item.decode(raw), raw
    except msgspec.ValidationError as error:
        return worded(error), raw
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _python_item(bytes(raw), error), raw


def _python_json(body: bytes, error: Exception) -> Parts:
    """A second look at what is not strictly JSON: NaN, Infinity, numbers beyond every range."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable(f"the body is no JSON: {error}") from None
    items = document.get("readings") if isinstance(document, dict) else None
    if not isinstance(items, list) or len(document) != 1:
        raise Unreadable(SHAPE)
    return [(_converted(item), json.dumps(item).encode()) for item in items]


def _python_item(raw: bytes, error: Exception) -> Item | str:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return f"is no JSON: {error}"
    return _converted(document)


def _converted(document: object) -> Item | str:
    try:
        return msgspec.convert(document, Item)
    except UnicodeError:
        return "holds characters that cannot be stored"
    except (msgspec.ValidationError, RecursionError) as error:
        return worded(error)


def _lines(body: bytes) -> Parts:
    for line in body.split(b"\n"):
        if line.strip():
            yield _one(line)


COLUMNS = frozenset(Item.__struct_fields__) - {"values", "tags"}
SEPARATORS = ",;\t"
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,38}")


def _csv(body: bytes) -> Parts:
    """Rows under a header; other columns than an item's own are tags."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("the CSV is not UTF-8 text") from None
    head = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        if "characteristic" not in header or "value" not in header:
            raise Unreadable(
                "the first row of the CSV names its columns: characteristic, value, ..."
            )
        if len(set(header)) != len(header):
            raise Unreadable("two columns of the CSV have the same name")
        for row in rows:
            if row:
                yield _row(header, row, separator)
    except csv.Error as error:
        raise Unreadable(f"the CSV cannot be read: {error}") from None


def _row(header: list[str], row: list[str], separator: str) -> tuple[Item | str, bytes]:
    raw = separator.join(row).encode()
    if len(row) != len(header):
        return f"has {len(row)} columns, the header {len(header)}", raw
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
    document: dict[str, Any] = {name: cell for name, cell in cells.items() if name in COLUMNS}
    tags = {name.removeprefix("tags."): cell for name, cell in cells.items() if name not in COLUMNS}
    for number in ("value", "size"):
        # A semicolon between columns leaves the comma to the numbers, as in continental Europe.
        if separator == ";" and number in document:
            document[number] = document[number].replace(",", ".")
    for name in ("key", "subgroup"):
        cell = document.get(name, "")
        if WHOLE.fullmatch(cell):  # "007" is a text: as a number it would not come back as sent
            document[name] = int(cell)
    try:
        return msgspec.convert({**document, "tags": tags or None}, Item, strict=False), raw
    except msgspec.ValidationError as error:
        return worded(error), raw


AT = r"(?: - at `\$\.?(?P<place>[^`]*)`)?"
EXPECTED = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>\w+)`" + AT)
MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")
# These two repeat what a client wrote, which may look like anything.
UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`", re.DOTALL)
OTHER = re.compile(r"Invalid enum value (?P<value>.*) - at `\$\.(?P<place>\w+)`", re.DOTALL)
WORDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
CHOICES = {"quality": Quality, "purpose": Purpose}


def worded(error: Exception) -> str:
    """The library's sentence in words: where, what is wrong, what to do."""
    text = str(error)
    if found := EXPECTED.fullmatch(text):
        expected = found["expected"].split(" | ")
        kinds = dict.fromkeys(word for kind, word in WORDS.items() if kind in expected)
        kinds.pop("null", None)
        said = f"send {' or '.join(kinds)}, not {WORDS.get(found['got'], found['got'])}"
        place = (found["place"] or "").replace("[...]", "")
        return f"{place}: {said}" if place else said
    if found := MISSING.fullmatch(text):
        return f"{found['field']} is missing"
    if found := UNKNOWN.fullmatch(text):
        return (
            f"unknown field {found['field'][:100]}; there are {', '.join(Item.__struct_fields__)}"
        )
    if (found := OTHER.fullmatch(text)) and found["place"] in CHOICES:
        choices = ", ".join(get_args(CHOICES[found["place"]]))
        return f"{found['place']}: {found['value'][:100]} is none of {choices}"
    return text.replace(" - at `$.", ", at `")
