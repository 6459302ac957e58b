"""A posted body becomes readings and rejects; pure, so that large bodies can go to a thread."""

import datetime as dt
import json
import math
from collections.abc import Callable, Iterator
from typing import Annotated, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct

from app.http.formats import Format, Item, Scalar, items_of
from collectors.key import KEY_TAG, RESERVED_TAGS, SUBGROUP_TAG, name_of, numbered
from collectors.reading import KEY_MAX, KEY_MIN, Purpose, Quality, Reading, Reject
from collectors.stamp import EPOCH, MICROSECOND, stamp_reader

ITEMS = 100_000
"""The most readings of one request."""
PAYLOAD = 8 * 1024
NAME = 200


class TooMany(Exception):
    """More readings than one request may carry."""


Number: TypeAlias = Annotated[int, Meta(ge=KEY_MIN + 1, le=KEY_MAX)]


class _Plain(Struct, forbid_unknown_fields=True, gc=False):
    """The usual item, decoded and checked by the library alone, but for its texts."""

    characteristic: str
    value: float
    time: Annotated[dt.datetime, Meta(tz=True)]
    key: Number | None = None
    size: float | None = None
    quality: Quality = "good"
    purpose: Purpose = "production"
    subgroup: Number | None = None
    tags: dict[str, str] | None = None
    historical: bool = False


class _Usual(Struct, forbid_unknown_fields=True):
    readings: list[_Plain]


class _Named(Struct):
    """What an item that is wrong in itself calls its characteristic."""

    characteristic: str


class Parsed(Struct):
    """What a body holds; ``index`` says which item each reading came from."""

    readings: list[Reading]
    index: list[int]
    rejects: list[Reject]
    items: int
    timeless: bool = False
    """Some reading carries the time of the request, not one of its own."""


_usual = msgspec.json.Decoder(_Usual)
_named = msgspec.json.Decoder(_Named)
_stamp = stamp_reader("iso", None)


def parse(
    body: bytes, form: Format, name_for: Callable[[str], str], arrived: int, identity: str | None
) -> Parsed:
    """Readings and rejects of ``body``.

    ``name_for`` turns aliases into ids, ``arrived`` stands in for a missing time when ``identity``
    (of the request) makes a repeat recognisable.

    Raises:
        Unreadable: it is no JSON, or not of the documented shape.
        TooMany: it holds more than ``ITEMS``.
    """
    if form == "json":
        usual = _all_usual(body, name_for)
        if usual is not None:
            return usual
    parsed = Parsed([], [], [], 0)
    places: dict[tuple[str, int], int] = {}
    for item, raw in items_of(body, form):
        index = parsed.items
        parsed.items += 1
        if parsed.items > ITEMS:
            raise TooMany
        if isinstance(item, str):
            payload, name = bytes(raw)[:PAYLOAD], _called(raw)
            parsed.rejects.append(Reject(_storable(item), payload, index, name))
            continue
        try:
            made = list(_readings(item, name_for, arrived, identity, places))
        except ValueError as error:
            payload = bytes(raw) or json.dumps(msgspec.to_builtins(item)).encode()
            name = _storable(item.characteristic[:NAME])
            parsed.rejects.append(Reject(_storable(str(error)), payload[:PAYLOAD], index, name))
            continue
        parsed.timeless |= item.time is None
        parsed.readings += made
        parsed.index += [index] * len(made)
        if len(parsed.readings) > ITEMS:
            raise TooMany
    return parsed


def _all_usual(body: bytes, name_for: Callable[[str], str]) -> Parsed | None:
    """Readings of a body in which every item is plain and right; None: look closer."""
    try:
        items = _usual.decode(body).readings
    except (msgspec.DecodeError, RecursionError):
        return None
    if len(items) > ITEMS:
        raise TooMany
    if any(name != _storable(name) for name in {item.characteristic for item in items}):
        return None
    readings: list[Reading] = []
    places: dict[tuple[str, int], int] = {}
    moment, time = EPOCH, 0
    for item in items:
        if item.time != moment:  # the characteristics of a part mostly share its time
            moment, time = item.time, (item.time - EPOCH) // MICROSECOND
        key = item.key
        if key is None:
            place = (name_for(item.characteristic), time)
            key = places.get(place, 0)
            places[place] = key + 1
        if item.tags and not _storable_tags(item.tags):
            return None
        readings.append(
            Reading(
                item.characteristic,
                item.value,
                time,
                key,
                item.size,
                item.quality,
                item.purpose,
                item.subgroup,
                item.tags or None,
                item.historical,
            )
        )
    return Parsed(readings, list(range(len(readings))), [], len(items))


def _storable_tags(tags: dict[str, str]) -> bool:
    return all(
        name not in RESERVED_TAGS and name == _storable(name) and value == _storable(value)
        for name, value in tags.items()
    )


def _readings(
    item: Item,
    name_for: Callable[[str], str],
    arrived: int,
    identity: str | None,
    places: dict[tuple[str, int], int],
) -> Iterator[Reading]:
    """The readings of one item; positions among equal times number those without a key."""
    values = _values(item)
    if item.characteristic != _storable(item.characteristic):
        raise ValueError("characteristic: holds characters that cannot be stored")
    if item.time is not None:
        try:
            time = _stamp(item.time)
        except ValueError as error:
            said = str(error).replace('set "time_zone"', 'write it with "Z" or an offset')
            raise ValueError(f"time: {said.replace('; see time_format', '')}") from None
    elif identity is None:
        raise ValueError("time is missing; send it, or an Idempotency-Key with the request")
    else:
        time = arrived
    tags = _tags(item.tags)
    subgroup = None
    if item.subgroup is not None:
        subgroup, original = numbered(_name(item.subgroup, SUBGROUP_TAG))
        if original is not None:
            tags[SUBGROUP_TAG] = original
    given = None if item.key is None else _name(item.key, KEY_TAG)
    place = (name_for(item.characteristic), time)
    for position, value in enumerate(values):
        own = tags
        if given is None:
            key = places.get(place, 0)
            places[place] = key + 1
        else:
            key, original = numbered(given if item.values is UNSET else f"{given}/{position}")
            if original is not None:
                own = {**tags, KEY_TAG: str(given)}
        yield Reading(
            item.characteristic,
            value,
            time,
            key,
            item.size,
            item.quality,
            item.purpose,
            subgroup,
            own or None,
            item.historical,
        )


def _name(raw: object, what: str) -> int | str:
    try:
        return name_of(raw)
    except ValueError as error:
        raise ValueError(f"the {what} {error}") from None


def _values(item: Item) -> list[float]:
    if item.values is not UNSET:
        if item.value is not UNSET:
            raise ValueError("send value or values, not both")
        if not item.values:
            raise ValueError("values is empty")
        return _finite(item.values, item.quality)
    if item.value is UNSET:
        raise ValueError("value is missing")
    if item.value is None:
        if item.quality != "bad":
            raise ValueError('value is null; only a reading of quality "bad" may have none')
        return [math.nan]
    return _finite([item.value], item.quality)


def _finite(values: list[float], quality: Quality) -> list[float]:
    for value in values:
        if quality != "bad" and not math.isfinite(value):
            raise ValueError(f"the value {value} is no finite number")
    return values


def _tags(tags: dict[str, Scalar] | None) -> dict[str, str]:
    if not tags:
        return {}
    if RESERVED_TAGS & tags.keys():
        raise ValueError(f'the tags "{KEY_TAG}" and "{SUBGROUP_TAG}" are taken; choose other names')
    told = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in tags.items()
        if value is not None
    }
    if any(text != _storable(text) for pair in told.items() for text in pair):
        raise ValueError("tags: hold characters that cannot be stored")
    return told


def _called(raw: bytes | msgspec.Raw) -> str | None:
    try:
        return _storable(_named.decode(raw).characteristic[:NAME])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _storable(text: str) -> str:
    """Text without what PostgreSQL refuses: NUL, and halves of surrogate pairs."""
    if text.isascii():
        return text.replace("\0", "?")
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
