"""The fixed-width rows that engine, store and spool pass to each other, and their codes."""

from enum import IntEnum, IntFlag

import numpy as np

NO_SUBGROUP = np.iinfo(np.int64).min
"""Stands for SQL NULL in an integer column of a row."""

READING = np.dtype(
    [
        ("stream", "i4"),
        ("time", "i8"),  # microseconds since 1970, UTC
        ("key", "i8"),
        ("value", "f8"),  # nan: NULL (bad quality without a number)
        ("size", "f8"),  # nan: NULL (variables data)
        ("quality", "i2"),
        ("purpose", "i2"),
        ("spec", "i2"),  # -1 below, 0 within, 1 above the specification; 0 without one
        ("flags", "i2"),
        ("subgroup", "i8"),  # NO_SUBGROUP: NULL
        ("context", "i4"),  # 0: no tags
        ("source", "i4"),
        ("received_at", "i8"),
        ("batch", "i8"),
    ]
)

POINT = np.dtype(
    [
        ("stream", "i4"),
        ("time", "i8"),  # of its first reading, as is the key
        ("key", "i8"),
        ("subgroup", "i8"),  # NO_SUBGROUP: NULL
        ("n", "f8"),  # readings in it; attribute charts: sample size
        ("statistic", "f8"),
        ("dispersion", "f8"),  # nan: NULL
        ("version", "i4"),
        ("violations", "i8"),  # bits of rules.runs, 0: none
        ("flags", "i2"),
        ("seq", "i8"),
        ("batch", "i8"),
    ]
)


class Quality(IntEnum):
    """Codes of reading.quality."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


class Purpose(IntEnum):
    """Codes of reading.purpose."""

    PRODUCTION = 0
    SETUP = 1
    MASTER = 2
    STUDY = 3
    REWORK = 4


class ReadingFlag(IntFlag):
    """Bits of reading.flags."""

    CUT = 1  # a boundary lies before this reading
    LATE = 2  # older than its stream's newest when it arrived
    NAMED = 4  # its subgroup was named by the source
    VOID = 8  # withdrawn by a person
    UNJUDGED = 16  # stored while it could not be looked up; judged later
    HISTORICAL = 32


class PointFlag(IntFlag):
    """Bits of point.flags."""

    CUT = 1  # no rule history and no moving range reaches across its start
    PARTIAL = 2  # fewer readings than the subgroup's size
    LATE = 4  # formed or changed by a late reading
    EXCLUDED = 8
    RETROSPECTIVE = 16
    UNJUDGED = 32  # no limits were in force
    TRIAL = 64  # judged by trial limits: advisory
    ABOVE = 128  # a reading in it lies above the specification
    BELOW = 256  # and below
    NAMED = 512  # its subgroup was named by the source
