"""What became of deliveries, told to whoever handed them over."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.admission import Admitted
from app.arrivals import Sorted
from app.journal import Durable
from app.store.batch import Batch
from collectors.reading import Delivery, Outcome


class JudgedOutcome(Outcome):
    """What became of a delivery, with where its verdicts are to be found."""

    rows: NDArray[np.void] | None = None  # the delivery's readings as stored, duplicates too
    items: NDArray[np.int32] | None = None  # which reading each row is
    fresh: NDArray[np.bool_] | None = None  # which rows were judged in this batch
    batch: Batch | None = None


def outcomes(
    deliveries: Sequence[Delivery],
    admitted: Admitted,
    found: Sorted,
    unjudged: NDArray[np.bool_],
    batch: Batch,
    durable: Durable,
) -> list[JudgedOutcome]:
    """One outcome for each delivery of a durable batch."""
    bounds = np.searchsorted(admitted.delivery, np.arange(len(deliveries) + 1))
    stored, answers = found.stored, []
    for number in range(len(deliveries)):
        mine = slice(bounds[number], bounds[number + 1])
        answers.append(
            JudgedOutcome(
                accepted=int(stored[mine].sum()),
                duplicates=int(found.duplicate[mine].sum()),
                rejected=admitted.rejected[number],
                durable=durable,
                rows=admitted.rows[mine],
                items=admitted.item[mine],
                fresh=stored[mine] & ~unjudged[mine],
                batch=batch,
            )
        )
    return answers


def put_aside(deliveries: Sequence[Delivery]) -> list[JudgedOutcome]:
    """Of deliveries that are kept as they came, and judged later."""
    return [
        JudgedOutcome(accepted=len(one.readings), duplicates=0, rejected=[], durable="spool")
        for one in deliveries
    ]
