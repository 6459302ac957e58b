"""Bring the database's tables up to date, in a process of its own."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg

from app.store.errors import MigrationFailed, StoreLost

REVISION = "0002"
"""What this Andon works with: the newest file below migrations/versions."""

URL_VARIABLE = "ANDON_MIGRATE_URL"


async def migrate(url: str, revision: str = "head") -> None:
    """Run what is missing up to ``revision``; harmless when nothing is, or when two do it at once.

    Alembic and SQLAlchemy stay out of the service's memory, and its event loop out of theirs.

    Raises:
        StoreLost: the database does not answer.
        MigrationFailed: with the reason in one sentence.
    """
    # not as an argument: everybody on the machine can read those, password and all
    environment = {**os.environ, URL_VARIABLE: url}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app.store.migrate",
        revision,
        env=environment,
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if child.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        sentence = lines[-1] if lines else f"the migration ended with {child.returncode}"
        raise (StoreLost if child.returncode == EXIT_LOST else MigrationFailed)(sentence)


EXIT_LOST = 3


def main(arguments: list[str]) -> int:
    """Migrate to the revision that is named, the newest by default; the child's whole life."""
    from alembic import command  # noqa: PLC0415 - for the child alone
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "migrations")
    config.set_main_option("path_separator", "os")
    config.set_main_option("prepend_sys_path", ".")
    config.attributes["url"] = os.environ[URL_VARIABLE]
    try:
        command.upgrade(config, arguments[0] if arguments else "head")
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError) as lost:
        print(f"the database does not answer: {lost or type(lost).__name__}", file=sys.stderr)  # noqa: T201
        return EXIT_LOST
    except (CommandError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as refused:
        reason = str(getattr(refused, "orig", None) or refused).strip().splitlines()[0]
        print(f"the migration failed: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
