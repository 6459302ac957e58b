"""The tables that Andon starts with."""

from typing import cast

from alembic import op
from sqlalchemy import AdaptedConnection, text

revision = "0001"
down_revision = None

CATALOG = """
CREATE TABLE writer (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch bigint NOT NULL,
    last_batch bigint NOT NULL DEFAULT 0,
    holder text,
    held_since timestamptz
);
INSERT INTO writer (epoch) VALUES (floor(random() * 9e15)::bigint + 1);

CREATE TABLE plant (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    config jsonb NOT NULL
);

CREATE TABLE characteristic (
    id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    config jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz
);

CREATE TABLE stream (
    id integer PRIMARY KEY,
    characteristic integer NOT NULL REFERENCES characteristic,
    name text NOT NULL,
    tags jsonb NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    revised_seq bigint NOT NULL DEFAULT 0
);
CREATE INDEX stream_characteristic ON stream (characteristic);

CREATE TABLE version (
    id integer PRIMARY KEY,
    characteristic integer NOT NULL REFERENCES characteristic,
    stream integer,
    number integer NOT NULL,
    state text NOT NULL,
    valid_from timestamptz,
    definition jsonb NOT NULL,
    limits jsonb,
    author text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    approved_by text,
    approved_at timestamptz,
    UNIQUE (characteristic, number)
);

CREATE TABLE context (
    id integer PRIMARY KEY,
    tags jsonb NOT NULL
);

CREATE TABLE source (
    id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    kind text NOT NULL,
    config jsonb NOT NULL,
    position jsonb
);

CREATE TABLE boundary (
    id integer PRIMARY KEY,
    characteristic integer NOT NULL,
    stream integer,
    time timestamptz NOT NULL,
    reason text NOT NULL,
    who text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX boundary_characteristic ON boundary (characteristic, time);

CREATE TABLE station_event (
    id bigint PRIMARY KEY,
    station text NOT NULL,
    kind text NOT NULL,
    time timestamptz NOT NULL,
    text text NOT NULL,
    restart_rules boolean NOT NULL,
    who text NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX station_event_station ON station_event (station, time);

CREATE TABLE audit (
    id bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    was jsonb,
    became jsonb,
    reason text NOT NULL
);

CREATE TABLE idempotency (
    key text PRIMARY KEY,
    at timestamptz NOT NULL,
    request_hash text NOT NULL,
    response jsonb NOT NULL
);
CREATE INDEX idempotency_at ON idempotency (at);
"""

# Columns in the order of their width, so that a row wastes no space on alignment. No foreign keys.
ROWS = """
CREATE TABLE reading (
    stream integer NOT NULL,
    context integer NOT NULL,
    time timestamptz NOT NULL,
    key bigint NOT NULL,
    value double precision,
    size double precision,
    subgroup bigint,
    received_at timestamptz NOT NULL,
    batch bigint NOT NULL,
    source integer NOT NULL,
    quality smallint NOT NULL,
    purpose smallint NOT NULL,
    spec smallint NOT NULL,
    flags smallint NOT NULL,
    PRIMARY KEY (stream, time, key)
) {partitioned};

CREATE TABLE point (
    stream integer NOT NULL,
    version integer NOT NULL,
    time timestamptz NOT NULL,
    key bigint NOT NULL,
    subgroup bigint,
    n double precision NOT NULL,
    statistic double precision NOT NULL,
    dispersion double precision,
    violations bigint NOT NULL,
    seq bigint NOT NULL,
    batch bigint NOT NULL,
    flags smallint NOT NULL,
    PRIMARY KEY (stream, time, key)
) {partitioned};
"""

# 4: named by the source, 2: late (app/store/rows.py). Only few rows are in these.
INDEXES = """
CREATE INDEX reading_named ON reading (stream, subgroup) WHERE flags & 4 <> 0;
CREATE INDEX reading_late ON reading (stream, received_at) WHERE flags & 2 <> 0;
CREATE INDEX point_subgroup ON point (stream, subgroup) WHERE subgroup IS NOT NULL;
"""

HYPERTABLES = """
SELECT create_hypertable('reading', 'time', chunk_time_interval => interval '7 days',
                         create_default_indexes => false);
SELECT create_hypertable('point', 'time', chunk_time_interval => interval '7 days',
                         create_default_indexes => false);
"""

# A partition is filled from the default one before it is attached, so a month may be made at any
# time; attaching lets everybody read and write the other months meanwhile.
PARTITIONS = """
CREATE TABLE reading_default PARTITION OF reading DEFAULT;
CREATE TABLE point_default PARTITION OF point DEFAULT;

CREATE FUNCTION make_month(parent text, month date) RETURNS boolean LANGUAGE plpgsql AS $make$
DECLARE
    name text := format('%s_%s', parent, to_char(month, 'YYYY_MM'));
    start timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    until timestamptz := (date_trunc('month', month::timestamp) + interval '1 month')
                         AT TIME ZONE 'UTC';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext(name));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                   name, parent);
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent || '_default');
    EXECUTE format(
        'WITH moved AS (DELETE FROM %I WHERE time >= %L AND time < %L RETURNING *)
         INSERT INTO %I SELECT * FROM moved', parent || '_default', start, until, name);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   parent, name, start, until);
    RETURN true;
END
$make$;

SELECT make_month(parent, (date_trunc('month', now() AT TIME ZONE 'UTC') + ahead)::date)
FROM unnest(ARRAY['reading', 'point']) AS parent,
     unnest(ARRAY[interval '0', interval '1 month', interval '2 months']) AS ahead;
"""

FINDINGS = """
CREATE TABLE point_revision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream integer NOT NULL,
    time timestamptz NOT NULL,
    key bigint NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    why text NOT NULL,
    was jsonb,
    became jsonb
);
CREATE INDEX point_revision_point ON point_revision (stream, time, key);

CREATE TABLE reading_revision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream integer NOT NULL,
    time timestamptz NOT NULL,
    key bigint NOT NULL,
    at timestamptz NOT NULL,
    who text NOT NULL,
    reason text NOT NULL,
    was jsonb NOT NULL,
    became jsonb
);
CREATE INDEX reading_revision_reading ON reading_revision (stream, time, key);

CREATE TABLE event (
    id bigint PRIMARY KEY,
    stream integer NOT NULL,
    alarm bigint,
    kind text NOT NULL,
    rule text NOT NULL,
    side text NOT NULL,
    first_time timestamptz NOT NULL,
    first_key bigint NOT NULL,
    last_time timestamptz NOT NULL,
    last_key bigint NOT NULL,
    count integer NOT NULL,
    state text NOT NULL,
    priority smallint NOT NULL,
    retrospective boolean NOT NULL,
    advisory boolean NOT NULL,
    sentence text NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX event_open ON event (stream) WHERE state = 'open';
CREATE INDEX event_alarm ON event (alarm) WHERE alarm IS NOT NULL;
CREATE INDEX event_stream ON event (stream, last_time);

CREATE TABLE alarm (
    id bigint PRIMARY KEY,
    stream integer NOT NULL,
    characteristic text NOT NULL,
    stream_name text NOT NULL,
    class text NOT NULL,
    state text NOT NULL,
    priority smallint NOT NULL,
    opened timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    last_key bigint NOT NULL,
    count integer NOT NULL,
    rules text[] NOT NULL,
    sentence text NOT NULL,
    version integer NOT NULL,
    seq bigint NOT NULL,
    active boolean NOT NULL,
    paged boolean NOT NULL,
    needs_cause boolean NOT NULL,
    seen_by text,
    seen_at timestamptz,
    cause text,
    action text,
    note text,
    caused_by text,
    returned_at timestamptz,
    closed_at timestamptz,
    shelved_until timestamptz
) WITH (fillfactor = 80);
CREATE INDEX alarm_open ON alarm (id) WHERE state <> 'closed';
CREATE INDEX alarm_characteristic ON alarm (characteristic, id);
CREATE INDEX alarm_seq ON alarm (seq);

CREATE TABLE alarm_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alarm bigint NOT NULL REFERENCES alarm,
    version integer NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    who text NOT NULL,
    text text NOT NULL
);
CREATE INDEX alarm_event_alarm ON alarm_event (alarm, id);

CREATE TABLE containment (
    stream integer NOT NULL,
    time timestamptz NOT NULL,
    key bigint NOT NULL,
    value double precision NOT NULL,
    side text NOT NULL,
    lower double precision,
    upper double precision,
    alarm bigint,
    last_good_time timestamptz,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (stream, time, key)
);
CREATE INDEX containment_alarm ON containment (alarm) WHERE alarm IS NOT NULL;

CREATE TABLE outbox (
    id bigint PRIMARY KEY,
    alarm bigint,
    created_at timestamptz NOT NULL,
    payload jsonb NOT NULL
);

CREATE TABLE gap (
    id bigint PRIMARY KEY,
    source integer NOT NULL,
    characteristic integer,
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    missed bigint,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL
);

CREATE TABLE quarantine (
    id bigint PRIMARY KEY,
    received_at timestamptz NOT NULL,
    source integer NOT NULL,
    characteristic text,
    reason text NOT NULL,
    payload bytea NOT NULL,
    truncated boolean NOT NULL
);
"""

VIEWS = """
CREATE VIEW reading_view AS
SELECT c.name AS characteristic, s.name AS stream, r.time, r.key, r.value, r.size,
       (ARRAY['good', 'uncertain', 'bad'])[r.quality + 1] AS quality,
       (ARRAY['production', 'setup', 'master', 'study', 'rework'])[r.purpose + 1] AS purpose,
       (ARRAY['below', 'within', 'above'])[r.spec + 2] AS specification,
       r.flags & 8 <> 0 AS void, r.subgroup, x.tags, q.name AS source, r.received_at,
       r.stream AS stream_id
FROM reading r
JOIN stream s ON s.id = r.stream
JOIN characteristic c ON c.id = s.characteristic
LEFT JOIN context x ON x.id = r.context
LEFT JOIN source q ON q.id = r.source;

CREATE VIEW point_view AS
SELECT c.name AS characteristic, s.name AS stream, p.time, p.key, p.n, p.statistic, p.dispersion,
       p.violations, p.violations <> 0 AS signal, p.flags & 8 <> 0 AS excluded,
       v.number AS version, v.state AS version_state, v.definition ->> 'chart' AS chart,
       (v.limits ->> 'center')::double precision AS center,
       (v.limits ->> 'sigma')::double precision AS sigma,
       p.seq, p.stream AS stream_id
FROM point p
JOIN stream s ON s.id = p.stream
JOIN characteristic c ON c.id = s.characteristic
LEFT JOIN version v ON v.id = p.version;
"""

TIMESCALE = """
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') AS installed,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       -- shown to superusers only; without it CREATE EXTENSION ends the session
       AND EXISTS (SELECT FROM pg_settings
                   WHERE name = 'shared_preload_libraries' AND setting LIKE '%timescaledb%')
       AS loadable
"""


def upgrade() -> None:
    """Make everything: hypertables where TimescaleDB is, else partitions by month."""
    extension = op.get_bind().execute(text(TIMESCALE)).one()
    if extension.loadable and not extension.installed:
        op.get_bind().exec_driver_sql("CREATE EXTENSION timescaledb")
    timescale = extension.installed or extension.loadable
    partitioned = "" if timescale else "PARTITION BY RANGE (time)"
    script(CATALOG)
    script(ROWS.format(partitioned=partitioned))
    script(HYPERTABLES if timescale else PARTITIONS)
    script(INDEXES)
    script(FINDINGS)
    script(VIEWS)


def script(statements: str) -> None:
    """Run several statements as they stand: no parameters, none of SQLAlchemy's own syntax."""
    connection = cast("AdaptedConnection", op.get_bind().connection.dbapi_connection)
    connection.run_async(lambda driver: driver.execute(statements))
