"""`andon serve` as a child with a directory of its own, and what stands around it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_socket
from websockets.typing import Subprotocol

from app.store.connection import connect
from app.store.embedded import EmbeddedPostgres
from tests.servers import Server, dying_with_us

T = TypeVar("T")

WAIT_S = 60.0
"""Everything that is waited for comes in a second or so; this is for machines under load."""


def until(
    what: str, found: Callable[[], T | None], *, wait_s: float = WAIT_S, every_s: float = 0.05
) -> T:
    """Ask until there is something."""
    deadline = time.monotonic() + wait_s
    while True:
        answer = found()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {wait_s:g} s"
        time.sleep(every_s)


class Andon(Server):
    """The service; without a database's URL it brings its embedded one."""

    name = "andon"

    def __init__(
        self, directory: Path, plant: str = "", database: str | None = None, **settings: str
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory)
        self.plant = directory / "plant.toml"
        self.plant.write_text(plant)
        self.data = directory / "data"
        self.database = database
        self.settings = {"data_dir": str(self.data), "log_format": "json", **settings}
        if database is not None:
            self.settings["database_url"] = database

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        plain = {k: v for k, v in os.environ.items() if not k.startswith("ANDON_")}
        given = {f"ANDON_{name.upper()}": value for name, value in self.settings.items()}
        return {**plain, **given}

    def command(self) -> list[str]:
        return [
            *dying_with_us(),
            *andon("serve", "--port", str(self.port), "--plant", str(self.plant)),
        ]

    def launch(self) -> None:
        """Start the process and wait for nothing."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment(), cwd=self.directory,
            )  # fmt: skip

    def start(self) -> "Andon":
        """Start it and wait until it takes readings."""
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until it takes readings."""

        def look() -> bool:
            assert self.running, f"it ended:\n{self.said()}"
            return self.ready()

        try:
            until("ready", look)
        except AssertionError:
            print(self.said())  # noqa: T201 - pytest shows it with the failure
            raise

    def ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.get("/health/ready").status_code == 200
        return False

    def strike(self) -> None:
        """Kill -9 of the service alone: what it has started lives on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; returns its exit code."""
        process = self._process
        assert process is not None
        process.send_signal(how)
        code = process.wait(WAIT_S)
        self._process = None
        return code

    def wait(self) -> int:
        """Wait until it ends by itself; returns its exit code."""
        assert self._process is not None
        code = self._process.wait(WAIT_S)
        self._process = None
        return code

    def close(self) -> None:
        """End it, and its embedded database too, whatever state they are in."""
        with suppress(psutil.NoSuchProcess):
            self.stop()
        if self.database is None:
            EmbeddedPostgres(self.data).stop()

    def said(self) -> str:
        """All that it wrote, over all its lives."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def assert_calm(self) -> None:
        """Nothing in the log tells of a mistake of ours."""
        said = self.said()
        assert "Traceback" not in said, said[said.index("Traceback") - 2000 :][:8000]
        critical = [line for line in said.splitlines() if '"level":"critical"' in line]
        assert critical == []

    # asking

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10, **more)

    def health(self) -> dict[str, Any]:
        """What it says of itself, ready or not."""
        return dict(self.get("/health/ready").json())

    def drained(self) -> bool:
        """Whether the database has everything."""
        told = self.health()
        return (told["database"], told["spool_batches"]) == ("up", 0)

    def items(self, path: str) -> list[dict[str, Any]]:
        """All items of a list."""
        found: list[dict[str, Any]] = []
        cursor = ""
        sign = "&" if "?" in path else "?"
        while True:
            page = self.get(f"/api/v1{path}{sign}limit=500{cursor}").raise_for_status().json()
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = f"&after={page['next']}"

    def post(
        self, readings: Sequence[dict[str, Any]], query: str = "", **more: Any
    ) -> httpx.Response:
        body = json.dumps({"readings": list(readings)})
        headers = {"Content-Type": "application/json", **more}
        path = f"{self.url}/api/v1/readings{query}"
        return httpx.post(path, content=body, headers=headers, timeout=30)

    def source_is(self, name: str, state: str = "up") -> None:
        """Wait until a source is in a state."""

        def look() -> bool:
            return any(s["id"] == name and s["state"] == state for s in self.items("/sources"))

        until(f"{name} is {state}", look)

    def rows(self, query: str, *args: Any) -> list[Any]:
        """What the database holds."""
        url = self.database or EmbeddedPostgres(self.data).url()

        async def ask() -> list[Any]:
            connection = await connect(url)
            try:
                found: list[Any] = await connection.fetch(query, *args)
                return found
            finally:
                await connection.close()

        return asyncio.run(ask())


def andon(*words: str) -> list[str]:
    """The command line, with this interpreter."""
    return [sys.executable, "-c", "from app.cli import main; main()", *words]


class Screen:
    """Somebody's page: what the socket tells it of some streams."""

    def __init__(self, socket: ClientConnection, streams: Sequence[str]) -> None:
        self._socket = socket
        socket.send(json.dumps({"t": "sub", "chars": list(streams), "rate": 10}))

    def sees(self, stream: str, value: float, *, bits: int = 0) -> None:
        """Wait for a point of this value that violates these rules."""
        deadline = time.monotonic() + WAIT_S
        told: Counter[str] = Counter()
        while time.monotonic() < deadline:
            with suppress(TimeoutError):
                message = json.loads(self._socket.recv(1.0))
                told[message["t"]] += 1
                if any(y == value and f & bits == bits for y, f in _drawn(message, stream)):
                    return
        raise AssertionError(f"{stream} {value} was not shown, only {told}")


def _drawn(message: dict[str, Any], stream: str) -> list[tuple[float, int]]:
    """Value and violations of each point of a stream in a message."""
    match message["t"]:
        case "d":
            return [(row[3], row[4]) for row in message["p"] if row[0] == stream]
        case "snap" if message["c"] == stream:
            return list(zip(message["y"], message["f"], strict=True))
        case _:
            return []


@contextmanager
def watching(service: Andon, *streams: str) -> Iterator[Screen]:
    """A page that shows these streams."""
    url = service.url.replace("http", "ws") + "/api/v1/live"
    with connect_socket(url, subprotocols=[Subprotocol("andon.v1")]) as socket:
        yield Screen(socket, streams)


class Posted:
    """One announcement as the receiver got it."""

    def __init__(self, key: str, body: dict[str, Any]) -> None:
        self.key = key
        self.body = body


class Receiver(ThreadingHTTPServer):
    """Somebody's own web server, which takes announcements."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receive)
        self.posts: list[Posted] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/alarms"

    def of(self, characteristic: str) -> list[dict[str, Any]]:
        """What came about the alarms of one characteristic."""
        bodies = [post.body for post in list(self.posts)]
        return [
            one for one in bodies if (one["alarm"] or {}).get("characteristic") == characteristic
        ]


class _Receive(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return  # the sender was killed
        self.server.posts.append(Posted(self.headers["Idempotency-Key"], json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A webhook's receiver."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, name="receiver")
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()
