"""A plant in memory behind the seam of the live fan-out: streams, versions, alarms, history."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.live import CharacteristicFacts, History, HistoryAway, StreamFacts
from app.store.batch import Alarm, Version
from app.store.rows import NO_SUBGROUP, POINT

SECOND = 1_000_000


def characteristic(name: str, **facts: Any) -> CharacteristicFacts:
    """A characteristic with one stream per given name."""
    given: dict[str, Any] = {
        "id": name, "name": name.replace("-", " ").capitalize(), "unit": "mm", "decimals": 3,
        "station": "line-1/op-10", "part": "", "class_": "standard", "chart": "i_mr", "n": 1,
        "expect_s": None, "plausible": (None, None), "causes": (), "actions": (), "streams": (),
    }  # fmt: skip
    return CharacteristicFacts(**(given | facts))


def version(number: int, **fields: Any) -> Version:
    """A version in force since ever: center 10, sigma 0.1."""
    given: dict[str, Any] = {
        "id": number, "characteristic": 1, "stream": None, "number": number, "state": "active",
        "valid_from": None, "author": "A. Roth", "reason": "baseline", "created_at": 0,
        "definition": {"chart": "i_mr", "rules": ["andon"], "spec": None},
        "limits": {"chart": "i_mr", "center": 10.0, "sigma": 0.1, "n": 1, "method": "entered"},
    }  # fmt: skip
    return Version(**(given | fields))


def alarm(number: int, stream: str, **fields: Any) -> Alarm:
    """An unseen alarm of priority 2."""
    given: dict[str, Any] = {
        "id": number, "stream": 1, "characteristic": stream.partition(":")[0], "stream_name": stream,
        "alarm_class": "control", "state": "unack", "priority": 2, "opened": 0, "last_time": 0,
        "last_key": 0, "count": 1, "rules": ["nelson-1"], "sentence": "1 point above UCL.",
        "version": 1, "seq": number, "active": True,
    }  # fmt: skip
    return Alarm(**(given | fields))


class Plant:
    """Keeps every point; ``away`` makes history fail as it does while the database is down."""

    def __init__(self, facts: Iterable[CharacteristicFacts]) -> None:
        self.facts = {one.id: one for one in facts}
        self.versions_of: dict[str, list[Version]] = {}
        self.alarms: dict[int, Alarm] = {}
        self.named = {s.name: s.id for one in self.facts.values() for s in one.streams}
        self.owner = {s.id: one.id for one in self.facts.values() for s in one.streams}
        self.rows: dict[int, NDArray[np.void]] = {}
        self.seqs: dict[int, int] = {}
        self.revised: dict[int, int] = {}
        self.alarm_changes = 0
        self.era = "first"
        self.away = False
        self.asked: list[tuple[int, int]] = []

    # the seam

    def epoch(self) -> str:
        return self.era

    def characteristics(self) -> Iterable[CharacteristicFacts]:
        return self.facts.values()

    def characteristic(self, name: str) -> CharacteristicFacts | None:
        return self.facts.get(name)

    def stream(self, name: str) -> int | None:
        return self.named.get(name)

    def versions(self, stream: int) -> Sequence[Version]:
        return self.versions_of.get(self.owner[stream], [version(1)])

    def in_force(self, stream: int) -> Version | None:
        held = [one for one in self.versions(stream) if one.state in ("active", "trial")]
        return held[-1] if held else None

    def open_alarms(self) -> Sequence[Alarm]:
        return [one for one in self.alarms.values() if one.state != "closed"]

    def alarm_seq(self) -> int:
        return self.alarm_changes

    async def history(self, stream: int, window: int) -> History:
        self.asked.append((stream, window))
        if self.away:
            raise HistoryAway
        rows = self.rows.get(stream, np.empty(0, POINT))
        return History(self.seqs.get(stream, 0), self.revised.get(stream, 0), rows[-window:])

    # what happens in the plant

    def point(self, stream: int, time: int, y: float, **fields: Any) -> NDArray[np.void]:
        """A new newest point, kept and returned to be published."""
        self.seqs[stream] = self.seqs.get(stream, 0) + 1
        row = np.zeros(1, POINT)
        row["stream"], row["time"], row["key"] = stream, time, fields.pop("key", self.seqs[stream])
        row["statistic"], row["dispersion"] = y, fields.pop("d", np.nan)
        row["n"], row["version"] = fields.pop("n", 1), fields.pop("version", 1)
        row["subgroup"], row["seq"] = NO_SUBGROUP, self.seqs[stream]
        for name, value in fields.items():
            row[name] = value
        rows = np.concatenate([self.rows.get(stream, np.empty(0, POINT)), row])
        self.rows[stream] = rows[np.lexsort((rows["key"], rows["time"]))]
        return row

    def correct(self, stream: int, place: int, y: float) -> NDArray[np.void]:
        """Another value for an old point."""
        self.seqs[stream] += 1
        self.revised[stream] = self.seqs[stream]
        self.rows[stream]["statistic"][place] = y
        self.rows[stream]["seq"][place] = self.seqs[stream]
        return self.rows[stream][place : place + 1].copy()

    def withdraw(self, stream: int, place: int) -> NDArray[np.void]:
        """An old point is taken back."""
        self.seqs[stream] += 1
        self.revised[stream] = self.seqs[stream]
        row = self.rows[stream][place : place + 1].copy()
        row["seq"] = self.seqs[stream]
        self.rows[stream] = np.delete(self.rows[stream], place)
        return row

    def raise_alarm(self, number: int, stream: str, **fields: Any) -> Alarm:
        """A new alarm, or another state of an old one."""
        self.alarm_changes += 1
        known = self.alarms.get(number)
        if known is None:
            self.alarms[number] = alarm(number, stream, **(fields | {"seq": self.alarm_changes}))
        else:
            changes = fields | {"seq": self.alarm_changes, "version": known.version + 1}
            self.alarms[number] = msgspec.structs.replace(known, **changes)
        return self.alarms[number]


def small_plant(streams: int = 3) -> Plant:
    """Characteristics c-1, c-2, ... with one stream each."""
    return Plant(
        characteristic(f"c-{i}", streams=(StreamFacts(i, f"c-{i}", {}),))
        for i in range(1, streams + 1)
    )
