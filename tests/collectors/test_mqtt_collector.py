import asyncio
import base64
import gc
import hashlib
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from collectors.mqtt.advice import advise
from collectors.mqtt.collector import MqttCollector
from collectors.reading import ConfigInvalid, Gap, Outcome, SourceLost
from collectors.supervisor import Supervisor
from tests.collectors.mqtt_door import (
    Door,
    collecting,
    config,
    now,
    publish,
    publishing,
    until,
)
from tests.servers import Broker, Mosquitto, Nats

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["5", "3.1.1", "nats"])
def broker(request: pytest.FixtureRequest) -> Broker:
    name = "nats_mqtt" if request.param == "nats" else "mosquitto"
    server: Broker = request.getfixturevalue(name)
    return server


@pytest.fixture
def given(request: pytest.FixtureRequest, broker: Broker) -> Callable[..., Any]:
    """The collector's configuration for the broker, in the protocol under test."""
    protocol = "3.1.1" if "3.1.1" in request.node.name else "5"
    return lambda **keys: config(broker.port, protocol=protocol, **keys)


# the main thing


async def test_readings_arrive_and_are_acknowledged(
    broker: Broker, given: Callable[..., Any]
) -> None:
    door = Door()
    async with collecting(given(), door) as collector:
        await publish(broker.port, *range(50))
        await until(lambda: collector.counters.acknowledged == 50)
    assert door.keys == list(range(50))
    assert door.readings[7].characteristic == "bore"
    assert (door.readings[7].value, door.readings[7].time) == (7.0, 1_714_557_600_000_007)
    assert (collector.counters.messages, collector.counters.readings) == (50, 50)


async def test_what_is_not_durable_is_not_acknowledged(
    broker: Broker, given: Callable[..., Any]
) -> None:
    first = Door(durable=False)
    async with collecting(given(), first) as collector:
        await publish(broker.port, 1, 2, 3)
        await until(lambda: len(first.keys) == 3)
        assert collector.counters.acknowledged == 0
    again = Door()
    async with collecting(given(), again) as collector:
        await until(lambda: collector.counters.acknowledged == 3)
    assert sorted(again.keys) == [1, 2, 3]
    # Acknowledged, they are gone: the next that comes is the next that was sent.
    last = Door()
    async with collecting(given(), last) as collector:
        await publish(broker.port, 4)
        await until(lambda: collector.counters.acknowledged == 1)
    assert last.keys == [4]


async def test_messages_wait_while_nobody_is_there(
    broker: Broker, given: Callable[..., Any]
) -> None:
    async with collecting(given(), Door()):
        pass
    await publish(broker.port, *range(100))
    door = Door()
    async with collecting(given(), door) as collector:
        await until(lambda: collector.counters.acknowledged == 100)
    assert sorted(door.keys) == list(range(100))


async def test_a_clean_stop_acknowledges_what_becomes_durable_meanwhile(
    mosquitto: Mosquitto,
) -> None:
    first = Door(durable=False)
    async with collecting(config(mosquitto.port), first) as collector:
        await publish(mosquitto.port, 1, 2)
        await until(lambda: len(first.keys) == 2)
        asyncio.get_running_loop().call_later(0.1, first.make_durable)
    assert collector.counters.acknowledged == 2
    again = Door()
    async with collecting(config(mosquitto.port), again):
        await publish(mosquitto.port, 3)
        await until(lambda: again.keys)
    assert again.keys == [3]


async def test_a_killed_collector_loses_nothing(mosquitto: Mosquitto) -> None:
    child = subprocess.Popen(  # noqa: ASYNC220 - it starts in no time
        [sys.executable, "-m", "tests.collectors.mqtt_child", str(mosquitto.port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        assert await asyncio.to_thread(child.stdout.readline) == "up\n"
        await publish(mosquitto.port, *range(20))
        for _ in range(20):
            assert await asyncio.to_thread(child.stdout.readline)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    door = Door()
    async with collecting(config(mosquitto.port), door) as collector:
        await until(lambda: collector.counters.acknowledged == 20)
    assert sorted(door.keys) == list(range(20))


async def test_a_delivery_that_cannot_be_stored_comes_again(
    broker: Broker, given: Callable[..., Any]
) -> None:
    door = Door(durable=False)
    with pytest.raises(  # noqa: PT012 - the loss shows when the collector ends
        SourceLost, match="could not be made durable: disk full"
    ):
        async with collecting(given(), door) as collector:
            await publish(broker.port, 1)
            await until(lambda: door.keys)
            await publish(broker.port, 2)
            await until(lambda: len(door.keys) == 2)
            door.receipts[0].set_exception(OSError("disk full"))
            door.make_durable()  # what came after the failure is not acknowledged either
            await asyncio.sleep(0.1)
    assert collector.counters.acknowledged == 0
    again = Door()
    async with collecting(given(), again) as collector:
        await until(lambda: collector.counters.acknowledged == 2)
    assert sorted(again.keys) == [1, 2]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_the_window_holds_back_the_rest(mosquitto: Mosquitto, protocol: str) -> None:
    """Mosquitto 2.0 oversteps its window after each PUBACK, and 3.1.1 has none: one more at most."""
    door = Door(durable=False)
    async with collecting(config(mosquitto.port, inflight=7, protocol=protocol), door) as collector:
        await publish(mosquitto.port, *range(60))
        await until(lambda: len(door.keys) >= 7)
        for receipt in door.receipts:
            await asyncio.sleep(0.02)
            assert len(door.keys) - collector.counters.acknowledged <= 8
            receipt.set_result(Outcome(1, 0, [], "database"))
            await until(
                lambda: (
                    len(door.keys) - collector.counters.acknowledged >= 7 or len(door.keys) == 60
                )
            )
    assert door.keys == list(range(60))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_subscribing_while_the_session_sends_what_it_kept(
    mosquitto: Mosquitto, protocol: str
) -> None:
    """The broker's answer stands behind messages, and those behind our acknowledgements."""
    given = {"protocol": protocol, "inflight": 5}
    before = Door()
    async with collecting(config(mosquitto.port, **given), before):
        await publish(mosquitto.port, 0)
        await until(lambda: before.keys == [0])
    await publish(mosquitto.port, *range(1, 200))
    more = [
        {"topic": topic, "value": "/v", "time": "/t", "time_format": "us", "key": "/k"}
        for topic in ("plant/{characteristic}", "lab/{characteristic}")
    ]
    door = Door(durable=False)
    wider = config(mosquitto.port, subscription=more, **given)
    collector = MqttCollector(wider, before.position, now)
    connected = asyncio.Event()
    task = asyncio.create_task(collector.run(door, connected.set))
    await until(lambda: door.keys)
    while not (connected.is_set() and len(door.keys) >= 199):
        assert not task.done(), task
        door.make_durable()
        await asyncio.sleep(0.005)
    door.durable = True
    door.make_durable()
    await publish(mosquitto.port, 200, topic="lab/bore")
    await until(lambda: 200 in door.keys)
    task.cancel()
    await asyncio.wait([task])
    assert sorted(set(door.keys)) == list(range(1, 201))


async def test_acknowledgements_keep_the_order_of_arrival(mosquitto: Mosquitto) -> None:
    door = Door(durable=False)
    async with collecting(config(mosquitto.port), door) as collector:
        for key in (1, 2, 3):
            await publish(mosquitto.port, key)
            await until(lambda: door.keys[-1:] == [key])  # noqa: B023
        for receipt in reversed(door.receipts[1:]):
            receipt.set_result(None)  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        assert collector.counters.acknowledged == 0
        door.make_durable()
        await until(lambda: collector.counters.acknowledged == 3)


async def test_messages_gather_while_others_are_on_their_way(mosquitto: Mosquitto) -> None:
    door = Door(durable=False)
    async with collecting(config(mosquitto.port), door):
        async with publishing(mosquitto.port, max_inflight_messages=1000) as client:
            client.pending_calls_threshold = 1000
            await asyncio.gather(
                *(client.publish("plant/bore", b'{"v":1,"t":%d}' % n, qos=1) for n in range(1000))
            )
        await until(lambda: len(door.readings) == 1000)
        assert len(door.deliveries) < 500
        assert max(len(delivery.readings) for delivery in door.deliveries) <= 500
        door.make_durable()


async def test_a_large_message_does_not_hold_up_the_loop(mosquitto: Mosquitto) -> None:
    given = config(mosquitto.port, subscription=[{"topic": "plant/{characteristic}"}])
    door = Door()
    async with collecting(given, door) as collector:
        async with publishing(mosquitto.port) as client:
            for _ in range(3):
                await client.publish("plant/bore", b"[" + b"1," * 2_999 + b"1]", qos=1)
        await until(lambda: collector.counters.acknowledged == 3)
    assert len(door.readings) == 9_000
    assert max(len(delivery.readings) for delivery in door.deliveries) <= 4_000 + 3_000


# what is not a new measurement, and what is none at all


async def test_a_retained_copy_is_no_new_measurement(
    broker: Broker, given: Callable[..., Any]
) -> None:
    await publish(broker.port, 1, topic="plant/old", retain=True)
    door = Door()
    async with collecting(given(), door):
        await publish(broker.port, 2, topic="plant/new")
        # Published with the flag while we listen, it is a measurement like any other.
        await publish(broker.port, 3, topic="plant/new", retain=True)
        await until(lambda: len(door.keys) == 2)
    assert door.keys == [2, 3]
    again = Door()
    async with collecting(given(), again) as collector:
        await publish(broker.port, 4)
        await until(lambda: again.keys)
        await until(lambda: collector.counters.acknowledged == collector.counters.messages)
    assert again.keys == [4]


async def test_garbage_is_rejected_and_acknowledged(mosquitto: Mosquitto) -> None:
    garbage = [b"", b"\xff\x00", b"[" * 90_000, b"NaN", b'{"v":1e999}', b"x" * 3_000_000, b"[]"]
    door = Door()
    async with collecting(config(mosquitto.port), door) as collector:
        async with publishing(mosquitto.port) as client:
            for payload in garbage:
                await client.publish("plant/bore", payload, qos=1)
        await until(lambda: collector.counters.acknowledged == len(garbage))
    assert len(door.rejects) == len(garbage)
    assert door.readings == []
    assert "has 3000000 bytes" in door.rejects[5].reason
    assert {reject.characteristic for reject in door.rejects} == {"bore"}


async def test_subscriptions_of_an_earlier_file_are_ended(mosquitto: Mosquitto) -> None:
    before = Door()
    old = [{"topic": "old/{characteristic}"}, {"topic": "plant/{characteristic}"}]
    async with collecting(config(mosquitto.port, subscription=old), before):
        await publish(mosquitto.port, 1)
        await until(lambda: before.position)
    await publish(mosquitto.port, 2, topic="old/bore")
    door = Door()
    async with collecting(config(mosquitto.port), door, before.position):
        await until(lambda: door.rejects)  # sent before we could say that nobody wants it
        await publish(mosquitto.port, 3, topic="old/bore")
        await publish(mosquitto.port, 4)
        await until(lambda: door.keys)
    assert door.keys == [4]
    (reject,) = door.rejects
    assert "on old/bore matches no subscription" in reject.reason


async def test_qos_0(broker: Broker, given: Callable[..., Any]) -> None:
    door = Door()
    async with collecting(given(qos=0), door) as collector:
        await publish(broker.port, *range(20), qos=0)
        await until(lambda: len(door.keys) == 20)
    assert collector.counters.acknowledged == 0
    assert door.gaps == []
    # What was sent while nobody was there is lost, and that is said.
    async with collecting(given(qos=0), door, door.position):
        await until(lambda: door.gaps)
    assert "QoS 0" in door.gaps[0].reason or "no session" in door.gaps[0].reason


# numbers, clocks and what a restart knows


async def test_missing_numbers_become_gaps_over_a_restart_too(mosquitto: Mosquitto) -> None:
    given = config(mosquitto.port)
    numbered = given.subscription[0].model_copy(update={"sequence": "/k"})
    given = given.model_copy(update={"subscription": (numbered,)})
    before = Door()
    async with collecting(given, before):
        await publish(mosquitto.port, 1, 2)
        await until(lambda: len(before.keys) == 2)
    after, passed = Door(), [0]
    async with collecting(given, after, before.position, lambda: now() + passed[0]):
        await publish(mosquitto.port, 6)
        await until(lambda: after.keys)
        passed[0] = 60_000_000  # a minute passes
        await until(lambda: after.gaps)
    (gap,) = after.gaps
    assert gap == Gap(
        "The messages 3 to 5 on plant/bore never arrived.",
        1_714_557_600_000_002,
        1_714_557_600_000_006,
        3,
        "bore",
    )


async def test_a_clock_that_is_an_hour_ahead_is_corrected(mosquitto: Mosquitto) -> None:
    hour = 3_600_000_000
    given = config(mosquitto.port, clock="corrected")
    door = Door()
    async with collecting(given, door) as collector, publishing(mosquitto.port) as client:
        for key in range(3):
            payload = b'{"v":1,"t":%d,"k":%d}' % (now() + hour, key)
            await client.publish("plant/bore", payload, qos=1)
        await until(lambda: len(door.keys) == 3)
    assert all(abs(r.time - now()) < 60_000_000 for r in door.readings[1:])
    assert collector.counters.skew_us is not None
    assert abs(collector.counters.skew_us - hour) < 60_000_000
    assert door.position is not None
    assert door.position["correction"] == collector._skew.correction


async def test_a_broker_without_a_session_leaves_a_gap(
    start_mosquitto: Callable[..., Mosquitto],
) -> None:
    forgetful = start_mosquitto("allow_anonymous true", "persistence false")
    supervisor = Supervisor(now, first_wait_s=0.01, longest_wait_s=0.1)
    door = Door()
    collector = MqttCollector(config(forgetful.port), None, now)
    task = asyncio.create_task(supervisor.run(collector, door))
    try:
        await until(lambda: supervisor.status.state == "up")
        await publish(forgetful.port, 1)
        await until(lambda: door.keys == [1])
        await asyncio.to_thread(forgetful.kill)
        await until(lambda: supervisor.status.state == "down")
        await asyncio.to_thread(forgetful.start)
        await until(lambda: supervisor.status.state == "up")
        await publish(forgetful.port, 2)
        await until(lambda: door.keys == [1, 2])
    finally:
        task.cancel()
        await asyncio.wait([task])
    (gap,) = door.gaps
    assert "kept no session" in gap.reason
    assert gap.start < gap.end


async def test_a_restarted_broker_is_found_again(mosquitto: Mosquitto) -> None:
    supervisor = Supervisor(now, first_wait_s=0.01, longest_wait_s=0.1)
    door = Door()
    collector = MqttCollector(config(mosquitto.port), None, now)
    task = asyncio.create_task(supervisor.run(collector, door))
    try:
        await until(lambda: supervisor.status.state == "up")
        await publish(mosquitto.port, 1)
        await until(lambda: door.keys == [1])
        await asyncio.to_thread(mosquitto.stop)
        await until(lambda: supervisor.status.state == "down")
        await asyncio.to_thread(mosquitto.start)
        await publish(mosquitto.port, 2)
        await until(lambda: sorted(set(door.keys)) == [1, 2])
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert door.gaps == []
    assert supervisor.status.state == "stopped"


# being refused


def _hashed(password: str) -> str:
    salt = b"0123456789ab"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_user_and_password(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path, protocol: str
) -> None:
    (tmp_path / "users").write_text(f"andon:{_hashed('right')}\n")
    guarded = start_mosquitto("allow_anonymous false", f"password_file {tmp_path}/users")
    (tmp_path / "secret").write_text("wrong\n")
    given = config(
        guarded.port, username="andon", password_file=tmp_path / "secret", protocol=protocol
    )
    with pytest.raises(ConfigInvalid, match="refuses the connection: Not authorized"):
        async with collecting(given, Door()):
            pass
    (tmp_path / "secret").write_text("right\n")
    async with collecting(given, Door()):
        pass
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigInvalid, match=r"password or certificate: .*secret"):
        async with collecting(given, Door()):
            pass


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def _certificates(directory: Path) -> None:
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "stranger"):
        _openssl(
            directory, "req", "-x509", *new_key, "-days", "2", "-subj", f"/CN={name}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", f"{name}.key", "-out", f"{name}.pem",
        )  # fmt: skip
    for name in ("server", "client"):
        (directory / "san").write_text(
            "subjectAltName=IP:127.0.0.1\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"  # Python 3.13 asks for them
        )
        _openssl(
            directory, "req", *new_key, "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        _openssl(
            directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", f"{name}.pem",
        )  # fmt: skip


async def test_tls_with_certificates_on_both_sides(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    await asyncio.to_thread(_certificates, tmp_path)
    secure = start_mosquitto(
        f"cafile {tmp_path}/ca.pem",
        f"certfile {tmp_path}/server.pem",
        f"keyfile {tmp_path}/server.key",
        "require_certificate true",
        "allow_anonymous true",
    )

    def given(host: str = "127.0.0.1", **tls: str) -> Any:
        files = {name: str(tmp_path / file) for name, file in tls.items()}
        return config(0, url=f"mqtts://{host}:{secure.port}", tls=files)

    door = Door()
    ours = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}
    files = aiomqtt.TLSParameters(*(str(tmp_path / file) for file in ours.values()))
    async with collecting(given(**ours), door):
        async with publishing(secure.port, tls_params=files) as client:
            client.pending_calls_threshold = 1000
            await asyncio.gather(
                *(
                    client.publish("plant/bore", b'{"v":1,"t":1,"k":%d}' % key, qos=1)
                    for key in range(500)
                )
            )
        await until(lambda: len(door.keys) == 500)
    with pytest.raises(ConfigInvalid, match="its certificate is not trusted"):
        async with collecting(given(ca="stranger.pem"), Door()):
            pass
    with pytest.raises(ConfigInvalid, match="its certificate is not trusted"):
        async with collecting(given(host="localhost", ca="ca.pem"), Door()):
            pass
    with pytest.raises(ConfigInvalid, match="password or certificate"):
        async with collecting(given(ca="missing.pem"), Door()):
            pass
    with pytest.raises((SourceLost, ConfigInvalid)):
        async with collecting(given(ca="ca.pem"), Door()):
            pass
    gc.collect()  # a socket that was left open would be told here, as an error


@pytest.mark.parametrize(
    "what", ["hangs up", "talks nonsense", pytest.param("is silent", marks=pytest.mark.slow)]
)
async def test_tls_with_somebody_who_has_none(what: str) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        if what == "talks nonsense":
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        if what == "is silent":
            await reader.read()
        writer.close()

    async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises((SourceLost, ConfigInvalid), match=f"127.0.0.1:{port}: "):
            async with collecting(config(port, url=f"mqtts://127.0.0.1:{port}"), Door()):
                pass
    gc.collect()


async def test_a_topic_that_may_not_be_read(nats_mqtt: Nats) -> None:
    nats_mqtt.stop()
    nats_mqtt.config.write_text(
        nats_mqtt.config.read_text()
        + 'authorization { users: [{ user: "andon", password: "x",'
        + ' permissions: { subscribe: { deny: "secret.>" } } }] }\n'
    )
    nats_mqtt.start()
    user = {"username": "andon", "password": "x"}
    async with collecting(config(nats_mqtt.port, **user), Door()):
        pass
    secret = [{"topic": "secret/{characteristic}"}]
    with pytest.raises(ConfigInvalid, match='refuses the subscription "secret/'):
        async with collecting(config(nats_mqtt.port, subscription=secret, **user), Door()):
            pass


async def test_nobody_there(free_port: Callable[[], int]) -> None:
    with pytest.raises(SourceLost, match="refused"):
        async with collecting(config(free_port()), Door()):
            pass


@pytest.mark.slow
async def test_somebody_else_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = config(silent.getsockname()[1], protocol="3.1.1")
        with pytest.raises(SourceLost, match="no answer to CONNECT"):
            async with collecting(given, Door()):
                pass


async def test_somebody_who_hangs_up() -> None:
    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SourceLost, match="closed without an answer"):
            async with collecting(config(port), Door()):
                pass


async def test_somebody_who_talks_nonsense() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x20\x03\x00\x00\x00" + bytes(range(256)) * 40)
        with suppress(OSError):
            await reader.read(-1)  # until the collector hangs up
        writer.close()

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SourceLost):
            async with collecting(config(port), Door()):
                await asyncio.sleep(10)


async def test_stopping_while_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        collector = MqttCollector(config(silent.getsockname()[1]), None, now)
        task = asyncio.create_task(collector.run(Door(), lambda: None))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_second_service_with_the_same_name_is_told(mosquitto: Mosquitto) -> None:
    given = config(mosquitto.port)
    with pytest.raises(SourceLost, match='client id "andon-broker"'):
        async with collecting(given, Door()), collecting(given, Door()):
            await asyncio.sleep(0.2)


# advice


async def test_advice(mosquitto: Mosquitto) -> None:
    said = await advise(config(mosquitto.port, qos=0))
    assert [sentence for sentence in said if "keeps no session" in sentence] == []
    assert any("QoS 0" in sentence for sentence in said)
    assert any("max_queued_messages" in sentence for sentence in said)
    plain = config(mosquitto.port, subscription=[{"topic": "{characteristic}"}])
    assert any("may double" in sentence for sentence in await advise(plain))


async def test_advice_about_an_older_broker(nats_mqtt: Nats) -> None:
    said = await advise(config(nats_mqtt.port))
    assert any("does not speak MQTT 5" in sentence for sentence in said)


async def test_advice_about_nobody(free_port: Callable[[], int]) -> None:
    said = await advise(config(free_port()))
    assert any("refused; check url" in sentence for sentence in said)
