"""Announcements that wait, what became of them, and what need not be kept for ever."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from app.store.batch import DeliveryMark, Outbox
from app.store.connection import Database


class Changeable(Protocol):
    """The Store, as far as it changes rows beside the batches."""

    async def change(self, statement: str, *args: Any) -> list[Any]:
        """Run one statement that writes."""
        ...


WAITING: Final = """
    SELECT o.id, o.alarm, o.created_at, o.payload, coalesce(d.attempts, 0) AS attempts
    FROM outbox o LEFT JOIN outbox_delivery d ON d.outbox = o.id AND d.channel = $1
    WHERE o.id > $2 AND o.created_at >= coalesce($4::timestamptz, '-infinity')
      AND (d.outbox IS NULL OR d.next_at IS NOT NULL)
      AND (NOT $5 OR (o.payload -> 'page')::boolean)
    ORDER BY o.id LIMIT $3
"""


async def waiting_announcements(
    database: Database,
    channel: str,
    after: int,
    limit: int,
    since: int | None = None,
    *,
    calls_only: bool = False,
) -> list[tuple[Outbox, int]]:
    """What a channel has neither delivered nor given up, with the attempts so far, by id."""
    rows = await database.fetch(WAITING, channel, after, limit, since, calls_only)
    return [
        (Outbox(row["id"], row["alarm"], row["created_at"], row["payload"]), row["attempts"])
        for row in rows
    ]


MARK: Final = """
    INSERT INTO outbox_delivery AS d
           (outbox, channel, attempts, next_at, delivered_at, failed_at, error)
    SELECT n.* FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::timestamptz[],
                           $5::timestamptz[], $6::timestamptz[], $7::text[])
                    AS n (outbox, channel, attempts, next_at, delivered_at, failed_at, error)
    WHERE EXISTS (SELECT FROM outbox o WHERE o.id = n.outbox)
    ON CONFLICT (outbox, channel) DO UPDATE SET attempts = excluded.attempts,
        next_at = excluded.next_at, delivered_at = excluded.delivered_at,
        failed_at = excluded.failed_at, error = excluded.error
    RETURNING d.outbox, d.channel
"""


async def mark_deliveries(store: Changeable, marks: Sequence[DeliveryMark]) -> set[tuple[int, str]]:
    """Keep what became of announcements; returns those that the outbox has.

    Of two marks for the same announcement and channel the later counts.
    """
    latest = list({(mark.outbox, mark.channel): mark for mark in marks}.values())
    if not latest:
        return set()
    names = DeliveryMark.__struct_fields__
    rows = await store.change(MARK, *([getattr(m, name) for m in latest] for name in names))
    return {(row["outbox"], row["channel"]) for row in rows}


PRUNE_ANSWERS: Final = "DELETE FROM idempotency WHERE at < $1"

# The newest stays: the numbers go on from it.
PRUNE_OUTBOX: Final = """
    DELETE FROM outbox WHERE created_at < $1 AND id < (SELECT max(id) FROM outbox)
"""


async def prune(store: Changeable, *, answers_before: int, announcements_before: int) -> None:
    """Forget answers that nobody repeats any more, and announcements that are long gone."""
    await store.change(PRUNE_ANSWERS, answers_before)
    await store.change(PRUNE_OUTBOX, announcements_before)
