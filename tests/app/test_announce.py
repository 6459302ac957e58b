"""Announcements over real HTTP and a real Mosquitto: retried, signed, and missed when we die."""

import asyncio
import base64
import hashlib
import hmac
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from pydantic import ValidationError

from app.announce import Announce, Announcer, Waiting
from app.announcement import announcement
from app.channel import body
from app.store.batch import Alarm, AlarmChange, DeliveryMark, Outbox
from app.store.errors import StoreLost
from app.webhook import signed

NOW = 1_795_000_000_000_000


class Receiver:
    """An HTTP server of our own: answers what the test says, remembers what came."""

    def __init__(self) -> None:
        self.answers: list[str | None] = []  # status line and headers; None: never answer
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.news = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = [line.partition(": ") for line in head.split("\r\n")[1:]]
            headers = {name.lower(): value for name, _, value in lines}
            content = await reader.readexactly(int(headers["content-length"]))
            async with self.news:
                self.got.append((headers, content))
                self.news.notify_all()
            answer = self.answers.pop(0) if self.answers else "204 No Content"
            if answer == "hang up":
                return
            if answer is None:
                await reader.read()  # until the client goes away
                return
            writer.write(
                f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def wait_for(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(lambda: len(self.got) >= count)
        return [json.loads(content) for _, content in self.got]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/andon"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    server = Receiver()
    await server.start()
    yield server
    await server.stop()


class Ledger:
    """What the store keeps of deliveries, in memory, with the database away at will."""

    def __init__(self, rows: Sequence[Outbox] = ()) -> None:
        self.rows = {row.id: row for row in rows}
        self.marks: dict[tuple[int, str], DeliveryMark] = {}
        self.away = False

    async def waiting(
        self, channel: str, after: int, limit: int, *, calls_only: bool
    ) -> list[Waiting]:
        if self.away:
            raise StoreLost
        found = []
        for row in sorted(self.rows.values(), key=lambda row: row.id):
            mark = self.marks.get((row.id, channel))
            meant = row.payload["page"] or not calls_only
            if row.id > after and meant and not (mark and mark.final):
                found.append(Waiting(row, mark.attempts if mark else 0))
        return found[:limit]

    async def mark(self, marks: Sequence[DeliveryMark]) -> set[tuple[int, str]]:
        if self.away:
            raise StoreLost
        kept = {(m.outbox, m.channel): m for m in marks if m.outbox in self.rows}
        self.marks.update(kept)
        return set(kept)


def row(number: int, alarm: int = 7, *, page: bool = True, at: int = NOW) -> Outbox:
    payload = {
        "id": number,
        "change": "raised",
        "page": page,
        "alarm": {"id": alarm, "characteristic": "bore/1", "class": "spec"},
        "channels": ["hook", "line", "calls"],
    }
    return Outbox(number, alarm, at, payload)


ALARM = Alarm(
    id=7, stream=1, characteristic="bore", stream_name="bore", alarm_class="spec", state="unack",
    priority=1, opened=NOW, last_time=NOW, last_key=0, count=1, rules=["spec"], sentence="Out.",
    version=1, seq=1, active=True,
)  # fmt: skip


def hook(url: str, **more: Any) -> Announce:
    return Announce.model_validate({"id": "hook", "kind": "webhook", "url": url, **more})


@asynccontextmanager
async def running(announcer: Announcer) -> AsyncIterator[None]:
    task = asyncio.create_task(announcer.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - the status is read as people read it
            await asyncio.sleep(0.01)


def test_the_body_does_not_depend_on_the_order_that_the_database_gives_back():
    there = row(1)
    back = Outbox(1, 7, NOW, dict(reversed(there.payload.items())))
    assert body(there, "P") == body(back, "P")


def clock() -> int:
    return NOW


# webhook


async def test_an_announcement_arrives_signed_and_is_marked(receiver, tmp_path):
    (tmp_path / "secret").write_text("c2VjcmV0\n")
    raw = {"id": "hook", "kind": "webhook", "url": receiver.url, "secret_file": "secret"}
    config = Announce.model_validate(raw, context={"base_dir": tmp_path})
    ledger = Ledger([row(1)])
    announcer = Announcer([config], clock, ledger, plant="Plant 1")
    async with running(announcer):
        announcer.put([row(1)])
        (body,) = await receiver.wait_for(1)
        await until(lambda: (1, "hook") in ledger.marks)
    headers, content = receiver.got[0]
    assert body["plant"] == "Plant 1"
    assert body["alarm"]["id"] == 7
    assert "channels" not in body
    covered = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    digest = hmac.new(b"c2VjcmV0", covered, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert headers["idempotency-key"] == headers["webhook-id"]
    mark = ledger.marks[1, "hook"]
    assert (mark.delivered_at, mark.attempts, mark.final) == (NOW, 1, True)
    assert announcer.status()[0].delivered == 1


def test_the_signature_is_that_of_the_standard():
    # The example of the Standard Webhooks specification's reference libraries.
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_errors_and_silence_are_retried_with_the_same_key_and_body(receiver):
    receiver.answers = ["500 Oops", None, "503 Busy\r\nRetry-After: 1"]
    ledger = Ledger([row(1)])
    announcer = Announcer([hook(receiver.url, timeout="300ms")], clock, ledger)
    async with running(announcer):
        announcer.put([row(1)])
        await receiver.wait_for(4)
        await until(lambda: announcer.status()[0].delivered == 1)
        await until(lambda: announcer.unwritten == 0)
    assert len({headers["idempotency-key"] for headers, _ in receiver.got}) == 1
    assert len({content for _, content in receiver.got}) == 1
    assert ledger.marks[1, "hook"].attempts == 4


async def test_a_refused_connection_is_retried_until_the_receiver_is_there(receiver):
    await receiver.stop()
    announcer = Announcer([hook(receiver.url)], clock)
    async with running(announcer):
        announcer.put([row(1)])
        await until(lambda: announcer.status()[0].state == "down")
        assert announcer.status()[0].waiting == 1
        await receiver.start()
        await receiver.wait_for(1)
        await until(lambda: announcer.status()[0].state == "up")


async def test_what_the_receiver_does_not_want_is_given_up_and_blocks_nothing(receiver):
    receiver.answers = ["422 No"]
    ledger = Ledger([row(1), row(2)])
    announcer = Announcer([hook(receiver.url)], clock, ledger)
    async with running(announcer):
        announcer.put([row(1), row(2)])
        await receiver.wait_for(2)
        await until(lambda: len(ledger.marks) == 2)
    assert ledger.marks[1, "hook"].failed_at == NOW
    assert "422" in (ledger.marks[1, "hook"].error or "")
    assert ledger.marks[2, "hook"].delivered_at == NOW
    assert announcer.status()[0].failed == 1


async def test_an_announcement_that_fails_keeps_its_alarm_in_order_and_lets_others_pass(receiver):
    receiver.answers = ["500 Oops"]
    announcer = Announcer([hook(receiver.url)], clock)
    async with running(announcer):
        announcer.put([row(1, alarm=7)])
        await receiver.wait_for(1)
        announcer.put([row(2, alarm=7), row(3, alarm=8)])
        bodies = await receiver.wait_for(4)
    assert [body["id"] for body in bodies] == [1, 3, 1, 2]


async def test_what_is_too_old_is_given_up_unsent(receiver):
    old = row(1, at=NOW - 2 * 3_600_000_000)
    ledger = Ledger([old, row(2)])
    announcer = Announcer([hook(receiver.url, give_up_after="1h")], clock, ledger)
    async with running(announcer):
        bodies = await receiver.wait_for(1)
        await until(lambda: len(ledger.marks) == 2)
    assert [body["id"] for body in bodies] == [2]
    assert "too old" in (ledger.marks[1, "hook"].error or "")


async def test_after_a_start_the_outbox_is_sent_and_what_was_delivered_is_not(receiver):
    ledger = Ledger([row(1), row(2), row(3)])
    ledger.marks[1, "hook"] = DeliveryMark(1, "hook", 1, delivered_at=NOW)
    announcer = Announcer([hook(receiver.url)], clock, ledger)
    async with running(announcer):
        announcer.put([row(3)])
        await receiver.wait_for(2)
        await until(lambda: len(ledger.marks) == 3)
    assert sorted(json.loads(content)["id"] for _, content in receiver.got) == [2, 3]


async def test_a_new_channel_does_not_get_old_alarms(receiver):
    old = row(1)
    old.payload["channels"] = ["line"]
    announcer = Announcer([hook(receiver.url)], clock, Ledger([old, row(2)]))
    async with running(announcer):
        await receiver.wait_for(1)
        await until(lambda: not announcer._routes["hook"].unread)
    assert [json.loads(content)["id"] for _, content in receiver.got] == [2]


async def test_while_the_database_is_away_alarms_leave_and_marks_are_written_later(receiver):
    ledger = Ledger()
    ledger.away = True
    announcer = Announcer([hook(receiver.url)], clock, ledger)
    async with running(announcer):
        announcer.put([row(1)])
        await receiver.wait_for(1)
        await until(lambda: announcer.status()[0].delivered == 1)
        assert announcer.unwritten == 1
        ledger.away = False
        ledger.rows[1] = row(1)
        await until(lambda: announcer.unwritten == 0)
    assert ledger.marks[1, "hook"].final


async def test_a_mark_waits_for_its_row_which_may_still_be_in_the_spool(receiver):
    ledger = Ledger()
    announcer = Announcer([hook(receiver.url)], clock, ledger)
    async with running(announcer):
        announcer.put([row(1)])
        await until(lambda: announcer.status()[0].delivered == 1)
        assert announcer.unwritten == 1
        ledger.rows[1] = row(1)
        await until(lambda: announcer.unwritten == 0)


async def test_a_channel_for_calls_gets_calls_alone(receiver):
    config = hook(receiver.url, send="calls")
    announcer = Announcer([config], clock)
    async with running(announcer):
        announcer.put([row(1, alarm=1, page=False), row(2, alarm=2)])
        bodies = await receiver.wait_for(1)
        await until(lambda: announcer.status()[0].delivered == 1)
    assert [body["id"] for body in bodies] == [2]


async def test_another_configuration_takes_over_what_waits(receiver):
    announcer = Announcer([hook("http://127.0.0.1:1/")], clock)
    async with running(announcer):
        announcer.put([row(1)])
        await until(lambda: announcer.status()[0].state == "down")
        announcer.configure([hook(receiver.url)])
        await receiver.wait_for(1)
    assert announcer.channels == ("hook",)


async def test_the_test_message_says_what_happened(receiver):
    receiver.answers = ["200 OK", "404 Not Found"]
    announcer = Announcer([hook(receiver.url)], clock)
    async with running(announcer):
        (good,) = await announcer.test("hook")
        (bad,) = await announcer.test()
    assert good.ok
    assert good.detail.startswith("Delivered: 200")
    assert not bad.ok
    assert "404" in bad.detail
    tested = json.loads(receiver.got[0][1])
    assert (tested["change"], tested["who"], tested["alarm"]) == ("test", "andon", None)
    real = announcement(
        1, AlarmChange(7, 1, NOW, "raised", "andon", ""), ALARM, page=True, channels=()
    )
    assert tested.keys() == {"plant", *real.payload} - {"channels"}


async def test_a_receiver_that_hangs_up_is_told_in_one_sentence(receiver):
    receiver.answers = ["hang up"]
    (tested,) = await Announcer([hook(receiver.url)], clock).test("hook")
    assert not tested.ok
    assert tested.detail.endswith(".")
    assert not tested.detail.endswith("..")


# MQTT


def line(url: str, **more: Any) -> Announce:
    raw = {
        "id": "line",
        "kind": "mqtt",
        "url": url,
        "topic": "andon/{class}/{characteristic}",
        "heartbeat_topic": "andon/monitoring",
    }
    return Announce.model_validate({**raw, **more})


@asynccontextmanager
async def listening(url: str, topic: str = "andon/#") -> AsyncIterator[Callable[[], Any]]:
    """Subscribe as a PLC would; yields a function that waits for the next message."""
    port = int(url.rpartition(":")[2])
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topic, qos=1)
        messages = aiter(client.messages)

        async def following() -> tuple[str, dict[str, Any], bool]:
            async with asyncio.timeout(30):
                message = await anext(messages)
            return str(message.topic), json.loads(message.payload), message.retain

        yield following


async def test_alarms_go_to_a_topic_and_the_heart_beats_retained(mosquitto):
    announcer = Announcer(
        [line(mosquitto.url)], clock, state=lambda: {"monitoring": True, "unseen": 2}
    )
    async with listening(mosquitto.url) as following:
        async with running(announcer):
            topic, beat, _ = await following()
            assert (topic, beat["monitoring"], beat["unseen"]) == ("andon/monitoring", True, 2)
            assert beat["at"].startswith("2026-")
            announcer.put([row(1)])
            got = {topic: content for topic, content, _ in [await following(), await following()]}
            assert got["andon/spec/bore-1"]["id"] == 1
            assert got["andon/monitoring"]["monitoring"] is True
            async with listening(mosquitto.url, "andon/monitoring") as late_comer:
                assert (await late_comer())[2] is True
            await until(lambda: announcer.status()[0].delivered == 1)
        topic, farewell, _ = await following()
    assert (topic, farewell["monitoring"]) == ("andon/monitoring", False)
    assert farewell["text"] == "SPC not monitoring"


async def test_alarms_wait_for_a_broker_that_is_away(mosquitto):
    announcer = Announcer([line(mosquitto.url)], clock)
    mosquitto.stop()
    async with running(announcer):
        announcer.put([row(1)])
        await until(lambda: announcer.status()[0].state == "down")
        mosquitto.start()
        await until(lambda: announcer.status()[0].delivered == 1)
        assert announcer.status()[0].state == "up"
        mosquitto.kill()
        await until(lambda: announcer._routes["line"].channel._client is None)
        mosquitto.start()
        announcer.put([row(2)])
        await until(lambda: announcer.status()[0].delivered == 2)


PLANT = """
import asyncio, sys, time
from app.announce import Announce, Announcer
config = Announce(
    id="line", kind="mqtt", url=sys.argv[1], topic="andon/alarms", heartbeat_topic="andon/monitoring"
)
async def main():
    await Announcer([config], lambda: time.time_ns() // 1000).run()
asyncio.run(main())
"""


async def test_the_last_will_says_that_nobody_watches_when_the_service_is_killed(mosquitto):
    async with listening(mosquitto.url) as following:
        service = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PLANT, mosquitto.url, cwd=Path(__file__).parents[2]
        )
        try:
            assert (await following())[1]["monitoring"] is True
        finally:
            service.kill()
            await service.wait()
        _, will, _ = await following()
        assert will["monitoring"] is False
        assert will["text"] == "SPC not monitoring"
    async with listening(mosquitto.url) as following:
        _, kept, retained = await following()
        assert (kept["monitoring"], retained) == (False, True)


async def test_a_wrong_password_is_said_and_tried_again(start_mosquitto, tmp_path):
    broker = start_mosquitto("allow_anonymous false")
    (tmp_path / "password").write_text("wrong")
    config = line(broker.url, username="andon", password_file=tmp_path / "password")
    announcer = Announcer([config], clock)
    async with running(announcer):
        await until(lambda: "connected yet" not in announcer._routes["line"].channel._why)
        (tested,) = await announcer.test()
    assert not tested.ok
    assert "uthori" in tested.detail


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"kind": "webhook", "url": "ftp://x"}, "is no webhook"),
        ({"kind": "webhook", "url": "http://x", "topic": "a"}, "topic: not for kind"),
        ({"kind": "webhook", "url": "http://u:p@x"}, "carries a user"),
        ({"kind": "mqtt", "url": "mqtt://x"}, "give topic"),
        ({"kind": "mqtt", "url": "mqtt://x", "topic": "a/#"}, "no + and no #"),
        ({"kind": "mqtt", "url": "mqtt://x", "topic": "a", "password": "p"}, "name the user"),
        ({"kind": "mqtt", "url": "mqtt://x", "topic": "a", "tls": {}}, "write mqtts"),
        ({"kind": "mqtt", "url": "mqtt://x", "topic": "a", "colour": 1}, "Extra inputs"),
        ({"kind": "mail", "url": "x"}, "webhook"),
    ],
)
def test_a_channel_that_cannot_work_is_refused_with_a_sentence(raw, said):
    with pytest.raises(ValidationError, match=said.replace("+", r"\+")):
        Announce.model_validate({"id": "x", **raw})


def test_a_channel_comes_back_from_the_store_as_it_was():
    config = line("mqtts://broker", username="andon", password="hunter2", tls={}, timeout="2s")
    assert "hunter2" not in str(config.model_dump(mode="json"))
    stored = config.model_dump(mode="json", context={"secrets": True})
    assert Announce.model_validate(stored) == config
