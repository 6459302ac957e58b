"""Rows of raw values out of a message, found by JSON Pointers."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

LARGEST_PAYLOAD = 1 << 20  # bytes
KEPT_PAYLOAD = 8192  # bytes of a rejected message that go to the quarantine
MOST_ITEMS = 10_000
ENVELOPE = "^"
_INDEX = re.compile(r"0|[1-9]\d{0,8}")

Row = tuple[Any, ...]


class PayloadInvalid(ValueError):
    """Nothing of the message can be read; says why, as the end of a sentence about the message."""


class Columns:
    """The values that a mapping needs from every item of a message.

    Pointers of depth 1 are compiled to a typed decoder that skips everything else. What it does not
    take, and deeper pointers, are decoded whole and walked: slower, with the same rows.
    """

    def __init__(self, items: str, pointers: Sequence[str], types: Sequence[Any]) -> None:
        self._items = _tokens(items)
        self._pointers = [
            (pointer.startswith(ENVELOPE), _tokens(pointer.removeprefix(ENVELOPE)))
            for pointer in pointers
        ]
        self._bare = list(pointers) == [""] and not items
        self._decoder = self._typed(types)

    def rows(self, payload: bytes) -> list[Row]:
        """The items' values in the order of the pointers, UNSET where a pointer leads nowhere.

        Raises:
            PayloadInvalid: there is no item to be found.
        """
        if self._decoder is not None and len(payload) <= LARGEST_PAYLOAD:
            try:
                decoded = self._decoder.decode(payload)
            except (ValueError, RecursionError):
                pass  # the thorough way finds the right words
            else:
                rows = self._fast_rows(decoded)
                if 0 < len(rows) <= MOST_ITEMS:
                    return rows
        return self._slow_rows(payload)

    def item(self, payload: bytes, index: int) -> bytes:
        """One item of a readable message, as JSON."""
        _, items = self._split(payload)
        return msgspec.json.encode(items[index])

    def _typed(self, types: Sequence[Any]) -> "msgspec.json.Decoder[Any] | None":
        if self._bare:
            return msgspec.json.Decoder(types[0] | list[types[0]])  # type: ignore[valid-type]
        plain = all(len(tokens) == 1 and not envelope for envelope, tokens in self._pointers)
        if not plain or len(self._items) > 1:
            return None
        item = msgspec.defstruct(
            "Item",
            [
                (
                    f"c{place}",
                    kind | msgspec.UnsetType,
                    msgspec.field(name=tokens[0], default=UNSET),
                )
                for place, ((_, tokens), kind) in enumerate(zip(self._pointers, types, strict=True))
            ],
            gc=False,
        )
        content = item | list[item]  # type: ignore[valid-type]
        if self._items:
            content = msgspec.defstruct(
                "Message", [("items", content, msgspec.field(name=self._items[0]))]
            )
        return msgspec.json.Decoder(content)

    def _fast_rows(self, decoded: Any) -> list[Row]:
        content = decoded.items if self._items else decoded
        if self._bare:
            return [(value,) for value in content] if type(content) is list else [(content,)]
        if type(content) is list:
            return [msgspec.structs.astuple(item) for item in content]
        return [msgspec.structs.astuple(content)]

    def _slow_rows(self, payload: bytes) -> list[Row]:
        whole, items = self._split(payload)
        if not items:
            raise PayloadInvalid("holds no item; publish a message only when there is a reading")
        if len(items) > MOST_ITEMS:
            raise PayloadInvalid(
                f"holds {len(items)} items, more than the {MOST_ITEMS} that are read; "
                "send several messages"
            )
        return [
            tuple(_walk(whole if envelope else item, tokens) for envelope, tokens in self._pointers)
            for item in items
        ]

    def _split(self, payload: bytes) -> tuple[Any, list[Any]]:
        whole = self._whole(payload)
        content = _walk(whole, self._items)
        if content is UNSET:
            raise PayloadInvalid(
                f'has nothing at "/{"/".join(self._items)}"; check "items" in the subscription'
            )
        return whole, content if isinstance(content, list) else [content]

    def _whole(self, payload: bytes) -> Any:
        if not payload:
            raise PayloadInvalid("is empty; publish a message only when there is a reading")
        if len(payload) > LARGEST_PAYLOAD:
            raise PayloadInvalid(
                f"has {len(payload)} bytes, more than the {LARGEST_PAYLOAD} that are read; "
                "send several messages"
            )
        try:
            return msgspec.json.decode(payload)
        except RecursionError:
            raise PayloadInvalid("is nested too deeply; send plainer JSON") from None
        except ValueError as error:
            # A bare number need not be JSON: "25,01" or "+3".
            if self._bare and (text := _text(payload)) is not None:
                return text
            raise PayloadInvalid(
                f"is no JSON ({str(error).removeprefix('JSON is malformed: ')}); "
                "NaN and Infinity are no JSON either"
            ) from None


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _walk(whole: Any, tokens: list[str]) -> Any:
    found = whole
    for token in tokens:
        if isinstance(found, dict):
            found = found.get(token, UNSET)
        elif isinstance(found, list) and _INDEX.fullmatch(token) and int(token) < len(found):
            found = found[int(token)]
        else:
            return UNSET
    return found


def _text(payload: bytes) -> str | None:
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    plain = 0 < len(text) <= 64 and text.isprintable() and text[0] not in '[{"'
    return text if plain else None
