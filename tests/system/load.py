"""2,000 readings a second by MQTT and an MES that retries, and what must be stored of all of it."""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import httpx
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.system.running import Andon, until
from tests.system.stored import READINGS, SIZE, check_alarms, check_verdicts

CENTER, SIGMA = 25.0, 0.004
ONE = [f"one-{i}" for i in range(8)]
MANY = [f"many-{i}" for i in range(8)]
MES = [f"mes-{i}" for i in range(3)]
ARRIVAL, NAMED, SAMPLE, SHARED = "by-arrival", "by-name", "mes-sample", "shared"
ALARMING, AGAIN = "alarming", "alarming-again"
GROUPED = {ARRIVAL, NAMED, SAMPLE}
SINGLES = [*ONE, *MANY, *MES, SHARED, ALARMING, AGAIN]

CHARACTERISTIC = """
[[characteristic]]
id = "{name}"
decimals = 4
spec = {{ lower = 24.9, upper = 25.1 }}
limits = {{ center = 25.0, sigma = 0.004 }}
{chart}
"""
SOURCE = """
[[source]]
id = "broker"
kind = "mqtt"
url = "{broker}"
[[source.subscription]]
topic = "plant/one/{{characteristic}}"
value = "/v"
time = "/t"
time_format = "us"
key = "/k"
[[source.subscription]]
topic = "plant/named/{{characteristic}}"
value = "/v"
time = "/t"
time_format = "us"
key = "/k"
subgroup = "/s"
[[source.subscription]]
topic = "plant/many"
items = "/r"
characteristic = "/c"
value = "/v"
time = "/t"
time_format = "us"
key = "/k"
sequence = "^/n"
"""
ANNOUNCE = """
[[announce]]
id = "phone"
kind = "webhook"
url = "{webhook}"
send = "calls"
"""


def plant(broker: str, webhook: str) -> str:
    """The plant file of the load."""
    chart = dict.fromkeys(GROUPED, f'chart = "xbar_r"\nsubgroup = {{ size = {SIZE} }}')
    tables = [
        CHARACTERISTIC.format(name=name, chart=chart.get(name, ""))
        for name in [*SINGLES, *sorted(GROUPED)]
    ]
    source = SOURCE.format(broker=broker)
    return "".join([*tables, source, ANNOUNCE.format(webhook=webhook)])


class Sent(NamedTuple):
    """A reading's identity and value, as the source knows it."""

    characteristic: str
    time: int
    key: int
    value: float


class Gauges:
    """Values and times of many gauges; each gauge's time only grows."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._newest: dict[str, int] = defaultdict(int)
        self._serial = count(1)
        self._turn = threading.Lock()

    def measure(self, name: str) -> Sent:
        """The next part on one gauge; one gauge in four drifts now and then."""
        with self._turn:
            at = max(time.time_ns() // 1000, self._newest[name] + 1)
            self._newest[name] = at
            shift = 1.5 * SIGMA if name.endswith(("0", "4")) and at // 2_000_000 % 5 == 0 else 0.0
            value = round(self._chance.gauss(CENTER + shift, SIGMA), 4)
            return Sent(name, at, next(self._serial), value)


class Line(threading.Thread):
    """Publishes with QoS 1 at a steady rate until told to stop."""

    TICK_S = 0.02

    def __init__(self, port: int, gauges: Gauges, rate: int = 2000) -> None:
        super().__init__(name="line")
        self._gauges = gauges
        self._rate = rate
        self._stopping = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(2000)
        self._client.connect("127.0.0.1", port)
        self._messages: list[tuple[paho.MQTTMessageInfo, list[Sent]]] = []
        self._numbers = count(1)
        self._rounds = 0

    def run(self) -> None:
        self._client.loop_start()
        for name in (ALARMING, AGAIN):
            sent = self._gauges.measure(name)
            self._publish(f"plant/one/{name}", _item(sent), [sent])
        began = time.monotonic()
        while not self._stopping.is_set():
            due = (time.monotonic() - began) * self._rate
            while self._rounds * ROUND < due:
                self._round()
            self._stopping.wait(self.TICK_S)

    def _round(self) -> None:
        """A hundred readings: twenty-six alone, the rest in messages of ten or so."""
        for name in [*ONE, *ONE, ARRIVAL, ARRIVAL, ARRIVAL, ARRIVAL, ARRIVAL]:
            sent = self._gauges.measure(name)
            self._publish(f"plant/one/{name}", _item(sent), [sent])
        if self._rounds % 5 == 0:
            sent = self._gauges.measure(SHARED)
            self._publish(f"plant/one/{SHARED}", _item(sent), [sent])
        for _ in range(SIZE):
            sent = self._gauges.measure(NAMED)
            body = {**_item(sent), "s": f"sample {self._rounds}"}
            self._publish(f"plant/named/{NAMED}", body, [sent])
        for start in range(0, 74, 10):
            chosen = [MANY[(start + i) % len(MANY)] for i in range(min(10, 74 - start))]
            readings = [self._gauges.measure(name) for name in chosen]
            items = [{"c": sent.characteristic, **_item(sent)} for sent in readings]
            self._publish("plant/many", {"n": next(self._numbers), "r": items}, readings)
        self._rounds += 1

    def alarm(self, name: str = ALARMING) -> Sent:
        """A part far beyond the control limits."""
        sent = self._gauges.measure(name)._replace(value=25.03)
        self._publish(f"plant/one/{name}", _item(sent), [sent])
        return sent

    def _publish(self, topic: str, body: dict[str, Any], readings: list[Sent]) -> None:
        info = self._client.publish(topic, json.dumps(body), qos=1)
        self._messages.append((info, readings))

    def stop(self) -> list[Sent]:
        """Stop, and tell what the broker has acknowledged, which must be all."""
        self._stopping.set()
        self.join()
        for info, _ in self._messages:
            info.wait_for_publish(timeout=60)
            assert info.is_published()
        self._client.disconnect()
        self._client.loop_stop()
        return [sent for _, readings in self._messages for sent in readings]


ROUND = 100


def _item(sent: Sent) -> dict[str, Any]:
    return {"v": sent.value, "t": sent.time, "k": sent.key}


class Answered(NamedTuple):
    """A post that was answered with 2xx."""

    readings: list[dict[str, Any]]
    sent: list[Sent]
    verdicts: list[dict[str, Any]]


class Mes(threading.Thread):
    """Posts readings one request after the other; repeats each until it is answered."""

    EVERY_S = 0.1

    def __init__(self, service: Andon, gauges: Gauges, name: str, seed: int) -> None:
        super().__init__(name=name)
        self._service = service
        self._gauges = gauges
        self._characteristic = name
        self._chance = random.Random(seed)
        self._stopping = threading.Event()
        self.answered: list[Answered] = []
        self.retried = 0
        self.repeated = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        with httpx.Client(base_url=self._service.url, timeout=15) as client:
            for number in count():
                if self._stopping.wait(self.EVERY_S):
                    return
                readings, sent = self._request(number)
                verdicts = self._post(client, readings)
                if verdicts is None:
                    return  # never answered, so nothing was promised
                self.answered.append(Answered(readings, sent, verdicts))
                if self._chance.random() < 0.1:
                    self._again(client, self._chance.choice(self.answered))

    def _request(self, number: int) -> tuple[list[dict[str, Any]], list[Sent]]:
        if self._characteristic == SAMPLE:
            first = self._gauges.measure(SAMPLE)
            values = [first.value, *(self._gauges.measure(SAMPLE).value for _ in range(SIZE - 1))]
            sent = [Sent(SAMPLE, first.time, i, value) for i, value in enumerate(values)]
            sample = {"characteristic": SAMPLE, "values": values, "subgroup": f"sample {number}"}
            return [{**sample, "time": _iso(first.time)}], sent
        names = [self._characteristic] * 4 + [SHARED]
        sent = [self._gauges.measure(name) for name in names]
        items = [
            {
                "characteristic": s.characteristic,
                "value": s.value,
                "time": _iso(s.time),
                "key": s.key,
            }
            for s in sent
        ]
        return items, sent

    def _post(
        self, client: httpx.Client, readings: list[dict[str, Any]]
    ) -> list[dict[str, Any]] | None:
        while not self._stopping.is_set():
            try:
                answer = client.post(
                    "/api/v1/readings?verdicts=true&timeout=20s", json={"readings": readings}
                )
            except httpx.HTTPError:
                self.retried += 1
                self._stopping.wait(0.05)
                continue
            if answer.status_code in (429, 503):
                self.retried += 1
                self._stopping.wait(0.05)
                continue
            if answer.status_code != 200 or answer.json()["rejected"]:
                self.wrong.append(f"{answer.status_code} {answer.text}")
                return None
            verdicts: list[dict[str, Any]] = answer.json()["verdicts"]
            return verdicts
        return None

    def _again(self, client: httpx.Client, before: Answered) -> None:
        """A repetition must be answered as the original was."""
        verdicts = self._post(client, before.readings)
        if verdicts is None:
            return
        self.repeated += 1
        first, second = lasting(before, before.verdicts), lasting(before, verdicts)
        both = first.keys() & second.keys()  # without the database a repetition is pending
        if {i: first[i] for i in both} != {i: second[i] for i in both}:
            self.wrong.append(f"answered {first}, on repetition {second}")

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def lasting(post: Answered, verdicts: Iterable[dict[str, Any]]) -> dict[int, Any]:
    """What no later reading changes: all but what a late one on the shared gauge may, and alarms."""
    return {
        one["index"]: (one["verdict"], one["point"], one["violations"])
        for one in verdicts
        if post.readings[one["index"]]["characteristic"] != SHARED and one["verdict"] != "pending"
    }


def _iso(at: int) -> str:
    seconds, micros = divmod(at, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06}Z"


class Load:
    """Everything that sends."""

    def __init__(self, service: Andon, port: int, seed: int) -> None:
        gauges = Gauges(seed)
        self._service = service
        self.line = Line(port, gauges)
        self.mes = [Mes(service, gauges, name, seed) for name in [*MES, SAMPLE]]
        self.sent: list[Sent] = []

    def start(self) -> None:
        for one in [self.line, *self.mes]:
            one.start()

    def stop(self) -> None:
        """Stop; what was acknowledged is known after that."""
        if self.line.is_alive():
            self.sent = self.line.stop()
            for one in self.mes:
                one.stop()

    @property
    def answered(self) -> list[Answered]:
        return [post for one in self.mes for post in one.answered]

    def check(self) -> None:
        """Nothing acknowledged is lost or stored twice, and every verdict is what it must be."""
        assert [wrong for one in self.mes for wrong in one.wrong] == []
        acknowledged = {*self.sent, *(sent for post in self.answered for sent in post.sent)}

        def arrived() -> list[Any] | None:
            if int(self._service.rows("SELECT count(*) FROM reading")[0][0]) < len(acknowledged):
                return None
            rows = self._service.rows(READINGS)
            return rows if acknowledged <= {Sent(*row[:4]) for row in rows} else None

        readings = until(f"{len(acknowledged)} readings", arrived, wait_s=120, every_s=0.5)
        stored = [Sent(*row[:4]) for row in readings]
        assert len(stored) == len(set(stored))
        unknown = set(stored) - acknowledged
        # What was posted and not answered may be there, or not.
        assert {sent.characteristic for sent in unknown} <= {*MES, SAMPLE, SHARED}
        assert len(unknown) <= SIZE * len(self.mes)
        assert self._service.rows("SELECT * FROM quarantine") == []
        assert self._service.rows("SELECT * FROM gap") == []
        check_verdicts(self._service, readings, GROUPED)
        check_alarms(self._service)


@contextmanager
def loaded(service: Andon, port: int, seed: int):
    """The load, while it lasts."""
    service.source_is("broker")
    load = Load(service, port, seed)
    load.start()
    try:
        yield load
    finally:
        load.stop()
