"""Durations as people write them: "30s", "10m", "4h"; microseconds inside the program."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

UNITS = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(text: object) -> int:
    """Microseconds of a duration such as "500ms", "30s", "10m", "4h" or "7d".

    Raises:
        ValueError: it is no duration; the sentence says how one is written.
    """
    written = _WRITTEN.fullmatch(text.strip()) if isinstance(text, str) else None
    if written is None:
        raise ValueError(f'write a duration with its unit, like "30s", "10m" or "4h", not {text!r}')
    return round(float(written[1]) * UNITS[written[2]])


def format_duration(microseconds: int) -> str:
    """The shortest way to write a duration exactly."""
    for unit in ("d", "h", "m", "s", "ms"):
        if microseconds % UNITS[unit] == 0:
            return f"{microseconds // UNITS[unit]}{unit}"
    return f"{microseconds / UNITS['ms']:g}ms"


Duration = Annotated[
    int,
    Field(gt=0),
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["30s", "10m", "4h"]}),
]
"""A positive duration: text in files and JSON, microseconds in Python."""
