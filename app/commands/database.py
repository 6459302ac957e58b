"""andon migrate, and the database that the settings mean."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console

from app.commands import place
from app.commands.failure import Failed
from app.settings import Settings
from app.store.embedded import EmbeddedPostgres
from app.store.errors import StoreError
from app.store.migrate import REVISION, migrate


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The address of the database; an embedded one is started, and stopped again if we did.

    Raises:
        Failed: the embedded one does not start.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    place.make(settings.data_dir)
    try:
        server = await asyncio.to_thread(EmbeddedPostgres, settings.data_dir)
        ours = server.pid() is None
        await asyncio.to_thread(server.start)
    except StoreError as error:
        raise Failed(str(error)) from error
    try:
        yield server.url()
    finally:
        if ours:
            await asyncio.to_thread(server.stop)


async def run_migrate(settings: Settings, out: Console) -> None:
    """Bring the tables up to date.

    Raises:
        Failed: the database is away, or refuses.
    """
    async with database(settings) as url:
        try:
            await migrate(url)
        except StoreError as error:
            raise Failed(str(error)) from error
    out.print(f"The database's tables are at {REVISION}.")
