"""andon demo as its user runs it: from the command to the URL, and away without a trace."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from app.demo import broker
from app.demo.configuration import plant_toml
from app.demo.plant import GAUGES
from app.plantfile import parse_plant
from tests.servers import free_port

PATIENCE_S = 90.0
pytestmark = pytest.mark.servers


class Demo:
    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{port}"
        self.out = directory.with_suffix(".out")
        command = [sys.executable, "-c", "from app.cli import main; main()", "demo"]
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--port", str(port), "--data", str(directory)],
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def until(self, wanted) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not wanted():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def until_ready(self) -> None:
        self.until(lambda: self.url in self.said())

    def said(self) -> str:
        return self.out.read_text()

    def get(self, path: str):
        return httpx.get(f"{self.url}/api/v1/{path}", trust_env=False).raise_for_status().json()

    def family(self) -> list[psutil.Process]:
        """All its processes; the database's are found by their directory."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        for one in psutil.process_iter(["cmdline"]):
            if any(str(self.directory) in word for word in one.info["cmdline"] or ()):
                found.append(one)
        return [*found, psutil.Process(self.process.pid)]


@pytest.fixture
def start(tmp_path):
    running: list[Demo] = []

    def start(directory: Path | None = None, port: int | None = None) -> Demo:
        running.append(Demo(directory or tmp_path / "demo", port or free_port()))
        return running[-1]

    yield start
    for demo in running:
        if demo.process.poll() is None:
            demo.process.send_signal(signal.SIGINT)
            demo.process.wait(30)


def left(processes) -> list[psutil.Process]:
    gone, alive = psutil.wait_procs(processes, timeout=10)
    del gone
    return alive


def test_it_runs_stops_without_a_trace_and_goes_on_with_its_data(start):
    demo = start()
    demo.until_ready()
    characteristics = demo.get("characteristics")["items"]
    assert len(characteristics) == len(GAUGES)
    counted = {one["id"] for one in demo.get("sources")["items"] if one["state"] == "up"}
    assert counted >= {"http", "press", "mold", "oven"}
    demo.until(lambda: all(one["counters"]["readings"] for one in demo.get("sources")["items"]))
    points = demo.get("characteristics/shaft-diameter/points?limit=1000")["time"]
    assert len(points) >= 200
    assert demo.get("quarantine")["items"] == []
    # a run rule may speak by chance, as on any plant; no part is bad before anything went wrong
    assert [one for one in demo.get("alarms")["items"] if one["class"] == "spec"] == []

    family = demo.family()
    assert len(family) >= 8
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(30) == 0
    assert left(family) == []

    again = start()
    again.until_ready()
    assert "history" not in again.said()
    kept = again.get("characteristics/shaft-diameter/points?limit=1000")["time"]
    assert kept[: len(points)] == points


def test_nothing_is_left_when_it_is_killed(start):
    demo = start()
    demo.until_ready()
    family = demo.family()
    demo.process.kill()
    demo.process.wait()
    assert left(family) == []


def test_a_taken_port_is_one_sentence(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = start(port=port)
        assert demo.process.wait(30) == 1
    assert re.fullmatch(
        rf"andon: cannot listen on 127\.0\.0\.1:{port}: .* or choose another with --port\n",
        demo.said(),
    )


def test_two_demos_do_not_share_a_directory(start, tmp_path):
    first = start()
    first.until(
        lambda: (
            (tmp_path / "demo" / "demo.lock").exists()
            and (tmp_path / "demo" / "demo.json").exists()
        )
    )
    second = start(tmp_path / "demo", free_port())
    assert second.process.wait(30) == 1
    assert "a demo runs with" in first.out.read_text() + second.said()


def test_the_plant_file_is_what_andon_reads():
    plant = parse_plant(plant_toml(1883, 1502, "5"), base_dir=Path())
    assert {one.id for one in plant.characteristics} == {gauge.id for gauge in GAUGES}
    named = {
        register.characteristic
        for source in plant.sources
        if source.kind == "modbus"
        for register in source.registers
    }
    assert named == {gauge.id for gauge in GAUGES if gauge.route in ("press", "mold", "oven")}
    weights = next(one for one in plant.characteristics if one.id == "part-weight")
    assert weights.stream == ("cavity",)


def test_nats_serves_where_mosquitto_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    made = broker.prepare(tmp_path, free_port(), free_port(), ())
    assert made.protocol == "3.1.1"
    checked = subprocess.run(
        [made.command[0], "-t", "-c", made.command[-1]], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
