"""CPU of Andon for readings over MQTT until they are durable, against a client that does nothing."""

import asyncio
import datetime as dt
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count

import asyncpg
import paho.mqtt.client as paho

from benchmarks.row import Row, interleaved, ratio
from benchmarks.running import (
    Andon,
    Missing,
    andon,
    calm,
    characteristic,
    cpu_of,
    database,
    mosquitto,
    postgres,
)
from tests.servers import dying_with_us

RATE, SECONDS, ROUNDS = 2_000, 2.0, 5
TAIL_S = 0.5  # until the last readings are durable
CHARACTERISTICS = 100
INFLIGHT = 1_000
LIMIT = 1.5
OURS, THEIRS = "ours", "theirs"

SOURCE = """
[[source]]
id = "bench"
kind = "mqtt"
url = "{url}"
client_id = "andon-bench"
inflight = {inflight}

[[source.subscription]]
topic = "{topic}/{{cell}}"
characteristic = "/id"
value = "/value"
time = "/time"
key = "/key"
"""


def plant(url: str) -> str:
    """The characteristics and the source whose messages name them."""
    gauges = "\n".join(characteristic(f"gauge-{i}") for i in range(CHARACTERISTICS))
    return gauges + SOURCE.format(url=url, inflight=INFLIGHT, topic=OURS)


class Publisher:
    """Publishes with QoS 1 at an even pace."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(0)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._key = count(1)
        self._values = calm(10_000, 7)
        self.published = 0

    def publish(self, topic: str, together: int) -> None:
        """Publish for some seconds, so many readings in a message."""
        pause = max(0.001, together / RATE)
        due = time.perf_counter()
        for _ in range(round(SECONDS / pause)):
            due += pause
            time.sleep(max(0.0, due - time.perf_counter()))
            for _ in range(max(1, round(RATE * pause / together))):
                self._message(topic, together)
        self.published += round(SECONDS * RATE)
        time.sleep(TAIL_S)

    def _message(self, topic: str, together: int) -> None:
        now = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
        keys = [next(self._key) for _ in range(together)]
        items = [
            {
                "id": f"gauge-{key % CHARACTERISTICS}",
                "value": self._values[key // CHARACTERISTICS % len(self._values)],
                "time": now,
                "key": key,
            }
            for key in keys
        ]
        payload = json.dumps(items if together > 1 else items[0])
        self._client.publish(f"{topic}/cell-{keys[0] % 20}", payload, qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def empty_callback(port: int) -> Iterator[int]:
    """The pid of the peer, subscribed."""
    command = [sys.executable, "-m", "benchmarks.mqtt_peer", str(port), f"{THEIRS}/+"]
    process = subprocess.Popen(
        [*dying_with_us(), *command, str(INFLIGHT)], stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("the peer does not subscribe")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


async def stored(url: str) -> int:
    """How many readings are in the database."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM reading"))
    finally:
        await connection.close()


def compared(together: int, publisher: Publisher, service: Andon, peer: int) -> Row:
    """Publish to one, then to the other, and again; the CPU time of each meanwhile."""

    def ours() -> float:
        before = service.cpu
        publisher.publish(OURS, together)
        return service.cpu - before

    def theirs() -> float:
        before = cpu_of(peer)
        publisher.publish(THEIRS, together)
        return cpu_of(peer) - before

    def idle() -> float:
        before = service.cpu
        time.sleep(SECONDS + TAIL_S)
        return service.cpu - before

    first, second = interleaved(ours, theirs, rounds=ROUNDS)
    readings = SECONDS * RATE
    return Row(
        f"MQTT to durable at {RATE:,} readings/s, {together} a message",
        statistics.median(first) / readings * 1e6,
        "CPU us/reading",
        "aiomqtt, empty callback",
        statistics.median(second) / readings * 1e6,
        ratio(first, second),
        LIMIT,
        extra={
            "ratio_of": "CPU time",
            "rounds": ROUNDS,
            "idle_us_per_reading": idle() / readings * 1e6,
        },
    )


def run() -> Iterable[Row]:
    """Measure single readings and arrays of 20, on one broker and one service."""
    try:
        with (
            mosquitto() as broker,
            postgres("embedded") as server,
            database(server) as url,
            andon(plant(broker.url), url) as service,
            empty_callback(broker.port) as peer,
        ):
            publisher = Publisher(broker.port)
            time.sleep(1)  # until Andon has subscribed
            sent = 0
            for together in (1, 20):
                yield compared(together, publisher, service, peer)
                sent += round((ROUNDS + 1) * SECONDS * RATE)
                if (there := asyncio.run(stored(url))) != sent:
                    raise RuntimeError(f"{there} of {sent} readings are in the database")
            publisher.close()
    except Missing as missing:
        yield Row("MQTT to durable", None, "", str(missing))
