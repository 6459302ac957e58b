"""From a topic and bytes to readings, and to rejects that say in words what is wrong."""

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import UNSET

from collectors.key import KEY_TAG, SUBGROUP_TAG, name_of, numbered
from collectors.mqtt.config import Subscription
from collectors.mqtt.payload import KEPT_PAYLOAD, LARGEST_PAYLOAD, Columns, PayloadInvalid, Row
from collectors.mqtt.topic import TopicPattern
from collectors.number import markers, number
from collectors.reading import KEY_MAX, KEY_MIN, Purpose, Quality, Reading, Reject
from collectors.shown import WIDEST_INTEGER, shown
from collectors.stamp import stamp_reader
from collectors.words import purpose_of, quality_of

LONGEST_NAME = 256
ROUTES_REMEMBERED = 20_000
WORDS_REMEMBERED = 1_000

Target = Callable[[str], float | None]
"""The target value of a characteristic, by the name that the source uses; None without one."""

_SCALAR = str | int | float | bool | None
_TYPES: dict[str, Any] = {
    "value": float | str | None,
    "key": int | str | None,
    "sequence": int | None,
    "size": float | str | None,
    "subgroup": int | str | None,
    "quality": int | str | bool | None,
    "purpose": int | str | None,
    "characteristic": str | None,
}
_TIME_TYPES: dict[str, Any] = {
    "iso": dt.datetime | None,
    "s": int | float | None,
    "ms": int | float | None,
    "us": int | float | None,
    "ns": int | float | None,
}


class ItemInvalid(ValueError):
    """An item cannot be a reading; says why, as the end of a sentence about the message."""


class Route(NamedTuple):
    """What a topic tells: how its messages map, and what its placeholders stand for."""

    topic: str
    characteristic: str | None
    tags: Mapping[str, str] | None
    scope: str  # whose numbers its sequence continues
    subscription: "SubscriptionMapping"


class Mapped(NamedTuple):
    """What one message became; never empty."""

    readings: list[Reading]
    rejects: list[Reject]
    numbers: Sequence[int] = ()  # how the source numbered it


class SubscriptionMapping:
    """One subscription, compiled: where everything lies in a row, and what it means."""

    def __init__(
        self,
        subscription: Subscription,
        clock: Literal["source", "arrival", "corrected"],
        target: Target,
    ) -> None:
        self._given = subscription
        self.pattern = TopicPattern(subscription.topic)
        self._target = target if subscription.relative_to == "target" else None
        pointer = subscription.characteristic
        self._name = None if pointer is None or pointer.startswith(("/", "^")) else pointer
        self.timed = subscription.time is not None and clock != "arrival"
        self._stamp = stamp_reader(subscription.time_format, subscription.time_zone)
        self._invalid = markers(subscription.invalid)
        self._decimal = subscription.decimal
        self._linear = subscription.scale != 1.0 or subscription.offset != 0.0
        self._qualities: dict[tuple[type, object], Quality] = {}
        self._purposes: dict[tuple[type, object], Purpose] = {}
        self._place()

    def _place(self) -> None:
        given = self._given
        pointers: dict[str, Any] = {}

        def at(pointer: str | None, kind: Any) -> int | None:
            if pointer is None:
                return None
            pointers[pointer] = Any if pointer in pointers else kind
            return list(pointers).index(pointer)

        self._value_at = at(given.value, _TYPES["value"])
        time_type = _TIME_TYPES.get(given.time_format, str | None)
        self._time_at = at(given.time, time_type) if self.timed else None
        self._key_at = at(given.key, _TYPES["key"])
        self._sequence_at = at(given.sequence, _TYPES["sequence"])
        self._size_at = at(given.size, _TYPES["size"])
        self._subgroup_at = at(given.subgroup, _TYPES["subgroup"])
        self._quality_at = at(given.quality, _TYPES["quality"])
        self._purpose_at = at(given.purpose, _TYPES["purpose"])
        named = given.characteristic is not None and self._name is None
        self._name_at = at(given.characteristic, _TYPES["characteristic"]) if named else None
        self._tags_at = [(name, at(pointer, _SCALAR) or 0) for name, pointer in given.tags.items()]
        self._columns = Columns(given.items, list(pointers), list(pointers.values()))

    def route(self, topic: str) -> Route | None:
        """What ``topic`` tells, None when this subscription does not cover it."""
        found = self.pattern.match(topic)
        if found is None:
            return None
        tags = {name: text for name, text in found.items() if name != "characteristic"}
        scope = topic if self._given.sequence_scope == "topic" else self._given.topic
        return Route(topic, found.get("characteristic", self._name), tags or None, scope, self)

    def read(self, route: Route, payload: bytes, received_at: int, correction: int = 0) -> Mapped:
        """The readings of a message; ``correction`` microseconds are taken off its stamps."""
        try:
            rows = self._columns.rows(payload)
        except PayloadInvalid as error:
            return Mapped([], [_reject(route, payload, str(error))])
        readings: list[Reading] = []
        rejects: list[Reject] = []
        numbers: list[int] = []
        ordinals: dict[tuple[str, int], int] | None = {} if len(rows) > 1 else None
        for index, row in enumerate(rows):
            try:
                if self._sequence_at is not None:
                    self._number(row[self._sequence_at], numbers)
                readings.append(self._reading(row, route, received_at, correction, ordinals))
            except ItemInvalid as error:
                shown = payload if len(rows) == 1 else self._columns.item(payload, index)
                rejects.append(_reject(route, shown, str(error), index, self._named_in(row)))
        return Mapped(readings, rejects, numbers)

    def _reading(
        self,
        row: Row,
        route: Route,
        received_at: int,
        correction: int,
        ordinals: dict[tuple[str, int], int] | None,
    ) -> Reading:
        name = route.characteristic
        if name is None:
            name = self._characteristic(row)
        time = received_at
        if self._time_at is not None:
            time = self._time(row[self._time_at]) - correction
        quality: Quality = "good"
        if self._quality_at is not None:
            quality = self._quality(row[self._quality_at])
        value = self._value(row, name, quality)
        if value != value:  # noqa: PLR0124 - nan
            quality = "bad"
        tags = route.tags if not self._tags_at else self._tags(row, route.tags)
        key = subgroup = None
        if self._key_at is not None:
            key, tags = self._named(row[self._key_at], KEY_TAG, tags)
        if self._subgroup_at is not None:
            subgroup, tags = self._named(row[self._subgroup_at], SUBGROUP_TAG, tags)
        if key is None:
            key = 0
            if ordinals is not None:
                key = ordinals.get((name, time), 0)
                ordinals[name, time] = key + 1
        return Reading(
            name,
            value,
            time,
            key,
            None if self._size_at is None else self._size(row[self._size_at]),
            quality,
            "production" if self._purpose_at is None else self._purpose(row[self._purpose_at]),
            subgroup,
            tags,
        )

    # the parts of a reading

    def _characteristic(self, row: Row) -> str:
        raw = row[self._name_at] if self._name_at is not None else UNSET
        if isinstance(raw, str) and raw:
            return _text(raw, "characteristic")
        raise ItemInvalid(f'names no characteristic at "{self._given.characteristic}"')

    def _named_in(self, row: Row) -> str | None:
        """What an item that cannot be read calls its characteristic, if it does."""
        try:
            return None if self._name_at is None else self._characteristic(row)
        except ItemInvalid:
            return None

    def _time(self, raw: object) -> int:
        if raw is UNSET or raw is None:
            raise ItemInvalid(f'has no time at "{self._given.time}"')
        try:
            return self._stamp(raw)
        except (ValueError, OverflowError) as error:
            raise ItemInvalid(f"has no readable time: {error}") from None

    def _value(self, row: Row, name: str, quality: Quality) -> float:
        raw = row[self._value_at or 0]
        if raw is UNSET or raw is None:
            if quality == "good":
                raise ItemInvalid(f"has no value{_where(self._given.value)}")
            return math.nan
        if isinstance(raw, str) and raw.strip() in self._invalid:
            return math.nan
        value = self._float(raw, "value", self._given.value)
        if value in self._invalid:
            return math.nan
        if self._linear:
            value = value * self._given.scale + self._given.offset
        if self._target is not None:
            target = self._target(name)
            if target is None:
                raise ItemInvalid(
                    f'is relative to the target of "{name[:LONGEST_NAME]}", which has none; '
                    "set spec.target"
                )
            value += target
        if not math.isfinite(value):
            raise ItemInvalid(
                "has a value that is not finite after scaling; check scale and offset"
            )
        return value

    def _float(self, raw: object, what: str, pointer: str) -> float:
        try:
            return number(raw, self._decimal)
        except ValueError as error:
            raise ItemInvalid(f"has a {what}{_where(pointer)} that {error}") from None

    def _size(self, raw: object) -> float | None:
        if raw is UNSET or raw is None:
            return None
        return self._float(raw, "size", self._given.size or "")

    def _quality(self, raw: object) -> Quality:
        if raw is UNSET or raw is None:
            return "good"
        known = self._qualities.get((type(raw), raw)) if isinstance(raw, int | str) else None
        if known is None:
            known = quality_of(raw, self._given.qualities)
            if known is None:
                raise ItemInvalid(f'has the unknown quality {shown(raw)}; name it in "qualities"')
            if len(self._qualities) < WORDS_REMEMBERED:
                self._qualities[type(raw), raw] = known
        return known

    def _purpose(self, raw: object) -> Purpose:
        if raw is UNSET or raw is None:
            return "production"
        known = self._purposes.get((type(raw), raw)) if isinstance(raw, int | str) else None
        if known is None:
            known = purpose_of(raw, self._given.purposes)
            if known is None:
                raise ItemInvalid(f'has the unknown purpose {shown(raw)}; name it in "purposes"')
            if len(self._purposes) < WORDS_REMEMBERED:
                self._purposes[type(raw), raw] = known
        return known

    def _tags(self, row: Row, from_topic: Mapping[str, str] | None) -> dict[str, str] | None:
        tags = dict(from_topic) if from_topic else {}
        for name, place in self._tags_at:
            raw = row[place]
            if raw is UNSET or raw is None:
                continue
            if isinstance(raw, bool):
                raw = "true" if raw else "false"
            elif not isinstance(raw, str | int | float):
                raise ItemInvalid(f'has a tag "{name}" that is neither text nor number')
            tags[name] = _text(raw, f'tag "{name}"')
        return tags or None

    @staticmethod
    def _named(
        raw: object, what: str, tags: Mapping[str, str] | None
    ) -> tuple[int | None, Mapping[str, str] | None]:
        """A key or subgroup as 64 bits, and the tags with its original where that is needed."""
        if type(raw) is int and KEY_MIN < raw <= KEY_MAX:
            return raw, tags
        if raw is UNSET or raw is None:
            return None, tags
        try:
            number, original = numbered(name_of(raw))
        except ValueError as error:
            raise ItemInvalid(f"has a {what} that {error}") from None
        return number, tags if original is None else {**(tags or {}), what: original}

    @staticmethod
    def _number(raw: object, numbers: list[int]) -> None:
        if raw is UNSET or raw is None:
            return
        if isinstance(raw, float) and raw.is_integer():
            raw = int(raw)
        if isinstance(raw, str) and raw.isascii() and raw.isdecimal() and len(raw) < 20:
            raw = int(raw)
        if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw < 2**63:
            raise ItemInvalid(f"has a sequence that is no whole number: {shown(raw)}")
        if not numbers or numbers[-1] != raw:
            numbers.append(raw)


class Routes:
    """All subscriptions of a source; the first that covers a topic maps its messages."""

    def __init__(self, subscriptions: Sequence[SubscriptionMapping]) -> None:
        self._subscriptions = subscriptions
        self._known: dict[str, Route] = {}

    def find(self, topic: str) -> Route | None:
        """The way to read messages on ``topic``; None when no subscription covers it."""
        route = self._known.get(topic)
        if route is not None:
            return route
        for subscription in self._subscriptions:
            route = subscription.route(topic)
            if route is not None:
                if len(self._known) >= ROUTES_REMEMBERED:
                    self._known.clear()
                self._known[topic] = route
                return route
        return None


def unmapped(topic: str, payload: bytes) -> Reject:
    """The reject for a message that no subscription covers."""
    return Reject(
        f"The message on {topic[:LONGEST_NAME]} matches no subscription of its source; "
        "add one, or end the old subscription at the broker.",
        payload[:KEPT_PAYLOAD],
    )


def oversized(route: Route, payload: bytes, size: int) -> Reject:
    """The reject for a message that is too large to be read; ``payload`` is its beginning."""
    reason = f"has {size} bytes, more than the {LARGEST_PAYLOAD} that are read; send several"
    return _reject(route, payload, reason)


def _reject(
    route: Route, payload: bytes, reason: str, index: int | None = None, name: str | None = None
) -> Reject:
    return Reject(
        f"The message on {route.topic[:LONGEST_NAME]} {reason}.",
        payload[:KEPT_PAYLOAD],
        index,
        name or route.characteristic,
    )


def _where(pointer: str) -> str:
    return f' at "{pointer}"' if pointer else ""


def _text(raw: str | float, what: str) -> str:
    if isinstance(raw, int) and raw.bit_length() > WIDEST_INTEGER:
        raise ItemInvalid(f"has a {what} that is a huge number")
    text = str(raw)
    if len(text) > LONGEST_NAME:
        raise ItemInvalid(f"has a {what} of more than {LONGEST_NAME} characters")
    if "\0" in text:
        raise ItemInvalid(f"has a {what} with a NUL character, which the database cannot hold")
    return text
