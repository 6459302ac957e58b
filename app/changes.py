"""What re-evaluating a stream changes in its points, and the record of what was shown before."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.store.batch import Revision
from app.store.rows import POINT, PointFlag
from rules import stream as loop
from rules.runs import decode

SHOWN_FOR = 10_000_000
"""Microseconds after which a change of what was shown is called retrospective."""

JUDGED = (
    PointFlag.CUT
    | PointFlag.PARTIAL
    | PointFlag.UNJUDGED
    | PointFlag.TRIAL
    | PointFlag.ABOVE
    | PointFlag.BELOW
)
KEPT = PointFlag.EXCLUDED | PointFlag.RETROSPECTIVE | PointFlag.LATE


class Changes(NamedTuple):
    """What re-evaluating a stream adds, changes and withdraws."""

    added: NDArray[np.void]
    changed: NDArray[np.void]
    changed_was: NDArray[np.void]
    withdrawn: NDArray[np.void]
    newest: NDArray[np.void]  # the stream's newest point now, or none
    revisions: list[Revision]

    def then(self, other: "Changes") -> "Changes":
        """These changes and those of a later part of the stream."""
        return Changes(
            np.concatenate([self.added, other.added]),
            np.concatenate([self.changed, other.changed]),
            np.concatenate([self.changed_was, other.changed_was]),
            np.concatenate([self.withdrawn, other.withdrawn]),
            other.newest,
            self.revisions + other.revisions,
        )


def differences(
    shown: NDArray[np.void],
    found: NDArray[np.void],
    between: tuple[tuple[int, int], tuple[int, int]],
    state: NDArray[np.int64],
    *,
    now: int,
    why: str,
) -> Changes:
    """What has to be stored so that the points of one stream are those that were found.

    ``state`` is the stream's row in the engine; each change takes its next sequence number.
    """
    earliest, until = between
    old = {identity_of(point): point for point in shown if identity_of(point) <= until}
    added, changed, changed_was, revisions = [], [], [], []
    for point in found:
        identity = identity_of(point)
        if not earliest <= identity <= until:
            continue
        was = old.pop(identity, None)
        if was is not None and _same(was, point):
            continue
        state[loop.SEQ] += 1
        point["seq"] = state[loop.SEQ]
        if was is not None:
            point["flags"] |= int(was["flags"]) & KEPT
            if now - identity[0] > SHOWN_FOR:
                point["flags"] |= PointFlag.RETROSPECTIVE
            changed.append(point)
            changed_was.append(was)
            revisions.append(_revision(point, now, why, was, point))
        else:
            added.append(point)
    withdrawn = list(old.values())
    for point in withdrawn:
        state[loop.SEQ] += 1
        point["seq"] = state[loop.SEQ]
        revisions.append(_revision(point, now, why, point, None))
    return Changes(
        added=_table(added),
        changed=_table(changed),
        changed_was=_table(changed_was),
        withdrawn=_table(withdrawn),
        newest=found[-1:],
        revisions=revisions,
    )


def identity_of(row: np.void) -> tuple[int, int]:
    """Where a reading or a point stands in its stream."""
    return int(row["time"]), int(row["key"])


def _same(was: np.void, now: np.void) -> bool:
    before, after = float(was["dispersion"]), float(now["dispersion"])
    return (
        was["subgroup"] == now["subgroup"]
        and was["n"] == now["n"]
        and was["statistic"] == now["statistic"]
        and (before == after or (math.isnan(before) and math.isnan(after)))
        and was["version"] == now["version"]
        and was["violations"] == now["violations"]
        and (int(was["flags"]) ^ int(now["flags"])) & JUDGED == 0
    )


def _revision(
    at: np.void, now: int, why: str, was: np.void | None, became: np.void | None
) -> Revision:
    return Revision(
        stream=int(at["stream"]),
        time=int(at["time"]),
        key=int(at["key"]),
        seq=int(at["seq"]),
        at=now,
        why=why,
        was=None if was is None else _described(was),
        became=None if became is None else _described(became),
    )


def _described(point: np.void) -> dict[str, Any]:
    """A point as JSON, for the record of what was shown."""
    dispersion = float(point["dispersion"])
    return {
        "n": float(point["n"]),
        "statistic": float(point["statistic"]),
        "dispersion": None if np.isnan(dispersion) else dispersion,
        "version": int(point["version"]),
        "flags": int(point["flags"]),
        "violations": [
            {"chart": v.chart, "rule": v.rule, "side": v.side}
            for v in decode(int(point["violations"]))
        ],
    }


def _table(points: list[np.void]) -> NDArray[np.void]:
    return np.array(points, POINT) if points else np.empty(0, POINT)
