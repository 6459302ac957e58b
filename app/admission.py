"""What may become a row: names resolved, values rounded and checked; the rest to the quarantine."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.catalog import Catalog, Characteristic
from app.characteristic import LARGEST
from app.store.batch import Quarantined
from app.store.rows import NO_SUBGROUP, READING, Purpose, Quality, ReadingFlag
from collectors.reading import KEY_MAX, KEY_MIN, Delivery, Reading, Reject

PAYLOAD_KEPT = 8 * 1024
NAME_KEPT = 200  # characters
AHEAD = 60_000_000  # microseconds a source's clock may run ahead of ours, beyond its known skew
EARLIEST = -2_208_988_800_000_000  # 1900-01-01
MAX_AGE = 7 * 86_400_000_000
TAGS, TAG_LENGTH = 32, 256
EXACT = 2.0**53

NAMED, HISTORICAL = int(ReadingFlag.NAMED), int(ReadingFlag.HISTORICAL)
QUALITY = {quality.name.lower(): int(quality) for quality in Quality}
PURPOSE = {purpose.name.lower(): int(purpose) for purpose in Purpose}


class SourceTraits(msgspec.Struct, frozen=True):
    """What admission needs to know of a source."""

    id: int
    max_age: int = MAX_AGE
    skew: int = 0  # its clock minus ours, where it is known to run ahead


class Admitted(NamedTuple):
    """Rows in the order of arrival, with what only the engine needs of them."""

    rows: NDArray[np.void]
    cuts: NDArray[np.int64]  # a stamp of the tags whose change is a boundary
    keys: NDArray[np.int64]  # a stamp of the tags whose change closes a subgroup
    delivery: NDArray[np.int32]  # which of the deliveries
    item: NDArray[np.int32]  # which of its readings
    quarantined: list[Quarantined]
    rejected: list[list[tuple[int, str]]]  # by delivery: index, reason


def admit(
    deliveries: Sequence[Delivery],
    catalog: Catalog,
    traits: Mapping[str, SourceTraits],
) -> Admitted:
    """Turn deliveries into rows; every reading becomes a row or a quarantined item with a reason."""
    drafts = Drafts([], [], [])
    quarantined: list[Quarantined] = []
    rejected: list[list[tuple[int, str]]] = []
    for number, delivery in enumerate(deliveries):
        source, received = traits[delivery.source], delivery.received_at
        refused = _admit(number, delivery, catalog, source, drafts)
        quarantined += [_kept(reject, source.id, received) for reject in delivery.rejects]
        quarantined += [
            _refused(delivery.readings[item], reason, source.id, received)
            for item, reason in refused
        ]
        rejected.append(refused)
    table = np.array(drafts.rows, READING)
    _round(table, np.array(drafts.decimals, np.int64))
    marks = np.array(drafts.stamps, np.int64).reshape(-1, 4)
    return Admitted(
        table,
        np.ascontiguousarray(marks[:, 0]),
        np.ascontiguousarray(marks[:, 1]),
        marks[:, 2].astype(np.int32),
        marks[:, 3].astype(np.int32),
        quarantined,
        rejected,
    )


class Drafts(NamedTuple):
    """Rows to be, one list per kind of column."""

    rows: list[tuple[float, ...]]
    stamps: list[tuple[int, int, int, int]]
    decimals: list[int]


def _admit(
    number: int, delivery: Delivery, catalog: Catalog, source: SourceTraits, drafts: Drafts
) -> list[tuple[int, str]]:
    """Draft the rows of one delivery; returns the items that cannot be one, with the reasons."""
    refused: list[tuple[int, str]] = []
    received, by = delivery.received_at, source.id
    latest, oldest = received + AHEAD + max(0, source.skew), received - source.max_age
    find, stream_for, context_for = catalog.find, catalog.stream_for, catalog.context_for
    add_row, add_stamp = drafts.rows.append, drafts.stamps.append
    add_decimals = drafts.decimals.append
    for item, reading in enumerate(delivery.readings):
        entry, time, tags, reason = find(reading.characteristic), reading.time, reading.tags, None
        if (  # this is cheap; whether it is an objection is told with words
            entry is None
            or not entry.plausible[0] <= reading.value <= entry.plausible[1]
            or reading.size is not None
            or reading.quality == "bad"
            or entry.attribute
            or not oldest <= time <= latest
            or not KEY_MIN <= reading.key <= KEY_MAX
            or (tags is not None and not _short(tags))
        ):
            reason = _objection(entry, reading, oldest, latest)
        if entry is None or reason is not None:
            refused.append((item, reason or ""))
            continue
        if (stream := entry.sole_stream) is None:
            stream = stream_for(entry, tags or {})
            if stream is None:
                refused.append((item, _crowded(entry)))
                continue
        name, flags = reading.subgroup, HISTORICAL if reading.historical else 0
        add_row((
            stream, time, reading.key, reading.value,
            math.nan if reading.size is None else reading.size,
            QUALITY[reading.quality], PURPOSE[reading.purpose], 0,
            flags if name is None else flags | NAMED,
            NO_SUBGROUP if name is None else name,
            context_for(tags) if tags else 0, by, received, 0,
        ))  # fmt: skip
        add_decimals(entry.decimals)
        cut = stamp_of(entry.cut_tags, tags) if entry.cut_tags else 0
        key = stamp_of(entry.key_tags, tags) if entry.key_tags else 0
        add_stamp((cut, key, number, item))
    return refused


def conflict_of(row: np.void, catalog: Catalog) -> str:
    """Why a second, different reading of the same identity is not stored."""
    name = catalog.streams[int(row["stream"])].name
    return (
        f"{name}: another value with the same time and key is stored already; "
        "let the source send a key of its own for each reading"
    )


def _objection(
    entry: Characteristic | None, reading: Reading, oldest: int, latest: int
) -> str | None:
    if entry is None:
        return (
            f"unknown characteristic {reading.characteristic[:100]!r}: add it to the plant file, "
            "or its name to the aliases of the one it is"
        )
    if reading.tags is not None and not _short(reading.tags):
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


def _crowded(entry: Characteristic) -> str:
    return f"{entry.name}: too many streams; check the tags {', '.join(entry.stream_tags)}"


def _short(tags: Mapping[str, str]) -> bool:
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


def _round(rows: NDArray[np.void], decimals: NDArray[np.int64]) -> None:
    """Round values to their gauge's resolution, the double nearest to the decimal."""
    value = rows["value"]
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.power(10.0, np.maximum(decimals, 0))
        steps = value * scale
        exact = (decimals >= 0) & (np.abs(steps) < EXACT)
        rows["value"] = np.where(exact, np.rint(steps) / scale, value)


_stamps: dict[tuple[str, ...], int] = {}


def stamp_of(names: tuple[str, ...], tags: Mapping[str, str] | None) -> int:
    """A number that stands for these tags' values, the same in every run of the service."""
    values = tuple((tags or {}).get(name, "") for name in names)
    known = _stamps.get(values)
    if known is None:
        octets = "\0".join(values).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(octets, digest_size=8).digest()
        known = int.from_bytes(digest, "big", signed=True) | 1  # never 0: no reading yet
        if len(_stamps) > 100_000:
            _stamps.clear()
        _stamps[values] = known
    return known


def _kept(reject: Reject, source: int, received: int) -> Quarantined:
    return Quarantined(
        id=0,
        received_at=received,
        source=source,
        characteristic=reject.characteristic and reject.characteristic[:NAME_KEPT],
        reason=reject.reason,
        payload=reject.payload[:PAYLOAD_KEPT],
        truncated=len(reject.payload) > PAYLOAD_KEPT,
    )


def _refused(reading: Reading, reason: str, source: int, received: int) -> Quarantined:
    payload = msgspec.json.encode(reading)
    return _kept(Reject(reason, payload, None, reading.characteristic), source, received)
