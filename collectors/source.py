"""What the configuration of every kind of source has in common."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)")


def parse_duration(text: object) -> int:
    """Microseconds in a duration such as "200ms", "30s", "10m", "4h" or "7d"."""
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f'{text!r} is not a duration; write a number and a unit, such as "30s"')
    return round(float(match[1]) * UNITS[match[2]])


def format_duration(microseconds: int) -> str:
    """The shortest text that `parse_duration` reads back."""
    unit = max(
        (unit for unit, size in UNITS.items() if microseconds % size == 0), key=UNITS.__getitem__
    )
    return f"{microseconds // UNITS[unit]}{unit}" if microseconds else "0s"


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["30s", "10m"]}),
]
"""Microseconds, written as text with a unit."""


def _beside_the_plant_file(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base_dir")
    return path if base is None or path.is_absolute() else Path(base) / path


NearbyPath = Annotated[Path, AfterValidator(_beside_the_plant_file)]
"""A path that counts from the folder of the plant file (validation context ``base_dir``)."""


class SourceConfig(BaseModel, frozen=True, extra="forbid"):
    """The keys that every ``[[source]]`` has."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    kind: str
    clock: Literal["source", "arrival", "corrected"] = "source"
    max_age: Duration = parse_duration("7d")
