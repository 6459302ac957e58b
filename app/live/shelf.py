"""The series that are watched, or were a moment ago, and how they get their past."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, KeysView

import numpy as np
from numpy.typing import NDArray

from app.live.series import Series, State
from app.live.source import HistoryAway, LiveSource

KEPT = 256  # series that nobody watches any more, so that a dropped screen can resume
MOST = 20_000
RETRY_TICKS = 20
LOADERS = 4


class ShelfFull(Exception):
    """More streams are watched at once than this process keeps."""


class Shelf:
    """Finds, makes and forgets series; a stream nobody watches costs nothing."""

    def __init__(self, source: LiveSource, loaded: Callable[[Series], None]) -> None:
        self.tick = 0
        self._source = source
        self._loaded = loaded
        self._series: dict[int, Series] = {}
        self._kept: OrderedDict[int, None] = OrderedDict()
        self._mask = np.zeros(1024, np.bool_)
        self._queue: asyncio.Queue[Series] = asyncio.Queue()  # each series at most once
        self._again: deque[tuple[int, Series]] = deque()  # each series at most once

    @property
    def streams(self) -> KeysView[int]:
        """The streams that have a series."""
        return self._series.keys()

    def get(self, stream: int) -> Series | None:
        """A stream's series."""
        return self._series.get(stream)

    def watch(self, stream: int, name: str, window: int) -> Series:
        """One more screen shows the stream, ``window`` points of it.

        Raises:
            ShelfFull: too many are watched.
        """
        series = self._series.get(stream)
        if series is None:
            if len(self._series) - len(self._kept) >= MOST:
                raise ShelfFull
            series = Series(stream, name, window, self.tick)
            self._series[stream] = series
            self._mark(stream, on=True)
            self._queue_up(series)
        elif window > series.wanted:
            series.wanted = window
            self._queue_up(series)
        series.watchers += 1
        self._kept.pop(stream, None)
        return series

    def unwatch(self, stream: int) -> None:
        """One screen less; the last one leaves the series behind for a while."""
        series = self._series[stream]
        series.watchers -= 1
        if series.watchers:
            return
        self._kept[stream] = None
        if len(self._kept) > KEPT:
            oldest, _ = self._kept.popitem(last=False)
            del self._series[oldest]
            self._mark(oldest, on=False)

    def reload(self, series: Series) -> None:
        """Fetch the past anew: more changed than is worth following."""
        series.owed = True
        self._queue_up(series)

    def watched(self, points: NDArray[np.void]) -> NDArray[np.void]:
        """Those of the points that somebody shows."""
        if not len(points) or not self._series:
            return points[:0]
        rows: NDArray[np.void] = points[self._mask.take(points["stream"], mode="clip")]
        return rows

    def advance(self) -> None:
        """Another tick: ask again for what was away."""
        self.tick += 1
        while self._again and self._again[0][0] <= self.tick:
            self._queue.put_nowait(self._again.popleft()[1])

    async def load_forever(self) -> None:
        """Fetch the past of one series after the other."""
        while True:
            series = await self._queue.get()
            if self._series.get(series.stream) is series:
                await self._load(series)

    async def _load(self, series: Series) -> None:
        window = series.wanted
        try:
            done = series.load(await self._source.history(series.stream, window), window)
        except HistoryAway:
            done = False
        if not done:
            if series.state is State.LOADING:
                series.state = State.PARTIAL
                series.owed = True
                self._loaded(series)
            self._again.append((self.tick + RETRY_TICKS, series))
            return
        series.queued = False
        if series.wanted > window:
            self._queue_up(series)
        if series.owed:
            series.owed = False
            series.restart(self.tick + 1)
        self._loaded(series)

    def _queue_up(self, series: Series) -> None:
        if not series.queued:
            series.queued = True
            series.hold_from_now()
            self._queue.put_nowait(series)

    def _mark(self, stream: int, *, on: bool) -> None:
        if stream + 1 >= len(self._mask):  # its last place stands for all streams beyond
            grown = np.zeros(max(stream + 2, 2 * len(self._mask)), np.bool_)
            grown[: len(self._mask)] = self._mask
            self._mask = grown
        self._mask[stream] = on
