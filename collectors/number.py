"""Numbers as sources write them, and the values that stand for "no measurement"."""

import math
import re
import struct
from collections.abc import Sequence
from typing import Literal

from collectors.shown import shown

LONGEST = 64
_WRITTEN = {
    ".": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?", re.ASCII),
}


def number(raw: object, decimal: Literal[".", ","]) -> float:
    """The finite number that ``raw`` is or spells.

    Raises:
        ValueError: it is none; says what it is instead, as in "a value that ...".
    """
    if type(raw) is float and math.isfinite(raw):
        return raw
    if isinstance(raw, str):
        text = raw.strip()
        if len(text) > LONGEST or _WRITTEN[decimal].fullmatch(text) is None:
            raise ValueError(f'is no number with "{decimal}" as its decimal sign: {shown(raw)}')
        raw = float(text.replace(",", "."))
    elif isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"is no number: {shown(raw)}")  # noqa: TRY004 - it is about the message
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError("is not finite")
    return value


def markers(invalid: Sequence[float | str]) -> frozenset[float | str]:
    """The markers, and what a number among them becomes in a gauge that computes in float32."""
    known: set[float | str] = set()
    for marker in invalid:
        known.add(marker.strip() if isinstance(marker, str) else marker)
        if isinstance(marker, float):
            try:
                known.add(struct.unpack("<f", struct.pack("<f", marker))[0])
            except OverflowError:
                continue
    return frozenset(known)
