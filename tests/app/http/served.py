"""The web application over a real server, around a stand-in service."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from app.http.application import create_app
from app.settings import Settings
from tests.app.standin import StandIn, as_service


@asynccontextmanager
async def served(settings: Settings, **options: float) -> AsyncIterator[tuple[StandIn, str]]:
    """The service and its place, ``host:port``; ``options`` are those of the application."""
    service = StandIn(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(as_service(service), **options),
        log_config=None,
        lifespan="off",
        ws="websockets-sansio",
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield service, f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
