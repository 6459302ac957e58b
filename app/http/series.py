"""Points and readings of a characteristic, in columns."""

from typing import Annotated

import msgspec
import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import Response

from app.http import shapes
from app.http.characteristics import Name, StreamId, found, stream_of
from app.http.current import Current
from app.http.ports import Row
from app.http.times import After, Limit, Time, cursor, iso, parsed, written
from app.store.rows import POINT, READING

VIOLATIONS_KEPT = 10_000
"""The most violations that a dense range keeps in full."""


POINTS = """
Columns, oldest first. Without `start` the newest `limit` points. A range with more points than
`limit` is reduced to `bands` of min, mean and max, and the columns then hold its violations only.
`violations` name the rules of the location chart that a point completes,
`dispersion_violations` those of the range, moving range or deviation.
"""
READINGS = """
Columns, in the order of time, all of the characteristic's purposes and qualities. `next` continues.
"""

routes = APIRouter(prefix="/characteristics/{name}", tags=["characteristics"])


@routes.get("/points", summary="Points with their stored verdicts", description=POINTS)
async def points(
    service: Current,
    name: Name,
    *,
    stream: StreamId = None,
    start: Time = None,
    end: Time = None,
    limit: Limit = 1000,
    reduce: Annotated[bool, Query(description="Reduce a dense range to bands.")] = True,
) -> Response:
    """The stored verdicts; nothing is judged here."""
    entry = found(service, name)
    number = stream_of(service, entry, stream)
    since, until = parsed(start, "start"), parsed(end, "end")
    if number is None:
        return _json({**shapes.points(np.empty(0, POINT), service.catalog), "bands": None})
    dense = reduce and since is not None
    if dense and await service.records.count_points(number, since, until) > limit:
        kept = await service.records.violations(number, since, until, VIOLATIONS_KEPT)
        rows = await service.records.bands(number, since, until, limit)
        bands = {
            name: [iso(row[name]) if name == "time" else row[name] for row in rows]
            for name in ("time", "n", "min", "mean", "max")
        }
        return _json({**shapes.points(kept, service.catalog), "bands": bands})
    found_points = await service.records.points(number, since, until, limit)
    return _json({**shapes.points(found_points, service.catalog), "bands": None})


@routes.get("/readings", summary="Readings as they were measured", description=READINGS)
async def readings(
    service: Current,
    name: Name,
    *,
    stream: StreamId = None,
    start: Time = None,
    end: Time = None,
    limit: Limit = 1000,
    after: After = None,
) -> Response:
    """What was measured, with what became of it."""
    entry = found(service, name)
    number = stream_of(service, entry, stream)
    place = cursor(after, 2)
    since, until = parsed(start, "start"), parsed(end, "end")
    if number is None:
        return _json({**shapes.readings(np.empty(0, READING), {}), "next": None})
    rows = await service.records.readings(
        number, since, until, (place[0], place[1]) if place else None, limit + 1
    )
    more, rows = len(rows) > limit, rows[:limit]
    contexts = np.unique(rows["context"][rows["context"] != 0]).tolist()
    tags = await service.records.tags(contexts) if contexts else {}
    following = written(int(rows[-1]["time"]), int(rows[-1]["key"])) if more else None
    return _json({**shapes.readings(rows, tags), "next": following})


def _json(document: Row) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")
