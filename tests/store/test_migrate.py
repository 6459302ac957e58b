"""The tables come to be from nothing and from the step before, once, whoever asks."""

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.store.batch import Batch, Outbox
from app.store.connection import connect
from app.store.errors import MigrationFailed, StoreLost, StoreRefused
from app.store.migrate import REVISION, migrate
from app.store.postgres import Store
from tests.store.builders import NOW, everything

DESIGNED = {
    "characteristic",
    "stream",
    "version",
    "reading",
    "point",
    "point_revision",
    "alarm",
    "alarm_event",
    "event",
    "gap",
    "quarantine",
    "context",
    "outbox",
    "audit",
}

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"


def test_this_andon_works_with_the_newest_step():
    config = Config()
    config.set_main_option("script_location", "migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


async def test_from_nothing_by_two_processes_at_once_and_again(database_url):
    await asyncio.gather(migrate(database_url), migrate(database_url))
    await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    assert {row[0] for row in await connection.fetch(TABLES)} >= DESIGNED
    versions = await connection.fetch("SELECT version_num FROM alembic_version")
    assert [row[0] for row in versions] == [REVISION]
    await connection.close()


async def test_from_the_step_before_with_rows_in_it(database_url):
    await migrate(database_url, "0001")
    connection = await connect(database_url)
    await connection.execute(
        "INSERT INTO outbox (id, created_at, payload) VALUES (1, $1, $2)", NOW, {"text": "it rang"}
    )
    await connection.close()
    store = Store(database_url, lambda: NOW)
    with pytest.raises(StoreRefused, match=r"at 0001.*`andon migrate`"):
        await store.open()
    await migrate(database_url)
    await store.open()
    batch = everything()
    batch.outbox = [Outbox(2, None, NOW, {})]
    await store.write(batch)
    assert await store.fetchval("SELECT array_agg(id ORDER BY id) FROM outbox") == [1, 2]
    assert await store.fetch("SELECT * FROM outbox_delivery") == []
    await store.close()


async def test_the_store_wants_tables_of_its_own_age(embedded_url):
    store = Store(embedded_url, lambda: NOW)
    with pytest.raises(StoreRefused, match=r"at nothing.*`andon migrate`"):
        await store.open()
    await migrate(embedded_url)
    connection = await asyncpg.connect(embedded_url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    with pytest.raises(StoreRefused, match="newer Andon"):
        await store.open()
    with pytest.raises(MigrationFailed, match="9999"):
        await migrate(embedded_url)
    await store.close()


async def test_a_database_that_is_not_there(tmp_path, embedded_url):
    with pytest.raises(StoreLost, match="does not answer"):
        await migrate(f"postgresql://andon@/andon?host={tmp_path}")
    with pytest.raises(MigrationFailed, match="nowhere"):
        await migrate(embedded_url.replace(embedded_url.split("?")[0].rsplit("/", 1)[1], "nowhere"))


async def test_an_address_with_a_percent_sign_and_a_password(embedded_url):
    with_password = embedded_url.replace("postgresql://postgres", "postgresql://postgres:p%25%40x")
    await migrate(with_password)
    store = Store(with_password, lambda: NOW)
    await store.open()
    assert await store.write(Batch(id=1, at=NOW)) == "written"
    await store.close()


async def test_a_reader_that_may_only_read(database_url):
    """The statements that docs/database.md gives for Grafana."""
    await migrate(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "DROP ROLE IF EXISTS andon_read; CREATE ROLE andon_read;"
        "GRANT USAGE ON SCHEMA public TO andon_read;"
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO andon_read;"
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO andon_read"
    )
    await owner.execute("SET ROLE andon_read")
    assert await owner.fetch("SELECT * FROM point_view") == []
    assert await owner.fetch("SELECT * FROM reading_view") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute("DELETE FROM reading")
    await owner.execute("RESET ROLE; DROP OWNED BY andon_read; DROP ROLE andon_read")
    await owner.close()


COLUMNS = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name !~ '_(view|default|[0-9]{4}_[0-9]{2})$'
      AND table_name <> 'alembic_version'
"""


async def test_every_table_is_documented(embedded_url):
    await migrate(embedded_url)
    connection = await asyncpg.connect(embedded_url)
    columns = await connection.fetch(COLUMNS)
    await connection.close()
    text = (Path(__file__).parents[2] / "docs" / "database.md").read_text()
    assert [t for t in sorted({row[0] for row in columns}) if f"`{t}`" not in text] == []
    described = {
        word
        for row in re.findall(r"^\| ([a-z_, ]+) \|", text, re.MULTILINE)
        for word in row.split(", ")
    }
    told = {column for table, column in columns if table in {"reading", "point"}}
    assert told - described - {"stream", "time", "key"} == set()
