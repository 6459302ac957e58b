"""Request bodies are bounded while they stream in, each and all together, and in how long they stall."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problem import Problem, answer

TOGETHER = 8
"""All bodies being read at once may hold so many times the largest one."""
STALL_S = 30.0
"""A body of which nothing comes for so long is given up."""
CLOSE = {"Connection": "close"}
BUSY = {**CLOSE, "Retry-After": "1"}


class BodyLimit:
    """Answers 413 to a body that is too large, without reading it whole, and 408 to one that stalls."""

    def __init__(
        self, app: ASGIApp, most: int, stall_s: float = STALL_S, apart: Collection[str] = ()
    ) -> None:
        """Bodies of the paths ``apart`` are left to their routes, which have limits of their own."""
        self._app = app
        self._most = most
        self._stall_s = stall_s
        self._apart = frozenset(apart)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counting ``receive``."""
        if scope["type"] != "http" or scope["path"] in self._apart:
            await self._app(scope, receive, send)
            return
        if _announced(scope) > self._most:
            await answer(413, self._sentence(), CLOSE)(scope, receive, send)
            return
        taken, whole = 0, False

        async def counted() -> Message:
            nonlocal taken, whole
            if whole:  # what comes now is the end of the connection, which may take its time
                return await receive()
            async with _in_time(self._stall_s):
                message = await receive()
            whole = not message.get("more_body", False)
            if message["type"] == "http.request":
                size = len(message.get("body", b""))
                taken += size
                self._held += size
                if taken > self._most:
                    raise Problem(413, self._sentence(), headers=CLOSE)
                if self._held > TOGETHER * self._most:
                    raise Problem(429, "too many large requests at once; try again", headers=BUSY)
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._held -= taken

    def _sentence(self) -> str:
        return f"the body is larger than {self._most:,} bytes; send several requests"


class Forms:
    """Short bodies of people who are not signed in: few at once, whole in time, in no other's room."""

    def __init__(self, most: int, together: int, stall_s: float = STALL_S) -> None:
        self._most = most
        self._together = together
        self._stall_s = stall_s
        self._open = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body, with a place among the few until it is answered.

        Raises:
            Problem: 413, 429 or 408.
        """
        if _announced(request.scope) > self._most:
            raise self._too_large()
        if self._open >= self._together:
            raise Problem(429, "too many people sign in at once; try again", headers=BUSY)
        self._open += 1
        try:
            yield await self._whole(request)
        finally:
            self._open -= 1

    async def _whole(self, request: Request) -> bytes:
        body = b""
        # One deadline for all of it: who is not known here must not stay by sending byte after byte.
        async with _in_time(self._stall_s):
            async for part in request.stream():
                if len(body) + len(part) > self._most:
                    raise self._too_large()
                body += part
        return body

    def _too_large(self) -> Problem:
        return Problem(413, f"the form is larger than {self._most:,} bytes", headers=CLOSE)


def _announced(scope: Scope) -> int:
    length = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
    return int(length) if length.isdigit() else 0


@asynccontextmanager
async def _in_time(stall_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(stall_s):
            yield
    except TimeoutError as error:
        raise Problem(408, "the body stopped coming; send it again", headers=CLOSE) from error
