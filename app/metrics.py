"""What /metrics tells Prometheus: levels when asked, counters as they run."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, get_args

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from app.store.batch import Batch
from collectors.supervisor import SourceStatus, State

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()

STAGES = ("intake", "judge", "alarms", "write", "publish")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

READINGS = Counter(
    "andon_readings", "Readings by what became of them", ["outcome"], registry=REGISTRY
)
"""``outcome``: accepted, duplicate, rejected."""
POINTS = Counter("andon_points", "Points judged", registry=REGISTRY)
VIOLATIONS = Counter("andon_violations", "Points that violate a rule", registry=REGISTRY)
BATCHES = Counter(
    "andon_batches", "Batches by where they became durable", ["durable"], registry=REGISTRY
)
"""``durable``: database, spool."""
STAGE = Histogram(
    "andon_stage_seconds",
    "Time that a batch spends in each stage",
    ["stage"],
    buckets=SECONDS,
    registry=REGISTRY,
)
REQUESTS = Histogram(
    "andon_http_seconds",
    "Time to answer HTTP requests",
    ["method", "route", "status"],
    buckets=SECONDS,
    registry=REGISTRY,
)
ANNOUNCEMENTS = Counter(
    "andon_announcements",
    "Announcements by channel and result",
    ["channel", "result"],
    registry=REGISTRY,
)
"""``result``: sent, failed."""
LOOP_LAG = Histogram(
    "andon_loop_lag_observed_seconds",
    "How late the event loop runs what is due",
    buckets=SECONDS,
    registry=REGISTRY,
)

STATES = get_args(State)


def count(batch: Batch, durable: str) -> None:
    """Count what a durable batch carries."""
    READINGS.labels("accepted").inc(len(batch.readings))
    READINGS.labels("rejected").inc(len(batch.quarantined))
    POINTS.inc(len(batch.points))
    VIOLATIONS.inc(int((batch.points["violations"] != 0).sum()))
    BATCHES.labels(durable).inc()


class SourceState(NamedTuple):
    """A source, as its supervisor knows it."""

    kind: str
    status: SourceStatus


class Gauges(msgspec.Struct):
    """Levels that /metrics reads when it is asked."""

    loop_lag_s: float = 0.0
    intake_depth: int = 0
    intake_capacity: int = 0
    spool_batches: int = 0
    spool_bytes: int = 0
    spool_age_s: float = 0.0
    streams: int = 0
    open_alarms: int = 0
    live_clients: int = 0
    database_up: bool = True


class _Levels:
    """Levels as they are at this moment."""

    def __init__(self, gauges: Gauges, sources: Iterable[SourceState]) -> None:
        self._gauges = gauges
        self._sources = list(sources)

    def collect(self) -> Iterator[Metric]:
        """One family per level."""
        for name, text, value in (
            (
                "andon_loop_lag_seconds",
                "How late the event loop lately runs",
                self._gauges.loop_lag_s,
            ),
            ("andon_intake_depth", "Readings that wait for their batch", self._gauges.intake_depth),
            ("andon_intake_capacity", "The most that may wait", self._gauges.intake_capacity),
            (
                "andon_spool_batches",
                "Batches that wait for the database",
                self._gauges.spool_batches,
            ),
            ("andon_spool_bytes", "Size of the spool", self._gauges.spool_bytes),
            (
                "andon_spool_age_seconds",
                "Age of the oldest waiting batch",
                self._gauges.spool_age_s,
            ),
            ("andon_streams", "Streams in memory", self._gauges.streams),
            ("andon_open_alarms", "Alarms that are not closed", self._gauges.open_alarms),
            ("andon_live_clients", "Screens that watch", self._gauges.live_clients),
            ("andon_database_up", "1 while the database answers", float(self._gauges.database_up)),
        ):
            yield GaugeMetricFamily(name, text, value)
        yield from self._of_sources()

    def _of_sources(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "andon_source_state", "1 for the state a source is in", labels=["source", "state"]
        )
        skew = GaugeMetricFamily(
            "andon_source_skew_seconds", "A source's clock minus ours", labels=["source"]
        )
        newest = GaugeMetricFamily(
            "andon_source_last_reading_timestamp_seconds",
            "When a source's newest reading came",
            labels=["source"],
        )
        counts = {
            name: CounterMetricFamily(f"andon_source_{name}", text, labels=["source"])
            for name, text in (
                ("messages", "Messages or polls"),
                ("readings", "Readings handed over"),
                ("rejects", "What could not be a reading"),
                ("dropped", "Given up without a promise broken"),
                ("acknowledged", "Messages acknowledged"),
            )
        }
        for _, source in self._sources:
            for one in STATES:
                state.add_metric([source.name, one], float(source.state == one))
            if source.counters.skew_us is not None:
                skew.add_metric([source.name], source.counters.skew_us / 1e6)
            if source.last_reading_at is not None:
                newest.add_metric([source.name], source.last_reading_at / 1e6)
            for name, family in counts.items():
                family.add_metric([source.name], getattr(source.counters, name))
        yield from (state, skew, newest, *counts.values())


def exposition(gauges: Gauges, sources: Iterable[SourceState]) -> bytes:
    """Everything, as Prometheus reads it."""
    levels = CollectorRegistry()
    levels.register(_Levels(gauges, sources))
    return generate_latest(REGISTRY) + generate_latest(levels)
