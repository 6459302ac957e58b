"""The plant file of the demo, with the ports that its servers really have."""

from collections.abc import Iterator
from typing import Any

from app.demo.gauges import topic
from app.demo.plant import GAUGES, PARTS, Gauge
from app.demo.plc import LOT, STATIONS, Cell, Station
from app.demo.production import of

POLL = {"press": "200ms", "mold": "200ms", "oven": "5s"}
LINES = sorted({gauge.station.partition("/")[0] for gauge in of("mqtt")})


def plant_toml(broker: int, plc: int, protocol: str) -> str:
    """The plant file: ``protocol`` is the MQTT version that the broker speaks."""
    tables = [
        _table("plant", {"name": "Demo plant"}),
        *(_table("[characteristic]", _characteristic(gauge)) for gauge in GAUGES),
        *(_mqtt(line, broker, protocol) for line in LINES),
        *(_modbus(name, station, plc) for name, station in STATIONS.items()),
        _table(
            "[announce]",
            {
                "id": "demo-broker",
                "kind": "mqtt",
                "url": f"mqtt://127.0.0.1:{broker}",
                "topic": "andon/alarm/{characteristic}",
                "heartbeat_topic": "andon/heartbeat",
            },
        ),
    ]
    return "# Written by andon demo at each start.\n\n" + "\n".join(tables)


def _characteristic(gauge: Gauge) -> dict[str, Any]:
    stated: dict[str, Any] = {
        "id": gauge.id,
        "name": gauge.name,
        "part": PARTS[gauge.station],
        "station": gauge.station,
        "class": gauge.grade,
        "unit": gauge.unit,
        "decimals": gauge.decimals,
        "chart": gauge.chart,
        "rules": list(gauge.rules),
        "expect": f"{gauge.expect_s}s",
        "limits": {"center": gauge.center},
    }
    if gauge.spec is not None:
        low, high = gauge.spec
        target = gauge.center if gauge.limited == "both" else None
        around = {"lower": low, "target": target, "upper": high}
        stated["spec"] = {name: value for name, value in around.items() if value is not None}
        stated["limits"]["sigma"] = gauge.sigma
    if gauge.n > 1 and not gauge.counts:
        stated["subgroup"] = {"size": gauge.n}
    if gauge.cavities:
        stated["stream"] = ["cavity"]
    return stated


def _mqtt(line: str, port: int, protocol: str) -> str:
    source = {
        "id": f"{line}-gauges",
        "kind": "mqtt",
        "url": f"mqtt://127.0.0.1:{port}",
        "protocol": protocol,
    }
    forms = {
        "value": {"value": "/value", "key": "/serial", "time": "/time", "tags": {"lot": "/lot"}},
        "sample": {
            "items": "/values",
            "time": "^/time",
            "subgroup": "^/sample",
            "tags": {"lot": "^/lot"},
        },
        "count": {
            "value": "/defective",
            "size": "/inspected",
            "key": "/serial",
            "time": "/time",
            "tags": {"lot": "/lot"},
        },
    }
    used = {topic(g).split("/")[3] for g in of("mqtt") if g.station.startswith(f"{line}/")}
    subscriptions = (
        {
            "topic": f"plant/{line}/+/{form}/{{characteristic}}",
            "sequence": "^/n",
            **mapping,
        }
        for form, mapping in forms.items()
        if form in used
    )
    return "\n".join(
        [
            _table("[source]", source),
            *(_table("[source.subscription]", one) for one in subscriptions),
        ]
    )


def _modbus(name: str, station: Station, port: int) -> str:
    source = {
        "id": name,
        "kind": "modbus",
        "url": f"tcp://127.0.0.1:{port}",
        "poll": POLL[name],
        "timeout": "2s",
    }
    registers = (
        _register(characteristic, cavity, cell, station)
        for (characteristic, cavity), cell in station.cells.items()
    )
    return "\n".join(
        [_table("[source]", source), *(_table("[source.register]", one) for one in registers)]
    )


def _register(name: str, cavity: str | None, cell: Cell, station: Station) -> dict[str, Any]:
    stated: dict[str, Any] = {
        "characteristic": name,
        "device": station.device,
        "address": cell.address,
        "type": cell.type,
        "order": cell.order,
        "scale": cell.scale,
    }
    if station.counter is not None:
        stated["trigger"] = {"address": station.counter, "on": "change", "wrap": 65536}
    tags: dict[str, Any] = {} if cavity is None else {"cavity": cavity}
    if station.lot is not None:
        tags["lot"] = {"address": station.lot, "type": LOT}
    return {**stated, "tags": tags} if tags else stated


def _table(name: str, values: dict[str, Any]) -> str:
    return "\n".join([f"[{name}]", *_lines(values)]) + "\n"


def _lines(values: dict[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        yield f"{key} = {_toml(value)}"


def _toml(value: Any) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case str():
            return f'"{value}"'
        case _:
            return repr(value)
