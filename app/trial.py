"""Limits to try: made once, from a stream's first points, and marked as advice until approved."""

import numpy as np
from numpy.typing import NDArray

from app.catalog import Catalog
from app.limits import next_number
from app.store.batch import Version
from rules.limits import BaselineInvalid, estimate_points

AUTHOR = "andon"


def trial_version(
    catalog: Catalog, stream: int, points: NDArray[np.void], newest: int, at: int
) -> Version | None:
    """A trial version of one stream from its points so far, None while they cannot carry limits."""
    version, _ = catalog.in_force(stream, newest)
    if version.limits is not None:
        return None
    points = points[points["version"] == version.id]
    try:
        limits = estimate_points(
            version.definition["chart"], points["statistic"], points["dispersion"], points["n"]
        )
    except BaselineInvalid:
        return None
    return Version(
        id=catalog.next_version(),
        characteristic=version.characteristic,
        stream=stream,
        number=next_number(catalog, version.characteristic),
        state="trial",
        valid_from=newest + 1,
        definition=version.definition,
        limits=limits.to_dict(),
        author=AUTHOR,
        reason=f"trial limits from the first {len(points)} points",
        created_at=at,
    )
