"""What the clock alone brings about: silent gauges, lost sources, shelves that are over."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import structlog
from numpy.typing import NDArray

from app.alarm_step import COVERABLE
from app.alarms import Alarms
from app.catalog import Catalog
from app.engine import Engine
from app.facts import Facts
from app.metrics import SourceState
from app.silence import DOWN, NOT_YET, Found, Lost, look, look_at_sources
from app.store.batch import Alarm, Batch
from app.store.errors import StoreError
from rules import stream as loop

log = structlog.get_logger(__name__)

EVERY_S = 1.0


class Watch:
    """Looks once a second; what it finds goes the way of every alarm."""

    def __init__(
        self,
        catalog: Catalog,
        engine: Engine,
        alarms: Alarms,
        facts: Facts,
        sources: Callable[[], list[SourceState]],
        clock: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._alarms = alarms
        self._facts = facts
        self._sources = sources
        self._clock = clock
        self.started = clock()
        self._expect = np.zeros(0, np.int64)
        self._retired: set[int] = set()
        self._as_of = (-1, -1)

    async def run(self, act: Callable[[Callable[[Batch], None]], Awaitable[None]]) -> None:
        """Look, and act when something is found, without end."""
        said = ""
        while True:
            await asyncio.sleep(EVERY_S)
            found = self.look()
            if not (found or self._alarms.due(self._clock())):
                continue
            try:
                await act(self._listen)
                said = ""
            except StoreError as error:  # it is found again
                if str(error) != said:
                    said = str(error)
                    log.warning("silence cannot be recorded", error=said)

    def _listen(self, batch: Batch) -> None:
        # Looked at again: the world went on while this waited for its turn.
        self._alarms.listen(batch, self.look(), batch.at)

    def look(self) -> Found:
        """What has gone quiet, is heard again or is no longer in use since the last look."""
        now, expect = self._clock(), self._expected()
        count = len(expect)
        known = self._alarms.silent()
        if not expect.any():
            gauges = Found([], sorted(stream for stream in known if stream >= 0))
        else:
            last = self._engine.integers[:count, loop.RECEIVED].copy()
            last[last == loop.NONE] = NOT_YET
            gauges = look(
                now,
                last,
                expect,
                self._up_since(count),
                known=known,
                describe=self._facts.describe,
                covered=[s for s, alarm in known.items() if alarm and alarm.state == "suppressed"],
            )
        sources = look_at_sources(now, self._lost(), known, ZoneInfo(self._facts.plant.timezone))
        return Found(
            gauges.quiet + sources.quiet,
            gauges.heard + sources.heard,
            self._covered(known),
            gauges.uncovered,
            [*self._gone(sources.ceased), *self._alarms.in_use_no_more(self._retired)],
        )

    def _gone(self, missing: Sequence[int]) -> list[int]:
        """Sources that are configured no more; one that is being restarted only does not run now."""
        kept = {one["id"] for one in self._catalog.plant.get("sources", ())} if missing else set()
        known = {-source.id for source in self._catalog.sources.values() if source.name in kept}
        return [stream for stream in missing if stream not in known]

    def _covered(self, known: Mapping[int, Alarm | None]) -> list[tuple[int, str]]:
        """Silent gauges whose own source is known to be lost."""
        lost = {-stream: alarm for stream, alarm in known.items() if stream < 0 and alarm}
        if not lost:
            return []
        feeds = self._engine.integers[:, loop.SOURCE]
        return [
            (stream, lost[int(feeds[stream])].stream_name)
            for stream, alarm in known.items()
            if stream >= 0 and alarm and alarm.state in COVERABLE and int(feeds[stream]) in lost
        ]

    def _expected(self) -> NDArray[np.int64]:
        """Per stream how often a reading is due, 0 where that is not said."""
        as_of = (self._engine.streams, self._catalog.revision)
        if as_of != self._as_of:
            self._as_of = as_of
            self._expect = np.zeros(self._engine.streams, np.int64)
            self._retired = set()
            for stream in list(self._catalog.streams.values()):  # a thread may add some
                entry = self._catalog.characteristics[stream.characteristic]
                if self._catalog.is_history(stream):
                    self._retired.add(stream.id)
                elif stream.id < len(self._expect) and entry.config.expect:
                    self._expect[stream.id] = entry.config.expect
        return self._expect

    def _up_since(self, count: int) -> NDArray[np.int64]:
        up = np.full(count, self.started, np.int64)
        feeds = self._engine.integers[:count, loop.SOURCE]
        for _, status in self._sources():
            source = self._catalog.sources.get(status.name)
            if source is not None:
                since = max(self.started, status.since) if status.state == "up" else DOWN
                up[feeds == source.id] = since
        return up

    def _lost(self) -> list[Lost]:
        feeds = self._engine.integers[: self._engine.streams, loop.SOURCE]
        lost = []
        for _, status in self._sources():
            source = self._catalog.sources.get(status.name)
            if source is not None:
                away = (
                    None if status.state in ("up", "stopped") else max(status.since, self.started)
                )
                fed = int(np.count_nonzero(feeds == source.id))
                lost.append(Lost(source.id, source.name, away, status.last_error, fed))
        return lost
