"""andon demo: a plant, its servers and a real Andon in one command, until Ctrl-C."""

import asyncio
import fcntl
import json
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from app.commands.failure import Failed
from app.commands.listener import bound
from app.demo.broker import Broker, prepare
from app.demo.children import Children
from app.demo.configuration import plant_toml
from app.demo.item import item
from app.demo.plant import GAUGES, SECOND, Measured, Plant, schedule
from app.demo.production import BASELINE, baseline, now
from app.demo.schedule import Schedule
from app.store.embedded import EmbeddedPostgres

HOST = "127.0.0.1"
DATA = Path(".andon/demo")
READY_S = 120.0
LOOK_S = 0.05
POSTED_AT_ONCE = 2_000
GRACE = "2s"  # of the service; all must be over in five seconds
ORDER: Sequence[tuple[Sequence[str], float]] = (
    (("gauges", "mes", "plc"), 0.5),
    (("service",), 3.0),
    (("broker",), 0.5),
)


class Stopped(Exception):
    """The user wants it to end."""


def run_demo(*, port: int, data: Path | None, seed: int) -> None:
    """Run the demo until SIGINT or SIGTERM.

    Raises:
        Failed: it could not start, or one of its processes ended.
    """
    directory = (data or DATA).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(
            f"{directory} cannot be made: {error.strerror}; choose another with --data"
        ) from error
    bound(HOST, port).close()  # the service takes it; said here before anything runs
    with _alone(directory):
        asyncio.run(Demo(port, directory, seed).run())


class Demo:
    """One run of the demo."""

    def __init__(self, port: int, directory: Path, seed: int) -> None:
        self._directory = directory
        self._seed = seed
        self._console = Console()
        self._memory = Memory(directory / "demo.json")
        self._port = port or self._memory.port("http")
        self._url = f"http://{HOST}:{self._port}"
        self._logs = directory / "logs"
        self._logs.mkdir(exist_ok=True)
        self._children = Children(self._logs)
        self._wanted_end = asyncio.Event()

    async def run(self) -> None:
        """Start everything, keep it running, end everything."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._wanted_end.set)
        try:
            start = await self._unless_stopped(self._start())
            await self._unless_stopped(self._watch(start))
        except Stopped:
            self._console.print("stopping")
        finally:
            await asyncio.shield(self._stop())

    async def _stop(self) -> None:
        """End all processes, also the database of a service that had to be killed."""
        await self._children.stop(ORDER)
        database = EmbeddedPostgres(self._directory, stop_timeout_s=2)
        if database.pid() is not None:
            await asyncio.to_thread(database.stop)

    async def _unless_stopped(self, work: Any) -> Any:
        """Do the work, but stop it when the user wants to end or a process has ended."""
        task = asyncio.ensure_future(work)
        wanted = asyncio.create_task(self._wanted_end.wait())
        try:
            await asyncio.wait([task, wanted], return_when=asyncio.FIRST_COMPLETED)
            if wanted.done() and not task.done():
                raise Stopped
            return await task
        finally:
            wanted.cancel()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _start(self) -> int:
        """Bring everything up; returns when the plant began."""
        launched = now()
        with Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
        ) as progress:
            step = Steps(progress)
            step.next("MQTT broker, PLC, gauges and MES")
            broker, ports = self._prepare()
            await self._launch(broker, ports)
            await self._answers(ports["mqtt"])
            await self._answers(ports["plc"])
            step.next("database and service")
            await self._ready()
            if not self._memory.get("baseline"):
                step.next(f"history: {BASELINE} points of each of {len(GAUGES)} characteristics")
                await self._post_history(launched)
                self._memory.put("baseline", launched)
            step.done()
        start = now()
        for child in self._children.all:
            if child.name in ORDER[0][0]:
                child.tell(start)
        return start

    def _prepare(self) -> tuple[Broker, dict[str, int]]:
        ports = {name: self._memory.port(name) for name in ("mqtt", "nats", "plc")}
        broker = prepare(self._directory / "broker", ports["mqtt"], ports["nats"])
        plant = plant_toml(ports["mqtt"], ports["plc"], broker.protocol)
        (self._directory / "plant.toml").write_text(plant, encoding="utf-8")
        return broker, ports

    async def _launch(self, broker: Broker, ports: dict[str, int]) -> None:
        start, seed = self._children.start, self._seed
        nothing = self._directory / "andon.toml"  # not the one of the directory we were started in
        nothing.touch()
        settings = {
            "ANDON_CONFIG": str(nothing),
            "ANDON_DATA_DIR": str(self._directory),
            "ANDON_SHUTDOWN_GRACE": GRACE,
            "ANDON_LOG_FORMAT": "json",
        }
        await start("broker", "leash", *broker.command)
        await start(
            "service",
            "serve",
            "--host",
            HOST,
            "--port",
            self._port,
            "--plant",
            self._directory / "plant.toml",
            settings=settings,
        )
        await start("plc", "plc", ports["plc"], seed)
        await start("gauges", "gauges", ports["mqtt"], seed)
        await start("mes", "mes", self._url, seed)

    async def _answers(self, port: int) -> None:
        """Wait until somebody listens there."""
        async with asyncio.timeout(READY_S):
            while True:
                self._children.check()
                try:
                    _, writer = await asyncio.open_connection(HOST, port)
                except OSError:
                    await asyncio.sleep(LOOK_S)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    async def _ready(self) -> None:
        """Wait until the service takes readings."""
        async with httpx.AsyncClient(base_url=self._url, trust_env=False) as client:
            for _ in range(round(READY_S / LOOK_S)):
                self._children.check()
                try:
                    answer = await client.get("/health/ready")
                except httpx.TransportError:
                    await asyncio.sleep(LOOK_S)
                    continue
                if answer.is_success:
                    return
                await asyncio.sleep(LOOK_S)
        raise Failed(f"the service is not ready after {READY_S:g} s; see {self._logs}/service.log")

    async def _post_history(self, end: int) -> None:
        """Post what was measured before ``end``, as a MES would that is connected for the first time."""
        past = baseline(Plant(self._seed), end)
        async with httpx.AsyncClient(base_url=self._url, trust_env=False, timeout=60) as client:
            for first in range(0, len(past), POSTED_AT_ONCE):
                await self._post(client, past[first : first + POSTED_AT_ONCE])

    async def _post(self, client: httpx.AsyncClient, past: list[Measured]) -> None:
        readings = [item(one, historical=True) for one in past]
        while True:
            self._children.check()
            answer = await client.post("/api/v1/readings", json={"readings": readings})
            if answer.status_code in (429, 503):
                await asyncio.sleep(float(answer.headers.get("retry-after", "1")))
                continue
            if not answer.is_success or answer.json()["rejected"]:
                raise Failed(f"the service refuses the history: {answer.text[:300]}")
            return

    async def _watch(self, start: int) -> None:
        """Tell what goes wrong in the plant, until a process ends."""
        self._console.print(
            f"\n[bold]Andon runs at {self._url}[/]   (Ctrl-C ends it)\n", highlight=False
        )
        telling = asyncio.create_task(self._tell(schedule(self._seed, start)), name="tell")
        try:
            ended = await self._children.one_ended()
        finally:
            telling.cancel()
        raise Failed(f"{ended.name} ended: {ended.last_words()} (its log is {ended.log})")

    async def _tell(self, plan: Schedule) -> None:
        cycle = 0
        while True:
            for one in plan.cycle(cycle):
                await asyncio.sleep(max(0, one.start - now()) / SECOND)
                at = datetime.fromtimestamp(one.start / SECOND).astimezone()
                self._console.print(f"{at:%H:%M:%S}  {one.gauge}: {one.label}", highlight=False)
            cycle += 1


class Steps:
    """What the demo is doing, one line each."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._current: TaskID | None = None

    def next(self, description: str) -> None:
        """The last one is done; this one begins."""
        self.done()
        self._current = self._progress.add_task(description, total=1)

    def done(self) -> None:
        """The last one is done."""
        if self._current is not None:
            self._progress.update(self._current, completed=1)


class Memory:
    """What the demo remembers in its directory: the ports of its servers, whether there is history."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            self._known = {}

    def get(self, name: str) -> Any:
        """What is known under this name."""
        return self._known.get(name)

    def put(self, name: str, value: Any) -> None:
        """Remember."""
        self._known[name] = value
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(self._known))
        beside.replace(self._path)

    def port(self, name: str) -> int:
        """The port of the last time where it is free, else another."""
        for wanted in (self.get(name) or 0, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, wanted))
                except OSError:
                    continue
                port: int = probe.getsockname()[1]
            self.put(name, port)
            return port
        raise Failed("no port is free on this machine")


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the directory; another demo there would write into the same database."""
    lock = (directory / "demo.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise Failed(
            f"a demo runs with {directory} already (process {holder}); end it, or choose another "
            "directory with --data"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    try:
        yield
    finally:
        lock.close()
