"""Rows and batches as short as tests want them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from app.store.rows import NO_SUBGROUP, POINT, READING

SECOND = 1_000_000
DAY = 86_400 * SECOND
NOW = 1_790_000_000 * SECOND


def readings(*rows: dict[str, Any], **all_rows: Any) -> NDArray[np.void]:
    """READING rows; what is not said is ordinary."""
    out = np.zeros(len(rows), READING)
    out["stream"], out["time"], out["received_at"] = 1, NOW, NOW
    out["size"], out["subgroup"], out["batch"] = np.nan, NO_SUBGROUP, 1
    for name, value in all_rows.items():
        out[name] = value
    for i, row in enumerate(rows):
        for name, value in row.items():
            out[name][i] = value
    return out


def points(*rows: dict[str, Any], **all_rows: Any) -> NDArray[np.void]:
    """POINT rows; what is not said is ordinary."""
    out = np.zeros(len(rows), POINT)
    out["stream"], out["time"], out["n"], out["version"] = 1, NOW, 1, 1
    out["dispersion"], out["subgroup"], out["batch"] = np.nan, NO_SUBGROUP, 1
    for name, value in all_rows.items():
        out[name] = value
    for i, row in enumerate(rows):
        for name, value in row.items():
            out[name][i] = value
    return out


def series(count: int, stream: int = 1, start: int = NOW, step: int = SECOND) -> dict[str, Any]:
    """Readings and their points, one each ``step``, as arguments of a batch."""
    time = start + np.arange(count) * step
    values = 10 + np.sin(np.arange(count))
    return {
        "readings": readings(*[{}] * count, stream=stream, time=time, value=values),
        "points": points(
            *[{}] * count, stream=stream, time=time, statistic=values, seq=np.arange(1, count + 1)
        ),
    }


def catalog(characteristics: int = 1, streams: int = 1) -> dict[str, Any]:
    """Characteristics, each with streams and a version, and a source, as arguments of a batch."""
    numbers = range(1, characteristics + 1)
    return {
        "sources": [Source(1, "broker", "mqtt", {"url": "mqtt://127.0.0.1"})],
        "characteristics": [Characteristic(n, f"bore-{n}", {"unit": "mm"}, NOW) for n in numbers],
        "streams": [
            Stream(
                (n - 1) * streams + s,
                n,
                f"bore-{n}" if streams == 1 else f"bore-{n}:{s}",
                {"s": str(s)},
            )
            for n in numbers
            for s in range(1, streams + 1)
        ],
        "versions": [version(n, characteristic=n) for n in numbers],
    }


def version(number: int = 1, **more: Any) -> Version:
    columns = {
        "id": number,
        "characteristic": 1,
        "stream": None,
        "number": 1,
        "state": "active",
        "valid_from": None,
        "definition": {"chart": "i_mr"},
        "limits": {"chart": "i_mr", "center": 10.0, "sigma": 1.0},
        "author": "anna",
        "reason": "first",
        "created_at": NOW,
    }
    return Version(**{**columns, **more})


def alarm(number: int = 1, **more: Any) -> Alarm:
    columns: dict[str, Any] = {
        "id": number,
        "stream": 1,
        "characteristic": "bore-1",
        "stream_name": "bore-1",
        "alarm_class": "control",
        "state": "unack",
        "priority": 2,
        "opened": NOW,
        "last_time": NOW,
        "last_key": 0,
        "count": 1,
        "rules": ["nelson-1"],
        "sentence": "1 point above 12.004",
        "version": 1,
        "seq": number,
        "active": True,
    }
    return Alarm(**{**columns, **more})


def event(number: int = 1, **more: Any) -> Event:
    columns: dict[str, Any] = {
        "id": number,
        "stream": 1,
        "alarm": 1,
        "kind": "location",
        "rule": "nelson-1",
        "side": "upper",
        "first_time": NOW,
        "first_key": 0,
        "last_time": NOW,
        "last_key": 0,
        "count": 1,
        "state": "open",
        "priority": 2,
    }
    return Event(**{**columns, **more})


def containment(**more: Any) -> Containment:
    columns: dict[str, Any] = {
        "stream": 1,
        "time": NOW,
        "key": 0,
        "value": 13.5,
        "side": "upper",
        "lower": None,
        "upper": 12.5,
        "alarm": 1,
        "last_good_time": NOW - SECOND,
        "recorded_at": NOW,
    }
    return Containment(**{**columns, **more})


def everything(number: int = 1, **more: Any) -> Batch:
    """A batch with a row in each of its parts, no two of them alike from batch to batch."""
    n = number
    at = NOW + n * SECOND
    rows = series(1, start=at)
    parts: dict[str, Any] = {
        **catalog(),
        **rows,
        "contexts": [Context(n, {"lot": f"L{n}", "ort": "Bohrung Ø"})],
        "events": [event(n, alarm=n)],
        "alarms": [alarm(n)],
        "alarm_changes": [AlarmChange(n, 1, at, "raised", "andon", "it rang")],
        "outbox": [Outbox(n, n, at, {"text": "it rang"})],
        "containments": [containment(time=at)],
        "gaps": [GapRow(n, 1, 1, at, at + SECOND, 3, "numbers skipped", at)],
        "quarantined": [Quarantined(n, at, 1, "bore-1", "no number", b"\x00\xffrubbish")],
        "revisions": [Revision(1, at, 0, n, at, "late reading", None, {"statistic": 1.0})],
        "reading_revisions": [ReadingRevision(1, at, 0, at, "anna", "typo", {"value": 1.0}, None)],
        "boundaries": [Boundary(n, 1, None, at, "new tool", "anna", at)],
        "station_events": [
            StationEvent(n, "line-1/op-20", "tool_change", at, "T4", True, "anna", at)
        ],
        "audits": [Audit(n, at, "anna", "exclude", "bore-1", None, {"flags": 8}, "dirt")],
        "answered": [Answered(f"key-{n}", at, "hash", {"accepted": 1})],
        "plant": {"name": "Plant 1"},
        "positions": {1: {"count": n}},
        "stream_seqs": {1: (n, n)},
    }
    return Batch(id=n, at=at, **{**parts, **more})


def assert_same(found: NDArray[np.void], expected: NDArray[np.void]) -> None:
    """The same rows in the same order, nan equal to nan."""
    assert found.dtype == expected.dtype
    assert len(found) == len(expected)
    for name in expected.dtype.names or ():
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
