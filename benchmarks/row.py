"""What a benchmark tells: one row of the table and of build/bench.json."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number, with the peer it is measured against in the same run."""

    name: str
    value: float | None  # None: it could not be measured here, `peer` says why
    unit: str
    peer: str = ""  # what it is compared with
    peer_value: float | None = None
    ratio: float | None = None  # ours to the peer's, as `limit` speaks of it
    limit: float | None = None
    limit_is: str = "<="  # how the ratio (or the value, without a peer) should stand to the limit
    extra: dict[str, Any] = field(default_factory=dict)  # whatever else belongs in the JSON

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None when there is no aim."""
        if self.limit is None:
            return None
        compared = self.value if self.ratio is None else self.ratio
        if compared is None:
            return None
        return compared <= self.limit if self.limit_is == "<=" else compared >= self.limit


def interleaved(
    *contenders: Callable[[], float | None], rounds: int = 5, warm_up: int = 1
) -> list[list[float]]:
    """Run the contenders in turn, so that a slow minute of the machine hits all of them.

    A contender returns its own measure (CPU seconds, say), or None to be timed from outside.
    Returns the measures of each one; their medians are what to compare.
    """
    for _ in range(warm_up):
        for run in contenders:
            run()
    measures: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for run, kept in zip(contenders, measures, strict=True):
            gc.collect()
            start = time.perf_counter()
            own = run()
            kept.append(time.perf_counter() - start if own is None else own)
    return measures


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the ratio of the medians."""
    return statistics.median(ours) / statistics.median(theirs)
