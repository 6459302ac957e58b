"""What things look like from outside: alarms, versions, streams, points."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.catalog import Catalog, Characteristic
from app.http.times import iso, iso_column, some_iso
from app.ranges import without_noise
from app.store.batch import Alarm, AlarmChange, Stream, Version
from app.store.rows import PointFlag, Purpose, Quality, ReadingFlag
from rules.limits import Limits, Line, dispersion, location
from rules.runs import decode

Row = dict[str, Any]


def alarm(row: Alarm) -> Row:
    """An alarm."""
    return {
        "id": row.id,
        "characteristic": row.characteristic,
        "stream": row.stream_name,
        "class": row.alarm_class,
        "state": row.state,
        "priority": row.priority,
        "active": row.active,
        "opened": iso(row.opened),
        "last": {"time": iso(row.last_time), "key": row.last_key},
        "count": row.count,
        "rules": row.rules,
        "sentence": row.sentence,
        "version": row.version,
        "paged": row.paged,
        "needs_cause": row.needs_cause,
        "seen_by": row.seen_by,
        "seen_at": some_iso(row.seen_at),
        "cause": row.cause,
        "action": row.action,
        "note": row.note,
        "caused_by": row.caused_by,
        "returned_at": some_iso(row.returned_at),
        "closed_at": some_iso(row.closed_at),
        "shelved_until": some_iso(row.shelved_until),
    }


def change(row: AlarmChange) -> Row:
    """A line of an alarm's history."""
    return {
        "version": row.version,
        "at": iso(row.at),
        "kind": row.kind,
        "who": row.who,
        "text": row.text,
    }


def stream(row: Stream) -> Row:
    """A stream of a characteristic."""
    return {"id": row.name, "tags": row.tags}


def version(row: Version, catalog: Catalog) -> Row:
    """A version with its lines at the nominal n."""
    limits = None if row.limits is None else Limits.from_dict(row.limits)
    return {
        "number": row.number,
        "stream": catalog.streams[row.stream].name if row.stream is not None else None,
        "state": row.state,
        "valid_from": some_iso(row.valid_from),
        "definition": row.definition,
        "limits": row.limits,
        "location": None if limits is None else _line(location(limits)),
        "dispersion": None if limits is None else _line(dispersion(limits)),
        "author": row.author,
        "reason": row.reason,
        "created_at": iso(row.created_at),
        "approved_by": row.approved_by,
        "approved_at": some_iso(row.approved_at),
    }


def characteristic(entry: Characteristic, catalog: Catalog) -> Row:
    """A characteristic with its streams and the version in force."""
    active = [one for one in catalog.versions_of(entry.id) if one.state in IN_FORCE]
    return {
        **entry.config.model_dump(mode="json", by_alias=True),
        "retired": entry.retired,
        "streams": [stream(catalog.streams[one]) for one in catalog.streams_of(entry.id)],
        "version": active[-1].number if active else None,
        "version_state": active[-1].state if active else None,
    }


IN_FORCE = ("collecting", "trial", "active")


def _line(line: Line | None) -> Row | None:
    if line is None:
        return None
    return {"center": line.center, "lcl": line.lcl, "ucl": line.ucl, "sigma": line.sigma}


def points(rows: NDArray[np.void], catalog: Catalog) -> Row:
    """Points as columns."""
    found = [decode(mask) if mask else [] for mask in rows["violations"].tolist()]
    return {
        "time": iso_column(rows["time"]),
        "key": rows["key"].tolist(),
        "statistic": numbers(rows["statistic"]),
        "dispersion": numbers(without_noise(rows["dispersion"], rows["statistic"])),
        "n": rows["n"].tolist(),
        "version": [
            catalog.versions[one].number if one in catalog.versions else None
            for one in rows["version"].tolist()
        ],
        "violations": [[v.rule for v in of if v.chart == "location"] for of in found],
        "dispersion_violations": [[v.rule for v in of if v.chart == "dispersion"] for of in found],
        "flags": [words(PointFlag, flags) for flags in rows["flags"].tolist()],
    }


def readings(rows: NDArray[np.void], tags: Mapping[int, Mapping[str, str]]) -> Row:
    """Readings as columns."""
    return {
        "time": iso_column(rows["time"]),
        "key": rows["key"].tolist(),
        "value": numbers(rows["value"]),
        "size": numbers(rows["size"]),
        "quality": [Quality(code).name.lower() for code in rows["quality"].tolist()],
        "purpose": [Purpose(code).name.lower() for code in rows["purpose"].tolist()],
        "spec": [SPEC[code + 1] for code in rows["spec"].tolist()],
        "flags": [words(ReadingFlag, flags) for flags in rows["flags"].tolist()],
        "tags": [tags.get(context, {}) for context in rows["context"].tolist()],
        "received_at": iso_column(rows["received_at"]),
    }


SPEC = ("below", "within", "above")


def numbers(column: NDArray[np.float64]) -> list[float | None]:
    """A column of numbers in which NaN stands for none."""
    return [None if math.isnan(x) else x for x in column.tolist()]


def words(flags: type[PointFlag] | type[ReadingFlag], bits: int) -> list[str]:
    """The names of the bits that are set."""
    return [(flag.name or "").lower() for flag in flags if bits & flag] if bits else []
