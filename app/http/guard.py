"""Turns away requests that the door refuses, before any route sees them; and the sign-in form."""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.body import STALL_S, Forms
from app.http.problem import answer
from app.security import COOKIE, Door
from app.settings import Settings

WRONG_TOKEN_S = 0.5
"""How long a wrong token is left waiting: guessing is slow, mistyping is not."""
FORM = "/login"
"""The one open path that reads a body."""
FORM_BYTES = 4096
FORMS = 32
"""So many forms are read and answered at once, wrong tokens that wait among them."""

SOURCES = {
    "default": "'none'",
    "script": "'self'",
    "style": "'self'",
    "img": "'self' data: blob:",
    "font": "'self'",
    "connect": "'self'",
    "manifest": "'self'",
    "worker": "'self'",
}
CONTENT_SECURITY_POLICY = "; ".join(
    [f"{kind}-src {allowed}" for kind, allowed in SOURCES.items()]
    + ["form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"]
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Guard:
    """The outermost layer: asks the door, and gives every answer the headers that browsers heed."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        socket = scope["type"] == "websocket"
        headers = Headers(scope=scope)
        refusal = self._door.refusal(
            scope.get("method", "GET"), scope["path"], headers, socket=socket
        )
        if refusal is None:
            await self._app(scope, receive, send if socket else _with_headers(send))
        elif socket:
            # Closing before accepting answers the handshake with 403.
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.detail})
        else:
            response: Response = answer(refusal.status, refusal.detail)
            if refusal.status == 401:
                response.headers["WWW-Authenticate"] = "Bearer"
                if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                    response = RedirectResponse(f"{FORM}?next={quote(scope['path'])}", 303)
            await response(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_RAW_HEADERS]
        await send(message)

    return sending


def sign_in(door: Door, settings: Settings, stall_s: float = STALL_S) -> APIRouter:
    """The form that turns the access token into a session cookie."""
    routes = APIRouter(include_in_schema=False)
    forms = Forms(FORM_BYTES, FORMS, stall_s)

    @routes.get(FORM)
    async def form(request: Request) -> Response:
        if not door.guarded or door.signed_in(request.headers):
            return RedirectResponse(_inside(request.query_params.get("next", "/")), 303)
        return HTMLResponse(_page(request.query_params.get("next", "/"), ""), headers=NO_STORE)

    @routes.post(FORM)
    async def enter(request: Request) -> Response:
        async with forms.read(request) as body:
            return await answered(request, body)

    async def answered(request: Request, body: bytes) -> Response:
        fields = parse_qs(body.decode("utf-8", "replace"))
        target = _inside(fields.get("next", ["/"])[0])
        if not door.is_token(fields.get("token", [""])[0].strip()):
            await asyncio.sleep(WRONG_TOKEN_S)
            return HTMLResponse(
                _page(target, "This is not the access token."), 401, headers=NO_STORE
            )
        response = RedirectResponse(target, 303, headers=NO_STORE)
        response.set_cookie(
            COOKIE,
            door.session(),
            max_age=settings.session_age // 1_000_000,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @routes.post("/logout")
    async def leave() -> Response:
        response = RedirectResponse(FORM, 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    @routes.get("/login.css")
    async def style() -> Response:
        return Response(STYLE, media_type="text/css")

    return routes


NO_STORE = {"Cache-Control": "no-store"}


def _inside(target: str) -> str:
    """Only paths of this service: no redirect to anywhere else."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if plain and target.isprintable() else "/"


def _page(target: str, mistake: str) -> str:
    safe = _inside(target).translate({ord(c): f"&#{ord(c)};" for c in "&<>\"'"})
    said = f'<p role="alert">{mistake}</p>' if mistake else ""
    return PAGE.replace("{next}", safe).replace("{mistake}", said)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Andon: sign in</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/login.css">
<main>
<h1>Andon</h1>
<form method="post" action="/login">
<input type="hidden" name="next" value="{next}">
<label for="token">Access token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
{mistake}
<button>Sign in</button>
</form>
</main>
</html>
"""
STYLE = """
body { margin: 0; background: #cfd3d6; color: #15191c; font: 20px/1.4 system-ui, sans-serif }
main { max-width: 24em; margin: 15vh auto 0; padding: 1.5em; background: #dfe2e4 }
h1 { margin: 0 0 1em; font-size: 1.4em }
label { display: block }
input, button { box-sizing: border-box; width: 100%; min-height: 56px; margin: .3em 0 .8em; font: inherit }
button { border: 2px solid #15191c; background: #15191c; color: #fff }
[role=alert] { margin: 0 0 .8em; border-left: 6px solid #a8001c; padding-left: .6em }
"""
