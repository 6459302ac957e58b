"""Errors as RFC 9457 problem details."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.http.ports import DatabaseAway, NotReady
from app.mistakes import written
from collectors.reading import IntakeFull

MEDIA_TYPE = "application/problem+json"
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem (RFC 9457): `detail` says in one sentence what to do.",
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "errors": {"type": "array", "items": {}},
                    },
                }
            }
        },
    }
}
"""How the description of the API names every answer that is no success."""

LOG = structlog.get_logger("http")


class Problem(HTTPException):
    """An answer other than success: ``detail`` says in one sentence what to do."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(status, detail, headers)
        self.members = members


def answer(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """A problem document."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }
    return JSONResponse(document, status, headers, MEDIA_TYPE)


def intake_full(error: IntakeFull) -> JSONResponse:
    """Come back later."""
    wait = max(1, round(error.retry_after_s + 0.5))
    return answer(429, str(error), {"Retry-After": str(wait)})


def install(app: FastAPI) -> None:
    """Answer every error that a route lets through with problem details."""

    async def on_http(_: Request, error: HTTPException) -> Response:
        members = error.members if isinstance(error, Problem) else {}
        return answer(error.status_code, error.detail, error.headers, **members)

    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        mistakes = [
            {"path": written(mistake["loc"]), "detail": mistake["msg"]}
            for mistake in error.errors()
        ]
        first = mistakes[0]
        return answer(422, f"{first['path']}: {first['detail']}", errors=mistakes)

    async def on_full(_: Request, error: IntakeFull) -> Response:
        return intake_full(error)

    async def on_away(_: Request, error: Exception) -> Response:
        return answer(503, str(error) or (error.__doc__ or ""), {"Retry-After": "5"})

    async def on_gone(_: Request, __: ClientDisconnect) -> Response:
        return answer(400, "the body ended early; send it again")  # nobody hears it

    async def on_failure(request: Request, error: Exception) -> Response:
        LOG.error("request fails", path=request.url.path, error=repr(error))
        return answer(500, "Andon failed here; its log says why. Nothing was changed.")

    handlers: dict[type[Exception], Any] = {
        HTTPException: on_http,
        RequestValidationError: on_invalid,
        IntakeFull: on_full,
        NotReady: on_away,
        DatabaseAway: on_away,
        ClientDisconnect: on_gone,
        Exception: on_failure,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
