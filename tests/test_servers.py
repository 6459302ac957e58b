"""The servers that tests stand on do what the fixtures promise."""

import asyncio
import os
import socket
import stat
import subprocess
import sys

import aiomqtt
import asyncpg
import pytest


async def version(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT version()")
    finally:
        await connection.close()


async def test_each_test_gets_an_empty_database(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
    finally:
        await connection.close()
    assert tables == []


async def test_timescale_makes_hypertables(timescale_url: str) -> None:
    connection = await asyncpg.connect(timescale_url)
    try:
        await connection.execute("CREATE EXTENSION timescaledb")
        await connection.execute("CREATE TABLE reading (time timestamptz NOT NULL, value float8)")
        await connection.execute("SELECT create_hypertable('reading', by_range('time'))")
    finally:
        await connection.close()


async def test_a_killed_database_comes_back_with_what_it_committed(own_timescale) -> None:
    url = own_timescale.create_database()
    own_timescale.sql("CREATE TABLE kept (n int)", url.rpartition("/")[2])
    own_timescale.sql("INSERT INTO kept VALUES (7)", url.rpartition("/")[2])
    own_timescale.kill()
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(url)
    own_timescale.start()
    assert own_timescale.sql("SELECT n FROM kept", url.rpartition("/")[2]) == "7"


async def test_a_frozen_database_hangs_and_thaws(own_embedded) -> None:
    own_embedded.freeze()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(version(own_embedded.url), 0.3)
    own_embedded.thaw()
    assert "PostgreSQL 18" in await version(own_embedded.url)


@pytest.mark.parametrize("kind", ["mosquitto", "nats_mqtt"])
async def test_a_broker_delivers_after_a_restart(kind: str, request) -> None:
    broker = request.getfixturevalue(kind)
    broker.restart()
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe("plant/#", qos=1)
        await client.publish("plant/line-1", b"25.02", qos=1)
        async for message in client.messages:
            assert message.payload == b"25.02"
            break


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as somebody else")
def test_another_run_closes_no_directory_of_this_one(tmp_path) -> None:
    """Pytest closes its users' shared directory at each start, our servers walk through ours."""
    ours = [place for place in tmp_path.parents if place.owner() == "root"]
    for place in ours:
        place.chmod(place.stat().st_mode | stat.S_IXOTH)
    (tmp_path / "test_other.py").write_text("def test_it(tmp_path):\n    tmp_path.touch()\n")
    plain = {k: v for k, v in os.environ.items() if k != "PYTEST_DEBUG_TEMPROOT"}
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        env=plain, cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    assert [place for place in ours if not place.stat().st_mode & stat.S_IXOTH] == []


def test_a_free_port_is_free(free_port) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
