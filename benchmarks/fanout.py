"""What a live frame costs the server per screen, against `broadcast()` of the websockets library.

Ours is the hub with points published to it, behind the routes and the web server of the product.
Theirs makes the same frame of the same points, once for all, and sends it; a second row says how ours
compares with sending frames that were made beforehand. Screens are real connections from another process.
"""

import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, Self

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets
from websockets.typing import Subprotocol

from app.commands.serve import loop_factory
from app.live import Door, FrameSocket, Live, wire
from app.live.rows import WIRE_ORDER, Rows
from app.live.series import Series
from app.store.rows import POINT
from benchmarks.row import Row, interleaved, ratio
from tests.live_source import SECOND, Plant, small_plant

SCREENS, STREAMS, TICKS = 200, 56, 20
HZ = 10
ROUNDS = 5
LIMIT = 1.3
PATH = "/api/v1/live"
NONE = np.empty(0, POINT)
SUBSCRIBE = json.dumps({"t": "sub", "chars": [f"c-{i + 1}" for i in range(STREAMS)]})

Drive = Callable[[int], Awaitable[None]]


# the three kinds of children; each does what a line on its stdin says, and ends with it


async def lines() -> asyncio.StreamReader:
    """What the benchmark asks of this child."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


def tell(answer: float) -> None:
    """Answer on stdout."""
    print(answer, flush=True)


async def obey(port: int, drive: Drive) -> None:
    """As a server: send so many frames to everybody, and tell the CPU seconds it took."""
    asked = await lines()
    tell(port)
    while line := await asked.readline():
        start = time.process_time()
        await drive(int(line))
        await asyncio.sleep(2 / HZ)  # what is still on its way counts
        tell(time.process_time() - start)


def points(plant: Plant, tick: int) -> NDArray[np.void]:
    """One new point of every stream."""
    rows = [plant.point(1 + i, tick * SECOND, 10.0 + tick % 7 / 1000, d=0.001)
            for i in range(STREAMS)]  # fmt: skip
    plant.rows.clear()  # the history is of no use here, and grows
    return np.concatenate(rows)


class Frames:
    """The frames that the hub sends, for a server without a hub."""

    def __init__(self, plant: Plant) -> None:
        self._rows = Rows(plant)
        self._series = [Series(1 + i, f"c-{1 + i}", 100, 0) for i in range(STREAMS)]

    def make(self, points: NDArray[np.void]) -> str:
        """One frame of a new point of every stream."""
        listed = zip(self._series, points[WIRE_ORDER].tolist(), strict=True)
        rows = [self._rows.row(series, row) for series, row in listed]
        return wire.text(t="d", now=time.time_ns() // 1_000_000, p=rows)


async def ours() -> None:
    """The product's hub behind its web server."""
    plant = small_plant(STREAMS)
    live = Live(plant, clock=lambda: time.time_ns() // 1000, build="bench")
    door = Door(live, clients=SCREENS)
    app = FastAPI()

    @app.websocket(PATH)
    async def endpoint(websocket: WebSocket) -> None:
        await door.serve(websocket)

    async def drive(ticks: int) -> None:
        for _ in range(ticks):
            live.publish(made.pop(), NONE, NONE, [])
            await asyncio.sleep(1 / HZ)

    made = [points(plant, tick) for tick in range((ROUNDS + 1) * TICKS)][::-1]
    plant.seqs.clear()  # they are yet to come
    config = uvicorn.Config(app, ws=FrameSocket, ws_per_message_deflate=False,
                            log_level="error", lifespan="off")  # fmt: skip
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(SCREENS)
        running = {
            asyncio.create_task(live.run()),
            asyncio.create_task(uvicorn.Server(config).serve(sockets=[listener])),
        }
        await obey(listener.getsockname()[1], drive)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def theirs(beforehand: bool) -> None:
    """The same frames, sent by `broadcast()`."""
    plant = small_plant(STREAMS)
    frames = Frames(plant)
    made = [points(plant, tick) for tick in range(TICKS)]
    ready = [frames.make(batch) for batch in made]

    async def attend(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve_websockets(attend, "127.0.0.1", 0, compression=None) as server:

        async def drive(ticks: int) -> None:
            for tick in range(ticks):
                text = ready[tick] if beforehand else frames.make(made[tick])
                broadcast(server.connections, text)
                await asyncio.sleep(1 / HZ)

        await obey(next(iter(server.sockets)).getsockname()[1], drive)


async def screens(port: int) -> None:
    """Everybody who looks; tells how many frames of points have come since it was asked last."""
    counted = 0

    async def look(connection: ClientConnection) -> None:
        nonlocal counted
        async for message in connection:
            counted += str(message).startswith('{"t":"d"')

    async with contextlib.AsyncExitStack() as stack:
        looking = set()
        for _ in range(SCREENS):
            connection = await stack.enter_async_context(
                connect(f"ws://127.0.0.1:{port}{PATH}", compression=None, max_size=None,
                        subprotocols=[Subprotocol("andon.v1")])
            )  # fmt: skip
            await connection.send(SUBSCRIBE)
            looking.add(asyncio.create_task(look(connection)))
        asked = await lines()
        tell(len(looking))
        while await asked.readline():
            tell(counted)
            counted = 0


# the benchmark


class Child:
    """One of the three, as a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fanout", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._answer()

    def ask(self, line: str = "") -> float:
        """Its answer."""
        print(line, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> float:
        answer = self._process.stdout.readline() if self._process.stdout else ""
        if not answer:
            raise ChildProcessError(f"{self._process.args!r} has ended")
        return float(answer)

    def __enter__(self) -> Self:
        """Nothing more to do: it is ready."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.communicate(timeout=30)


class Contender:
    """A server with its screens."""

    def __init__(self, server: Child, looking: Child) -> None:
        self._server = server
        self._looking = looking

    def __call__(self) -> float:
        """Return microseconds of the server's CPU per frame and screen."""
        self._looking.ask()
        seconds = self._server.ask(str(TICKS))
        counted = self._looking.ask()
        if counted < 0.9 * SCREENS * TICKS:  # two ticks that fell into one are fine
            raise AssertionError(f"only {counted:.0f} frames of {SCREENS * TICKS} have come")
        return seconds / counted * 1e6


@contextlib.contextmanager
def contender(name: str) -> Iterator[Contender]:
    """The server of this name, with all its screens connected."""
    with Child(name) as server, Child("screens", f"{server.ready:.0f}") as looking:
        yield Contender(server, looking)


def run() -> Iterable[Row]:
    """Measure all in turn."""
    with contender("ours") as hub, contender("theirs") as library, contender("ready") as ready:
        first, second, third = interleaved(hub, library, ready, rounds=ROUNDS)
    for peer, costs, limit in (
        ("websockets broadcast()", second, LIMIT),
        ("broadcast(), frames made beforehand", third, None),
    ):
        yield Row(
            f"live fan-out, {SCREENS} screens, {STREAMS} rows a frame",
            statistics.median(first),
            "us CPU/frame/screen",
            peer,
            statistics.median(costs),
            ratio(first, costs),
            limit,
            extra={"rounds": ROUNDS, "frames_a_second": HZ, "ours": first, "theirs": costs},
        )


CHILDREN: dict[str, Callable[..., Any]] = {
    "ours": ours,
    "theirs": partial(theirs, beforehand=False),
    "ready": partial(theirs, beforehand=True),
    "screens": screens,
}

if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(CHILDREN[sys.argv[1]](*map(int, sys.argv[2:])))
