"""The run rules as rows of a table, the sets they are published in, and their compiled form.

Every rule is "k of the last n points hit". What counts as a hit is the rule's predicate:
``beyond`` an edge on one side of the center line, ``within`` an edge on both, ``trend`` (a step up
or a step down) or ``turn`` (a step against the one before). A rule is a row, so a custom one costs
nothing but its row.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rules.charts import Chart, Shape

Predicate = Literal["beyond", "within", "trend", "turn"]
Side = Literal["same", "upper", "lower", "any"]

WINDOW = 32
"""The longest window, in points: the width of a shift register."""

FIRST_CUSTOM, CODES = 12, 24
"""Codes of custom rules start at the one and end before the other."""

DISPERSION_UPPER, DISPERSION_LOWER = 48, 49
"""Bits of a point's violations by rule 1 of the dispersion chart, always named nelson-1."""


@dataclass(frozen=True, slots=True)
class RunRule:
    """``k`` of the last ``n`` points hit, the completing point among them.

    ``side`` says how hits above and below the center line combine: on the ``same`` side, on the
    ``upper`` or ``lower`` alone, or on ``any``. ``both_sides`` (of ``any``) asks for hits on each.
    ``edge`` is in sigma of the plotted statistic. For trends and turns ``n`` counts points, whose
    steps are one fewer and turns two fewer.
    """

    name: str
    code: int
    k: int
    n: int
    edge: float = 0.0
    predicate: Predicate = "beyond"
    side: Side = "same"
    both_sides: bool = False
    inclusive: bool = False
    """``within`` counts a point exactly on its edge."""

    def __post_init__(self) -> None:
        """Refuse a rule that the registers cannot hold."""
        if not 0 <= self.code < CODES:
            raise ValueError(f"rule {self.name}: code {self.code} is not in 0 to {CODES - 1}")
        if not 1 <= self.k <= self.n:
            raise ValueError(f"rule {self.name}: {self.k} of {self.n} points can never be met")
        if self.n > WINDOW:
            raise ValueError(
                f"rule {self.name}: a window of {self.n} points is longer than the "
                f"{WINDOW} that a stream remembers"
            )
        if self.predicate in STEPS and (self.k != self.n or self.n <= STEPS[self.predicate]):
            raise ValueError(f"rule {self.name}: a {self.predicate} rule is a run of 3 or more")
        if not 0 <= self.edge < math.inf or (self.predicate == "within" and self.edge == 0):
            raise ValueError(f"rule {self.name}: an edge of {self.edge:g} sigma; it is a distance")
        if self.predicate in STEPS and self.edge:
            raise ValueError(f"rule {self.name}: a {self.predicate} has no edge")
        if self.both_sides and (self.side != "any" or self.predicate != "beyond"):
            raise ValueError(f"rule {self.name}: both_sides needs hits beyond an edge on any side")
        if self.inclusive and self.predicate != "within":
            raise ValueError(f"rule {self.name}: only within can be inclusive")
        if self.predicate in ("within", "turn") and self.side != "any":
            raise ValueError(f"rule {self.name}: {self.predicate} has no side; say any")

    @property
    def shape(self) -> Shape:
        """The family that decides on which charts the rule is valid."""
        if self.predicate == "trend":
            return "trend"
        if self.predicate == "turn":
            return "alternation"
        if self.predicate == "beyond" and self.side != "any":
            if self.edge == 0.0:
                return "side"
            if self.n == 1:
                return "limit"
        return "zone"


STEPS = {"trend": 1, "turn": 2}
"""How many points a pattern of steps, or of turns, has more than its hits."""

RULES: dict[str, RunRule] = {
    rule.name: rule
    for rule in (
        # L. S. Nelson, Journal of Quality Technology 16 (1984), 237-239.
        RunRule("nelson-1", 0, k=1, n=1, edge=3.0),
        RunRule("nelson-2", 1, k=9, n=9),
        RunRule("nelson-3", 2, k=6, n=6, predicate="trend"),
        RunRule("nelson-4", 3, k=14, n=14, predicate="turn", side="any"),
        RunRule("nelson-5", 4, k=2, n=3, edge=2.0),
        RunRule("nelson-6", 5, k=4, n=5, edge=1.0),
        RunRule("nelson-7", 6, k=15, n=15, edge=1.0, predicate="within", side="any"),
        RunRule("nelson-8", 7, k=8, n=8, edge=1.0, side="any", both_sides=True),
        # Western Electric, Statistical Quality Control Handbook (1956), 25-28.
        RunRule("we-1", 8, k=1, n=1, edge=3.0),
        RunRule("we-2", 9, k=2, n=3, edge=2.0),
        RunRule("we-3", 10, k=4, n=5, edge=1.0),
        RunRule("we-4", 11, k=8, n=8),
    )
}

PROFILES: dict[str, tuple[str, ...]] = {
    "andon": ("nelson-1", "nelson-2", "nelson-5", "nelson-6"),
    "nelson": tuple(f"nelson-{i}" for i in range(1, 9)),
    "western-electric": tuple(f"we-{i}" for i in range(1, 5)),
    "limits-only": ("nelson-1",),
}


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """How the published rules are read where readings of them differ."""

    nelson_7: Literal["strict", "inclusive"] = "strict"
    nelson_8: Literal["both_sides", "either_side"] = "both_sides"
    require_full_window: bool = False
    """k of n waits until n points have been seen, although k hits already decide."""
    dispersion: bool = True
    """Judge ranges and standard deviations against their own limits."""

    def __post_init__(self) -> None:
        """Refuse readings that nobody has published."""
        if self.nelson_7 not in ("strict", "inclusive"):
            raise ValueError(f"nelson_7 is strict or inclusive, not {self.nelson_7!r}")
        if self.nelson_8 not in ("both_sides", "either_side"):
            raise ValueError(f"nelson_8 is both_sides or either_side, not {self.nelson_8!r}")

    @classmethod
    def of(cls, options: "RuleOptions | Mapping[str, Any] | None") -> "RuleOptions":
        """Return ``options`` checked; unknown names are refused."""
        if isinstance(options, RuleOptions):
            return options
        named = dict(options or {})
        unknown = sorted(set(named) - set(cls.__slots__))
        if unknown:
            raise ValueError(
                f"unknown rule option {unknown[0]!r}; known are {_list(cls.__slots__)}"
            )
        return cls(**named)


@dataclass(frozen=True, slots=True)
class Program:
    """The rules that judge one version of a characteristic, ready for the kernel."""

    rules: tuple[RunRule, ...]
    require_full_window: bool = False
    dispersion: bool = True


def compile_rules(
    names: str | Iterable[str | RunRule],
    options: RuleOptions | Mapping[str, Any] | None,
    chart: Chart,
    *,
    given: bool = False,
) -> Program:
    """Expand profiles, keep what is valid on ``chart``, apply the options.

    A rule named by itself, or passed as a row, is kept on every chart; the rules of a profile only
    where the chart, or limits that are ``given`` and so have no zones, can bear them.
    """
    chosen = RuleOptions.of(options)
    shapes = chart.shapes & {"limit", "side"} if given else chart.shapes
    picked: dict[int, RunRule] = {}
    for name in (names,) if isinstance(names, str) else names:
        for rule in _named(name, shapes):
            if picked.setdefault(rule.code, rule).name != rule.name:
                raise ValueError(f"rules {picked[rule.code].name} and {rule.name} share a code")
    rules = tuple(_read(picked[code], chosen) for code in sorted(picked))
    program = Program(rules, chosen.require_full_window, chosen.dispersion)
    _layout(program)  # refuses what does not fit, here where it can be said
    return program


def _named(name: str | RunRule, shapes: frozenset[Shape]) -> Sequence[RunRule]:
    if isinstance(name, RunRule):
        return [name]
    if name in PROFILES:
        return [RULES[rule] for rule in PROFILES[name] if RULES[rule].shape in shapes]
    if name in RULES:
        return [RULES[name]]
    raise ValueError(f"unknown rule {name!r}; known are {_list(RULES)} and {_list(PROFILES)}")


def _read(rule: RunRule, options: RuleOptions) -> RunRule:
    """Return ``rule`` in the reading that the options choose."""
    if rule.name == "nelson-7" and options.nelson_7 == "inclusive":
        return replace(rule, inclusive=True)
    if rule.name == "nelson-8" and options.nelson_8 == "either_side":
        return replace(rule, both_sides=False)
    return rule


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a point completes; ``side`` is None for patterns that have none."""

    chart: Literal["location", "dispersion"]
    rule: str
    side: Literal["upper", "lower"] | None


NAMES: dict[int, str] = {rule.code: rule.name for rule in RULES.values()}
SIDELESS = frozenset(rule.code for rule in RULES.values() if rule.side == "any")


def decode(mask: int, custom: Iterable[RunRule] = ()) -> list[Violation]:
    """Return what the bits of a point's ``violations`` stand for, in the order of the codes."""
    names = NAMES | {rule.code: rule.name for rule in custom}
    sideless = SIDELESS | {rule.code for rule in custom if rule.side == "any"}
    found = []
    bits = int(mask)
    for code in range(CODES):
        both = (bits >> (2 * code)) & 3
        name = names.get(code, f"custom-{code}")
        if both and code in sideless:
            found.append(Violation("location", name, None))
            continue
        if both & 1:
            found.append(Violation("location", name, "upper"))
        if both & 2:
            found.append(Violation("location", name, "lower"))
    if bits >> DISPERSION_UPPER & 1:
        found.append(Violation("dispersion", "nelson-1", "upper"))
    if bits >> DISPERSION_LOWER & 1:
        found.append(Violation("dispersion", "nelson-1", "lower"))
    return found


def bit(violation: Violation) -> int:
    """Return the bit, as a mask, that ``decode`` turned into ``violation``."""
    low = violation.side == "lower"
    if violation.chart == "dispersion":
        return 1 << (DISPERSION_LOWER if low else DISPERSION_UPPER)
    if violation.rule in RULES:
        return 1 << (2 * RULES[violation.rule].code + low)
    return 1 << (2 * int(violation.rule.removeprefix("custom-")) + low)


# Where the registers of a stream stand. The first four serve every program.
SEEN, TURNING, RISING, FALLING, FIRST_FREE = range(5)
REGISTERS = 16
"""Shift registers of a stream: 64 bytes, one cache line."""

EDGES = REGISTERS - FIRST_FREE

# Predicates are watched in this order: trend, turn, edges from outside (two registers each), edges
# from inside strictly, edges from inside inclusively.
TREND_WATCH, TURN_WATCH, FIRST_EDGE = range(3)

# Columns of Table.shape: how many edges of each sort, whether steps are watched, whether dispersion
# is judged; then for each watched predicate where its rules start, and where the last ones end.
BEYOND, WITHIN, WITHIN_INCLUSIVE, STEPPING, DISPERSION, STARTS = range(6)
SHAPE = STARTS + FIRST_EDGE + EDGES + 1
# Columns of Table.rules. JOIN selects the hits of the other side that count too; EITHER is 0 when
# there must be some. NEED is the bit of SEEN that says the window is full.
MASK, K, JOIN, EITHER, NEED, UP_BIT, LOW_BIT = range(7)
RULE = 7


class Table(NamedTuple):
    """Programs as the kernel reads them; the first index is the program's number."""

    shape: NDArray[np.int64]  # [program, SHAPE]
    edges: NDArray[np.float64]  # [program, EDGES], in the order of their registers
    rules: NDArray[np.int64]  # [program, CODES, RULE], by watched predicate


class Programs:
    """The programs in use, numbered, deduplicated, as arrays for the kernel; number 0 has no rules.

    ``table`` is replaced when a program is added: read it again for each batch.
    """

    def __init__(self) -> None:
        self._numbers: dict[Program, int] = {}
        self._shapes: list[NDArray[np.int64]] = []
        self._edges: list[NDArray[np.float64]] = []
        self._rules: list[NDArray[np.int64]] = []
        self.table: Table
        self.add(Program((), dispersion=False))

    def __len__(self) -> int:
        """Return how many programs have numbers."""
        return len(self._numbers)

    def add(self, program: Program) -> int:
        """Return the number of ``program``, the same for an equal one."""
        if program not in self._numbers:
            shape, edges, rules = _layout(program)
            self._numbers[program] = len(self._shapes)
            self._shapes.append(shape)
            self._edges.append(edges)
            self._rules.append(rules)
            self.table = Table(np.stack(self._shapes), np.stack(self._edges), np.stack(self._rules))
        return self._numbers[program]


def _layout(
    program: Program,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Give each predicate of ``program`` its place and write the rules in the order of places."""
    beyond, strict, loose = _edges(program.rules)
    count = 2 * len(beyond) + len(strict) + len(loose)
    if count > EDGES:
        raise ValueError(
            f"the rules look at {len(beyond)} edges from outside and {len(strict) + len(loose)} "
            f"from inside; a stream has room for {EDGES}, an outside edge taking two"
        )
    watched = [*(("beyond", e) for e in beyond), *(("within", e) for e in strict)]
    watched += [("inclusive", e) for e in loose]
    places = {watch: FIRST_EDGE + i for i, watch in enumerate(watched)}
    places |= {("trend", 0.0): TREND_WATCH, ("turn", 0.0): TURN_WATCH}

    def place(rule: RunRule) -> int:
        return places["inclusive" if rule.inclusive else rule.predicate, rule.edge]

    edges = np.zeros(EDGES)
    edges[: len(watched)] = [edge for _, edge in watched]
    ordered = sorted(program.rules, key=place)
    rows = np.zeros((CODES, RULE), np.int64)
    for row, rule in zip(rows, ordered, strict=False):
        row[:] = _row(rule, full=program.require_full_window)
    shape = np.zeros(SHAPE, np.int64)
    shape[[BEYOND, WITHIN, WITHIN_INCLUSIVE]] = len(beyond), len(strict), len(loose)
    shape[STEPPING] = any(rule.predicate in STEPS for rule in program.rules)
    shape[DISPERSION] = program.dispersion
    shape[STARTS:] = np.searchsorted([place(r) for r in ordered], np.arange(SHAPE - STARTS))
    return shape, edges, rows


def _edges(rules: Sequence[RunRule]) -> tuple[list[float], list[float], list[float]]:
    """Return the distances that are watched from outside, inside, and inside inclusively."""
    sorts: tuple[set[float], set[float], set[float]] = (set(), set(), set())
    for rule in rules:
        if rule.predicate == "beyond":
            sorts[0].add(rule.edge)
        elif rule.predicate == "within":
            sorts[1 + rule.inclusive].add(rule.edge)
    outside, inside, inclusive = (sorted(edges) for edges in sorts)
    return outside, inside, inclusive


def _row(rule: RunRule, *, full: bool) -> list[int]:
    """Return the columns of ``rule`` in the order of their names above."""
    hits = rule.n - STEPS.get(rule.predicate, 0)
    mask = (1 << hits) - 1
    both = rule.side == "any"
    upper = 1 << (2 * rule.code)
    lower = upper if both else upper << 1
    return [
        mask,
        min(rule.k, hits),
        mask if both else 0,
        not rule.both_sides,
        1 << (rule.n - 1) if full else 1,
        0 if rule.side == "lower" else upper,
        0 if rule.side == "upper" else lower,
    ]
