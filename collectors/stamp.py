"""Times as sources write them, as microseconds since 1970."""

import datetime as dt
import math
import re
from collections.abc import Callable
from zoneinfo import ZoneInfo

import msgspec

from collectors.shown import shown

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EARLIEST = -62_135_596_800_000_000  # 0001-01-01
LATEST = 253_402_300_799_999_999  # 9999-12-31
MICROSECOND = dt.timedelta(microseconds=1)
PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
NANOSECONDS = 1_000
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")

Stamp = Callable[[object], int]
"""Microseconds of a stamp; a ValueError says in words why it is none."""


def stamp_reader(time_format: str, time_zone: str | None) -> Stamp:
    """The reader of stamps in ``time_format``; ``time_zone`` is for those that name no zone."""
    zone = None if time_zone is None else ZoneInfo(time_zone)

    def iso(raw: object) -> int:
        if isinstance(raw, dt.datetime):
            return _microseconds(raw, zone)
        return _microseconds(_parse_iso(raw), zone)

    def number(raw: object) -> int:
        return _count(raw, time_format)

    def pattern(raw: object) -> int:
        if not isinstance(raw, str):
            raise ValueError(f"{shown(raw)} is no text")  # noqa: TRY004 - it is about the message
        try:
            stamp = dt.datetime.strptime(raw, time_format)  # noqa: DTZ007 - the zone follows
        except ValueError:
            raise ValueError(f'{shown(raw)} does not read as "{time_format}"') from None
        return _microseconds(stamp, zone)

    if time_format == "iso":
        return iso
    return number if time_format in (*PER_UNIT, "ns") else pattern


def _parse_iso(raw: object) -> dt.datetime:
    if isinstance(raw, str):
        try:
            return msgspec.convert(raw, dt.datetime)
        except msgspec.ValidationError:
            pass
        try:
            return dt.datetime.fromisoformat(raw.strip())
        except ValueError:
            pass
    raise ValueError(f"{shown(raw)} is no ISO 8601 time; see time_format")


def _microseconds(stamp: dt.datetime, zone: ZoneInfo | None) -> int:
    if stamp.tzinfo is None:
        if zone is None:
            raise ValueError(f'{shown(stamp.isoformat())} names no time zone; set "time_zone"')
        stamp = stamp.replace(tzinfo=zone)
    return (stamp - EPOCH) // MICROSECOND


def _count(raw: object, unit: str) -> int:
    if isinstance(raw, str) and _NUMBER.fullmatch(raw.strip()):
        text = raw.strip()
        raw = int(text) if text.lstrip("+-").isdecimal() and len(text) < 40 else float(text)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"{shown(raw)} is no number; see time_format")  # noqa: TRY004
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ValueError(f"{shown(raw)} is no time")
    if unit == "ns":
        micros = raw // NANOSECONDS if isinstance(raw, int) else round(raw / NANOSECONDS)
    else:
        micros = raw * PER_UNIT[unit] if isinstance(raw, int) else _scaled(raw, PER_UNIT[unit])
    if not EARLIEST <= micros <= LATEST:
        raise ValueError(f"{shown(raw)} {unit} is no time between the years 1 and 9999")
    return int(micros)


def _scaled(raw: float, per_unit: int) -> int:
    scaled = raw * per_unit
    return round(scaled) if math.isfinite(scaled) else LATEST + 1
