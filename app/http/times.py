"""Times and cursors as the API writes and reads them."""

import datetime as dt
import re
from typing import Annotated

import numpy as np
from fastapi import Query
from numpy.typing import NDArray

from app.http.problem import Problem
from collectors.stamp import EPOCH, stamp_reader

_stamp = stamp_reader("iso", None)
_SPACE_FOR_PLUS = re.compile(r" (\d\d:?\d\d)$")

Time = Annotated[
    str | None,
    Query(
        description='ISO 8601 with an offset or "Z"',
        examples=["2026-11-23T10:15:00Z"],
        max_length=64,
    ),
]
Limit = Annotated[int, Query(ge=1, le=10_000, description="The most items in one answer.")]
After = Annotated[str | None, Query(description="`next` of the page before", max_length=100)]


def iso(microseconds: int) -> str:
    """A time in UTC, to the microsecond."""
    stamp = EPOCH + dt.timedelta(microseconds=microseconds)
    return stamp.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def some_iso(microseconds: int | None) -> str | None:
    """The same where there may be none."""
    return None if microseconds is None else iso(microseconds)


def iso_column(times: NDArray[np.int64]) -> list[str]:
    """A column of times."""
    stamps = np.ascontiguousarray(times).astype("M8[us]")
    written: list[str] = np.datetime_as_string(stamps, timezone="UTC").tolist()
    return written


def parsed(text: str | None, name: str) -> int | None:
    """Microseconds of a time in a query or a body.

    Raises:
        Problem: it is none, or names no zone.
    """
    if text is None:
        return None
    try:
        # "+01:00" arrives as " 01:00" when a client forgets to escape it.
        return _stamp(_SPACE_FOR_PLUS.sub(r"+\1", text))
    except ValueError as error:
        said = str(error).replace('set "time_zone"', 'write it with "Z" or an offset')
        raise Problem(422, f"{name}: {said.replace('; see time_format', '')}") from error


def cursor(after: str | None, parts: int) -> tuple[int, ...] | None:
    """The numbers of a cursor.

    Raises:
        Problem: it is not one of ours.
    """
    if after is None:
        return None
    numbers = re.fullmatch(r"-?\d{1,20}" + r"_(-?\d{1,20})" * (parts - 1), after)
    if numbers is None or any(not -(2**63) <= int(n) < 2**63 for n in after.split("_")):
        raise Problem(422, "after: pass `next` of the page before as it was")
    return tuple(int(number) for number in after.split("_"))


def written(*numbers: int) -> str:
    """A cursor of these numbers."""
    return "_".join(str(number) for number in numbers)
