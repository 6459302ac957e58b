"""What is over is forgotten after its time, and nothing before it; by the running service, in a real database."""

import asyncpg
import pytest

from app.housekeeping import ANNOUNCEMENTS_KEPT, ANSWERS_KEPT, forget
from app.service import Service
from app.settings import Settings
from app.store.batch import Answered, Batch, Outbox
from tests.app.clock import NOW, SECOND, Clock

pytestmark = pytest.mark.servers


@pytest.fixture
async def service(embedded_url, tmp_path):
    settings = Settings(data_dir=tmp_path, database_url=embedded_url)
    running = Service(settings, Clock(), "test")
    await running.start()
    yield running
    await running.stop()


async def keys(url: str, question: str) -> list[object]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(question)]
    finally:
        await connection.close()


async def test_answers_and_announcements_are_kept_for_their_time(service, embedded_url):
    edge = {"answers": NOW - ANSWERS_KEPT, "announcements": NOW - ANNOUNCEMENTS_KEPT}
    assert (ANSWERS_KEPT, ANNOUNCEMENTS_KEPT) == (
        7 * 86_400 * SECOND,
        90 * 86_400 * SECOND,
    ), "docs/operations.md says these"
    batch = Batch(
        id=service.journal.last + 1,
        at=NOW,
        answered=[
            Answered("over", edge["answers"] - SECOND, "1", {}),
            Answered("kept", edge["answers"] + SECOND, "2", {}),
        ],
        outbox=[
            Outbox(1, None, edge["announcements"] - SECOND, {"page": False}),
            Outbox(2, None, edge["announcements"] + SECOND, {"page": False}),
            Outbox(3, None, NOW, {"page": False}),
        ],
    )
    async with service.lock:
        await service.journal.write_directly(batch)
    await forget(service)
    assert await keys(embedded_url, "SELECT key FROM idempotency ORDER BY key") == ["kept"]
    assert await keys(embedded_url, "SELECT id FROM outbox ORDER BY id") == [2, 3]


async def test_the_newest_announcement_stays_for_the_numbers_go_on_from_it(service, embedded_url):
    old = NOW - 2 * ANNOUNCEMENTS_KEPT
    batch = Batch(
        id=service.journal.last + 1,
        at=NOW,
        outbox=[Outbox(n, None, old, {"page": False}) for n in (1, 2)],
    )
    async with service.lock:
        await service.journal.write_directly(batch)
    await forget(service)
    assert await keys(embedded_url, "SELECT id FROM outbox") == [2]


async def test_without_the_database_nothing_is_forgotten_and_nothing_fails(service, embedded_url):
    old = NOW - 2 * ANSWERS_KEPT
    batch = Batch(id=service.journal.last + 1, at=NOW, answered=[Answered("over", old, "1", {})])
    async with service.lock:
        await service.journal.write_directly(batch)
    await service.store.close()
    await forget(service)
    assert await keys(embedded_url, "SELECT key FROM idempotency") == ["over"]
