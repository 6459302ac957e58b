"""The fan-out: what the pipeline publishes reaches every screen that shows it."""

import asyncio
import operator
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, KeysView, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.live import wire
from app.live.client import TICKS_PER_SECOND, Client
from app.live.rows import WIRE_ORDER, Rows
from app.live.series import ROWS_WAITING, Change, Series, State
from app.live.shelf import LOADERS, Shelf, ShelfFull
from app.live.source import CharacteristicFacts, LiveSource
from app.store.batch import Alarm

SUBSCRIPTIONS = 2_000  # of one client
ALARMS_REMEMBERED = 2_000
ROWS_AT_ONCE = 2_000  # of one batch that are sent one by one; beyond, streams get snapshots
CHARACTERISTICS_AT_ONCE = 200

NEW = np.zeros(1, np.int64)
CURSOR = operator.attrgetter("cursor")
KINDS = (None, Change.INSERTED, Change.CORRECTED, Change.WITHDRAWN)


class Live:
    """Keeps the watched series and gives each screen what it lacks, ten times a second at most."""

    def __init__(self, source: LiveSource, *, clock: Callable[[], int], build: str) -> None:
        self.clients: set[Client] = set()
        self.coalesced = 0  # snapshots in place of rows, because a client was slow
        self._source = source
        self._clock = clock
        self._build = build
        self._rows = Rows(source)
        self._shelf = Shelf(source, self._loaded)
        self._now = self.now_ms()
        self._frames: dict[tuple[frozenset[int], int], list[str]] = {}
        self._snaps: dict[tuple[int, int, int], str] = {}
        self._waiting: deque[tuple[int, Series]] = deque()  # for the slowest client
        self._alarms: deque[tuple[int, str]] = deque(maxlen=ALARMS_REMEMBERED)
        self._alarms_after = source.alarm_seq()
        self._chars: bytes | None = None

    def now_ms(self) -> int:
        """The server's clock as the screens show it."""
        return self._clock() // 1000

    @property
    def watched(self) -> KeysView[int]:
        """The streams whose points are worth publishing."""
        return self._shelf.streams

    # what the service says

    def publish(
        self,
        points: NDArray[np.void],
        changed: NDArray[np.void],
        withdrawn: NDArray[np.void],
        alarms: Sequence[Alarm],
    ) -> None:
        """Take up one committed batch; never waits."""
        for alarm in alarms:
            self._publish_alarm(alarm)
        arrays = [self._shelf.watched(array) for array in (points, changed, withdrawn)]
        counts = [len(array) for array in arrays]
        total, only_new = sum(counts), not any(counts[1:])
        if not total:
            return
        if only_new and self._take_one_each(arrays[0]):
            return
        rows, kinds = np.concatenate(arrays), np.repeat([0, 2, 3], counts)
        order = np.lexsort((rows["seq"], rows["stream"]))
        rows, kinds = rows[order], kinds[order]
        starts = np.flatnonzero(np.diff(rows["stream"], prepend=-1)).tolist()
        most = ROWS_WAITING if total <= ROWS_AT_ONCE else ROWS_AT_ONCE // len(starts)
        streams = rows["stream"][starts].tolist()
        for stream, start, end in zip(streams, starts, [*starts[1:], total], strict=True):
            series = self._shelf.get(stream)
            if series is not None:
                self._take(series, rows[start:end], kinds[start:end], most)

    def catalog_changed(self, characteristics: Collection[str]) -> None:
        """These characteristics, their streams or their versions are new, other or gone."""
        self._rows.forget()
        self._chars = None
        for name in characteristics:
            facts = self._source.characteristic(name)
            if facts is None:
                self._tell_all(wire.text(t="char", char={"id": name, "retired": True}))
                continue
            self._tell_all(wire.text(t="char", char=wire.characteristic(facts)))
            self._tell_limits(facts)

    # what screens ask

    async def welcome(self) -> str:
        """The first message to a screen."""
        if self._chars is None:
            encoded = []
            for i, facts in enumerate(list(self._source.characteristics())):
                encoded.append(wire.encode(wire.characteristic(facts)))
                if i % CHARACTERISTICS_AT_ONCE == CHARACTERISTICS_AT_ONCE - 1:
                    await asyncio.sleep(0)
            self._chars = b"[" + b",".join(encoded) + b"]"
        return wire.text(
            t="welcome",
            v=1,
            epoch=self._source.epoch(),
            now=self.now_ms(),
            build=self._build,
            max_window=wire.MAX_WINDOW,
            alarm_seq=self._source.alarm_seq(),
            chars=msgspec.Raw(self._chars),
        )

    def subscribe(self, client: Client, sub: wire.Sub) -> None:
        """Show more streams to a client, or the same ones again from where it was."""
        same = sub.epoch == self._source.epoch()
        window = min(sub.window, wire.MAX_WINDOW)
        for name in sub.chars:
            self._show(client, name, window, sub.since.get(name) if same else None)
        if sub.rate is not None:
            client.set_rate(sub.rate)
        if sub.alarm_since is not None:
            self._catch_up(client, sub.alarm_since if same else 0)
        client.ready_due = True
        client.subscribed()

    def unsubscribe(self, client: Client, names: Collection[str]) -> None:
        """Show fewer streams to a client."""
        for name in names:
            stream = self._source.stream(name)
            if stream is not None and client.streams.pop(stream, None) is not None:
                client.answers.pop(stream, None)
                self._shelf.unwatch(stream)
        client.cohort = client.cohort.intersection(client.streams)

    def join(self, client: Client) -> None:
        """A screen has come."""
        client.cursor = self._shelf.tick
        self.clients.add(client)

    def leave(self, client: Client) -> None:
        """A screen is gone."""
        self.clients.discard(client)
        for stream in client.streams:
            self._shelf.unwatch(stream)
        client.streams.clear()

    def news(self, client: Client) -> Iterable[str]:
        """What a client lacks by now; made once for all who show the same and lack the same."""
        tick = self._shelf.tick
        if client.cursor == tick:
            return ()
        key = (client.cohort, client.cursor)
        texts = self._frames.get(key)
        if client.fresh:
            texts = list(self._news(client))  # some rows were in its snapshots
            client.fresh.clear()
        elif texts is None:
            texts = self._frames[key] = list(self._news(client))
        client.cursor = tick
        return texts

    # the clockwork

    async def run(self) -> None:
        """Tick, and fetch history, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick_forever(), name="live ticks")
            for i in range(LOADERS):
                tasks.create_task(self._shelf.load_forever(), name=f"live history {i}")

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(1 / TICKS_PER_SECOND)
            self._shelf.advance()
            self._now = self.now_ms()
            self._frames.clear()
            self._snaps.clear()
            tick = self._shelf.tick
            if tick % TICKS_PER_SECOND == 0:  # all at once is cheaper than a few each time
                self._forget_sent(tick)
            for client in self.clients:
                client.tick(tick, self._now)

    def _forget_sent(self, tick: int) -> None:
        """Drop the rows that nobody waits for any more."""
        slowest = min(map(CURSOR, self.clients), default=tick)
        while self._waiting and self._waiting[0][0] <= slowest:
            self._waiting.popleft()[1].sent(slowest)

    # one stream's news

    def _take_one_each(self, rows: NDArray[np.void]) -> bool:
        """The usual case, one new point of each stream; False where it is another."""
        streams = rows["stream"].tolist()
        if not len(set(streams)) == len(streams) <= ROWS_AT_ONCE:
            return False
        taken: list[tuple[Series, int]] = []
        told: list[list[Any]] = []
        for i, (stream, listed) in enumerate(zip(streams, rows[WIRE_ORDER].tolist(), strict=True)):
            series = self._shelf.get(stream)
            if series is None:
                continue
            seq, time, key = listed[0], listed[1], listed[4]
            if seq > series.seq and series.add(rows, i, seq, time, key):
                taken.append((series, seq))
                told.append(self._rows.row(series, listed))
            else:
                self._take(series, rows[i : i + 1], NEW, ROWS_WAITING)
        tick = self._shelf.tick + 1
        for (series, seq), encoded in zip(taken, wire.encode_each(told), strict=True):
            if series.tick != tick:
                self._waiting.append((tick, series))
            series.wait(tick, seq, encoded)
        return True

    def _take(
        self, series: Series, rows: NDArray[np.void], kinds: NDArray[np.int64], most: int
    ) -> None:
        fresh = rows["seq"] > series.seq
        rows, kinds = rows[fresh], kinds[fresh]
        if not len(rows):
            return
        tick = self._shelf.tick + 1
        only_new = not kinds.any() and series.extends(rows)
        if len(rows) > most:
            if only_new:
                series.append(rows)
                series.restart(tick)
            else:
                self._shelf.reload(series)
            return
        if series.tick != tick:
            self._waiting.append((tick, series))
        if only_new:
            series.append(rows)
            seqs = rows["seq"].tolist()
            for seq, encoded in zip(seqs, self._rows.encode(series, rows), strict=True):
                series.wait(tick, seq, encoded)
            return
        for i, kind in enumerate(kinds.tolist()):
            self._take_one(series, rows[i : i + 1], KINDS[kind], tick)

    def _take_one(
        self, series: Series, row: NDArray[np.void], change: Change | None, tick: int
    ) -> None:
        if change is None and series.extends(row):
            series.append(row)
            series.wait(tick, series.seq, *self._rows.encode(series, row))
            return
        change = change or Change.INSERTED
        series.change(change, row)
        series.wait(tick, series.seq, self._rows.update(series, change, row))

    def _news(self, client: Client) -> Iterator[str]:
        since, now = client.cursor, self._shelf.tick
        rows: list[bytes] = []
        after: list[str] = []
        lost: list[Series] = []
        for stream in client.cohort:
            series = self._shelf.get(stream)
            if series is None or series.tick <= since:
                continue
            if series.dropped > since:
                lost.append(series)
                continue
            had = client.fresh.get(stream, 0)
            mine = series.waiting(since, now, had)
            plain = next((i for i, row in enumerate(mine) if row[0] == ord("{")), len(mine))
            rows += mine[:plain]
            after += [
                row.decode() if row[0] == ord("{") else self._d([row]) for row in mine[plain:]
            ]
        if rows:
            yield self._d(rows)
        yield from after
        for series in lost:
            self.coalesced += 1
            yield self._snap(series, client.streams.get(series.stream, series.window))

    def _d(self, rows: list[bytes]) -> str:
        return (b'{"t":"d","now":%d,"p":[%s]}' % (self._now, b",".join(rows))).decode()

    def _snap(self, series: Series, window: int) -> str:
        key = (series.stream, window, series.seq)
        text = self._snaps.get(key)
        if text is None:
            text = self._snaps[key] = self._rows.snap(series, window)
        return text

    # answers

    def _show(self, client: Client, name: str, window: int, since: int | None) -> None:
        stream = self._source.stream(name)
        if stream is None:
            client.push(wire.text(t="err", code="unknown", c=name))
            return
        if stream not in client.streams and len(client.streams) >= SUBSCRIPTIONS:
            client.push(wire.text(t="err", code="too_many", c=name))
            return
        try:
            self._shelf.watch(stream, name, window)
        except ShelfFull:
            client.push(wire.text(t="err", code="too_many", c=name))
            return
        if stream in client.streams:
            self._shelf.unwatch(stream)  # it was counted already
        client.streams[stream] = window
        client.answers[stream] = since
        client.cohort -= {stream}

    def answers(self, client: Client) -> Iterator[str]:
        """The answers to its subscriptions that are ready."""
        answered = set()
        for stream, since in list(client.answers.items()):
            series = self._shelf.get(stream)
            window = client.streams[stream]
            if series is None or series.state is State.LOADING:
                continue
            if series.queued and series.state is State.LOADED and window > series.window:
                continue  # a longer past is on its way
            del client.answers[stream]
            answered.add(stream)
            client.fresh[stream] = series.seq
            missing = None if since is None else series.missing_since(since)
            if missing is None or len(missing) > window:
                yield self._snap(series, window)
            elif len(missing):
                yield self._d(list(self._rows.encode(series, missing)))
        if answered:
            self._join_cohort(client, client.cohort | (client.streams.keys() & answered))
        if client.ready_due and not client.answers:
            client.ready_due = False
            yield wire.text(t="ready", now=self.now_ms())

    def _join_cohort(self, client: Client, streams: frozenset[int]) -> None:
        """Screens that show the same share one set, which is then found without comparing it."""
        known = (other.cohort for other in self.clients if other.cohort == streams)
        client.cohort = next(known, streams)

    def _loaded(self, series: Series) -> None:
        for client in self.clients:
            if series.stream in client.answers:
                client.subscribed()

    # alarms and limits

    def _publish_alarm(self, alarm: Alarm) -> None:
        message = wire.text(t="al", seq=alarm.seq, alarm=wire.alarm(alarm))
        if len(self._alarms) == ALARMS_REMEMBERED:
            self._alarms_after = self._alarms[0][0]
        self._alarms.append((alarm.seq, message))
        self._tell_all(message)

    def _catch_up(self, client: Client, since: int) -> None:
        newest = self._source.alarm_seq()
        if self._alarms_after <= since <= newest and since:
            for seq, message in self._alarms:
                if seq > since:
                    client.push(message)
            return
        alarms = [wire.alarm(alarm) for alarm in self._source.open_alarms()]
        client.push(wire.text(t="alarms", seq=newest, alarms=alarms))

    def _tell_limits(self, facts: CharacteristicFacts) -> None:
        for stream in facts.streams:
            shown_by = [client for client in self.clients if stream.id in client.streams]
            if shown_by:
                message = self._rows.limits(stream.id, ())
                limits = wire.text(t="lim", c=stream.name, **message)
                for client in shown_by:
                    client.push(limits)

    def _tell_all(self, message: str) -> None:
        for client in self.clients:
            client.push(message)
