"""What goes wrong in the simulated plant, when, and what it is called."""

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["shift", "wear", "stuck", "mixture", "lost", "late"]

SECOND = 1_000_000  # microseconds
CYCLE_S = 480  # in each one every kind of disturbance comes once

SHIFT, WEAR, STUCK, MIXTURE = 3.4, 4.5, 0.9, 1.9  # in sigma of a point

LABELS: Mapping[Kind, str] = {
    "shift": "shift: a new insert is off by a fixed amount",
    "wear": "tool wear: the tool wears until it is changed",
    "stuck": "stuck gauge: it repeats its last value",
    "mixture": "mixture: parts of two suppliers alternate",
    "lost": "lost gauge: it stops sending",
    "late": "late batch: every second reading arrives late, all at once",
}

LENGTH_S: Mapping[Kind, int] = {
    "shift": 50,
    "wear": 130,
    "stuck": 50,
    "mixture": 100,
    "lost": 50,
    "late": 50,
}

FIRST: Sequence[tuple[Kind, str, int]] = (
    ("wear", "bore-diameter", 15),
    ("shift", "shaft-diameter", 25),
    ("lost", "gloss", 40),
    ("late", "viscosity", 60),
    ("stuck", "bore-depth", 80),
    ("mixture", "fill-weight", 130),
)
"""Seconds after the start: whoever looks for two minutes sees calm, an alarm and a silent gauge."""


class Disturbance(NamedTuple):
    """One thing that goes wrong with one gauge or its process."""

    kind: Kind
    gauge: str
    start: int
    end: int

    @property
    def label(self) -> str:
        """What it is, in words."""
        return LABELS[self.kind]

    def level(self, calm: float, time: int, *, other: bool) -> float:
        """Where a point lies, in its sigma, that would lie at ``calm``; ``other``: the second supplier."""
        match self.kind:
            case "shift":
                return calm + SHIFT
            case "wear":
                return calm + WEAR * (time - self.start) / (self.end - self.start)
            case "stuck":
                return STUCK
            case "mixture":
                return calm / 4 + (MIXTURE if other else -MIXTURE)
            case "lost" | "late":
                return calm


class Schedule:
    """Disturbances from ``start`` on: the first cycle is always the same, the others are seeded."""

    def __init__(self, seed: int, start: int, prone: Mapping[Kind, Sequence[str]]) -> None:
        self._seed = seed
        self._start = start
        self._prone = prone
        self.cycle = lru_cache(maxsize=8)(self._cycle)

    def at(self, gauge: str, time: int) -> Disturbance | None:
        """What is wrong with ``gauge`` at ``time``."""
        if time < self._start:
            return None
        for one in self.cycle(self.cycle_at(time)):
            if one.gauge == gauge and one.start <= time < one.end:
                return one
        return None

    def cycle_at(self, time: int) -> int:
        """Which cycle it is at ``time``."""
        return (time - self._start) // (CYCLE_S * SECOND)

    def _cycle(self, number: int) -> tuple[Disturbance, ...]:
        """The disturbances of one cycle, in order of time; none reaches into the next."""
        begin = self._start + number * CYCLE_S * SECOND
        chosen = list(FIRST) if number == 0 else self._drawn(number)
        return tuple(
            Disturbance(
                kind,
                gauge,
                begin + offset * SECOND,
                begin + (offset + LENGTH_S[kind]) * SECOND,
            )
            for kind, gauge, offset in sorted(chosen, key=lambda one: one[2])
        )

    def _drawn(self, number: int) -> list[tuple[Kind, str, int]]:
        draw = random.Random(f"{self._seed}/{number}")
        free = {gauge for gauges in self._prone.values() for gauge in gauges}
        chosen: list[tuple[Kind, str, int]] = []
        for kind in LABELS:
            gauge = draw.choice([one for one in self._prone[kind] if one in free])
            free.discard(gauge)
            chosen.append((kind, gauge, draw.randrange(CYCLE_S - LENGTH_S[kind])))
        return chosen
