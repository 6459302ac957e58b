"""What a batch writes besides readings and points: one statement a table, and its rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from app.store.batch import (
    Alarm,
    AlarmChange,
    Answered,
    Audit,
    Batch,
    Boundary,
    Characteristic,
    Containment,
    Context,
    Event,
    GapRow,
    Outbox,
    Quarantined,
    ReadingRevision,
    Revision,
    Source,
    StationEvent,
    Stream,
    Version,
)
from app.store.connection import storable

PUT_CHARACTERISTIC: Final = """
    INSERT INTO characteristic (id, name, config, created_at, retired_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, config = excluded.config,
        retired_at = excluded.retired_at
"""

PUT_SOURCE: Final = """
    INSERT INTO source (id, name, kind, config) VALUES ($1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind,
        config = excluded.config
"""

PUT_STREAM: Final = """
    INSERT INTO stream (id, characteristic, name, tags) VALUES ($1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, tags = excluded.tags
"""

PUT_VERSION: Final = """
    INSERT INTO version (id, characteristic, stream, number, state, valid_from, definition, limits,
                         author, reason, created_at, approved_by, approved_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, valid_from = excluded.valid_from,
        definition = excluded.definition, limits = excluded.limits, reason = excluded.reason,
        approved_by = excluded.approved_by, approved_at = excluded.approved_at
"""

PUT_ALARM: Final = """
    INSERT INTO alarm (id, stream, characteristic, stream_name, class, state, priority, opened,
                       last_time, last_key, count, rules, sentence, version, seq, active, paged,
                       needs_cause, seen_by, seen_at, cause, action, note, caused_by, returned_at,
                       closed_at, shelved_until)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
            $20, $21, $22, $23, $24, $25, $26, $27)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, priority = excluded.priority,
        last_time = excluded.last_time, last_key = excluded.last_key, count = excluded.count,
        rules = excluded.rules, sentence = excluded.sentence, version = excluded.version,
        seq = excluded.seq, active = excluded.active, paged = excluded.paged,
        needs_cause = excluded.needs_cause, seen_by = excluded.seen_by,
        seen_at = excluded.seen_at, cause = excluded.cause, action = excluded.action,
        note = excluded.note, caused_by = excluded.caused_by,
        returned_at = excluded.returned_at, closed_at = excluded.closed_at,
        shelved_until = excluded.shelved_until
"""

PUT_EVENT: Final = """
    INSERT INTO event (id, stream, alarm, kind, rule, side, first_time, first_key, last_time,
                       last_key, count, state, priority, retrospective, advisory, sentence)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
    ON CONFLICT (id) DO UPDATE SET alarm = excluded.alarm, first_time = excluded.first_time,
        first_key = excluded.first_key, last_time = excluded.last_time,
        last_key = excluded.last_key, count = excluded.count, state = excluded.state,
        priority = excluded.priority, retrospective = excluded.retrospective,
        advisory = excluded.advisory, sentence = excluded.sentence
"""

ADD_ALARM_EVENT: Final = """
    INSERT INTO alarm_event (alarm, version, at, kind, who, text) VALUES ($1, $2, $3, $4, $5, $6)
"""

ADD_OUTBOX: Final = """
    INSERT INTO outbox (id, alarm, created_at, payload) VALUES ($1, $2, $3, $4)
"""

ADD_POINT_REVISION: Final = """
    INSERT INTO point_revision (stream, time, key, seq, at, why, was, became)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

ADD_READING_REVISION: Final = """
    INSERT INTO reading_revision (stream, time, key, at, who, reason, was, became)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

ADD_GAP: Final = """
    INSERT INTO gap (id, source, characteristic, start_time, end_time, missed, reason, recorded_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

ADD_BOUNDARY: Final = """
    INSERT INTO boundary (id, characteristic, stream, time, reason, who, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

ADD_STATION_EVENT: Final = """
    INSERT INTO station_event (id, station, kind, time, text, restart_rules, who, recorded_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

ADD_AUDIT: Final = """
    INSERT INTO audit (id, at, who, action, object, was, became, reason)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

PUT_ANSWER: Final = """
    INSERT INTO idempotency (key, at, request_hash, response) VALUES ($1, $2, $3, $4)
    ON CONFLICT (key) DO NOTHING
"""

PUT_PLANT: Final = """
    INSERT INTO plant (config) VALUES ($1) ON CONFLICT (one) DO UPDATE SET config = excluded.config
"""

# These may be as many as readings: one statement for all of them.
PUT_CONTEXTS: Final = """
    INSERT INTO context (id, tags) SELECT * FROM unnest($1::integer[], $2::jsonb[])
    ON CONFLICT (id) DO NOTHING
"""

ADD_QUARANTINED: Final = """
    INSERT INTO quarantine (id, received_at, source, characteristic, reason, payload, truncated)
    SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::integer[], $4::text[], $5::text[],
                         $6::bytea[], $7::boolean[])
"""

PUT_CONTAINMENTS: Final = """
    INSERT INTO containment (stream, time, key, value, side, lower, upper, alarm, last_good_time,
                             recorded_at)
    SELECT * FROM unnest($1::integer[], $2::timestamptz[], $3::bigint[], $4::float8[], $5::text[],
                         $6::float8[], $7::float8[], $8::bigint[], $9::timestamptz[],
                         $10::timestamptz[])
    ON CONFLICT (stream, time, key) DO UPDATE SET value = excluded.value, side = excluded.side,
        lower = excluded.lower, upper = excluded.upper, alarm = excluded.alarm,
        last_good_time = excluded.last_good_time
"""

PUT_POSITIONS: Final = """
    UPDATE source SET position = new.position
    FROM unnest($1::integer[], $2::jsonb[]) AS new (id, position) WHERE source.id = new.id
"""

PUT_STREAM_SEQS: Final = """
    UPDATE stream SET seq = new.seq, revised_seq = new.revised_seq
    FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) AS new (id, seq, revised_seq)
    WHERE stream.id = new.id
"""


def _text(value: str | None) -> str | None:
    return None if value is None else storable(value)


def _characteristic(row: Characteristic) -> tuple[Any, ...]:
    return row.id, storable(row.name), row.config, row.created_at, row.retired_at


def _source(row: Source) -> tuple[Any, ...]:
    return row.id, storable(row.name), row.kind, row.config


def _stream(row: Stream) -> tuple[Any, ...]:
    return row.id, row.characteristic, storable(row.name), row.tags


def _version(row: Version) -> tuple[Any, ...]:
    return (
        row.id,
        row.characteristic,
        row.stream,
        row.number,
        row.state,
        row.valid_from,
        row.definition,
        row.limits,
        storable(row.author),
        storable(row.reason),
        row.created_at,
        _text(row.approved_by),
        row.approved_at,
    )


def _alarm(row: Alarm) -> tuple[Any, ...]:
    return (
        row.id,
        row.stream,
        row.characteristic,
        storable(row.stream_name),
        row.alarm_class,
        row.state,
        row.priority,
        row.opened,
        row.last_time,
        row.last_key,
        row.count,
        row.rules,
        storable(row.sentence),
        row.version,
        row.seq,
        row.active,
        row.paged,
        row.needs_cause,
        _text(row.seen_by),
        row.seen_at,
        _text(row.cause),
        _text(row.action),
        _text(row.note),
        _text(row.caused_by),
        row.returned_at,
        row.closed_at,
        row.shelved_until,
    )


def _event(row: Event) -> tuple[Any, ...]:
    return (
        row.id,
        row.stream,
        row.alarm,
        row.kind,
        row.rule,
        row.side,
        row.first_time,
        row.first_key,
        row.last_time,
        row.last_key,
        row.count,
        row.state,
        row.priority,
        row.retrospective,
        row.advisory,
        storable(row.sentence),
    )


def _alarm_event(row: AlarmChange) -> tuple[Any, ...]:
    return row.alarm, row.version, row.at, row.kind, storable(row.who), storable(row.text)


def _outbox(row: Outbox) -> tuple[Any, ...]:
    return row.id, row.alarm, row.created_at, row.payload


def _point_revision(row: Revision) -> tuple[Any, ...]:
    why = storable(row.why)
    return row.stream, row.time, row.key, row.seq, row.at, why, row.was, row.became


def _reading_revision(row: ReadingRevision) -> tuple[Any, ...]:
    who, reason = storable(row.who), storable(row.reason)
    return row.stream, row.time, row.key, row.at, who, reason, row.was, row.became


def _gap(row: GapRow) -> tuple[Any, ...]:
    return (
        row.id,
        row.source,
        row.characteristic,
        row.start,
        row.end,
        row.missed,
        storable(row.reason),
        row.recorded_at,
    )


def _boundary(row: Boundary) -> tuple[Any, ...]:
    reason, who = storable(row.reason), storable(row.who)
    return row.id, row.characteristic, row.stream, row.time, reason, who, row.at


def _station_event(row: StationEvent) -> tuple[Any, ...]:
    return (
        row.id,
        storable(row.station),
        row.kind,
        row.time,
        storable(row.text),
        row.restart_rules,
        storable(row.who),
        row.recorded_at,
    )


def _audit(row: Audit) -> tuple[Any, ...]:
    return (
        row.id,
        row.at,
        storable(row.who),
        row.action,
        storable(row.object),
        row.was,
        row.became,
        storable(row.reason),
    )


def _answer(row: Answered) -> tuple[Any, ...]:
    return storable(row.key), row.at, row.request_hash, row.response


def _plant(config: dict[str, Any]) -> tuple[Any, ...]:
    return (config,)


class Step(NamedTuple):
    """A table's statement with the rows of a batch it is for."""

    statement: str
    rows: Callable[[Batch], Iterable[Any]]
    values: Callable[[Any], tuple[Any, ...]]


BEFORE_ROWS: Final = (
    Step(PUT_CHARACTERISTIC, lambda batch: batch.characteristics, _characteristic),
    Step(PUT_SOURCE, lambda batch: batch.sources, _source),
    Step(PUT_STREAM, lambda batch: batch.streams, _stream),
    Step(PUT_VERSION, lambda batch: batch.versions, _version),
)
"""In the order of the references between them."""

AFTER_ROWS: Final = (
    Step(ADD_POINT_REVISION, lambda batch: batch.revisions, _point_revision),
    Step(ADD_READING_REVISION, lambda batch: batch.reading_revisions, _reading_revision),
    Step(PUT_ALARM, lambda batch: batch.alarms, _alarm),
    Step(PUT_EVENT, lambda batch: batch.events, _event),
    Step(ADD_ALARM_EVENT, lambda batch: batch.alarm_changes, _alarm_event),
    Step(ADD_OUTBOX, lambda batch: batch.outbox, _outbox),
    Step(ADD_GAP, lambda batch: batch.gaps, _gap),
    Step(ADD_BOUNDARY, lambda batch: batch.boundaries, _boundary),
    Step(ADD_STATION_EVENT, lambda batch: batch.station_events, _station_event),
    Step(ADD_AUDIT, lambda batch: batch.audits, _audit),
    Step(PUT_ANSWER, lambda batch: batch.answered, _answer),
    Step(PUT_PLANT, lambda batch: [] if batch.plant is None else [batch.plant], _plant),
)


async def many(connection: Any, steps: Iterable[Step], batch: Batch) -> None:
    """Run the steps that have rows; an empty table costs no round trip."""
    for step in steps:
        rows = [step.values(row) for row in step.rows(batch)]
        if len(rows) == 1:
            await connection.execute(step.statement, *rows[0])
        elif rows:
            await connection.executemany(step.statement, rows)


async def contexts(connection: Any, rows: Sequence[Context]) -> None:
    """Write the tag sets that are new."""
    if rows:
        await connection.execute(PUT_CONTEXTS, [row.id for row in rows], [row.tags for row in rows])


async def quarantined(connection: Any, rows: Sequence[Quarantined]) -> None:
    """Write what could not become a reading."""
    if rows:
        await connection.execute(
            ADD_QUARANTINED,
            [row.id for row in rows],
            [row.received_at for row in rows],
            [row.source for row in rows],
            [_text(row.characteristic) for row in rows],
            [storable(row.reason) for row in rows],
            [row.payload for row in rows],
            [row.truncated for row in rows],
        )


async def containments(connection: Any, found: Sequence[Containment]) -> None:
    """Write the parts to be held; of two records of one reading the later counts."""
    rows = list({(row.stream, row.time, row.key): row for row in found}.values())
    if rows:
        await connection.execute(
            PUT_CONTAINMENTS,
            [row.stream for row in rows],
            [row.time for row in rows],
            [row.key for row in rows],
            [row.value for row in rows],
            [row.side for row in rows],
            [row.lower for row in rows],
            [row.upper for row in rows],
            [row.alarm for row in rows],
            [row.last_good_time for row in rows],
            [row.recorded_at for row in rows],
        )


async def positions(connection: Any, new: Mapping[int, Mapping[str, Any]]) -> None:
    """Write how far the sources were read."""
    if new:
        await connection.execute(PUT_POSITIONS, list(new), list(new.values()))


async def stream_seqs(connection: Any, new: Mapping[int, tuple[int, int]]) -> None:
    """Write the numbers of the last changes, where old points changed."""
    if new:
        seqs, revised = zip(*new.values(), strict=True)
        await connection.execute(PUT_STREAM_SEQS, list(new), seqs, revised)
