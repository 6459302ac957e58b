"""Why something cannot become a row: one sentence, with what to do."""

import math
from collections.abc import Mapping

import numpy as np

from app.catalog import Catalog, Characteristic
from app.characteristic import LARGEST
from collectors.reading import KEY_MAX, KEY_MIN, Reading

EARLIEST = -2_208_988_800_000_000  # 1900-01-01
TAGS, TAG_LENGTH = 32, 256


def objection(
    entry: Characteristic | None, reading: Reading, oldest: int, latest: int
) -> str | None:
    """Why a reading cannot be stored, whatever stream it is of; None: it can."""
    if entry is None:
        return (
            f"unknown characteristic {reading.characteristic[:100]!r}: add it to the plant file, "
            "or its name to the aliases of the one it is"
        )
    if reading.tags is not None and not short(reading.tags):
        return f"{entry.name}: more than {TAGS} tags, or one longer than {TAG_LENGTH} characters"
    if not KEY_MIN <= reading.key <= KEY_MAX:
        return f"{entry.name}: the key {reading.key} does not fit in 64 bits"
    if reading.time > latest:
        return f"{entry.name}: its time lies in the future; check the clock of the source"
    if reading.time < EARLIEST:
        return f"{entry.name}: its time lies before the year 1900; check the clock of the source"
    if reading.time < oldest and not reading.historical:
        return (
            f"{entry.name}: older than the source's max_age; "
            "check its clock, or mark the reading historical"
        )
    if reading.quality == "bad":
        return None
    if not math.isfinite(reading.value):
        return f"{entry.name}: the value is {reading.value}, yet its quality is {reading.quality}"
    if abs(reading.value) > LARGEST:
        return (
            f"{entry.name}: {reading.value:.10g} is beyond {LARGEST:g}, where numbers get too coarse "
            "to be judged; check the source, or measure in a larger unit"
        )
    low, high = entry.plausible
    if not low <= reading.value <= high:
        return (
            f"{entry.name}: {reading.value:.10g} is not plausible (from {low:.10g} to {high:.10g})"
        )
    if entry.attribute:
        return _count_objection(entry, reading)
    if reading.size is None or 0 < reading.size <= LARGEST:
        return None
    return f"{entry.name}: the size {reading.size:.10g} is none; leave it out, or send what it was"


def crowded(entry: Characteristic) -> str:
    """Why a reading of a new stream is not stored."""
    return f"{entry.name}: too many streams; check the tags {', '.join(entry.stream_tags)}"


def conflict_of(row: np.void, catalog: Catalog) -> str:
    """Why a second, different reading of the same identity is not stored."""
    name = catalog.streams[int(row["stream"])].name
    return (
        f"{name}: another value with the same time and key is stored already; "
        "let the source send a key of its own for each reading"
    )


def short(tags: Mapping[str, str]) -> bool:
    """Whether these are no more and no longer tags than are stored."""
    texts = [*tags, *tags.values()]
    return len(tags) <= TAGS and (
        len("".join(texts)) <= TAG_LENGTH or max(map(len, texts)) <= TAG_LENGTH
    )


def _count_objection(entry: Characteristic, reading: Reading) -> str | None:
    size = 1.0 if reading.size is None else reading.size
    if not (1 <= size <= LARGEST and size == int(size)):
        return f"{entry.name}: the size {size:.10g} is not a whole number of parts"
    if reading.value < 0 or reading.value != int(reading.value):
        return f"{entry.name}: {reading.value:.10g} is not a count"
    if reading.value > size:
        return f"{entry.name}: {reading.value:.10g} defective parts among {size:.10g} inspected"
    return None
