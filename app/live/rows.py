"""Points as the socket sends them: rows one by one, or a whole window in columns."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.live import wire
from app.live.series import Change, Series, State
from app.live.source import LiveSource
from app.store.batch import Version

JUDGES_REMEMBERED = 10_000
WIRE_ORDER = [
    "seq", "time", "statistic", "violations", "key", "dispersion", "n", "version", "flags",
]  # fmt: skip
COLUMNS = ("c", "seq", "ts", "y", "f", "x", "d", "n", "v", "g", "l")
UNFINISHED = ("proposed", "trial", "collecting")
UNKNOWN = wire.Judge(0, 0.0, None)


class Rows:
    """Encodes points once for all who show them."""

    def __init__(self, source: LiveSource) -> None:
        self._source = source
        self._judges: dict[int, wire.Judge] = {}

    def forget(self) -> None:
        """Versions have changed."""
        self._judges.clear()

    def encode(self, series: Series, points: NDArray[np.void]) -> list[bytes]:
        """Each point as a row of ``d``."""
        return wire.encode_each([self.row(series, row) for row in points[WIRE_ORDER].tolist()])

    def update(self, series: Series, change: Change, point: NDArray[np.void]) -> bytes:
        """One change of the past as a message of its own."""
        row = self.row(series, point[WIRE_ORDER].tolist()[0])
        named = dict(zip(COLUMNS, row, strict=False))
        return wire.encode({"t": "upd", "rev": change.value, **named})

    def snap(self, series: Series, window: int) -> str:
        """The newest ``window`` points with every version that judged them."""
        points = series.points[-window:]
        columns = {name: points[name].tolist() for name in WIRE_ORDER}
        versions = [self._judge(series.stream, number) for number in columns["version"]]
        own = {
            str(i): lines
            for i, (judge, n) in enumerate(zip(versions, columns["n"], strict=True))
            if (lines := wire.own_lines(judge, n)) is not None
        }
        return wire.text(
            t="snap",
            c=series.name,
            seq=series.seq,
            partial=series.state is not State.LOADED,
            **self.limits(series.stream, {judge.number for judge in versions}),
            x=[wire.exact(key) for key in columns["key"]],
            ts=[wire.millis(time) for time in columns["time"]],
            y=columns["statistic"],
            d=columns["dispersion"],
            n=[wire.count(n) for n in columns["n"]],
            v=[judge.number for judge in versions],
            f=columns["violations"],
            g=columns["flags"],
            l=own,
        )

    def limits(self, stream: int, used: Iterable[int]) -> dict[str, Any]:
        """The version in force, and every one that a screen has to draw."""
        drawn = set(used)
        current = self._source.in_force(stream)
        if current is not None:
            drawn.add(current.number)
        versions = {
            str(version.number): wire.version(version)
            for version in self._source.versions(stream)
            if version.number in drawn or version.state in UNFINISHED
        }
        now = versions.get(str(current.number)) if current else None
        x = now["x"] if now else None
        return {
            "limits_version": current.number if current and current.limits else None,
            "cl": x["cl"] if x else None,
            "s": x["s"] if x else None,
            "spec": now["spec"] if now else None,
            "versions": versions,
        }

    def row(self, series: Series, row: tuple[Any, ...]) -> list[Any]:
        """A point in the order of the wire as a row of ``d``, to be encoded."""
        seq, time, y, f, key, d, n, version, g = row
        judge = self._judge(series.stream, version)
        size = int(n) if n.is_integer() else n
        out = [
            series.name, seq, wire.millis(time), y, f, wire.exact(key), d, size, judge.number, g,
        ]  # fmt: skip
        if n != judge.n and (own := wire.own_lines(judge, n)) is not None:
            out.append(own)
        return out

    def _judge(self, stream: int, number: int) -> wire.Judge:
        judge = self._judges.get(number)
        if judge is None:
            if len(self._judges) > JUDGES_REMEMBERED:
                self._judges.clear()
            found = _find(self._source.versions(stream), number)
            if found is None:
                return UNKNOWN
            judge = self._judges[number] = wire.Judge.of(found)
        return judge


def _find(versions: Iterable[Version], number: int) -> Version | None:
    return next((version for version in versions if version.id == number), None)
