"""The messages of andon.v1, as docs/protocol.md describes them."""

from functools import lru_cache
from typing import Annotated, Any

import msgspec

from app.live.source import CharacteristicFacts
from app.store.batch import Alarm, Version
from rules.limits import Limits, Line, dispersion, location

SUBPROTOCOL = "andon.v1"
MAX_WINDOW = 1000
EXACT = 2**53 - 1  # the largest integer that every JSON reader keeps

Name = Annotated[str, msgspec.Meta(max_length=2000)]
_encoder = msgspec.json.Encoder()
encode = _encoder.encode


class Sub(msgspec.Struct, tag_field="t", tag="sub"):
    """Show me these streams, from where I was."""

    chars: Annotated[list[Name], msgspec.Meta(max_length=5000)] = []
    window: Annotated[int, msgspec.Meta(ge=1)] = 100
    since: dict[str, int] = {}
    epoch: str | None = None
    alarm_since: int | None = None
    rate: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Unsub(msgspec.Struct, tag_field="t", tag="unsub"):
    """I no longer show these streams."""

    chars: Annotated[list[Name], msgspec.Meta(max_length=5000)]


class Rx(msgspec.Struct, tag_field="t", tag="rx"):
    """The newest ``now`` that has arrived."""

    now: int


decode = msgspec.json.Decoder(Sub | Unsub | Rx).decode


def text(**message: Any) -> str:
    """One message as the socket sends it."""
    return encode(message).decode()


def encode_each(rows: list[Any]) -> list[bytes]:
    """Each of them by itself; far cheaper than one after the other."""
    return _encoder.encode_lines(rows).splitlines()


def millis(micros: int) -> int | float:
    """Epoch milliseconds that still tell microseconds apart."""
    whole, rest = divmod(micros, 1000)
    return micros / 1000 if rest else whole


def some_millis(micros: int | None) -> int | float | None:
    """The same where a time may be missing."""
    return None if micros is None else millis(micros)


def exact(key: int) -> int | str:
    """A 64-bit number that survives a reader with doubles only."""
    return key if -EXACT <= key <= EXACT else str(key)


def count(n: float) -> float:
    """A sample size without a needless fraction."""
    return int(n) if n.is_integer() else n


def characteristic(facts: CharacteristicFacts) -> dict[str, Any]:
    """A characteristic as in ``welcome`` and ``char``."""
    return {
        "id": facts.id,
        "name": facts.name,
        "unit": facts.unit,
        "decimals": facts.decimals,
        "station": facts.station,
        "part": facts.part,
        "class": facts.class_,
        "chart": facts.chart,
        "n": facts.n,
        "expect": facts.expect_s,
        "plausible": facts.plausible,
        "causes": facts.causes,
        "actions": facts.actions,
        "streams": [{"c": s.name, "tags": s.tags} for s in facts.streams],
    }


def alarm(row: Alarm) -> dict[str, Any]:
    """An alarm as in ``al`` and ``alarms``."""
    return {
        "id": row.id,
        "characteristic": row.characteristic,
        "stream": row.stream_name,
        "class": row.alarm_class,
        "state": row.state,
        "priority": row.priority,
        "active": row.active,
        "opened": millis(row.opened),
        "last": {"time": millis(row.last_time), "key": exact(row.last_key)},
        "count": row.count,
        "rules": row.rules,
        "sentence": row.sentence,
        "version": row.version,
        "needs_cause": row.needs_cause,
        "seen_by": row.seen_by,
        "seen_at": some_millis(row.seen_at),
        "cause": row.cause,
        "action": row.action,
        "note": row.note,
        "caused_by": row.caused_by,
        "returned_at": some_millis(row.returned_at),
        "closed_at": some_millis(row.closed_at),
        "shelved_until": some_millis(row.shelved_until),
    }


class Judge(msgspec.Struct, frozen=True):
    """A version with its limits at hand, to draw the points that it judged."""

    number: int
    n: float
    limits: Limits | None

    @classmethod
    def of(cls, version: Version) -> "Judge":
        """Unpack what the lines of a version need."""
        limits = None if version.limits is None else Limits.from_dict(version.limits)
        size = float((version.definition.get("subgroup") or {}).get("size", 1))
        if limits is not None and size == 1:
            size = float(limits.n)  # attribute charts: that of the baseline
        return cls(version.number, size, limits)


@lru_cache(maxsize=4096)
def lines(limits: Limits, n: float) -> tuple[Line, Line | None]:
    """The lines of both charts for points of ``n``."""
    return location(limits, n), dispersion(limits, n)


def own_lines(judge: Judge, n: float) -> list[float | None] | None:
    """The limits of a point whose n is not its version's; None where they are the version's."""
    if judge.limits is None or n == judge.n:
        return None
    x, d = lines(judge.limits, n)
    of_d = (None, None, None) if d is None else (d.center, d.lcl, d.ucl)
    return [x.lcl, x.ucl, x.sigma, *of_d]


def _line(line: Line | None) -> dict[str, float | None] | None:
    if line is None:
        return None
    return {"cl": line.center, "lcl": line.lcl, "ucl": line.ucl, "s": line.sigma}


def version(row: Version) -> dict[str, Any]:
    """A version as in ``snap`` and ``lim``."""
    judge = Judge.of(row)
    limits = judge.limits
    x, d = (None, None) if limits is None else lines(limits, judge.n)
    return {
        "number": row.number,
        "state": row.state,
        "valid_from": some_millis(row.valid_from),
        "chart": row.definition.get("chart"),
        "n": count(judge.n),
        "rules": row.definition.get("rules"),
        "spec": row.definition.get("spec"),
        "method": None if limits is None else limits.method,
        "source": None if limits is None else limits.source,
        "center": None if limits is None else limits.center,
        "sigma": None if limits is None else limits.sigma,
        "x": _line(x),
        "d": _line(d),
        "author": row.author,
        "reason": row.reason,
        "created_at": millis(row.created_at),
        "approved_by": row.approved_by,
        "approved_at": some_millis(row.approved_at),
    }
