"""Who may talk to the service: access token, ingest keys, sessions of browsers, where requests come from."""

import hmac
import secrets
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from app.settings import Settings, is_loopback

COOKIE = "andon_session"
LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
OPEN_PATHS = frozenset(("/health/live", "/health/ready", "/metrics", "/login", "/login.css"))
INGEST = ("POST", "/api/v1/readings")
SECOND = 1_000_000

Clock = Callable[[], int]


class Refusal(NamedTuple):
    """Why a request is turned away."""

    status: int
    detail: str


class Door:
    """Decides about one request at a time; holds no state of its own."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        token = settings.access_token
        self._token = None if token is None else token.get_secret_value().encode()
        self._ingest = [key.encode() for key in settings.keys_by_name.values()]
        # A session is bound to the token: a new token signs everybody out.
        self._sign = hmac.digest(self._token or b"", b"andon session", "sha256")
        self._age = settings.session_age
        self._clock = clock
        self._names = LOCAL_NAMES | {name.lower() for name in settings.allowed_hosts}
        self._any_name = not is_loopback(settings.host) and not settings.allowed_hosts
        self.guarded = self._token is not None

    def refusal(self, method: str, path: str, headers: Headers, *, socket: bool) -> Refusal | None:
        """Why this request may not pass; None when it may."""
        host = headers.get("host", "")
        if not self._any_name and _name(host) not in self._names:
            # A web page elsewhere can point its own name at this machine (DNS rebinding).
            return Refusal(
                421, f'"{_name(host)}" is no name of this service; add it to ANDON_ALLOWED_HOSTS'
            )
        if (socket or method not in SAFE_METHODS) and not _same_origin(headers, host):
            return Refusal(403, "another web site sent this request")
        if not self.guarded or path in OPEN_PATHS:
            return None
        if self.signed_in(headers) or self._may_post(method, path, headers):
            return None
        return Refusal(401, "sign in, or send the access token as a bearer token")

    def signed_in(self, headers: Headers) -> bool:
        """Whether the request carries the access token or a session made from it."""
        bearer = _bearer(headers)
        if bearer is not None and self.is_token(bearer):
            return True
        return any(self._session_holds(value) for value in _cookies(headers, COOKIE))

    def is_token(self, offered: str) -> bool:
        """Whether this is the access token, in constant time."""
        return self._token is not None and _equal(offered.encode(), self._token)

    def session(self) -> str:
        """A new session for a browser: when it ends, a random part and a signature."""
        body = f"{(self._clock() + self._age) // SECOND}.{secrets.token_urlsafe(12)}"
        return f"{body}.{self._signature(body)}"

    def _session_holds(self, session: str) -> bool:
        body, _, signature = session.rpartition(".")
        if not _equal(signature.encode(), self._signature(body).encode()):
            return False
        return int(body.partition(".")[0]) * SECOND > self._clock()

    def _signature(self, body: str) -> str:
        return hmac.new(self._sign, body.encode(), sha256).hexdigest()

    def _may_post(self, method: str, path: str, headers: Headers) -> bool:
        offered = _bearer(headers) or headers.get("x-api-key")
        if offered is None or (method, path) != INGEST:
            return False
        found = False
        for key in self._ingest:  # each one, so that the time tells nothing
            found |= _equal(offered.encode(), key)
        return found


def _equal(one: bytes, other: bytes) -> bool:
    # Digests first: compare_digest tells the length of what it is given.
    return hmac.compare_digest(sha256(one).digest(), sha256(other).digest())


def _bearer(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def _cookies(headers: Headers, name: str) -> Iterable[str]:
    for line in headers.getlist("cookie"):
        for pair in line.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                yield value


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _same_origin(headers: Headers, host: str) -> bool:
    """Browsers say where a request comes from; programs say nothing and are let through."""
    origin = headers.get("origin")
    if origin is not None:
        return _netloc(origin) == host.lower()
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
