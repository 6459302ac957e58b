"""What the service does now and then: snapshots to start from, and forgetting what is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from app.duration import UNITS
from app.store import queries
from app.store.errors import StoreError

if TYPE_CHECKING:
    from app.service import Service

log = structlog.get_logger(__name__)

SNAPSHOT_EVERY_S: Final = 60.0
FORGET_EVERY_S: Final = 3600.0
ANSWERS_KEPT: Final = 7 * UNITS["d"]
ANNOUNCEMENTS_KEPT: Final = 90 * UNITS["d"]


async def keep_snapshots(service: Service) -> None:
    """Keep what a start without the database needs, without end."""
    while True:
        await keep_snapshot(service)
        await asyncio.sleep(SNAPSHOT_EVERY_S)


async def keep_snapshot(service: Service) -> None:
    """Keep it now, unless the spool tells it anyway."""
    if service.journal.away:
        return
    async with service.lock:
        state, last = await asyncio.to_thread(service.state.snapshot), service.journal.last
    await service.journal.keep_snapshot(state, last)


async def forget_what_is_over(service: Service) -> None:
    """Remove answers to Idempotency-Keys and announcements that are long gone, without end."""
    while True:
        await forget(service)
        await asyncio.sleep(FORGET_EVERY_S)


async def forget(service: Service) -> None:
    """Remove them now, if the database is there."""
    now = service.clock()
    try:
        await queries.prune(
            service.store,
            answers_before=now - ANSWERS_KEPT,
            announcements_before=now - ANNOUNCEMENTS_KEPT,
        )
    except StoreError as error:
        log.warning("what is over is not forgotten yet", error=str(error))
