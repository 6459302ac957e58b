"""The web server's websocket, which also takes frames that are encoded already.

What a server sends is not masked: the frame of a text is the same for every screen, so it is
encoded once. This needs a connection without extensions (``ws_per_message_deflate=False``).
"""

from functools import lru_cache
from typing import Any, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

EXTENSION = "andon.frames"
OPEN = State.OPEN


class Frames(Protocol):
    """Where frames go."""

    def write(self, frame: bytes) -> bool:
        """Send it, unless the connection has to be waited for or is not open."""
        ...


class FrameSocket(WebSocketsSansIOProtocol):
    """To be given to uvicorn as ``ws``; the endpoint finds it among the scope's extensions."""

    async def run_asgi(self) -> None:
        """Run the application with the extension."""
        if not self.conn.extensions:
            extensions: dict[str, Any] = {**(self.scope.get("extensions") or {}), EXTENSION: self}
            self.scope["extensions"] = extensions
        await super().run_asgi()

    def write(self, frame: bytes) -> bool:
        """Send it, unless the connection has to be waited for or is not open."""
        if self.conn.state is not OPEN or not self.writable.is_set():
            return False
        self.transport.write(frame)
        return True


@lru_cache(maxsize=32)  # a snapshot may be large, and few are sent to many
def framed(text: str) -> bytes:
    """A text as one frame of a server."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
