"""What may become a row: names resolved, values rounded and checked; the rest to the quarantine."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.catalog import Catalog, Characteristic
from app.store.batch import Quarantined
from app.store.rows import NO_SUBGROUP, READING, Purpose, Quality, ReadingFlag
from collectors.reading import KEY_MAX, KEY_MIN, Delivery, Reading, Reject

PAYLOAD_KEPT = 8 * 1024
AHEAD = 60_000_000  # microseconds a source's clock may run ahead of ours, beyond its known skew
EARLIEST = -2_208_988_800_000_000  # 1900-01-01
MAX_AGE = 7 * 86_400_000_000
TAGS, TAG_LENGTH = 32, 256
EXACT = 2.0**53

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
    rows: list[tuple[float, ...]] = []
    stamps: list[tuple[int, int, int, int]] = []
    decimals: list[int] = []
    quarantined: list[Quarantined] = []
    rejected: list[list[tuple[int, str]]] = []
    find, stream_for, context_for = catalog.find, catalog.stream_for, catalog.context_for
    for number, delivery in enumerate(deliveries):
        source = traits[delivery.source]
        received = delivery.received_at
        latest, oldest = received + AHEAD + max(0, source.skew), received - source.max_age
        refused: list[tuple[int, str]] = []
        quarantined += [_kept(reject, source.id, received) for reject in delivery.rejects]
        for item, reading in enumerate(delivery.readings):
            entry = find(reading.characteristic)
            time = reading.time
            if (
                entry is None
                or not entry.plausible[0] <= reading.value <= entry.plausible[1]
                or reading.value - reading.value != 0.0  # not finite
                or reading.quality == "bad"
                or entry.attribute
                or not oldest <= time <= latest
                or not KEY_MIN <= reading.key <= KEY_MAX
            ):
                reason = _objection(entry, reading, oldest, latest)
                if reason is not None:
                    refused.append((item, reason))
                    quarantined.append(_refused(reading, reason, source.id, received))
                    continue
            assert entry is not None  # noqa: S101 - an unknown one has an objection
            tags = reading.tags
            if tags is not None and (
                len(tags) > TAGS or max(map(len, tags.values()), default=0) > TAG_LENGTH
            ):
                reason = f"more than {TAGS} tags, or a tag longer than {TAG_LENGTH} characters"
                refused.append((item, reason))
                quarantined.append(_refused(reading, reason, source.id, received))
                continue
            stream = (
                entry.sole_stream
                if entry.sole_stream is not None
                else stream_for(entry, tags or {})
            )
            if stream is None:
                reason = (
                    f"{entry.name}: too many streams; check the tags {', '.join(entry.stream_tags)}"
                )
                refused.append((item, reason))
                quarantined.append(_refused(reading, reason, source.id, received))
                continue
            named = reading.subgroup is not None
            rows.append(
                (
                    stream,
                    time,
                    reading.key,
                    reading.value,
                    math.nan if reading.size is None else reading.size,
                    QUALITY[reading.quality],
                    PURPOSE[reading.purpose],
                    0,
                    (ReadingFlag.NAMED if named else 0)
                    | (ReadingFlag.HISTORICAL if reading.historical else 0),
                    reading.subgroup if named else NO_SUBGROUP,
                    context_for(tags) if tags else 0,
                    source.id,
                    received,
                    0,
                )  # type: ignore[arg-type]
            )
            decimals.append(entry.decimals)
            stamps.append(
                (
                    stamp_of(entry.cut_tags, tags) if entry.cut_tags else 0,
                    stamp_of(entry.key_tags, tags) if entry.key_tags else 0,
                    number,
                    item,
                )
            )
        rejected.append(refused)
    table = np.array(rows, READING)
    _round(table, np.array(decimals, np.int64))
    marks = np.array(stamps, np.int64).reshape(-1, 4)
    return Admitted(
        table,
        np.ascontiguousarray(marks[:, 0]),
        np.ascontiguousarray(marks[:, 1]),
        marks[:, 2].astype(np.int32),
        marks[:, 3].astype(np.int32),
        quarantined,
        rejected,
    )


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
    low, high = entry.plausible
    if not low <= reading.value <= high:
        return (
            f"{entry.name}: {reading.value:.10g} is not plausible (from {low:.10g} to {high:.10g})"
        )
    if entry.attribute:
        return _count_objection(entry, reading)
    return None


def _count_objection(entry: Characteristic, reading: Reading) -> str | None:
    size = 1.0 if reading.size is None else reading.size
    if not (math.isfinite(size) and size >= 1 and size == int(size)):
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
        digest = hashlib.blake2b("\0".join(values).encode(), digest_size=8).digest()
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
        characteristic=reject.characteristic,
        reason=reject.reason,
        payload=reject.payload[:PAYLOAD_KEPT],
        truncated=len(reject.payload) > PAYLOAD_KEPT,
    )


def _refused(reading: Reading, reason: str, source: int, received: int) -> Quarantined:
    payload = msgspec.json.encode(reading)
    return _kept(Reject(reason, payload, None, reading.characteristic[:200]), source, received)
