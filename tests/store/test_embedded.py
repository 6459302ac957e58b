"""The embedded PostgreSQL starts, stops, and goes on with what it had."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import asyncpg
import psutil
import pytest

from app.store.embedded import EmbeddedFailed, EmbeddedPostgres


@pytest.fixture
def directory():
    # pytest's own directories are closed to other users, as whom the server may have to run
    with tempfile.TemporaryDirectory(prefix="andon-test-") as made:
        yield Path(made)


@pytest.fixture
def server(directory):
    made = EmbeddedPostgres(directory)
    yield made
    made.stop()


async def asked(server, statement):
    connection = await asyncpg.connect(server.url())
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_it_goes_on_with_the_same_data(server, directory):
    server.start()
    server.start()
    await asked(server, "CREATE TABLE kept AS SELECT 42 AS n")
    first = server.pid()
    server.stop()
    assert not psutil.pid_exists(first)
    assert server.pid() is None
    server.stop()
    again = EmbeddedPostgres(directory)
    again.start()
    assert await asked(again, "SELECT n FROM kept") == 42
    assert await asked(again, "SHOW listen_addresses") == ""
    assert await asked(again, "SHOW fsync") == "on"


async def test_a_server_that_was_left_running_is_taken_over(server, directory):
    server.start()
    other = EmbeddedPostgres(directory)
    other.start()
    assert other.pid() == server.pid()
    other.stop()
    assert server.pid() is None


async def test_it_recovers_from_a_kill(server):
    server.start()
    await asked(server, "CREATE TABLE kept AS SELECT 42 AS n")
    family = [psutil.Process(server.pid())]
    family += family[0].children(recursive=True)
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=10)
    server.start()
    assert await asked(server, "SELECT n FROM kept") == 42


def test_a_stale_number_of_some_other_process_does_not_matter(server, directory):
    server.start()
    server.stop()
    (directory / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n/elsewhere\n")
    server.start()
    assert server.pid() not in (None, os.getpid())


def test_a_first_start_that_was_cut_short_begins_again(server, directory):
    left = directory / "postgres"
    (left / "base").mkdir(parents=True)
    (left / "base" / "half").write_text("")
    server.start()
    assert server.pid()


async def test_a_long_path_gets_its_socket_elsewhere(directory):
    long = directory / ("deep" * 20) / ("er" * 30)
    long.mkdir(parents=True)
    server = EmbeddedPostgres(long)
    server.start()
    try:
        assert await asked(server, "SELECT 1") == 1
        sockets = Path(server.url().split("host=")[1])
        assert os.stat(sockets).st_mode & 0o077 == 0  # noqa: PTH116
    finally:
        server.stop()
        shutil.rmtree(sockets)


def test_a_cluster_of_another_version_is_named(directory):
    (directory / "postgres").mkdir()
    (directory / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedFailed, match="PostgreSQL 12"):
        EmbeddedPostgres(directory)


def test_a_failure_to_start_is_one_sentence(server, directory):
    server.start()
    server.stop()
    with (directory / "postgres" / "postgresql.conf").open("a") as file:
        file.write("shared_buffers = nonsense\n")
    with pytest.raises(EmbeddedFailed, match=r"pg_ctl failed: .*configuration.*postgres\.log"):
        server.start()


async def test_a_server_that_hangs_is_ended(directory):
    server = EmbeddedPostgres(directory, stop_timeout_s=2)
    server.start()
    pid = server.pid()
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert server.pid() is None
    server.start()
    assert await asked(server, "SELECT 1") == 1
    server.stop()
