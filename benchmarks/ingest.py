"""HTTP batches to durable against one transaction that COPYs the rows they became."""

import asyncio
import datetime as dt
import http.client
import json
import time
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from typing import Any

import asyncpg
import numpy as np
from numpy.typing import NDArray

from app.store.copy import decode, encode
from app.store.rows import NO_SUBGROUP, POINT, READING
from app.store.tables import table_of
from benchmarks.row import Row, interleaved, ratio
from benchmarks.running import Andon, Missing, andon, calm, characteristic, database, postgres
from tests.databases import GivenPostgres, Postgres

BATCH = 10_000
BATCHES, ROUNDS = 4, 5
CHARACTERISTICS = 100
STEP = dt.timedelta(milliseconds=20)
DATABASES = {"timescale": (1, 2), "embedded": (1,)}  # with so many senders at once
KINDS = {
    "i_mr": "",
    "xbar_r": "subgroup = { size = 5 }",
}
LIMIT = 0.5
MOST = 2  # connections
NOBODY = 1_000_000  # added to the number of a stream
EMPTY = {
    "value": "coalesce(value, 'NaN')",
    "size": "coalesce(size, 'NaN')",
    "dispersion": "coalesce(dispersion, 'NaN')",
    "subgroup": f"coalesce(subgroup, {NO_SUBGROUP})",
}
Parts = list[NDArray[np.void]]
HEADERS = {"Content-Type": "application/json"}


def plant(chart: str) -> str:
    """Characteristics for every connection."""
    names = [f"{sender}-{i}" for sender in range(MOST) for i in range(CHARACTERISTICS)]
    return "\n".join(characteristic(name, chart, KINDS[chart]) for name in names)


class Posts:
    """The bodies of one sender in the order of measured time, each of its streams in turn."""

    def __init__(self, sender: int) -> None:
        self._sender = sender
        self._next = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        self._key = 0

    def body(self) -> bytes:
        values = calm(BATCH // CHARACTERISTICS, self._key)
        readings = []
        for value in values:
            at = self._next.isoformat()
            self._next += STEP
            self._key += 1
            readings += [
                {
                    "characteristic": f"{self._sender}-{i}",
                    "value": value,
                    "time": at,
                    "key": self._key,
                }
                for i in range(CHARACTERISTICS)
            ]
        return json.dumps({"readings": readings}).encode()


class Client:
    """Senders with a connection each that stays open, and a body at a time on it."""

    def __init__(self, port: int) -> None:
        self._connections = [
            http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(MOST)
        ]
        self._posts = [Posts(sender) for sender in range(MOST)]
        self._threads = ThreadPoolExecutor(MOST)

    def post(self, senders: int) -> float:
        """Seconds until the batches of a round, in equal shares, are durable."""
        shares = [
            [posts.body() for _ in range(BATCHES // senders)] for posts in self._posts[:senders]
        ]
        start = time.perf_counter()
        for done in [
            self._threads.submit(self._one_by_one, connection, share)
            for connection, share in zip(self._connections, shares, strict=False)
        ]:
            done.result()
        return time.perf_counter() - start

    @staticmethod
    def _one_by_one(connection: http.client.HTTPConnection, bodies: list[bytes]) -> None:
        for body in bodies:
            connection.request("POST", "/api/v1/readings", body, HEADERS)
            with connection.getresponse() as answer:
                document = json.load(answer)
            if document.get("accepted") != BATCH or document.get("durable") != "database":
                raise RuntimeError(f"not all is in the database: {document}")

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._threads.shutdown()


async def whole(payload: bytes) -> AsyncIterator[bytes]:
    """All at once; of a file the driver would read pieces in a thread."""
    yield payload


class Peer:
    """One connection to the same database, that copies the rows of our batches for other streams."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._connection: Any = self._loop.run_until_complete(asyncpg.connect(url))
        self._after = 0

    def rows(self) -> list[Parts]:
        """What became of the newest batches of readings, one by one, for streams of nobody."""
        found = self._ask("SELECT DISTINCT batch FROM reading WHERE batch > $1", self._after)
        batches = sorted(record[0] for record in found)
        self._after = max(batches, default=self._after)
        parts = [[self._read(kind, batch) for kind in (READING, POINT)] for batch in batches]
        for part in chain.from_iterable(parts):
            part["stream"] += NOBODY
        return parts

    def _read(self, kind: np.dtype[np.void], batch: int) -> NDArray[np.void]:
        columns = [EMPTY.get(name, name) for name in kind.names or ()]
        sent = self._ask(
            "SELECT string_agg(record_send(x), '') FROM ("  # noqa: S608
            f"SELECT {', '.join(columns)} FROM {table_of(np.empty(0, kind))} "
            "WHERE batch = $1 ORDER BY time, stream) AS x",
            batch,
        )
        return decode(sent[0][0], kind)

    def copy(self, batches: list[Parts]) -> float:
        """Seconds for a transaction a batch; encoding the rows is not counted."""
        payloads = [[(table_of(part), part, encode(part)) for part in batch] for batch in batches]
        return self._loop.run_until_complete(self._copy(payloads))

    async def _copy(self, payloads: list[list[tuple[str, NDArray[np.void], bytes]]]) -> float:
        start = time.perf_counter()
        for payload in payloads:
            async with self._connection.transaction():
                for table, rows, encoded in payload:
                    if len(rows):
                        await self._connection.copy_to_table(
                            table, source=whole(encoded), columns=rows.dtype.names, format="binary"
                        )
        return time.perf_counter() - start

    def _ask(self, question: str, *args: object) -> list[Any]:
        rows: list[Any] = self._loop.run_until_complete(self._connection.fetch(question, *args))
        return rows

    def close(self) -> None:
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()


def compared(
    kind: str, chart: str, senders: int, service: Andon, client: Client, peer: Peer
) -> Row:
    """Post, copy what became of it, and again."""
    cpu: list[float] = []

    def ours() -> float:
        before = service.cpu
        seconds = client.post(senders)
        cpu.append(service.cpu - before)
        return seconds

    def theirs() -> float:
        return peer.copy(peer.rows())

    first, second = interleaved(ours, theirs, rounds=ROUNDS)
    rows = BATCHES * BATCH
    return Row(
        f"HTTP to durable, {chart}, {kind}, {senders} at once",
        rows / np.median(first),
        "readings/s",
        "COPY of the same rows",
        rows / np.median(second),
        ratio(second, first),
        LIMIT,
        ">=",
        {
            "ratio_of": "throughput",
            "rounds": ROUNDS,
            "cpu_us_per_reading": float(np.median(cpu)) / rows * 1e6,
            "batch": BATCH,
        },
    )


def run() -> Iterable[Row]:
    """Measure every chart on every database that this machine has."""
    for kind in DATABASES:
        try:
            with postgres(kind) as server:
                for chart in KINDS:
                    yield from on(server, kind, chart)
        except Missing as missing:
            yield Row(f"HTTP to durable, {kind}", None, "", str(missing))


def on(server: Postgres | GivenPostgres, kind: str, chart: str) -> Iterable[Row]:
    """Measure a chart in a database of its own."""
    with (
        database(server) as url,
        andon(plant(chart), url) as service,
        closing(Client(service.port)) as client,
        closing(Peer(url)) as peer,
    ):
        for senders in DATABASES[kind]:
            yield compared(kind, chart, senders, service, client, peer)
