"""What the service keeps a list of: quarantine, gaps, parts to be held, sources, who did what."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.http.characteristics import CharacteristicId, found
from app.http.current import Current
from app.http.ports import Row
from app.http.problem import Problem
from app.http.times import After, Limit, cursor, iso, some_iso, written
from app.metrics import SourceState

SourceId = Annotated[str | None, Query(description="Only of this source.")]

routes = APIRouter(tags=["operation"])


@routes.get("/quarantine", summary="What arrived and could not become a reading")
async def quarantine(
    service: Current, source: SourceId = None, limit: Limit = 100, after: After = None
) -> Row:
    """Newest first, each with its reason and the first 8 KiB of what was sent."""
    place = cursor(after, 1)
    rows = await service.records.quarantine(source, place[0] if place else None, limit + 1)
    return _page(rows, limit)


@routes.get("/gaps", summary="Readings known to be missing")
async def gaps(
    service: Current, source: SourceId = None, limit: Limit = 100, after: After = None
) -> Row:
    """Newest first: numbers that a source skipped, polls that were skipped."""
    place = cursor(after, 1)
    rows = await service.records.gaps(source, place[0] if place else None, limit + 1)
    return _page(rows, limit)


@routes.get("/audit", summary="Who changed what, and why")
async def audit(service: Current, limit: Limit = 100, after: After = None) -> Row:
    """Newest first."""
    place = cursor(after, 1)
    rows = await service.records.audits(place[0] if place else None, limit + 1)
    return _page(rows, limit)


@routes.get("/containments", summary="Parts out of specification, to be held")
async def containments(
    service: Current,
    characteristic: CharacteristicId = None,
    limit: Limit = 100,
    after: After = None,
) -> Row:
    """Newest first, each with the limits it broke and the last good time before it."""
    streams = None
    if characteristic is not None:
        streams = service.catalog.streams_of(found(service, characteristic).id)
    place = cursor(after, 3)
    rows = await service.records.containments(
        streams, (place[0], place[1], place[2]) if place else None, limit + 1
    )
    more, rows = len(rows) > limit, rows[:limit]
    following = None
    if more:
        last = rows[-1]
        following = written(last["time_us"], last["stream_number"], last["key"])
    inner = ("time_us", "stream_number")
    return {
        "items": [{k: v for k, v in row.items() if k not in inner} for row in rows],
        "next": following,
    }


@routes.get("/sources", summary="Sources and how they are")
async def sources(service: Current) -> Row:
    """Every source in one page, the HTTP door too."""
    return {"items": [_source(state) for state in service.sources()], "next": None}


@routes.get("/sources/{name}", summary="One source")
async def source(
    service: Current,
    name: Annotated[str, Path(description="Id of the source; `http` is the door.")],
) -> Row:
    """State, newest reading, clock skew and counters."""
    for state in service.sources():
        if state.status.name == name:
            return _source(state)
    raise Problem(404, f'there is no source "{name}"')


def _source(state: SourceState) -> Row:
    status = state.status
    skew = status.counters.skew_us
    return {
        "id": status.name,
        "kind": state.kind,
        "state": status.state,
        "since": iso(status.since),
        "last_error": status.last_error,
        "attempts": status.attempts,
        "last_reading_at": some_iso(status.last_reading_at),
        "skew_s": None if skew is None else skew / 1e6,
        "counters": {
            name: getattr(status.counters, name)
            for name in ("messages", "readings", "rejects", "dropped", "acknowledged")
        },
    }


def _page(rows: list[Row], limit: int) -> Row:
    more = len(rows) > limit
    return {
        "items": rows[:limit],
        "next": written(rows[limit - 1]["id"]) if more else None,
    }
