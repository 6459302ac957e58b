"""andon check: what is well, what is not, and what to do about it."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.text import Text

from app.commands import place
from app.commands.certificate import certified
from app.commands.database import database
from app.commands.failure import Failed
from app.plantfile import Plant, PlantInvalid, load_plant
from app.sentences import counted
from app.settings import GIB, Settings, is_loopback
from app.store.connection import connect
from app.store.errors import StoreError, StoreLost
from app.store.migrate import REVISION
from collectors.kinds import KINDS
from rules.limits import TRIAL_POINTS

CONNECT_S = 5.0
ADVICE_S = 20.0
CLOCK_OFF_S = 2.0
OLDEST_POSTGRES = 15
DISK_LOW = GIB
NAMED = 5
"""How many of a kind a sentence names before it counts the rest."""

DATABASE = """
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int / 10000 AS major,
           extract(epoch FROM clock_timestamp())::float8 AS now,
           (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescale,
           current_setting('timescaledb.license', true) AS license,
           to_regclass('alembic_version') IS NOT NULL AS migrated
"""
LIMITS = """
    SELECT c.name, bool_or(v.limits IS NULL) AS missing, bool_or(v.state = 'trial') AS trial
    FROM characteristic c
    LEFT JOIN stream s ON s.characteristic = c.id
    CROSS JOIN LATERAL (
        SELECT o.limits, o.state FROM version o
        WHERE o.characteristic = c.id AND (o.stream IS NULL OR o.stream = s.id)
          AND o.state NOT IN ('proposed', 'rejected')
          AND (o.valid_from IS NULL OR o.valid_from <= now())
        ORDER BY o.valid_from DESC NULLS LAST, o.number DESC LIMIT 1) v
    WHERE c.retired_at IS NULL GROUP BY c.name ORDER BY c.name
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
            counts = (
                counted(len(plant.characteristics), "characteristic"),
                counted(len(plant.sources), "source"),
            )
            yield Finding("fine", f"{settings.plant}: {', '.join(counts)}")
            for finding in _secrets(plant):
                yield finding
    disk = _disk(settings)
    yield disk
    if settings.database_url is not None or disk.level != "wrong":
        async for finding in _database(settings, plant):
            yield finding
    for finding in _door(settings):
        yield finding
    if plant is not None:
        async for finding in _sources(plant):
            yield finding


def _secrets(plant: Plant) -> Iterator[Finding]:
    """Those that stand in the plant file itself, and so in the database."""
    for part in (*plant.sources, *plant.announce):
        for name in ("password", "secret"):
            if getattr(part, name, None) is not None:
                yield Finding(
                    "advice",
                    f"{part.id}: its {name} stands in the plant file, and so in the database; "
                    f"write it to a file that only Andon may read, and name that in {name}_file",
                )


def _disk(settings: Settings) -> Finding:
    if (reason := place.unusable(settings.data_dir)) is not None:
        return Finding("wrong", reason)
    free = shutil.disk_usage(place.nearest_directory(settings.data_dir)).free
    told = f"{settings.data_dir}: {free / GIB:.1f} GiB free"
    wanted = settings.spool_max_bytes
    if free < DISK_LOW:
        return Finding("wrong", f"{told}; make room, or set ANDON_DATA_DIR to a larger disk")
    if free < wanted:
        return Finding(
            "advice",
            f"{told}, less than the spool may take ({wanted / GIB:.1f} GiB) while the database is "
            "away; make room, or set ANDON_SPOOL_MAX_BYTES lower",
        )
    return Finding("fine", told)


async def _database(settings: Settings, plant: Plant | None) -> AsyncIterator[Finding]:
    if settings.database_url is None and not (settings.data_dir / "postgres").exists():
        yield Finding(
            "fine",
            f"no database yet: `andon serve` makes one of its own in {settings.data_dir}, unless "
            "ANDON_DATABASE_URL names another",
        )
        return
    try:
        async with database(settings) as url:
            before = time.time()
            connection = await connect(url, name="andon check", timeout_s=CONNECT_S)
            try:
                async for finding in _asked(connection, before, plant):
                    yield finding
            finally:
                await connection.close()
    except StoreLost as error:
        yield Finding(
            "wrong",
            f"the database does not answer: {_reason(error)}; start it, or correct "
            "ANDON_DATABASE_URL",
        )
    except StoreError as error:
        yield Finding("wrong", f"{_reason(error)}; put it right there, or in ANDON_DATABASE_URL")
    except Failed as error:
        yield Finding("wrong", str(error))


def _reason(error: StoreError) -> str:
    """What the driver said, without what we were doing."""
    cause = error.__cause__
    return str(error if cause is None else cause) or type(cause).__name__


async def _asked(connection: Any, before: float, plant: Plant | None) -> AsyncIterator[Finding]:
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
    yield _tables(revision)
    yield _clock(row["now"], before, after)
    if revision == REVISION:
        for finding in _limits(await connection.fetch(LIMITS), plant):
            yield finding


def _tables(revision: str | None) -> Finding:
    if revision == REVISION:
        return Finding("fine", f"its tables are at {revision}")
    told = f"its tables are at {revision or 'nothing'}, this Andon works with {REVISION}: "
    if (revision or "") > REVISION:
        return Finding("wrong", f"{told}use a newer Andon")
    return Finding("advice", f"{told}`andon serve` brings them up to date, or run `andon migrate`")


def _clock(database_now: float, before: float, after: float) -> Finding:
    off = max(before - database_now, database_now - after, 0.0)
    if off > CLOCK_OFF_S:
        return Finding(
            "advice",
            f"this machine's clock and the database's differ by {off:.1f} s; "
            "let both follow a time server",
        )
    return Finding("fine", "this machine's clock agrees with the database's")


def _limits(rows: Sequence[Any], plant: Plant | None) -> Iterator[Finding]:
    """Where nothing but a trial, or nothing at all, judges."""
    known = {row["name"] for row in rows}
    new = [c.id for c in plant.characteristics if c.id not in known] if plant else []
    seeded = {c.id for c in plant.characteristics if c.limits is not None} if plant else set()
    missing = [row["name"] for row in rows if row["missing"]]
    missing += [name for name in new if name not in seeded]
    trial = [row["name"] for row in rows if row["trial"] and not row["missing"]]
    approve = "propose limits from a baseline and approve them, on the screen"
    if missing:
        yield Finding(
            "advice",
            f"{listed(missing)}: no limits yet; trial limits come by themselves from "
            f"{TRIAL_POINTS} points on. Then {approve}",
        )
    if trial:
        yield Finding("advice", f"{listed(trial)}: judged by trial limits only; {approve}")
    if rows and not missing and not trial:
        yield Finding("fine", f"limits are in force for {counted(len(rows), 'characteristic')}")


def _door(settings: Settings) -> Iterator[Finding]:
    where = f"{settings.host}:{settings.port}"
    try:
        certified(settings)
    except Failed as error:
        yield Finding("wrong", str(error))
    if is_loopback(settings.host):
        yield Finding("fine", f"only this machine can reach {where}")
        return
    plain = "" if settings.tls_cert else "; it speaks HTTP, so put TLS before it or set tls_cert"
    yield Finding(
        "advice" if plain else "fine",
        f"other machines can reach {where}, the access token guards it{plain}",
    )


async def _sources(plant: Plant) -> AsyncIterator[Finding]:
    async def asked(source: Any) -> list[str]:
        try:
            async with asyncio.timeout(ADVICE_S):
                return await KINDS[source.kind].advise(source)
        except TimeoutError:
            return [f"{source.id}: does not answer within {ADVICE_S:.0f} s"]

    told = await asyncio.gather(*(asked(source) for source in plant.sources))
    for source, sentences in zip(plant.sources, told, strict=True):
        for sentence in sentences:
            yield Finding("advice", sentence)
        if not sentences:
            yield Finding("fine", f"{source.id}: answers, nothing to say about it")


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
