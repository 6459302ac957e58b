"""What may become a row: names resolved, values rounded and checked; the rest to the quarantine.

Column by column: only tags and what is unusual cost more for each reading.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.catalog import Catalog, Characteristic
from app.objection import crowded, objection, short
from app.store.batch import Quarantined
from app.store.rows import NO_SUBGROUP, READING, Purpose, Quality, ReadingFlag
from collectors.reading import KEY_MAX, KEY_MIN, Delivery, Reading, Reject

PAYLOAD_KEPT = 8 * 1024
NAME_KEPT = 200  # characters
AHEAD = 60_000_000  # microseconds a source's clock may run ahead of ours, beyond its known skew
FASTEST = 15 * 60_000_000
"""The most of it that is allowed for: further ahead a clock is wrong, by a time zone for instance."""
MAX_AGE = 7 * 86_400_000_000
EXACT = 2.0**53

NAMED, HISTORICAL = int(ReadingFlag.NAMED), int(ReadingFlag.HISTORICAL)
BAD = int(Quality.BAD)
QUALITY = {quality.name.lower(): int(quality) for quality in Quality}
PURPOSE = {purpose.name.lower(): int(purpose) for purpose in Purpose}

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


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


FACTS = np.dtype([
    ("low", "f8"), ("high", "f8"), ("decimals", "i8"), ("stream", "i4"),
    ("asked", "?"),  # each of its readings is looked at: it is unknown, or counts
    ("stamped", "?"),
])  # fmt: skip
NO_FACTS = (0.0, 0.0, -1, 0, True, False)


def admit(
    deliveries: Sequence[Delivery],
    catalog: Catalog,
    traits: Mapping[str, SourceTraits],
) -> Admitted:
    """Turn deliveries into rows; every reading becomes a row or a quarantined item with a reason."""
    counts = [len(delivery.readings) for delivery in deliveries]
    of = np.repeat(np.arange(len(deliveries), dtype=np.int32), counts)
    item = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    sources = [traits[delivery.source] for delivery in deliveries]
    received = np.array([delivery.received_at for delivery in deliveries], np.int64)
    oldest = received - np.array([source.max_age for source in sources], np.int64)
    skews = [min(max(0, source.skew), FASTEST) for source in sources]
    ahead = AHEAD + np.array(skews, np.int64)

    drafts = Drafts([one for delivery in deliveries for one in delivery.readings], catalog)
    rows = drafts.rows
    rows["source"] = np.array([source.id for source in sources])[of]
    rows["received_at"] = received[of]
    reasons = drafts.place(catalog, oldest[of], (received + ahead)[of])
    cuts, keys = drafts.stamps()

    rejected: list[list[tuple[int, str]]] = [[] for _ in deliveries]
    for i in sorted(reasons):
        rejected[of[i]].append((int(item[i]), reasons[i]))
    quarantined = []
    for delivery, source, refused in zip(deliveries, sources, rejected, strict=True):
        by, at = source.id, delivery.received_at
        quarantined += [_kept(reject, by, at) for reject in delivery.rejects]
        quarantined += [_refused(delivery.readings[i], why, by, at) for i, why in refused]
    if not reasons:
        return Admitted(rows, cuts, keys, of, item, quarantined, rejected)
    kept = np.ones(len(rows), np.bool_)
    kept[list(reasons)] = False
    return Admitted(rows[kept], cuts[kept], keys[kept], of[kept], item[kept], quarantined, rejected)


class Drafts:
    """Rows to be, of all readings; those with a reason against them are left out at the end."""

    def __init__(self, readings: list[Reading], catalog: Catalog) -> None:
        self.rows = _rows(readings)
        self._readings = readings
        self._tags = [reading.tags for reading in readings]
        names = [reading.characteristic for reading in readings]
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        self._entries = [catalog.find(name) for name in places]
        self._which = np.array([places[name] for name in names], np.intp)
        self._facts = np.array([_facts(entry) for entry in self._entries], FACTS)[self._which]
        # Readings of one message share one object: by its id a tag set is looked up once.
        self._sets = {id(tags): tags for tags in self._tags if tags}
        self._contexts = {one: catalog.known_context(tags) for one, tags in self._sets.items()}

    def place(self, catalog: Catalog, oldest: Integers, latest: Integers) -> dict[int, str]:
        """Find streams and tag sets, and round; returns why some cannot be rows."""
        rows, tags = self.rows, self._tags
        reasons = {
            i: reason
            for i in np.flatnonzero(self._unusual(oldest, latest)).tolist()
            if (reason := self._objection(i, int(oldest[i]), int(latest[i]))) is not None
        }
        rows["stream"] = self._facts["stream"]
        for i in np.flatnonzero(rows["stream"] == 0).tolist():
            entry = self._entries[self._which[i]]
            if entry is not None and i not in reasons:
                stream = catalog.stream_for(entry, tags[i] or {})
                if stream is None:
                    reasons[i] = crowded(entry)
                else:
                    rows["stream"][i] = stream
        if self._sets:
            rows["context"] = [
                0 if i in reasons else self._context(i, catalog) for i in range(len(tags))
            ]
        _round(rows, self._facts["decimals"])
        return reasons

    def stamps(self) -> tuple[Integers, Integers]:
        """What stands for the tags whose change is a boundary, and closes a subgroup."""
        cuts, keys = np.zeros((2, len(self.rows)), np.int64)
        for i in np.flatnonzero(self._facts["stamped"]).tolist():
            entry = self._entries[self._which[i]]
            if entry is not None:
                cuts[i] = stamp_of(entry.cut_tags, self._tags[i]) if entry.cut_tags else 0
                keys[i] = stamp_of(entry.key_tags, self._tags[i]) if entry.key_tags else 0
        return cuts, keys

    def _unusual(self, oldest: Integers, latest: Integers) -> Mask:
        """What is worth a look: whether there is an objection is told with words."""
        rows, facts = self.rows, self._facts
        value, time, key = rows["value"], rows["time"], rows["key"]
        usual: Mask = (facts["low"] <= value) & (value <= facts["high"])
        usual &= (oldest <= time) & (time <= latest)
        usual &= (key > KEY_MIN) & (key < KEY_MAX)
        usual &= (rows["quality"] != BAD) & ~facts["asked"]
        sizes = [reading.size for reading in self._readings]
        if sizes.count(None) < len(sizes):
            usual &= [size is None for size in sizes]
        new = [one for one, number in self._contexts.items() if number is None]
        if long := {one for one in new if not short(self._sets[one])}:
            usual &= [id(tags) not in long for tags in self._tags]
        return ~usual

    def _objection(self, i: int, oldest: int, latest: int) -> str | None:
        return objection(self._entries[self._which[i]], self._readings[i], oldest, latest)

    def _context(self, i: int, catalog: Catalog) -> int:
        tags = self._tags[i]
        number = self._contexts.get(id(tags), 0)
        if number is None:
            number = self._contexts[id(tags)] = catalog.context_for(tags)
        return number


def _rows(readings: list[Reading]) -> NDArray[np.void]:
    """What readings say by themselves."""
    rows = np.zeros(len(readings), READING)
    rows["time"] = _integers([one.time for one in readings])
    rows["key"] = _integers([one.key for one in readings])
    rows["value"] = [one.value for one in readings]
    rows["size"] = [math.nan if one.size is None else one.size for one in readings]
    rows["quality"] = _coded([one.quality for one in readings], QUALITY)
    rows["purpose"] = _coded([one.purpose for one in readings], PURPOSE)
    rows["flags"] = [HISTORICAL if one.historical else 0 for one in readings]
    names = [one.subgroup for one in readings]
    rows["subgroup"] = NO_SUBGROUP
    if names.count(None) < len(names):
        rows["subgroup"] = [NO_SUBGROUP if name is None else name for name in names]
        rows["flags"] |= [0 if name is None else NAMED for name in names]
    return rows


def _coded(words: Sequence[str], codes: Mapping[str, int]) -> list[int] | int:
    """The numbers of words; one for all where they are the same, as mostly."""
    if words and words.count(words[0]) == len(words):
        return codes[words[0]]
    return [codes[word] for word in words]


def _integers(column: list[int]) -> Integers:
    """Whole numbers; what does not fit in 64 bits becomes the nearest that does."""
    try:
        return np.array(column, np.int64)
    except OverflowError:
        return np.array([min(max(one, KEY_MIN), KEY_MAX) for one in column], np.int64)


def _facts(entry: Characteristic | None) -> tuple[float, ...]:
    if entry is None:
        return NO_FACTS
    return (
        *entry.plausible,
        entry.decimals,
        entry.sole_stream or 0,
        entry.attribute,
        bool(entry.cut_tags or entry.key_tags),
    )


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
