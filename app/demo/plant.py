"""The simulated plant: what each gauge measures is a function of the seed, the part and its time."""

import math
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist
from typing import Literal, NamedTuple

from app.demo.schedule import LABELS, Disturbance, Kind, Schedule

SECOND = 1_000_000  # microseconds

CALM = 0.6  # a process in control varies this much less than its limits allow for
FEEDBACK = 0.7  # each part is corrected by so much of the last one's error: no long runs
WITHIN = 0.9  # of the spread within a subgroup, likewise
TAIL = NormalDist().cdf(-2.2)  # parts farther out were sorted out before
TOLERANCE = 5.0  # the specification lies so many sigma from the center: Cpk 1.7
LOT_S = 420

Route = Literal["mqtt", "press", "mold", "oven", "mes"]


@dataclass(frozen=True, slots=True)
class Gauge:
    """One characteristic, and how the plant measures it."""

    id: str
    name: str
    station: str
    route: Route
    center: float
    sigma: float  # of one value; not used for counts
    decimals: int
    unit: str = "mm"
    period_s: float = 3.0  # between two points
    chart: str = "i_mr"
    n: int = 1  # values of a point, or parts inspected
    grade: Literal["critical", "significant", "standard"] = "standard"
    limited: Literal["both", "above", "below"] = "both"
    cavities: int = 0
    rules: tuple[str, ...] = ("andon",)
    expect_s: int = 60
    prone: tuple[Kind, ...] = ("shift",)

    @property
    def counts(self) -> bool:
        """Whether it counts defective parts."""
        return self.chart == "p"

    @property
    def streams(self) -> tuple[str | None, ...]:
        """Its cavities; None where it has none."""
        return tuple(str(number + 1) for number in range(self.cavities)) or (None,)

    @property
    def step(self) -> float:
        """The sigma of one point of its chart."""
        if self.counts:
            return math.sqrt(self.center * (1 - self.center) / self.n)
        return self.sigma / math.sqrt(self.n)

    @property
    def spec(self) -> tuple[float | None, float | None] | None:
        """Lower and upper specification: of a fault only above, of a strength only below."""
        if self.counts:
            return None
        low, high = (
            round(self.center + side * TOLERANCE * self.sigma, self.decimals) for side in (-1, 1)
        )
        return (None if self.limited == "above" else low), (
            None if self.limited == "below" else high
        )


class Measured(NamedTuple):
    """What a gauge says about one part or sample."""

    gauge: Gauge
    cavity: str | None
    part: int  # counts the parts of this gauge since 1970
    time: int
    values: tuple[float, ...]
    size: int | None  # parts inspected, where the value is a count
    lot: str


GAUGES = (
    Gauge(
        "shaft-diameter", "Shaft diameter", "line-1/op-10", "mqtt", 12.0, 0.0025, 4,
        period_s=2, grade="critical", expect_s=5, prone=("shift", "wear", "lost"),
    ),
    Gauge("shaft-length", "Shaft length", "line-1/op-10", "mqtt", 86.0, 0.012, 3),
    Gauge(
        "shaft-runout", "Shaft run-out", "line-1/op-10", "mqtt", 0.02, 0.0016, 4,
        period_s=4, limited="above",
    ),
    Gauge(
        "shaft-roughness", "Shaft roughness Ra", "line-1/op-10", "mqtt", 0.8, 0.03, 3, "µm",
        period_s=5, limited="above",
    ),
    Gauge(
        "collar-width", "Collar width", "line-1/op-10", "mqtt", 4.5, 0.006, 4,
        period_s=10, chart="xbar_r", n=5, grade="significant", prone=("shift", "wear"),
    ),
    Gauge(
        "bore-diameter", "Bore diameter", "line-1/op-20", "mqtt", 25.0, 0.004, 4,
        period_s=6, chart="xbar_r", n=5, grade="critical", prone=("wear",),
    ),
    Gauge(
        "bore-depth", "Bore depth", "line-1/op-20", "mqtt", 40.0, 0.01, 3,
        period_s=2, prone=("stuck", "shift"),
    ),
    Gauge(
        "bore-roundness", "Bore roundness", "line-1/op-20", "mqtt", 6.0, 0.5, 2, "µm",
        period_s=4, limited="above", prone=("stuck",),
    ),
    Gauge("bore-position", "Bore position", "line-1/op-20", "mqtt", 0.05, 0.004, 4, period_s=5,
          limited="above"),
    Gauge(
        "thread-depth", "Thread depth", "line-1/op-20", "mqtt", 18.0, 0.03, 3,
        period_s=15, chart="xbar_s", n=10,
    ),
    Gauge(
        "press-force", "Press force", "line-2/press-7", "press", 42.0, 0.35, 2, "kN",
        grade="significant",
    ),
    Gauge("press-stroke", "Press stroke", "line-2/press-7", "press", 118.4, 0.06, 2),
    Gauge("insertion-depth", "Insertion depth", "line-2/press-7", "press", 7.25, 0.015, 3),
    Gauge("melt-temperature", "Melt temperature", "line-2/mold-3", "mold", 231.0, 0.8, 1, "°C",
          period_s=4),
    Gauge("injection-pressure", "Injection pressure", "line-2/mold-3", "mold", 842.0, 4.0, 1,
          "bar", period_s=4),
    Gauge("fill-time", "Fill time", "line-2/mold-3", "mold", 1.24, 0.006, 3, "s", period_s=4),
    Gauge(
        "part-weight", "Impeller weight", "line-2/mold-3", "mold", 31.5, 0.04, 3, "g",
        period_s=4, cavities=4, grade="significant", prone=(),
    ),
    Gauge(
        "coating-thickness", "Coating thickness", "line-3/coating", "mes", 62.0, 1.5, 1, "µm",
        period_s=12, chart="xbar_r", n=4,
    ),
    Gauge("oven-temperature", "Curing oven temperature", "line-3/coating", "oven", 182.0, 0.6, 1,
          "°C", period_s=5),
    Gauge("viscosity", "Paint viscosity, flow cup", "line-3/coating", "mes", 48.0, 0.7, 1, "s", period_s=5,
          prone=("late",)),
    Gauge("adhesion", "Adhesion", "line-3/coating", "mes", 8.4, 0.12, 2, "N/mm²", period_s=6,
          limited="below", prone=("late", "shift")),
    Gauge(
        "gloss", "Gloss", "line-3/coating", "mqtt", 84.0, 0.9, 1, "GU",
        period_s=2, expect_s=5, prone=("lost",),
    ),
    Gauge(
        "leak-rate", "Leak rate", "line-3/final", "mqtt", 1.8, 0.12, 2, "ml/min",
        period_s=2, limited="above", grade="critical", expect_s=5, prone=("lost", "stuck"),
    ),
    Gauge("torque", "Screw torque", "line-3/final", "mqtt", 9.5, 0.12, 2, "Nm", period_s=6,
          chart="xbar_r", n=3),
    Gauge(
        "fill-weight", "Grease fill weight", "line-3/final", "mqtt", 2.4, 0.03, 3, "g",
        period_s=5, rules=("andon", "nelson-8"), prone=("mixture",),
    ),
    Gauge("visual-defects", "Visual defects", "line-3/final", "mes", 0.04, 0.0, 0, "", period_s=8,
          chart="p", n=200),
    Gauge("function-test", "Function test rejects", "line-3/final", "mes", 0.06, 0.0, 0, "", period_s=10,
          chart="p", n=120),
    Gauge("label-defects", "Label defects", "line-3/final", "mqtt", 0.05, 0.0, 0, "", period_s=10,
          chart="p", n=150),
)  # fmt: skip

BY_ID = {gauge.id: gauge for gauge in GAUGES}
PARTS = {
    "line-1/op-10": "Shaft 2210",
    "line-1/op-20": "Housing 4711",
    "line-2/press-7": "Housing 4711",  # gets its bushing
    "line-2/mold-3": "Impeller 860",
    "line-3/coating": "Housing 4711",
    "line-3/final": "Pump 36",
}


class Plant:
    """All gauges under one seed; disturbances come as the schedule says, none without one."""

    def __init__(self, seed: int, schedule: Schedule | None = None) -> None:
        self._seed = seed
        self._schedule = schedule
        self._uniform = lru_cache(maxsize=65_536)(self._drawn)

    def index(self, gauge: Gauge, time: int) -> int:
        """The newest part of this gauge at ``time``."""
        return (time - self._phase(gauge)) // self._period(gauge)

    def time(self, gauge: Gauge, index: int) -> int:
        """When a part was measured."""
        return index * self._period(gauge) + self._phase(gauge)

    def disturbance(self, gauge: Gauge, time: int) -> Disturbance | None:
        """What is wrong with this gauge or its process at ``time``."""
        return None if self._schedule is None else self._schedule.at(gauge.id, time)

    def measure(
        self, gauge: Gauge, index: int, *, cavity: str | None = None, at: int | None = None
    ) -> Measured:
        """What the gauge says about a part; ``at`` is when, if that is not its place on the grid."""
        time = self.time(gauge, index) if at is None else at
        wrong = self.disturbance(gauge, time)
        level = self._level(gauge, index, cavity, time, wrong)
        lot = f"L{time // (LOT_S * SECOND) % 100_000:05d}"
        if gauge.counts:
            size = gauge.n + round(gauge.n * 0.2 * (self._uniform(gauge.id, "size", index) - 0.5))
            count = round(size * gauge.center + level * gauge.step * size)
            return Measured(
                gauge, cavity, index, time, (float(min(max(count, 0), size)),), size, lot
            )
        mean = gauge.center + level * gauge.step
        stuck = wrong is not None and wrong.kind == "stuck"
        values = (
            round(mean + (0.0 if stuck else spread), gauge.decimals)
            for spread in self._spread(gauge, index, cavity)
        )
        return Measured(gauge, cavity, index, time, tuple(values), None, lot)

    def _level(
        self, gauge: Gauge, index: int, cavity: str | None, time: int, wrong: Disturbance | None
    ) -> float:
        """Where the point lies, in sigma of a point."""
        stream = f"{gauge.id}:{cavity}"
        fresh, last = self._normal(stream, index), self._normal(stream, index - 1)
        calm = CALM * (fresh - FEEDBACK * last) / math.hypot(1.0, FEEDBACK)
        if wrong is None:
            return calm
        side = self._uniform(stream, "side", index) < 0.5
        return wrong.level(calm, time, other=side)

    def _spread(self, gauge: Gauge, index: int, cavity: str | None) -> tuple[float, ...]:
        """The values of one subgroup around their own mean."""
        if gauge.n == 1:
            return (0.0,)
        stream = f"{gauge.id}:{cavity}:within"
        first = index * gauge.n
        share = [self._uniform(stream, "noise", first + place) for place in range(gauge.n)]
        # One value from each n-th of the distribution, in any order: spreads differ little.
        rank = {
            place: rank for rank, place in enumerate(sorted(range(gauge.n), key=share.__getitem__))
        }
        drawn = [
            self._quantile((rank[place] + self._uniform(stream, "place", first + place)) / gauge.n)
            for place in range(gauge.n)
        ]
        mean = sum(drawn) / gauge.n
        return tuple(WITHIN * gauge.sigma * (one - mean) for one in drawn)

    def _normal(self, stream: str, index: int) -> float:
        return self._quantile(self._uniform(stream, "noise", index))

    @staticmethod
    def _quantile(share: float) -> float:
        return NormalDist().inv_cdf(TAIL + share * (1 - 2 * TAIL))

    def _drawn(self, stream: str, what: str, index: int) -> float:
        """A number in [0, 1) that belongs to these names for good."""
        name = f"{self._seed}/{stream}/{what}/{index}".encode()
        return int.from_bytes(blake2b(name, digest_size=7).digest(), "big") / (1 << 56)

    def _phase(self, gauge: Gauge) -> int:
        """Gauges do not measure all at the same moment; those of one machine do."""
        clockwork = gauge.id if gauge.route in ("mqtt", "mes") else gauge.route
        return int(self._uniform(clockwork, "phase", 0) * self._period(gauge))

    @staticmethod
    def _period(gauge: Gauge) -> int:
        return round(gauge.period_s * SECOND)


def schedule(seed: int, start: int) -> Schedule:
    """The disturbances of this plant from ``start`` on."""
    return Schedule(
        seed,
        start,
        {kind: [gauge.id for gauge in GAUGES if kind in gauge.prone] for kind in LABELS},
    )
