"""The web application around a service."""

import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http import (
    alarms,
    characteristics,
    guard,
    health,
    limits,
    lists,
    problem,
    readings,
    screen,
    series,
    site,
)
from app.http.body import STALL_S, BodyLimit
from app.http.ports import Service
from app.metrics import REQUESTS
from app.security import Door

PREFIX = "/api/v1"
DESCRIPTION = """
Readings in, verdicts and alarms out.

Times are ISO 8601 with an offset or `Z`. Errors are problem details (RFC 9457): `detail` is a
sentence that says what to do. Lists are `{"items": [...], "next": cursor | null}`, continued with
`?after=cursor`. Where the service is reachable from other machines, send the access token as a
bearer token; `POST /readings` also takes an ingest key.
"""


def create_app(service: Service, stall_s: float = STALL_S) -> FastAPI:
    """Every route, behind the guard; the service is started and stopped by whoever made it.

    A body of which nothing comes for ``stall_s`` is given up.
    """
    app = FastAPI(
        title="Andon",
        version=service.build,
        description=DESCRIPTION,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # both would load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.state.arrivals = readings.Arrivals(service.clock, lambda: _http_position(service))
    door = Door(service.settings, service.clock)
    api = APIRouter(prefix=PREFIX, responses=problem.DOCUMENTED)
    for module in (readings, characteristics, series, limits, alarms, lists, site):
        api.include_router(module.routes)
    api.include_router(site.socket)
    app.include_router(health.routes)
    app.include_router(api)
    app.include_router(guard.sign_in(door, service.settings, stall_s))
    app.include_router(screen.router())
    problem.install(app)
    # Added last, met first: the guard, then the clock, then the limit. So who is turned away takes
    # none of the room for bodies; the form that anybody may post has a room of its own.
    app.add_middleware(
        BodyLimit, most=service.settings.body_max_bytes, stall_s=stall_s, apart={guard.FORM}
    )
    app.add_middleware(Timed)
    app.add_middleware(guard.Guard, door=door)
    return app


def _http_position(service: Service) -> Mapping[str, Any] | None:
    source = service.catalog.sources.get(readings.SOURCE)
    return source.position if source else None


class Timed:
    """Counts requests by route, never by path: paths are without end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and time its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            took = time.perf_counter() - started
            REQUESTS.labels(scope["method"], route, str(status)).observe(took)
