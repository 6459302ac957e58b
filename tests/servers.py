"""The real servers that tests run against, each a process of its own on a private loopback port.

What is missing on this machine is named by :class:`Missing`; ``deploy/testbed.py`` installs it.
Every server dies with the test run, also when that is killed.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Missing(Exception):
    """This machine lacks a server that the test needs."""


_given: set[int] = set()


def free_port() -> int:
    """Return a loopback port that nobody listens on and that no outgoing connection is given.

    The range lies below the ephemeral ports of Linux and macOS: a port from there could be taken
    by a client between this call and the server's start.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def dying_with_us() -> list[str]:
    """Return the command prefix that ends a child when this process is killed, where there is one."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


class Server:
    """One server process: started, stopped, killed, frozen and started again on the same port."""

    name = "server"
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.log = directory / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Return whether the server answers."""
        return answers(self.port)

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            while self.running and not self.ready():
                if time.monotonic() > deadline:
                    self.kill()
                    break
                time.sleep(0.02)
            if self.running:
                return self
            if time.monotonic() > deadline or not self.may_retry():
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
                raise RuntimeError(f"{self.name} does not start:\n{tail}")
            time.sleep(0.2)

    def may_retry(self) -> bool:
        """Return whether a failed start is worth another try."""
        return False

    def stop(self) -> None:
        """End the server as its operator would, and wait."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End the server as a power loss would: no clean-up of any kind."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the server's processes from running while their sockets stay open."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):  # a worker of the server may just have ended
                process.suspend()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    def _family(self) -> list[psutil.Process]:
        head = psutil.Process(self.pid)
        return [head, *head.children(recursive=True)]

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self.running:
            family = self._family()
            self._process.send_signal(how)
            for process in family:
                with suppress(psutil.NoSuchProcess):  # it may have ended meanwhile
                    if how is signal.SIGKILL:
                        process.kill()
                    else:
                        process.resume()  # a frozen one takes no other signal
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _program(name: str, *places: str) -> str:
    found = shutil.which(name) or next(filter(shutil.which, places), None)
    if found is None:
        raise Missing(f"{name} is not here: deploy/testbed.py installs it on Debian, as root")
    return found


class Broker(Server):
    """An MQTT broker on a private port."""

    @property
    def url(self) -> str:
        """The broker's address as ``plant.toml`` writes it."""
        return f"mqtt://127.0.0.1:{self.port}"


class Mosquitto(Broker):
    """Mosquitto; ``options`` are further lines of its configuration file.

    Queued messages survive :meth:`stop`; :meth:`kill` loses what was queued since the last start,
    as the real one does.
    """

    name = "mosquitto"
    DEFAULTS = (
        "allow_anonymous true",
        "persistence true",
        "max_queued_messages 0",
        "max_inflight_messages 0",
        "connection_messages false",
    )

    def __init__(self, directory: Path, options: Sequence[str] = DEFAULTS) -> None:
        super().__init__(directory)
        self._program = _program("mosquitto", "/usr/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")
        lines = [f"persistence_location {directory}/", f"listener {self.port} 127.0.0.1", *options]
        if os.geteuid() == 0:
            lines.insert(0, "user root")  # pytest's directories are closed to its usual user
        self.config = directory / "mosquitto.conf"
        self.config.write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [*dying_with_us(), self._program, "-c", str(self.config)]


class Nats(Broker):
    """The NATS server's MQTT 3.1.1 gateway, the demo's broker where Mosquitto is not installed."""

    name = "nats"

    def __init__(self, directory: Path, max_ack_pending: int = 1000) -> None:
        super().__init__(directory)
        self._program = _program("nats-server", f"{sysconfig.get_path('scripts')}/nats-server")
        self.config = directory / "nats.conf"
        self.config.write_text(
            f'listen: "127.0.0.1:{free_port()}"\n'
            'server_name: "andon-test"\n'
            f'jetstream {{ store_dir: "{directory}/jetstream" }}\n'
            f'mqtt {{ host: "127.0.0.1", port: {self.port}, ack_wait: "3s",'
            f" max_ack_pending: {max_ack_pending} }}\n"
        )

    def command(self) -> list[str]:
        return [*dying_with_us(), self._program, "-c", str(self.config)]


def chromium() -> str:
    """Return the path of the browser that tests drive."""
    given = os.environ.get("ANDON_TEST_CHROMIUM")
    if given:
        return given
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    return _program("chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def last_words(child: "subprocess.Popen[str]") -> list[str]:
    """The rest of what a child said before it ended.

    ``communicate`` would not see what an earlier ``readline`` has already taken from the pipe.
    """
    assert child.stdout is not None
    with child.stdout:
        said = child.stdout.read().split()
    child.wait(30)
    return said
