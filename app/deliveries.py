"""What the store keeps of announcements: which still wait, and what became of the others."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from app.store.batch import DeliveryMark, Outbox


class Waiting(msgspec.Struct, frozen=True):
    """An announcement that a channel has neither delivered nor given up."""

    row: Outbox
    attempts: int


class Deliveries(Protocol):
    """What the store keeps of deliveries."""

    async def waiting(
        self, channel: str, after: int, limit: int, *, calls_only: bool
    ) -> Sequence[Waiting]:
        """Announcements for this channel with an id above ``after``, not final yet, by id.

        With ``calls_only`` those alone whose ``page`` is true. A store may leave it to the reader
        to skip those whose payload does not list the channel under ``channels``.

        Raises:
            StoreLost: the database is away.
        """
        ...

    async def mark(self, marks: Sequence[DeliveryMark]) -> set[tuple[int, str]]:
        """Keep what became of announcements; returns those whose outbox row is there.

        Raises:
            StoreLost: the database is away.
        """
        ...


class Nowhere:
    """No store: nothing waits from before, and marks are kept nowhere."""

    async def waiting(
        self,
        channel: str,  # noqa: ARG002
        after: int,  # noqa: ARG002
        limit: int,  # noqa: ARG002
        *,
        calls_only: bool,  # noqa: ARG002
    ) -> Sequence[Waiting]:
        """Nothing."""
        return []

    async def mark(self, marks: Sequence[DeliveryMark]) -> set[tuple[int, str]]:
        """All of them are as good as kept."""
        return {(mark.outbox, mark.channel) for mark in marks}
