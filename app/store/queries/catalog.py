"""Questions about what is configured, and about the numbers given so far."""

from typing import Any, Final

import msgspec

from app.store.batch import Boundary, Characteristic, Context, Source, Stream, Version
from app.store.connection import Database
from app.store.queries.readings import Integers, integers

CHARACTERISTICS: Final = """
    SELECT id, name, config, created_at, retired_at FROM characteristic ORDER BY id
"""


async def characteristics(database: Database) -> list[Characteristic]:
    """All of them, retired ones too."""
    return [Characteristic(**row) for row in await database.fetch(CHARACTERISTICS)]


STREAMS: Final = "SELECT id, characteristic, name, tags FROM stream ORDER BY id"


async def streams(database: Database) -> list[Stream]:
    """All of them."""
    return [Stream(**row) for row in await database.fetch(STREAMS)]


STREAM_SEQS: Final = "SELECT id, seq, revised_seq FROM stream WHERE seq > 0"


async def stream_seqs(database: Database) -> dict[int, tuple[int, int]]:
    """Change numbers, of the streams in which old points changed, as of the last such change.

    Elsewhere, and if higher, the newest point's ``seq`` is the number of the last change.
    """
    rows = await database.fetch(STREAM_SEQS)
    return {row["id"]: (row["seq"], row["revised_seq"]) for row in rows}


REVISED_SEQ: Final = "SELECT revised_seq FROM stream WHERE id = $1"


async def revised_seq(database: Database, stream: int) -> int:
    """The number of a stream's last change of an old point; 0 when there was none."""
    return int(await database.fetchval(REVISED_SEQ, stream) or 0)


VERSIONS: Final = """
    SELECT id, characteristic, stream, number, state, valid_from, definition, limits, author,
           reason, created_at, approved_by, approved_at
    FROM version WHERE $1::integer IS NULL OR characteristic = $1 ORDER BY characteristic, number
"""


async def versions(database: Database, characteristic: int | None = None) -> list[Version]:
    """Every version of one characteristic or of all, in the order of their numbers."""
    return [Version(**row) for row in await database.fetch(VERSIONS, characteristic)]


SOURCES: Final = "SELECT id, name, kind, config, position FROM source ORDER BY id"


async def sources(database: Database) -> list[Source]:
    """All of them, with how far they were read."""
    return [Source(**row) for row in await database.fetch(SOURCES)]


PLANT: Final = "SELECT config FROM plant"


async def plant(database: Database) -> dict[str, Any] | None:
    """What holds for the whole plant; None when nothing was set yet."""
    config: dict[str, Any] | None = await database.fetchval(PLANT)
    return config


CONTEXTS: Final = "SELECT id, tags FROM context WHERE id = ANY($1::integer[])"
NEWEST_CONTEXTS: Final = """
    SELECT id, tags FROM (SELECT id, tags FROM context ORDER BY id DESC LIMIT $1) newest ORDER BY id
"""


async def contexts(database: Database, numbers: Integers) -> dict[int, dict[str, str]]:
    """The tags of these contexts."""
    return {row["id"]: row["tags"] for row in await database.fetch(CONTEXTS, integers(numbers))}


async def newest_contexts(database: Database, limit: int) -> list[Context]:
    """The tag sets that came up last, ascending."""
    return [Context(**row) for row in await database.fetch(NEWEST_CONTEXTS, limit)]


BOUNDARIES: Final = """
    SELECT id, characteristic, stream, time, reason, who, at FROM boundary
    WHERE $1::integer IS NULL OR characteristic = $1 ORDER BY time, id
"""


async def boundaries(database: Database, characteristic: int | None = None) -> list[Boundary]:
    """Where somebody restarted the rules, of one characteristic or of all, by measured time."""
    return [Boundary(**row) for row in await database.fetch(BOUNDARIES, characteristic)]


class Counters(msgspec.Struct):
    """The highest numbers given so far; 0 where there is none."""

    batch: int
    alarm: int
    alarm_seq: int
    event: int
    outbox: int
    gap: int
    quarantine: int
    context: int
    stream: int
    version: int
    characteristic: int
    source: int
    boundary: int
    station_event: int
    audit: int


COUNTERS: Final = """
    SELECT (SELECT last_batch FROM writer) AS batch,
           coalesce((SELECT max(id) FROM alarm), 0) AS alarm,
           coalesce((SELECT max(seq) FROM alarm), 0) AS alarm_seq,
           coalesce((SELECT max(id) FROM event), 0) AS event,
           coalesce((SELECT max(id) FROM outbox), 0) AS outbox,
           coalesce((SELECT max(id) FROM gap), 0) AS gap,
           coalesce((SELECT max(id) FROM quarantine), 0) AS quarantine,
           coalesce((SELECT max(id) FROM context), 0) AS context,
           coalesce((SELECT max(id) FROM stream), 0) AS stream,
           coalesce((SELECT max(id) FROM version), 0) AS version,
           coalesce((SELECT max(id) FROM characteristic), 0) AS characteristic,
           coalesce((SELECT max(id) FROM source), 0) AS source,
           coalesce((SELECT max(id) FROM boundary), 0) AS boundary,
           coalesce((SELECT max(id) FROM station_event), 0) AS station_event,
           coalesce((SELECT max(id) FROM audit), 0) AS audit
"""


async def counters(database: Database) -> Counters:
    """The numbers that a writer goes on from."""
    return Counters(**await database.fetchrow(COUNTERS))
