"""What waits to leave on one channel: due one by one, in order for each alarm, bounded."""

import heapq
from collections import OrderedDict, deque
from typing import Final

import msgspec

from app.store.batch import Outbox

REMEMBERED: Final = 10_000
"""Finished announcements that are known by their id, so that a late re-read sends none twice."""


class Item(msgspec.Struct):
    """One announcement on its way, and how often it was tried."""

    row: Outbox
    attempts: int = 0


class Lane:
    """Announcements of one channel; those of one alarm leave in their order, others pass by.

    Times are any clock's seconds, as the caller has it.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._lines: dict[int, deque[Item]] = {}  # by alarm
        self._due: list[tuple[float, int, int]] = []  # of the first in each line: when, id, alarm
        self._ids: set[int] = set()
        self._finished: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        """How many wait or are being sent."""
        return len(self._ids)

    def put(self, row: Outbox, due: float, attempts: int = 0) -> bool:
        """Take in an announcement; false when there is no room. One known already is no second."""
        if row.id in self._ids or row.id in self._finished:
            return True
        if len(self._ids) >= self._room:
            return False
        self._ids.add(row.id)
        line = self._line_of(row)
        waiting = self._lines.setdefault(line, deque())
        waiting.append(Item(row, attempts))
        if len(waiting) == 1:
            heapq.heappush(self._due, (due, row.id, line))
        return True

    def take(self, now: float) -> Item | None:
        """The next one that is due; it stays first in its line until ``done`` or ``again``."""
        if not self._due or self._due[0][0] > now:
            return None
        _, _, line = heapq.heappop(self._due)
        return self._lines[line][0]

    def wait(self, now: float) -> float | None:
        """Seconds until something is due; None when nothing waits."""
        return max(0.0, self._due[0][0] - now) if self._due else None

    def done(self, item: Item, now: float) -> None:
        """It has left, or was given up: the next of its alarm is due."""
        line = self._line_of(item.row)
        waiting = self._lines[line]
        waiting.popleft()
        self._ids.discard(item.row.id)
        self._finished[item.row.id] = None
        if len(self._finished) > REMEMBERED:
            self._finished.popitem(last=False)
        if waiting:
            heapq.heappush(self._due, (now, waiting[0].row.id, line))
        else:
            del self._lines[line]

    def again(self, item: Item, due: float) -> None:
        """It did not leave: try it again at ``due``."""
        heapq.heappush(self._due, (due, item.row.id, self._line_of(item.row)))

    def hurry(self, now: float) -> None:
        """The other side is back: everything is due now, oldest first."""
        self._due = [(min(due, now), number, line) for due, number, line in self._due]
        heapq.heapify(self._due)

    @staticmethod
    def _line_of(row: Outbox) -> int:
        return -row.id if row.alarm is None else row.alarm
