"""Request bodies are bounded while they stream in, each and all together."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problem import Problem, answer

TOGETHER = 8
"""All bodies being read at once may hold so many times the largest one."""


class BodyLimit:
    """Answers 413 to a body that is too large, without reading it whole."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counting ``receive``."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > self._most:
            await answer(413, self._sentence(), {"Connection": "close"})(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                size = len(message.get("body", b""))
                taken += size
                self._held += size
                if taken > self._most:
                    raise Problem(413, self._sentence(), headers={"Connection": "close"})
                if self._held > TOGETHER * self._most:
                    raise Problem(
                        429,
                        "too many large requests at once; try again",
                        headers={"Retry-After": "1", "Connection": "close"},
                    )
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._held -= taken

    def _sentence(self) -> str:
        return f"the body is larger than {self._most:,} bytes; send several requests"
