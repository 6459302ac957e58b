"""Questions to the store, in the words of those who ask: judging, screens, HTTP and a restart."""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.alarms import Judged
from app.announce import Waiting
from app.http.ports import Answer, DatabaseAway, Row
from app.http.times import iso, some_iso
from app.late import REACH
from app.live import History, HistoryAway
from app.restart import Remains
from app.store import queries
from app.store.batch import (
    Alarm,
    Characteristic,
    Context,
    DeliveryMark,
    Event,
    Source,
    Stream,
    Version,
)
from app.store.errors import StoreLost
from app.store.postgres import Store
from app.store.rows import NO_SUBGROUP, Purpose, Quality, ReadingFlag

T = TypeVar("T")
Rows = NDArray[np.void]

CONTEXTS = 20_000
STREAMS_AT_ONCE = 2_000
NEVER = 2**62


class Records:
    """Answers from the database; what judging needs raises StoreLost, what people ask DatabaseAway."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.names: Callable[[], Mapping[int, str]] = dict  # sources by number
        self.stream_names: Callable[[int], str] = str
        self.characteristic_names: Callable[[int], str] = str
        self.away: Callable[[], bool] = lambda: False

    # judging

    async def lookup(self, streams: Any, times: Any, keys: Any) -> Rows:
        """The stored readings among these identities."""
        return await queries.lookup(self._store.prompt, streams, times, keys)

    async def named(
        self, streams: Sequence[int], names: Sequence[int], since: int
    ) -> set[tuple[int, int]]:
        """The pairs of stream and subgroup name that have readings measured since then."""
        return await queries.named(self._store.prompt, np.array(streams), np.array(names), since)

    async def points_before(self, stream: int, time: int, key: int, limit: int) -> Rows:
        """The newest points before (time, key), ascending."""
        return await queries.points_before(self._store.prompt, stream, time, key, limit)

    async def points_from(self, stream: int, time: int, key: int, limit: int) -> Rows:
        """The oldest points at or after (time, key), ascending."""
        return await queries.points_from(self._store.prompt, stream, time, key, limit)

    async def readings_between(
        self, stream: int, start: tuple[int, int], end: tuple[int, int] | None, limit: int
    ) -> Rows:
        """Readings from start to end, both included, ascending."""
        return await queries.readings_between(self._store.prompt, stream, start, end, limit)

    async def subgroup_readings(self, stream: int, numbers: Sequence[int], since: int) -> Rows:
        """Readings of these subgroups that were measured since ``since``, ascending."""
        return await queries.subgroup_readings(self._store.prompt, stream, np.array(numbers), since)

    async def points_of(self, readings: Rows) -> Rows:
        """The points that these readings belong to."""
        subgroups = [None if n == NO_SUBGROUP else n for n in readings["subgroup"].tolist()]
        return await self._asked(
            queries.points_of_readings(
                self._store, readings["stream"], readings["time"], readings["key"], subgroups
            )
        )

    async def fill_past(self, judged: Judged) -> None:
        """Add to what alarms are told of late and changed rows what only the store knows."""
        parts = (judged.points, judged.changed, judged.withdrawn)
        touched = np.unique(np.concatenate([part["stream"] for part in parts]))
        late = (judged.readings["flags"] & ReadingFlag.LATE) != 0
        touched = np.union1d(touched, judged.readings["stream"][late])
        oldest = min((int(part["time"].min()) for part in parts if len(part)), default=NEVER)
        if late.any():
            oldest = min(oldest, int(judged.readings["time"][late].min()))
        judged.newest_readings = await self._newest_readings(judged.readings, touched)
        judged.past_events = await queries.events_since(
            self._store.prompt, touched.tolist(), oldest
        )

    async def _newest_readings(self, fresh: Rows, streams: NDArray[np.int32]) -> Rows:
        found = []
        for stream in streams.tolist():
            mine = fresh[(fresh["stream"] == stream) & _counts(fresh)]
            stored = await queries.readings(self._store.prompt, stream, None, None, None, REACH)
            rows = np.concatenate([stored[_counts(stored)], mine])
            found.append(np.sort(rows, order=("time", "key"))[-1:])
        return np.concatenate(found) if found else fresh[:0]

    # a restart

    async def plant(self) -> Row | None:
        """What holds for the whole plant."""
        return await queries.plant(self._store)

    async def characteristics(self) -> list[Characteristic]:
        """All of them, retired ones too."""
        return await queries.characteristics(self._store)

    async def streams(self) -> list[Stream]:
        """All streams."""
        return await queries.streams(self._store)

    async def versions(self) -> list[Version]:
        """All versions."""
        return await queries.versions(self._store)

    async def sources(self) -> list[Source]:
        """All sources that ever delivered."""
        return await queries.sources(self._store)

    async def newest_contexts(self) -> list[Context]:
        """The newest tag sets."""
        return await queries.newest_contexts(self._store, CONTEXTS)

    async def counters(self) -> queries.Counters:
        """The highest numbers given so far."""
        return await queries.counters(self._store)

    async def open_alarms(self) -> tuple[list[Alarm], list[Event], dict[int, queries.Standing]]:
        """What is open, and the events that each alarm stands on."""
        return (
            await queries.open_alarms(self._store),
            await queries.open_events(self._store),
            await queries.standing_events(self._store),
        )

    async def remains(self, newest_stream: int) -> Remains:
        """What the engine's state is brought back from."""
        points, readings = [], []
        for first in range(0, newest_stream + 1, STREAMS_AT_ONCE):
            until = first + STREAMS_AT_ONCE
            points.append(await queries.recent_points(self._store, REACH, first=first, until=until))
            readings.append(
                await queries.readings_after_last_point(self._store, first=first, until=until)
            )
        left = np.concatenate(readings)
        contexts = np.unique(left["context"])
        return Remains(
            newest=await queries.newest_per_stream(self._store),
            points=np.concatenate(points),
            readings=left,
            tags=await queries.contexts(self._store, contexts[contexts != 0]),
            seqs={n: seq for n, (seq, _) in (await queries.stream_seqs(self._store)).items()},
        )

    # screens

    async def history(self, stream: int, window: int) -> History:
        """The newest ``window`` points as stored."""
        if self.away():
            raise HistoryAway
        try:
            points = await queries.newest_points(self._store, stream, window)
            revised = await queries.revised_seq(self._store, stream)
        except StoreLost as error:
            raise HistoryAway from error
        stored = int(points["seq"].max(initial=0))
        return History(max(stored, revised), revised, points)

    # people and programs

    async def points(self, stream: int, start: int | None, end: int | None, limit: int) -> Rows:
        """The newest ``limit`` points of a range, oldest first."""
        return await self._asked(queries.points(self._store, stream, start, end, limit))

    async def count_points(self, stream: int, start: int | None, end: int | None) -> int:
        """How many points a range holds."""
        return await self._asked(queries.count_points(self._store, stream, start, end))

    async def bands(
        self, stream: int, start: int | None, end: int | None, buckets: int
    ) -> list[Row]:
        """A dense range as rows of time, n, min, mean and max of the statistic."""
        found = await self._asked(queries.bands(self._store, stream, start, end, buckets))
        return [msgspec.structs.asdict(band) for band in found]

    async def violations(self, stream: int, start: int | None, end: int | None, limit: int) -> Rows:
        """The points of a range that violate a rule, oldest first."""
        return await self._asked(queries.violations(self._store, stream, start, end, limit))

    async def readings(
        self,
        stream: int,
        start: int | None,
        end: int | None,
        after: tuple[int, int] | None,
        limit: int,
    ) -> Rows:
        """Readings after (time, key), in the order of time."""
        return await self._asked(queries.readings(self._store, stream, start, end, after, limit))

    async def tags(self, contexts: Sequence[int]) -> dict[int, dict[str, str]]:
        """The tag sets with these numbers."""
        return await queries.contexts(self._store, np.array(contexts, np.int64))

    async def newest_reading(self, streams: Sequence[int]) -> int | None:
        """The time of the newest reading of some streams."""
        return await self._asked(queries.newest_reading(self._store, np.array(streams, np.int64)))

    async def alarms(
        self, states: Sequence[str], characteristic: str | None, after: int | None, limit: int
    ) -> list[Alarm]:
        """Alarms, newest first, with ids below ``after``."""
        return await self._asked(queries.alarms(self._store, states, characteristic, after, limit))

    async def alarm(self, number: int) -> Alarm | None:
        """One alarm."""
        return await self._asked(queries.alarm(self._store, number))

    async def alarm_history(self, number: int) -> tuple[list[Row], list[Row]]:
        """An alarm's lines of history and its events."""
        changes, events = await self._asked(queries.alarm_history(self._store, number))
        lines = [
            {"version": c.version, "at": iso(c.at), "kind": c.kind, "who": c.who, "text": c.text}
            for c in changes
        ]
        return lines, [_event(event) for event in events]

    async def quarantine(self, source: str | None, after: int | None, limit: int) -> list[Row]:
        """Quarantined items, newest first, with ids below ``after``."""
        names = self.names()
        number = _number(names, source)
        if source is not None and number is None:
            return []
        found = await self._asked(queries.quarantine(self._store, number, after, limit))
        return [
            {
                "id": one.id,
                "received_at": iso(one.received_at),
                "source": names.get(one.source),
                "characteristic": one.characteristic,
                "reason": one.reason,
                **_payload(one.payload),
                "truncated": one.truncated,
            }
            for one in found
        ]

    async def gaps(self, source: str | None, after: int | None, limit: int) -> list[Row]:
        """Gaps, newest first, with ids below ``after``."""
        names = self.names()
        number = _number(names, source)
        if source is not None and number is None:
            return []
        found = await self._asked(queries.gaps(self._store, number, after, limit))
        return [
            {
                "id": one.id,
                "source": names.get(one.source),
                "characteristic": one.characteristic
                and self.characteristic_names(one.characteristic),
                "start": iso(one.start),
                "end": iso(one.end),
                "missed": one.missed,
                "reason": one.reason,
                "recorded_at": iso(one.recorded_at),
            }
            for one in found
        ]

    async def containments(
        self, streams: Sequence[int] | None, after: tuple[int, int, int] | None, limit: int
    ) -> list[Row]:
        """Parts to be held, newest first, before (time, stream, key)."""
        found = await self._asked(queries.containments(self._store, streams, after, limit))
        return [
            {
                "stream": self.stream_names(one.stream),
                "time": iso(one.time),
                "key": one.key,
                "value": one.value,
                "side": one.side,
                "lower": one.lower,
                "upper": one.upper,
                "alarm": one.alarm,
                "last_good": some_iso(one.last_good_time),
                "recorded_at": iso(one.recorded_at),
                "time_us": one.time,
                "stream_number": one.stream,
            }
            for one in found
        ]

    async def audits(self, after: int | None, limit: int) -> list[Row]:
        """Who did what, newest first, with ids below ``after``."""
        found = await self._asked(queries.audits(self._store, after, limit))
        return [{**msgspec.structs.asdict(one), "at": iso(one.at)} for one in found]

    async def answered(self, key: str) -> Answer | None:
        """What an Idempotency-Key was answered before."""
        found = await self._asked(queries.answered(self._store, key))
        return None if found is None else Answer(found.request_hash, found.response)

    # announcements

    async def waiting(
        self, channel: str, after: int, limit: int, *, calls_only: bool
    ) -> list[Waiting]:
        """Announcements for this channel that are neither delivered nor given up."""
        found = await queries.waiting_announcements(
            self._store, channel, after, limit, calls_only=calls_only
        )
        return [Waiting(row, attempts) for row, attempts in found]

    async def mark(self, marks: Sequence[DeliveryMark]) -> set[tuple[int, str]]:
        """Keep what became of announcements."""
        if self.away():
            raise StoreLost
        return await queries.mark_deliveries(self._store, marks)

    async def _asked(self, question: Awaitable[T]) -> T:
        try:
            return await question
        except StoreLost as error:
            raise DatabaseAway from error


def _counts(readings: Rows) -> NDArray[np.bool_]:
    """Which readings say something about the specification."""
    counts: NDArray[np.bool_] = (
        (readings["purpose"] == Purpose.PRODUCTION)
        & (readings["quality"] != Quality.BAD)
        & ((readings["flags"] & ReadingFlag.VOID) == 0)
    )
    return counts


def _number(names: Mapping[int, str], source: str | None) -> int | None:
    return next((number for number, name in names.items() if name == source), None)


def _payload(octets: bytes) -> Row:
    """What was sent, as text where it is text."""
    with suppress(UnicodeDecodeError):
        return {"payload": octets.decode(), "encoding": "text"}
    return {"payload": base64.b64encode(octets).decode(), "encoding": "base64"}


def _event(event: Event) -> Row:
    return {
        "id": event.id,
        "kind": event.kind,
        "rule": event.rule,
        "side": event.side,
        "first": {"time": iso(event.first_time), "key": event.first_key},
        "last": {"time": iso(event.last_time), "key": event.last_key},
        "count": event.count,
        "state": event.state,
        "priority": event.priority,
        "retrospective": event.retrospective,
        "advisory": event.advisory,
        "sentence": event.sentence,
    }
