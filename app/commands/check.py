"""andon check: what is well, what is not, and what to do about it."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple

import asyncpg
from rich.console import Console
from rich.text import Text

from app.commands.database import database
from app.commands.failure import Failed
from app.plantfile import Plant, PlantInvalid, load_plant
from app.settings import GIB, Settings
from app.store.migrate import REVISION
from collectors.kinds import KINDS

CONNECT_S = 5.0
ADVICE_S = 20.0
CLOCK_OFF_S = 2.0
OLDEST_POSTGRES = 15
DISK_LOW = GIB

DATABASE = """
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int / 10000 AS major,
           extract(epoch FROM clock_timestamp())::float8 AS now,
           (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescale,
           current_setting('timescaledb.license', true) AS license,
           to_regclass('alembic_version') IS NOT NULL AS migrated
"""


class Finding(NamedTuple):
    """One line of the report."""

    level: Literal["fine", "advice", "wrong"]
    sentence: str


MARKS = {"fine": ("ok", "green"), "advice": ("!", "yellow"), "wrong": ("X", "red")}


async def run_check(settings: Settings, out: Console) -> None:
    """Print what is found.

    Raises:
        Failed: something is wrong that keeps Andon from working.
    """
    wrong = 0
    async for finding in findings(settings):
        mark, colour = MARKS[finding.level]
        out.print(Text.assemble((f"{mark:>3} ", colour), finding.sentence), soft_wrap=True)
        wrong += finding.level == "wrong"
    if wrong:
        raise Failed(f"{wrong} of these {'has' if wrong == 1 else 'have'} to be put right first")


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """Look at one thing after the other."""
    plant = None
    if settings.plant is not None:
        try:
            plant = load_plant(settings.plant)
        except PlantInvalid as error:
            for sentence in str(error).splitlines():
                yield Finding("wrong", sentence)
        else:
            yield Finding(
                "fine",
                f"{settings.plant}: {len(plant.characteristics)} characteristics, "
                f"{len(plant.sources)} sources",
            )
    yield _disk(settings)
    try:
        async with database(settings) as url:
            async for finding in _database(url):
                yield finding
    except Failed as error:
        yield Finding("wrong", str(error))
    if settings.access_token is None:
        yield Finding("fine", f"only this machine can reach {settings.host}:{settings.port}")
    if plant is not None:
        async for finding in _sources(plant):
            yield finding


def _disk(settings: Settings) -> Finding:
    place = settings.data_dir.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    told = f"{settings.data_dir}: {free / GIB:.1f} GiB free"
    wanted = settings.spool_max_bytes
    if free < DISK_LOW:
        return Finding("wrong", f"{told}; make room, or set ANDON_DATA_DIR to a larger disk")
    if free < wanted:
        return Finding("advice", f"{told}, less than the spool may take ({wanted / GIB:.1f} GiB)")
    return Finding("fine", told)


async def _database(url: str) -> AsyncIterator[Finding]:
    before = time.time()
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        yield Finding("wrong", f"the database does not answer: {error or type(error).__name__}")
        return
    try:
        row = await connection.fetchrow(DATABASE)
        after = time.time()
        edition = "without TimescaleDB"
        if row["timescale"]:
            edition = f"with TimescaleDB {row['timescale']} ({row['license'] or 'edition unknown'})"
        level: Literal["fine", "wrong"] = "fine" if row["major"] >= OLDEST_POSTGRES else "wrong"
        need = "" if level == "fine" else f"; Andon needs {OLDEST_POSTGRES} or newer"
        yield Finding(level, f"PostgreSQL {row['version']} {edition}{need}")
        revision = None
        if row["migrated"]:
            revision = await connection.fetchval("SELECT version_num FROM alembic_version")
        if revision == REVISION:
            yield Finding("fine", f"its tables are at {revision}")
        else:
            yield Finding(
                "advice",
                f"its tables are at {revision or 'nothing'}, this Andon works with {REVISION}: "
                "`andon serve` brings them up to date, or run `andon migrate`",
            )
        yield _clock(row["now"], before, after)
    finally:
        await connection.close()


def _clock(database_now: float, before: float, after: float) -> Finding:
    off = max(before - database_now, database_now - after, 0.0)
    if off > CLOCK_OFF_S:
        return Finding(
            "advice",
            f"this machine's clock and the database's differ by {off:.1f} s; "
            "let both follow a time server",
        )
    return Finding("fine", "this machine's clock agrees with the database's")


async def _sources(plant: Plant) -> AsyncIterator[Finding]:
    async def asked(source: object) -> list[str]:
        kind = KINDS[source.kind]  # type: ignore[attr-defined]
        try:
            async with asyncio.timeout(ADVICE_S):
                return await kind.advise(source)
        except TimeoutError:
            return [f"{source.id}: does not answer within {ADVICE_S:.0f} s"]  # type: ignore[attr-defined]

    told = await asyncio.gather(*(asked(source) for source in plant.sources))
    for source, sentences in zip(plant.sources, told, strict=True):
        for sentence in sentences:
            yield Finding("advice", sentence)
        if not sentences:
            yield Finding("fine", f"{source.id}: answers, nothing to say about it")
