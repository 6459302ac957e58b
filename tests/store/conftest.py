"""A database with Andon's tables, once on plain PostgreSQL and once on TimescaleDB."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import pytest_asyncio

from app.store.connection import connect
from app.store.migrate import migrate
from app.store.postgres import Store
from tests.store.builders import NOW

EMPTY = """
    SELECT format('TRUNCATE %s RESTART IDENTITY CASCADE', string_agg(quote_ident(relname), ', '))
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
      AND relname NOT IN ('alembic_version', 'writer')
"""


@pytest.fixture(scope="session", params=["embedded", "timescale"])
def migrated(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that was migrated once for the whole run."""
    server = request.getfixturevalue(request.param)
    url = server.create_database()
    asyncio.run(migrate(url))
    yield url
    server.drop_database(url)


@pytest_asyncio.fixture
async def url(migrated: str) -> str:
    """The address of a database whose tables are empty."""
    connection = await asyncpg.connect(migrated)
    await connection.execute(await connection.fetchval(EMPTY))
    await connection.execute("UPDATE writer SET last_batch = 0, epoch = 77, holder = NULL")
    await connection.close()
    return migrated


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An open store on empty tables."""
    opened = Store(url, lambda: NOW)
    await opened.open()
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def sql(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the store's, to look into the tables."""
    connection = await connect(url)
    yield connection
    await connection.close()
