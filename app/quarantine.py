"""What arrived and is no reading: the quarantine, gaps, and how far the sources are."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.admission import Admitted, SourceTraits
from app.arrivals import Sorted
from app.catalog import Catalog
from app.objection import conflict_of
from app.store.batch import Batch, GapRow, Quarantined
from collectors.reading import Delivery, Gap, Reading


class Numbers(msgspec.Struct):
    """The highest numbers given so far to rows that only the pipeline writes."""

    gap: int = 0
    quarantine: int = 0


class Arrived(NamedTuple):
    """Deliveries, the rows that they became, and what each row is."""

    deliveries: Sequence[Delivery]
    admitted: Admitted
    found: Sorted


def keep_the_rest(
    batch: Batch,
    arrived: Arrived,
    numbers: Numbers,
    catalog: Catalog,
    traits: Mapping[str, SourceTraits],
) -> None:
    """Put into the batch what came besides readings that are new."""
    batch.quarantined = arrived.admitted.quarantined + _conflicts(arrived, catalog, traits)
    for one in batch.quarantined:
        numbers.quarantine += 1
        one.id = numbers.quarantine
    for delivery in arrived.deliveries:
        source = traits[delivery.source].id
        if delivery.position is not None:
            batch.positions[source] = delivery.position
        for gap in delivery.gaps:
            numbers.gap += 1
            batch.gaps.append(_gap(numbers.gap, source, gap, catalog, batch.at))


def _conflicts(
    arrived: Arrived, catalog: Catalog, traits: Mapping[str, SourceTraits]
) -> list[Quarantined]:
    deliveries, admitted, found = arrived
    kept = []
    for i in np.flatnonzero(found.conflict).tolist():
        delivery = deliveries[admitted.delivery[i]]
        item, reason = int(admitted.item[i]), conflict_of(admitted.rows[i], catalog)
        admitted.rejected[admitted.delivery[i]].append((item, reason))
        kept.append(
            Quarantined(
                id=0,
                received_at=delivery.received_at,
                source=traits[delivery.source].id,
                characteristic=delivery.readings[item].characteristic,
                reason=reason,
                payload=msgspec.json.encode(delivery.readings[item]),
            )
        )
    return kept


def _gap(number: int, source: int, gap: Gap, catalog: Catalog, now: int) -> GapRow:
    entry = catalog.find(gap.characteristic) if gap.characteristic else None
    return GapRow(
        id=number,
        source=source,
        characteristic=entry.id if entry else None,
        start=gap.start,
        end=gap.end,
        missed=gap.missed,
        reason=gap.reason,
        recorded_at=now,
    )


def as_delivered(
    deliveries: Sequence[Delivery], admitted: Admitted, chosen: NDArray[np.bool_]
) -> list[Delivery]:
    """The chosen rows' readings, as they were delivered."""
    readings: dict[int, list[Reading]] = {}
    for i in np.flatnonzero(chosen).tolist():
        number = int(admitted.delivery[i])
        readings.setdefault(number, []).append(deliveries[number].readings[admitted.item[i]])
    return [
        Delivery(deliveries[number].source, deliveries[number].received_at, found)
        for number, found in readings.items()
    ]
