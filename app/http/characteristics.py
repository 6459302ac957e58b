"""Characteristics with their streams, versions, points and readings."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from app import apply
from app.catalog import Characteristic
from app.characteristic import CharacteristicConfig
from app.http import shapes
from app.http.commands import Who
from app.http.ports import Row, Service
from app.http.problem import Problem
from app.http.times import After, Limit, Time, cursor, iso_column, parsed, written

StreamId = Annotated[str | None, Query(description="`id` of a stream; needed where there are several")]


def found(service: Service, name: str) -> Characteristic:
    """The characteristic with this id, retired or not.

    Raises:
        Problem: there is none.
    """
    entry = service.catalog.find(name)
    if entry is None:
        entry = next((c for c in service.catalog.characteristics.values() if c.name == name), None)
    if entry is None:
        raise Problem(404, f'there is no characteristic "{name}"')
    return entry


def stream_of(service: Service, entry: Characteristic, name: str | None) -> int | None:
    """The stream that a query means; None where the characteristic has none yet.

    Raises:
        Problem: it does not exist, or has to be chosen.
    """
    known = {service.catalog.streams[n].name: n for n in service.catalog.streams_of(entry.id)}
    if name is None:
        if len(known) > 1:
            raise Problem(
                422, f"stream: {entry.name} has several; choose one of /streams", streams=sorted(known)[:100]
            )
        return next(iter(known.values()), None)
    if name not in known:
        raise Problem(404, f'{entry.name} has no stream "{name}"')
    return known[name]
