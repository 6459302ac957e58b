"""CPU of the live fan-out to many screens, against the websockets library's broadcast."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import connect

from app.live.client import TICKS_PER_SECOND
from benchmarks.fanout_screens import subscription
from benchmarks.fanout_server import STREAMS
from benchmarks.row import Row, interleaved, ratio
from benchmarks.running import cpu_of, directory
from tests.servers import Server, answers, dying_with_us

SCREENS, SECONDS, ROUNDS = 200, 2.0, 5
FRAMES = 50
LIMIT = 1.3


class Sender(Server):
    """A process that sends the same to everybody."""

    def __init__(self, place: Path, what: str) -> None:
        self.name = "live" if what == "live" else "broadcast"
        super().__init__(place)
        self._what = what

    def command(self) -> list[str]:
        program = [sys.executable, "-m", "benchmarks.fanout_server"]
        return [*dying_with_us(), *program, self._what, str(self.port)]

    def ready(self) -> bool:
        return answers(self.port)


@contextmanager
def running(sender: Sender) -> Iterator[Sender]:
    """Start it, and stop it."""
    try:
        yield sender.start()
    finally:
        sender.stop()


def recorded(port: int) -> list[str]:
    """Frames of new points as a screen gets them."""
    with connect(f"ws://127.0.0.1:{port}/", compression=None) as websocket:
        websocket.send(subscription())
        frames: list[str] = []
        while len(frames) < FRAMES:
            text = str(websocket.recv())
            if text.startswith('{"t":"d"') and text.count("c-") >= STREAMS:
                frames.append(text)
        return frames


@contextmanager
def screens(*ports: int) -> Iterator[None]:
    """Screens that are connected and subscribed."""
    command = [sys.executable, "-m", "benchmarks.fanout_screens", str(SCREENS), *map(str, ports)]
    process = subprocess.Popen([*dying_with_us(), *command], stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("the screens do not come up")
        yield
        if process.poll() is not None:
            raise RuntimeError("the screens were closed")
    finally:
        process.terminate()
        process.wait()


def cpu_while_sending(sender: Sender) -> float:
    """CPU seconds of a while."""
    before = cpu_of(sender.pid)
    time.sleep(SECONDS)
    return cpu_of(sender.pid) - before


def run() -> Iterable[Row]:
    """Both send all the time; look at the one, at the other, and again."""
    with directory() as place, running(Sender(place, "live")) as live:
        frames = recorded(live.port)
        file = place / "frames.json"
        file.write_text(json.dumps(frames))
        with running(Sender(place, str(file))) as peer, screens(live.port, peer.port):
            first, second = interleaved(
                lambda: cpu_while_sending(live),
                lambda: cpu_while_sending(peer),
                rounds=ROUNDS,
            )
    sent = SECONDS * TICKS_PER_SECOND * SCREENS
    yield Row(
        f"live fan-out to {SCREENS} screens, {STREAMS} points a frame",
        statistics.median(first) / sent * 1e6,
        "CPU us/frame and screen",
        "websockets' broadcast",
        statistics.median(second) / sent * 1e6,
        ratio(first, second),
        LIMIT,
        extra={
            "ratio_of": "CPU time",
            "rounds": ROUNDS,
            "bytes_a_frame": round(statistics.mean(map(len, frames))),
        },
    )
