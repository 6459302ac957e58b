"""Announcements as HTTP posts, signed, each with a key that tells a repetition from news."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ssl
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import Final

import httpx

from app.channel import Announce, Rejected, Undelivered, Up, body, delivery_key, secret_text
from app.duration import UNITS
from app.store.batch import Outbox

WORTH_RETRYING: Final = frozenset({408, 409, 421, 425, 429})
"""Client errors that pass; every other one says that the post itself is not wanted."""

LONGEST_RETRY_AFTER_S: Final = 3600.0
SHOWN: Final = 200
STANDARD_PREFIX: Final = "whsec_"


class Webhook:
    """One address; connections are kept and shared."""

    def __init__(self, config: Announce, plant: str, clock: Callable[[], int]) -> None:
        self._config = config
        self._plant = plant
        self._clock = clock
        self._client: httpx.AsyncClient | None = None

    async def serve(self, up: Up) -> None:  # noqa: ARG002 - only an answer tells that it is there
        """Keep the connections until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            if self._client is not None:
                await self._client.aclose()
                self._client = None

    async def send(self, row: Outbox) -> str:
        """Post one announcement."""
        content = body(row, self._plant)
        key = delivery_key(row)
        try:
            secret = await asyncio.to_thread(
                secret_text, self._config.secret, self._config.secret_file
            )
            client = await self._connections()
        except (OSError, ValueError) as error:
            raise Undelivered(f"secret or certificate: {error}") from error
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "andon",
            "Idempotency-Key": key,
            **signed(key, self._clock() // UNITS["s"], content, secret),
        }
        start = perf_counter()
        try:
            async with asyncio.timeout(self._config.timeout / UNITS["s"]):
                answer = await client.post(self._config.url, content=content, headers=headers)
        except TimeoutError as error:
            raise Undelivered(
                f"no answer within {self._config.timeout / UNITS['s']:g} s"
            ) from error
        except httpx.HTTPError as error:
            raise Undelivered(_said(error)) from error
        milliseconds = 1000 * (perf_counter() - start)
        return f"{_judged(answer, self._clock())} in {milliseconds:.0f} ms"

    async def _connections(self) -> httpx.AsyncClient:
        if self._client is None:
            secure: ssl.SSLContext | bool = False
            if self._config.url.startswith("https:"):
                secure = await asyncio.to_thread(_trust, self._config)
            self._client = httpx.AsyncClient(
                verify=secure,
                timeout=None,  # noqa: S113 - one time limit holds for the whole request
                limits=httpx.Limits(max_connections=8, keepalive_expiry=30.0),
                follow_redirects=False,
            )
        return self._client


def signed(key: str, timestamp: int, content: bytes, secret: str | None) -> dict[str, str]:
    """The headers of a signed webhook as the Standard Webhooks specification has them."""
    headers = {"webhook-id": key, "webhook-timestamp": str(timestamp)}
    if secret:
        covered = f"{key}.{timestamp}.".encode() + content
        digest = hmac.new(_key_bytes(secret), covered, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key_bytes(secret: str) -> bytes:
    if secret.startswith(STANDARD_PREFIX):
        with suppress(binascii.Error):
            return base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)
    return secret.encode()


def _trust(config: Announce) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=config.ca)


def _judged(answer: httpx.Response, now: int) -> str:
    """What the answer means: taken, later, or never."""
    code = answer.status_code
    if answer.is_success:
        return str(code)
    text = " ".join(answer.text.split())[:SHOWN]
    reason = f"the answer was {code}{f': {text}' if text else ''}"
    if answer.is_server_error or code in WORTH_RETRYING:
        raise Undelivered(reason, _retry_after(answer, now))
    raise Rejected(reason)


def _retry_after(answer: httpx.Response, now: int) -> float | None:
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), LONGEST_RETRY_AFTER_S)
    with suppress(ValueError):
        wanted = parsedate_to_datetime(text).timestamp() - now / UNITS["s"]
        return min(max(wanted, 0.0), LONGEST_RETRY_AFTER_S)
    return None


def _said(error: httpx.HTTPError) -> str:
    text = str(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name
