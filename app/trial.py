"""Limits to try: made once, from a stream's first points, and marked as advice until approved."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from app.catalog import Catalog
from app.http.ports import DatabaseAway
from app.limits import TRIED_BY, next_number
from app.store.batch import Version
from app.store.errors import StoreError
from app.store.rows import PointFlag
from rules import stream as loop
from rules.limits import BaselineInvalid, estimate_points

if TYPE_CHECKING:
    from app.service import Service

log = structlog.get_logger(__name__)

EVERY_S = 0.2
POINTS = 1_000
MORE = 1.5
"""A stream whose points did not carry limits is tried again with so many times as many."""


class Trials:
    """Tries limits on streams that have points enough and no limits yet."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._wanted: set[int] = set()
        self._not_before: dict[int, float] = {}  # by stream: how many changes it should have

    def want(self, stream: int) -> None:
        """This stream has points without limits."""
        if self._changes(stream) >= self._not_before.get(stream, 0.0):
            self._wanted.add(stream)

    async def run(self) -> None:
        """Make limits without end."""
        while True:
            await asyncio.sleep(EVERY_S)
            if self._service.journal.away:
                continue
            wanted, self._wanted = self._wanted, set()
            for stream in wanted:
                try:
                    await self._try(stream)
                except DatabaseAway:
                    self._wanted.add(stream)
                except StoreError as error:
                    self._later(stream)
                    log.warning("no trial limits", stream=stream, error=str(error))

    async def _try(self, stream: int) -> None:
        if stream not in self._service.catalog.streams or await self._made(stream) is None:
            self._later(stream)
            return
        async with self._service.exclusive() as unit:
            made = await self._made(stream)  # nothing is judged now
            if made is not None:
                unit.batch.versions.append(made)
        self._not_before.pop(stream, None)

    async def _made(self, stream: int) -> Version | None:
        service = self._service
        points = await service.records.points(stream, None, None, POINTS)
        points = points[(points["flags"] & PointFlag.EXCLUDED) == 0]
        newest = int(service.engine.integers[stream, loop.NEWEST_TIME])
        return trial_version(service.catalog, stream, points, newest, service.clock())

    def _changes(self, stream: int) -> int:
        return int(self._service.engine.integers[stream, loop.SEQ])

    def _later(self, stream: int) -> None:
        self._not_before[stream] = MORE * self._changes(stream)


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
        author=TRIED_BY,
        reason=f"trial limits from the first {len(points)} points",
        created_at=at,
    )
