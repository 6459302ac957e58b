"""Measurements of the simulated plant as items of ``POST /readings``."""

from datetime import UTC, datetime
from typing import Any

from app.demo.plant import SECOND, Measured

COUNTER = 65_536  # where the PLC's part counters begin anew


def iso(time: int) -> str:
    """A time as ISO 8601."""
    return datetime.fromtimestamp(time / SECOND, UTC).isoformat(timespec="microseconds")


def key_of(one: Measured) -> int:
    """What tells this part from others: its serial number, or the PLC's part counter."""
    match one.gauge.route:
        case "press" | "mold":
            return one.part % COUNTER
        case "oven":
            return 0
        case "mqtt" | "mes":
            return one.part


def item(one: Measured, *, historical: bool = False) -> dict[str, Any]:
    """The item that states this measurement."""
    tags = {"lot": one.lot} if one.cavity is None else {"lot": one.lot, "cavity": one.cavity}
    stated: dict[str, Any] = {
        "characteristic": one.gauge.id,
        "time": iso(one.time),
        "tags": tags,
    }
    if historical:
        stated["historical"] = True
    if one.size is not None:
        return {**stated, "value": one.values[0], "key": key_of(one), "size": one.size}
    if one.gauge.n > 1:
        return {**stated, "values": list(one.values), "subgroup": one.part}
    return {**stated, "value": one.values[0], "key": key_of(one)}
