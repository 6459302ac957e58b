"""Rows as PostgreSQL's binary COPY wants them, and rows as the database sends them back."""

from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.store.rows import NO_SUBGROUP

EPOCH: Final = 946_684_800_000_000
"""PostgreSQL counts microseconds since 2000, Andon since 1970."""

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
NULL: Final = -1

_TIMES: Final = {"time", "received_at"}
NULLABLE: Final = {"value", "size", "dispersion", "subgroup"}


def _network(column: np.dtype[np.generic]) -> np.dtype[np.generic]:
    return column.newbyteorder(">")


def _nulls(rows: NDArray[np.void], name: str) -> NDArray[np.bool_]:
    column: NDArray[np.bool_]
    column = rows[name] == NO_SUBGROUP if name == "subgroup" else np.isnan(rows[name])
    return column


@lru_cache(maxsize=64)
def _blank(row: np.dtype[np.void], never: frozenset[str]) -> NDArray[np.void]:
    """One row as COPY wants it, with the lengths of its columns; those ``never`` there are NULL."""
    names = row.names or ()
    layout: list[tuple[str, str | np.dtype[np.generic]]] = [("columns", ">i2")]
    for name in names:
        layout.append((f"{name} length", ">i4"))
        if name not in never:
            layout.append((name, _network(row[name])))
    blank = np.zeros(1, np.dtype(layout))
    blank["columns"] = len(names)
    for name in names:
        blank[f"{name} length"] = NULL if name in never else row[name].itemsize
    return blank


def encode(rows: NDArray[np.void]) -> bytes:
    """The payload of ``COPY ... FROM STDIN (FORMAT binary)``, columns in the order of the dtype."""
    names = rows.dtype.names or ()
    some, never = {}, set()
    for name in names:
        if name in NULLABLE:
            null = _nulls(rows, name)
            count = np.count_nonzero(null)
            if count == len(rows):
                never.add(name)
            elif count:
                some[name] = null
    out = np.repeat(_blank(rows.dtype, frozenset(never)), len(rows))
    for name in names:
        if name not in never:
            out[name] = rows[name] - EPOCH if name in _TIMES else rows[name]
    for name, null in some.items():
        out[f"{name} length"][null] = NULL
    if not some:
        return b"".join((SIGNATURE, out.tobytes(), TRAILER))
    # a NULL takes no room: leave out the bytes of its value
    kept = np.ones((len(out), out.dtype.itemsize), np.bool_)
    fields = out.dtype.fields or MappingProxyType({})
    for name, null in some.items():
        field, offset = fields[name][:2]
        kept[null, offset : offset + field.itemsize] = False
    octets = out.view(np.uint8).reshape(kept.shape)
    return b"".join((SIGNATURE, octets[kept].tobytes(), TRAILER))


def _sent(row: np.dtype[np.void]) -> np.dtype[np.void]:
    """How record_send() lays out a row without NULLs."""
    layout: list[tuple[str, str | np.dtype[np.generic]]] = [("columns", ">i4")]
    for name in row.names or ():
        layout += [(f"{name} type", ">u4"), (f"{name} length", ">i4"), (name, _network(row[name]))]
    return np.dtype(layout)


def decode(sent: bytes | None, row: np.dtype[np.void]) -> NDArray[np.void]:
    """What ``string_agg(record_send(...), '')`` gave, as rows; None is no rows."""
    if sent is None:
        return np.empty(0, row)
    came = np.frombuffer(sent, _sent(row))
    rows = np.empty(len(came), row)
    for name in row.names or ():
        rows[name] = came[name] + EPOCH if name in _TIMES else came[name]
    return rows
