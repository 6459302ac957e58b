"""The newest points of one watched stream, and its rows that clients still wait for."""

from collections import deque
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from app.live.source import History
from app.store.rows import POINT

ROWS_WAITING = 200
CHANGES_HELD = 500


class Change(Enum):
    """What happened to a point that is not the newest of its stream."""

    INSERTED = "inserted"
    CORRECTED = "corrected"
    WITHDRAWN = "withdrawn"


class State(Enum):
    """How much of the past a series holds."""

    LOADING = "loading"  # nobody can be answered yet
    PARTIAL = "partial"  # the database is away: only what came since somebody watches
    LOADED = "loaded"


class Series:
    """A ring over the last ``window`` points with a short log of encoded rows.

    The log keeps what the slowest client has not been sent, at most ROWS_WAITING rows; whoever
    waits for more than that gets a snapshot instead.
    """

    def __init__(self, stream: int, name: str, window: int, tick: int) -> None:
        self.stream = stream
        self.name = name
        self.window = window
        self.state = State.LOADING
        self.seq = 0
        self.revised_seq = 0
        self.base_seq = 0  # every change after this one is among the points
        self.watchers = 0
        self.wanted = window  # the longest that a screen shows
        self.queued = False  # for loading
        self.owed = False  # what was sent is incomplete: everybody gets a snapshot once loaded
        self.tick = tick  # of the newest row
        self.dropped = -1  # tick of the newest row that no longer waits here
        self.log: deque[tuple[int, int, bytes]] = deque()
        self._rows = np.empty(2 * window, POINT)
        self._start = self._end = 0  # of the window; rows before it are evicted
        self._newest = (0, 0)  # time and key of the last point
        self._held: deque[tuple[Change | None, NDArray[np.void]]] = deque(maxlen=CHANGES_HELD)

    @property
    def points(self) -> NDArray[np.void]:
        """The points, ascending by (time, key)."""
        return self._rows[self._start : self._end]

    def extends(self, rows: NDArray[np.void]) -> bool:
        """Whether ``rows`` are ascending and newer than all points."""
        times, keys = rows["time"], rows["key"]
        if len(rows) > 1 and bool(np.any(times[1:] < times[:-1])):
            return False
        return self._start == self._end or (int(times[0]), int(keys[0])) > self._newest

    def add(self, points: NDArray[np.void], i: int, seq: int, time: int, key: int) -> bool:
        """Take up one of the points if it is newer than all; the usual case."""
        if self._start != self._end and (time, key) <= self._newest:
            return False
        if self.state is not State.LOADED or self.queued:
            self._hold(None, points[i : i + 1])
        if self._end == len(self._rows):
            self._compact()
        self._rows[self._end] = points[i]
        self._end += 1
        if self._end - self._start > self.window:
            self._start += 1
        self.seq, self._newest = seq, (time, key)
        return True

    def append(self, rows: NDArray[np.void]) -> None:
        """Take up new newest points."""
        self._hold(None, rows)
        rows = rows[-self.window :]
        if self._end + len(rows) > len(self._rows):
            self._compact()
        self._rows[self._end : self._end + len(rows)] = rows
        self._end += len(rows)
        self._start = max(self._start, self._end - self.window)
        self.seq = max(self.seq, int(rows["seq"].max()))
        self._newest = (int(rows["time"][-1]), int(rows["key"][-1]))

    def _compact(self) -> None:
        """Move the window to the front; what lies before it is forgotten."""
        self.base_seq = self._evicted_seq()
        points = self.points.copy()
        self._rows[: len(points)] = points
        self._start, self._end = 0, len(points)

    def _evicted_seq(self) -> int:
        """The newest change that is no longer among the points."""
        evicted = self._rows[: self._start]["seq"]
        return max(self.base_seq, int(evicted.max())) if len(evicted) else self.base_seq

    def change(self, change: Change, row: NDArray[np.void]) -> None:
        """Take up one change of the past (an array of one row)."""
        self._hold(change, row)
        points = self.points
        time, key = row["time"][0], row["key"][0]
        same = np.flatnonzero((points["time"] == time) & (points["key"] == key))
        if change is Change.WITHDRAWN:
            points = np.delete(points, same)
        elif len(same):
            points = points.copy()
            points[same[0]] = row[0]
        else:
            older = (points["time"] < time) | ((points["time"] == time) & (points["key"] < key))
            place = int(older.sum())
            if place or (change is Change.INSERTED and len(points) < self.window):
                points = np.insert(points, place, row[0])
        self._replace(points)
        self.seq = self.revised_seq = max(self.seq, int(row["seq"][0]))

    def load(self, history: History, window: int) -> bool:
        """Put the stored past below what came meanwhile; False where a piece is still missing."""
        held = [(change, rows[rows["seq"] > history.seq]) for change, rows in self._held]
        later = [(change, rows) for change, rows in held if len(rows)]
        first = min((int(rows["seq"].min()) for _, rows in later), default=self.seq + 1)
        if len(self._held) == CHANGES_HELD or history.seq + 1 < first:
            self._held.clear()
            return False
        self._held.clear()
        self.state = State.LOADED  # from here on nothing needs to be held
        if window > self.window or len(self._rows) < 2 * window:
            self.window = window
            self._rows = np.empty(2 * window, POINT)
        self.seq, self.revised_seq = history.seq, history.revised_seq
        self.base_seq = self._start = self._end = 0
        points = history.points
        if len(points) >= window:
            self.base_seq = max(0, int(points["seq"].min()) - 1)
        self._replace(points)
        for change, rows in later:
            if change is None:
                self.append(rows)
            else:
                self.change(change, rows)
        return True

    def hold_from_now(self) -> None:
        """Keep what comes from here on aside until the past is loaded."""
        self._held.clear()

    def missing_since(self, since: int) -> NDArray[np.void] | None:
        """The points a client lacks that has all up to ``since``; None where it needs all."""
        if self.state is not State.LOADED or not self.revised_seq <= since <= self.seq:
            return None
        if since < self._evicted_seq():
            return None
        points = self.points
        return points[points["seq"] > since]

    def wait(self, tick: int, seq: int, row: bytes) -> None:
        """Keep an encoded row until it was sent."""
        if len(self.log) >= ROWS_WAITING:
            self.dropped = self.log.popleft()[0]
        self.log.append((tick, seq, row))
        self.tick = tick

    def waiting(self, since: int, until: int, had: int) -> list[bytes]:
        """The rows of the ticks after one and up to another, without changes that one has."""
        rows = []
        for tick, seq, row in reversed(self.log):
            if tick <= since:
                break
            if tick <= until and seq > had:
                rows.append(row)
        return rows[::-1]

    def restart(self, tick: int) -> None:
        """Everybody needs a snapshot once ``tick`` is reached."""
        self.log.clear()
        self.dropped = self.tick = tick

    def sent(self, tick: int) -> None:
        """Nobody waits for rows up to ``tick``."""
        while self.log and self.log[0][0] <= tick:
            self.log.popleft()

    def _hold(self, change: Change | None, rows: NDArray[np.void]) -> None:
        if self.state is not State.LOADED or self.queued:
            self._held.append((change, rows[-self.window :].copy()))

    def _replace(self, points: NDArray[np.void]) -> None:
        self.base_seq = self._evicted_seq()
        points = points[-self.window :]
        self._start, self._end = 0, len(points)
        self._rows[: len(points)] = points
        if len(points):
            self._newest = (int(points["time"][-1]), int(points["key"][-1]))
