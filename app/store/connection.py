"""Connections to PostgreSQL that speak Andon's types, and its errors in Andon's words."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import asyncpg
import msgspec

from app.store.copy import EPOCH
from app.store.errors import DuplicateKey, StoreError, StoreLost, StoreRefused

LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # the driver's word for a connection that is closed or closing
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # shutdown, crash, starting up, statement time-out
    asyncpg.InsufficientResourcesError,  # its disk or memory is full, too many connections
    asyncpg.ReadOnlySQLTransactionError,  # fail-over: what answers is a standby now
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # serialization failure, deadlock
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,  # its files cannot be read or written
)
"""All that may be well again later without anybody changing the batch."""

# TimescaleDB counts from 1970 inside, so its calendar ends thirty years before PostgreSQL's.
FIRST_TIME, LAST_TIME = -210_866_803_200_000_000, 9_223_371_331_199_999_999 - EPOCH
MINUS_INFINITY, INFINITY = -(2**63), 2**63 - 1

KEEPALIVE: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""So that the server gives up the locks of a client whose machine is gone."""


class Database(Protocol):
    """What a query needs: a connection, or a Store with its pool."""

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """The first row, or None."""
        ...

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        ...


@contextmanager
def errors_named(doing: str) -> Iterator[None]:
    """Raise what the driver raises as StoreLost, DuplicateKey or StoreRefused."""
    try:
        yield
    except StoreError:
        raise
    except asyncpg.UniqueViolationError as error:
        table = _table_of(error)
        detail = getattr(error, "detail", None) or error
        raise DuplicateKey(f"{doing}: {table}: {detail}", table) from error
    except LOST as error:
        if isinstance(error, ValueError):  # the driver found the values wrong before asking
            raise StoreRefused(f"{doing}: {error}") from error
        reason = str(error) or type(error).__name__
        raise StoreLost(f"{doing}: the database is away: {reason}") from error
    except asyncpg.PostgresError as error:
        raise StoreRefused(f"{doing}: the database refused: {error}") from error


def _table_of(error: asyncpg.UniqueViolationError) -> str:
    """The table, also where a partition or a chunk of it says so."""
    key = getattr(error, "constraint_name", None) or ""
    for table in ("reading", "point"):
        if key.endswith("_pkey") and (key.startswith(f"{table}_") or f"_{table}_pkey" in key):
            return table
    return getattr(error, "table_name", None) or ""


def storable(text: str) -> str:
    """``text`` without what PostgreSQL cannot hold: NUL and lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _storable_json(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case dict():
            return {storable(str(key)): _storable_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable_json(item) for item in value]
        case _:
            return value


def _to_jsonb(value: Any) -> bytes:
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_storable_json(value))
    if b"\\u0000" in encoded:
        encoded = msgspec.json.encode(_storable_json(value))
    return b"\x01" + encoded


def _from_jsonb(sent: bytes) -> Any:
    return msgspec.json.decode(sent[1:])


def _to_timestamp(time: int) -> tuple[int]:
    """Beyond PostgreSQL's calendar lies its infinity: both ends of a range may be open."""
    since_2000 = time - EPOCH
    if since_2000 < FIRST_TIME:
        return (MINUS_INFINITY,)
    return (since_2000 if since_2000 <= LAST_TIME else INFINITY,)


async def prepare(connection: Any) -> None:
    """Let a connection speak microseconds since 1970, and JSON as Python values."""
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=_to_timestamp,
        decoder=lambda sent: sent[0] + EPOCH,
    )
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_to_jsonb, decoder=_from_jsonb
    )


async def connect(
    url: str, *, name: str = "andon", timeout_s: float = 5.0, statement_timeout_s: float = 0.0
) -> Any:
    """Open one asyncpg connection.

    Raises:
        StoreLost: nothing answers, or not yet.
        StoreRefused: wrong password, no such database, not an address.
    """
    with errors_named("connecting"):
        return await dial(
            url, timeout_s=timeout_s, server_settings=server_settings(name, statement_timeout_s)
        )


async def dial(url: str, *, timeout_s: float, **options: Any) -> Any:
    """Connect and prepare within the time-out, or leave nothing open; raises what asyncpg does."""
    async with asyncio.timeout(timeout_s):
        try:
            connection = await asyncpg.connect(url, timeout=timeout_s, **options)
        except ValueError as error:
            raise StoreRefused(f"the database's address cannot be read: {error}") from error
        try:
            await prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection


def server_settings(name: str, statement_timeout_s: float) -> dict[str, str]:
    """What every session of ours sets."""
    return {
        "application_name": name,
        "statement_timeout": str(int(statement_timeout_s * 1000)),
        "timezone": "UTC",
        "jit": "off",  # it compiles longer than our questions run
        **KEEPALIVE,
    }
