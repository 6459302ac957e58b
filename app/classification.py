"""Classified before judged: the store is asked about every reading that may not be new."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from app.arrivals import Names, Sorted, names_of, nothing_known, sort_out
from app.engine import Engine
from app.journal import Journal
from app.membership import Membership
from app.store.errors import StoreLost
from rules import stream as loop

log = structlog.get_logger(__name__)

MANY = 1_000
"""Rows that a worker thread sorts out, for the event loop's sake."""


class Lookup(Protocol):
    """What sorting arrivals asks of the store; each raises StoreLost."""

    async def lookup(
        self, streams: NDArray[np.int32], times: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.void]:
        """The stored readings among these identities."""
        ...

    async def named(
        self, streams: Sequence[int], names: Sequence[int], since: int
    ) -> set[tuple[int, int]]:
        """The pairs of stream and subgroup name that have readings measured since then."""
        ...


class Classified(NamedTuple):
    """What each row of a batch is."""

    sorted: Sorted
    slow: set[int]  # streams that have to be put in order
    unjudged: NDArray[np.bool_]  # rows that cannot be known while the database is away


class Classifier:
    """Asks the store where it can be asked."""

    def __init__(
        self, engine: Engine, membership: Membership, lookup: Lookup, journal: Journal
    ) -> None:
        self._engine = engine
        self._membership = membership
        self._lookup = lookup
        self._journal = journal

    async def classify(
        self, rows: NDArray[np.void], *, look_everything_up: bool = False
    ) -> Classified:
        """What the rows are; the newest of each stream is known afterwards."""
        streams = np.unique(rows["stream"]).astype(np.int64)
        newest = self._engine.integers[streams][:, loop.NEWEST_TIME : loop.NEWEST_KEY + 1]
        known = self._engine.classify(rows)
        if look_everything_up:
            known[:] = 1
        doubtful = np.flatnonzero(known)
        if not self._journal.away:
            try:
                return await self._asked(rows, doubtful)
            except StoreLost as error:
                log.warning("database lost", error=str(error))
                self._journal.leave()
        return self._unasked(rows, doubtful, streams, newest)

    async def _asked(self, rows: NDArray[np.void], doubtful: NDArray[np.int64]) -> Classified:
        found = nothing_known(rows)
        if len(doubtful):
            asked = rows[doubtful]
            there = await self._lookup.lookup(asked["stream"], asked["time"], asked["key"])
            if len(rows) < MANY:
                found = sort_out(rows, doubtful, there)
            else:
                found = await asyncio.to_thread(sort_out, rows, doubtful, there)
        names = await self._names(rows[found.stored & ~found.late])
        slow = {stream for stream, _ in await self._resumed(rows, names.asked)} | names.tangled
        late = np.flatnonzero(found.late)
        late = late[~self._membership.without_point(rows[late])]
        slow |= set(np.unique(rows["stream"][late]).tolist())
        slow |= self._membership.unsettled & set(np.unique(rows["stream"][found.stored]).tolist())
        return Classified(found, slow, np.zeros(len(rows), bool))

    async def _names(self, rows: NDArray[np.void]) -> Names:
        if len(rows) < MANY:
            return names_of(rows, self._engine)
        return await asyncio.to_thread(names_of, rows, self._engine)

    async def _resumed(
        self, rows: NDArray[np.void], asked: dict[int, list[int]]
    ) -> set[tuple[int, int]]:
        pairs = [(stream, name) for stream, found in asked.items() for name in set(found)]
        if not pairs:
            return set()
        versions = self._engine.versions_i[self._engine.integers[list(asked), loop.VERSION]]
        holds = max(int(loop.name_holds(version)) for version in versions)
        since = int(rows["time"].min()) - holds
        streams, names = zip(*pairs, strict=True)
        return await self._lookup.named(streams, names, since)

    def _unasked(
        self,
        rows: NDArray[np.void],
        doubtful: NDArray[np.int64],
        streams: NDArray[np.int64],
        newest: NDArray[np.int64],
    ) -> Classified:
        """What came before cannot be looked up: it is kept, and judged when it can be.

        So is everything of a stream that has to be put in order by what the store holds: what
        follows there must not overtake it.
        """
        unjudged = np.zeros(len(rows), bool)
        unjudged[doubtful] = True
        membership = self._membership
        membership.held |= (membership.unsettled | membership.held) & set(streams.tolist())
        names = names_of(rows[~unjudged], self._engine)
        unjudged |= np.isin(rows["stream"], list(names.tangled | membership.held))
        held = np.isin(streams, list(membership.held))
        newest_columns = slice(loop.NEWEST_TIME, loop.NEWEST_KEY + 1)
        self._engine.integers[streams[held], newest_columns] = newest[held]
        return Classified(nothing_known(rows), set(), unjudged)
