"""Where a screen's websocket comes in: /api/v1/live."""

import asyncio
from collections.abc import Collection
from urllib.parse import urlsplit

import msgspec
import structlog
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.live import wire
from app.live.client import POLICY_VIOLATION, Client
from app.live.hub import Live

CLIENTS = 200
FAULTS_ALLOWED = 10

log = structlog.get_logger()


class Door:
    """Accepts screens up to a limit, and hears what they ask for."""

    def __init__(
        self, live: Live, *, clients: int = CLIENTS, origins: Collection[str] = ()
    ) -> None:
        self._live = live
        self._most = clients
        self._origins = frozenset(origins)

    async def serve(self, websocket: WebSocket) -> None:
        """Speak andon.v1 with one screen until either side ends it."""
        refusal = self._refusal(websocket)
        if refusal is not None:
            status, sentence = refusal
            await websocket.send_denial_response(PlainTextResponse(sentence, status))
            return
        offered = wire.SUBPROTOCOL in websocket.scope["subprotocols"]
        client = Client(websocket, self._live, self._live.now_ms)
        self._live.join(client)
        try:
            await websocket.accept(wire.SUBPROTOCOL if offered else None)
            client.push(await self._live.welcome())
            await self._attend(websocket, client)
        except WebSocketDisconnect:
            pass
        finally:
            self._live.leave(client)
        await client.finish()

    def _refusal(self, websocket: WebSocket) -> tuple[int, str] | None:
        origin = websocket.headers.get("origin")
        host = websocket.headers.get("host", "")
        known = origin is None or origin in self._origins
        if not known and urlsplit(str(origin)).netloc.lower() != host.lower():
            return 403, f"Origin {origin} is not this server."
        offered = websocket.scope["subprotocols"]
        if offered and wire.SUBPROTOCOL not in offered:
            return 400, f"This server speaks {wire.SUBPROTOCOL}."
        if len(self._live.clients) >= self._most:
            return 503, f"All {self._most} screens that this server allows are connected."
        return None

    async def _attend(self, websocket: WebSocket, client: Client) -> None:
        tasks = {
            asyncio.create_task(self._hear(websocket, client), name="live hear"),
            asyncio.create_task(client.send_all(), name="live send"),
            asyncio.create_task(client.ended(), name="live end"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, websocket: WebSocket, client: Client) -> None:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                asked = wire.decode(message.get("text") or b"")
            except msgspec.MsgspecError as error:
                client.faults += 1
                client.push(wire.text(t="err", code="bad_message", c=None, detail=str(error)))
                if client.faults >= FAULTS_ALLOWED:
                    client.close(POLICY_VIOLATION, "too many messages that are not andon.v1")
                continue
            match asked:
                case wire.Sub():
                    self._live.subscribe(client, asked)
                case wire.Unsub():
                    self._live.unsubscribe(client, asked.chars)
                case wire.Rx():
                    client.received(asked.now)
