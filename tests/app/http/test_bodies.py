"""Bodies that are too large, that stall, that are many; and what they leave to others."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus

import httpx
import pytest

from app.http.application import create_app
from app.http.body import TOGETHER
from app.http.guard import FORM_BYTES, FORMS
from app.settings import Settings
from tests.app.http.served import served
from tests.app.standin import StandIn, as_service

TOKEN = "a-token-that-is-long-enough"
BEARER = {"authorization": f"Bearer {TOKEN}"}
MOST = 64 * 1024
SOON = 0.3
PATIENT = 3600.0


class Sender:
    """A client that sends what it is told to, and no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def head(self) -> tuple[int, str]:
        """The status and all headers that come next."""
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        return int(text.split(" ", 2)[1]), text.lower()

    async def answer(self) -> tuple[int, dict]:
        """The next answer; the connection is closed after it."""
        status, headers = await self.head()
        assert "connection: close" in headers
        return status, json.loads(await self._reader.read())


@asynccontextmanager
async def sender(place: str, path: str, *headers: str):
    host, _, port = place.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (f"POST {path} HTTP/1.1", f"Host: {place}", *headers, "", "")
    writer.write("\r\n".join(lines).encode())
    try:
        yield Sender(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def being_read(place: str, path: str, length: int, *headers: str):
    """A body that the service has begun to wait for: it asked for it."""
    said = (f"Content-Length: {length}", "Expect: 100-continue", *headers)
    async with sender(place, path, *said) as one:
        assert (await one.head())[0] == 100
        yield one


@pytest.fixture
def settings(monkeypatch, tmp_path) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(host="192.168.1.9", access_token=TOKEN, body_max_bytes=MOST)


async def signs_in(place: str) -> int:
    async with httpx.AsyncClient(base_url=f"http://{place}") as client:
        return (await client.post("/login", data={"token": TOKEN})).status_code


async def posts(place: str) -> int:
    body = b'{"readings": []}'.ljust(MOST)
    kind = {"content-type": "application/json"}
    async with httpx.AsyncClient(base_url=f"http://{place}", headers=BEARER | kind) as client:
        return (await client.post("/api/v1/readings", content=body)).status_code


async def test_a_form_that_is_announced_too_large_is_refused_at_once(settings):
    async with (
        served(settings, stall_s=PATIENT) as (_, place),
        sender(place, "/login", f"Content-Length: {FORM_BYTES + 1}") as one,
    ):
        assert await one.answer() == (413, problem(413, "the form is larger than 4,096 bytes"))


async def test_a_form_without_a_length_is_read_no_further_than_a_form_goes(settings):
    async with (
        served(settings, stall_s=PATIENT) as (_, place),
        sender(place, "/login", "Transfer-Encoding: chunked") as one,
    ):
        one.send(b"%x\r\n%s\r\n" % (FORM_BYTES + 1, b"x" * (FORM_BYTES + 1)))
        assert (await one.answer())[0] == 413


@pytest.mark.slow
async def test_forms_that_stall_leave_the_room_of_other_bodies_alone(settings):
    async with served(settings, stall_s=PATIENT) as (_, place), AsyncExitStack() as stack:
        for _ in range(TOGETHER):
            said = "Transfer-Encoding: chunked"
            one = await stack.enter_async_context(sender(place, "/login", said))
            one.send(b"%x\r\n%s\r\n" % (MOST - 1, b"x" * (MOST - 1)))
        assert await posts(place) == 200


async def test_few_forms_are_read_at_once_and_a_sender_that_leaves_makes_room(settings, caplog):
    async with served(settings, stall_s=PATIENT) as (_, place):
        async with AsyncExitStack() as stack:
            for _ in range(FORMS):
                await stack.enter_async_context(being_read(place, "/login", 100))
            assert await signs_in(place) == 429
            assert await posts(place) == 200
        while (status := await signs_in(place)) == 429:  # until the server has seen them go
            pass
        assert status == 303
    assert "Exception" not in caplog.text


@pytest.mark.slow
async def test_forms_that_stall_are_given_up(settings):
    async with served(settings, stall_s=SOON) as (_, place), AsyncExitStack() as stack:
        waiting = [
            await stack.enter_async_context(sender(place, "/login", "Content-Length: 100"))
            for _ in range(FORMS)
        ]
        for one in waiting:
            one.send(b"token=")
        for one in waiting:
            assert await one.answer() == (408, STALLED)
        assert await signs_in(place) == 303


@pytest.mark.slow
async def test_bodies_that_stall_are_given_up_and_give_their_room_back(settings):
    async with served(settings, stall_s=SOON) as (_, place), AsyncExitStack() as stack:
        said = (f"Content-Length: {MOST}", f"Authorization: Bearer {TOKEN}")
        for path in ("/api/v1/readings", "/api/v1/plant"):
            waiting = [
                await stack.enter_async_context(sender(place, path, *said)) for _ in range(TOGETHER)
            ]
            for one in waiting:
                one.send(b" " * (MOST - 1))
            for one in waiting:
                assert await one.answer() == (408, STALLED)
        assert await posts(place) == 200


async def test_who_is_turned_away_takes_no_room(settings):
    async with served(settings, stall_s=PATIENT) as (_, place), AsyncExitStack() as stack:
        for _ in range(TOGETHER):
            said = (f"Content-Length: {MOST}", "Expect: 100-continue")
            one = await stack.enter_async_context(sender(place, "/api/v1/readings", *said))
            one.send(b" " * (MOST - 1))
            assert (await one.head())[0] == 401  # and never "100 Continue": nothing was read
        assert await posts(place) == 200


async def test_other_work_goes_on_while_a_large_plant_file_is_read(settings):
    """Counted in turns of the event loop between the last of the body and the answer."""
    small, large = [await turns_for(settings, many) for many in (1, 2000)]
    assert large > 3 * small


async def turns_for(settings: Settings, characteristics: int) -> int:
    text = "".join(f'[[characteristic]]\nid = "c{n}"\n' for n in range(characteristics))
    body = {"who": "Roth", "text": f"{text}[plant]\nname = 7\n", "base_dir": "."}
    app = create_app(as_service(StandIn(settings.model_copy(update={"body_max_bytes": 1 << 20}))))
    turns, answered = 0, asyncio.Event()

    async def content():
        yield json.dumps(body).encode()

    async def turning() -> None:
        nonlocal turns
        while not answered.is_set():
            turns += 1
            await asyncio.sleep(0)

    turner = asyncio.create_task(turning())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://192.168.1.9", headers=BEARER
    ) as client:
        kind = {"content-type": "application/json"}
        answer = await client.post("/api/v1/plant?dry_run=true", content=content(), headers=kind)
    answered.set()
    await turner
    assert answer.status_code == 422, answer.text
    assert "[plant]: name" in answer.json()["detail"]
    return turns


def problem(status: int, detail: str) -> dict:
    titles = {408: "Request Timeout", 413: HTTPStatus(413).phrase}
    return {"type": "about:blank", "title": titles[status], "status": status, "detail": detail}


STALLED = problem(408, "the body stopped coming; send it again")
