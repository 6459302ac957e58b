"""Keys and subgroup names as 64 bits."""

import hashlib

from collectors.reading import KEY_MAX, KEY_MIN
from collectors.shown import WIDEST_INTEGER, shown

KEY_TAG, SUBGROUP_TAG = "key", "subgroup"
"""The tags that hold the original of what is no 64-bit integer; sources use other names."""
RESERVED_TAGS = frozenset((KEY_TAG, SUBGROUP_TAG))

LONGEST = 256
EXACT = 2.0**53  # beyond it a floating-point number stands for several whole ones


def name_of(raw: object) -> int | str:
    """The key or subgroup name that a source sent.

    Raises:
        ValueError: it is none; says what it is instead, as in "a key that ...".
    """
    if isinstance(raw, float) and raw.is_integer():
        if abs(raw) > EXACT:
            raise ValueError(f"is too large to be exact as a floating-point number: {shown(raw)}")
        return int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError(f"is neither a whole number nor text: {shown(raw)}")  # noqa: TRY004
    if isinstance(raw, int):
        if raw.bit_length() > WIDEST_INTEGER:
            raise ValueError("is a huge number")
        return raw
    if len(raw) > LONGEST:
        raise ValueError(f"has more than {LONGEST} characters")
    if "\0" in raw or not _encodable(raw):
        raise ValueError("holds characters that cannot be stored")
    return raw


def numbered(name: int | str) -> tuple[int, str | None]:
    """The 64 bits that stand for ``name``, and the original where they are not the name itself.

    An integer stays what it is. Everything else is hashed, the same on every machine and for good:
    the identity of stored readings rests on it.
    """
    if isinstance(name, int):
        if KEY_MIN < name <= KEY_MAX:
            return name, None
        name = str(name)
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # The least of all integers stands for NULL in the store's rows.
    return max(int.from_bytes(digest, "big", signed=True), KEY_MIN + 1), name


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text)
