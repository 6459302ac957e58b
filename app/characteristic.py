"""What a characteristic is configured to be, and the part of it that a verdict depends on."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
    model_validator,
)

from app.duration import Duration
from app.spelling import nearest
from rules.charts import CHARTS
from rules.runs import PROFILES, RULES, compile_rules

LARGEST_SUBGROUP = 25
LARGEST = 1e15
"""The largest value or size, either sign: whole numbers are exact, sums of squares stay finite."""
Class = Literal["critical", "significant", "standard"]


def is_attribute(chart: str) -> bool:
    """Whether the chart counts out of a sample size."""
    return CHARTS[chart].kind == "attribute"


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Magnitude = Annotated[FiniteFloat, Field(ge=-LARGEST, le=LARGEST)]
"""A number that a reading's value can be compared with."""

Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed)]
"""One name or several."""


class Frozen(BaseModel):
    """A part of the configuration: unknown keys are refused, nothing changes after loading."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True
    )


class Specification(Frozen):
    """The customer's limits for each single reading; exactly on a limit is within."""

    lower: Magnitude | None = None
    target: Magnitude | None = None
    upper: Magnitude | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        stated = [v for v in (self.lower, self.target, self.upper) if v is not None]
        if not stated:
            raise ValueError("give at least one of lower, target and upper")
        if stated != sorted(stated) or (self.lower is not None and self.lower == self.upper):
            raise ValueError(
                f"lower, target and upper must ascend, not {', '.join(map(str, stated))}"
            )
        return self


class Plausible(Frozen):
    """Outside of this a reading is taken for a typing or wiring error and goes to quarantine."""

    lower: Magnitude | None = None
    upper: Magnitude | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lower is None and self.upper is None:
            raise ValueError("give lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower {self.lower} must be below upper {self.upper}")
        return self


class Subgroup(Frozen):
    """Which readings make one point."""

    size: Annotated[int, Field(ge=1)] = 1
    timeout: Duration | None = None
    """A reading measured later than this after the subgroup's first starts a new one."""
    keys: Names = ()
    """Tags that never mix within a subgroup: a change closes it as partial."""
    every: Duration | None = None
    """Only a sample this often makes points; every reading is stored and checked."""
    every_parts: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_sampling(self) -> Self:
        if self.every is not None and self.every_parts is not None:
            raise ValueError("give every or every_parts, not both")
        return self


class RuleOptions(Frozen):
    """Which published reading of a rule applies; ``rules.runs.RuleOptions`` says what each means."""

    nelson_7: Literal["strict", "inclusive"] = "strict"
    nelson_8: Literal["both_sides", "either_side"] = "both_sides"
    require_full_window: bool = False
    dispersion: bool = True
    """Whether the moving range, R or S chart is judged too (by rule 1)."""


class LimitSeed(Frozen):
    """Limits for version 1: center and sigma of one value, or printed lcl, center and ucl."""

    center: Magnitude
    sigma: Annotated[Magnitude, Field(gt=0)] | None = None
    lcl: Magnitude | None = None
    ucl: Magnitude | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    """What printed limits hold for; the subgroup's size unless stated."""
    source: str | None = None
    """Where printed limits come from, such as a control plan's number."""

    @property
    def given(self) -> bool:
        """Whether these are printed limits, not center and sigma."""
        return self.lcl is not None or self.ucl is not None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.given and self.sigma is not None:
            raise ValueError("give sigma, or printed lcl and ucl, not both")
        if not self.given and (self.n is not None or self.source is not None):
            raise ValueError(
                "n and source belong to printed limits: give lcl, ucl or both with them"
            )
        if self.lcl is not None and self.lcl >= self.center:
            raise ValueError(f"lcl {self.lcl} must be below center {self.center}")
        if self.ucl is not None and self.ucl <= self.center:
            raise ValueError(f"ucl {self.ucl} must be above center {self.center}")
        return self


class Definition(Frozen):
    """All that a verdict depends on besides readings and limits; a version freezes it."""

    chart: str = "i_mr"
    stream: Names = ()
    """Tags whose every combination is a stream of its own; none: one stream."""
    subgroup: Subgroup = Subgroup()
    cut: Names = ()
    """Tags whose change cuts rule history."""
    gap: Duration | None = None
    """A longer pause between two readings cuts rule history."""
    rules: Names = ("andon",)
    """Names of rules or profiles."""
    rule_options: RuleOptions = RuleOptions()
    spec: Specification | None = None

    @field_validator("rules")
    @classmethod
    def _some_rules(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        if not rules:
            raise ValueError('name at least one rule or profile, for example ["nelson-1"]')
        return rules

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_chart(self.chart, self.subgroup.size)
        _check_rules(self)
        twice = {tag for tag in self.stream if tag in self.subgroup.keys or tag in self.cut}
        if twice:
            raise ValueError(
                f"{', '.join(sorted(twice))}: a stream tag never changes within its stream, "
                "so it cannot also be a subgroup key or a cut tag"
            )
        return self


class CharacteristicConfig(Definition):
    """One characteristic, as plant.toml and the API describe it."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)]
    aliases: Names = ()
    """Names that sources use for it."""
    name: Annotated[str, Field(max_length=200)] = ""
    part: str = ""
    station: Annotated[str, Field(pattern=r"^[^/]+(/[^/]+)*$")] | None = None
    """Where in the plant: a path such as line-1/op-20."""
    class_: Annotated[Class, Field(alias="class")] = "standard"
    unit: str = ""
    decimals: Annotated[int, Field(ge=0, le=12)] | None = None
    """The gauge's resolution: values are rounded to it when they arrive."""
    plausible: Plausible | None = None
    limits: LimitSeed | None = None
    """Seeds version 1; a later difference is reported as drift."""
    expect: Duration | None = None
    """How often a reading is due; silent after three times this."""
    causes: Names = ()
    """What people choose from; the plant's list where this is empty."""
    actions: Names = ()
    kept_by: Literal["file", "api"] = "file"
    """A plant file retires what it no longer has, unless people made it through the API."""

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        _check_seed(self)
        _check_plausible(self)
        if self.id in self.aliases:
            raise ValueError(f'alias "{self.id}" is its own id; leave it out')
        return self

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or self.id

    def definition(self) -> dict[str, Any]:
        """What a version freezes, as JSON."""
        return self.model_dump(mode="json", include=set(Definition.model_fields))

    def stored(self) -> dict[str, Any]:
        """The whole of it, as JSON; ``model_validate`` reads it back."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def same_definition(frozen: dict[str, Any], config: Definition) -> bool:
    """Whether a version's definition says what ``config`` says, defaults included."""
    then = Definition.model_validate(frozen)
    return all(getattr(then, key) == getattr(config, key) for key in Definition.model_fields)


def _check_chart(name: str, size: int) -> None:
    chart = CHARTS.get(name)
    if chart is None:
        raise ValueError(f'chart: "{name}" is not known{nearest(name, CHARTS)}')
    if chart.kind == "attribute" or chart.max_n == 1:
        if size != 1:
            raise ValueError(
                f"chart: {name} makes a point of each reading, but subgroup.size is {size}; "
                'use chart = "xbar_r" or "xbar_s", or leave the size out'
            )
    elif not chart.min_n <= size <= min(chart.max_n, LARGEST_SUBGROUP):
        most = min(chart.max_n, LARGEST_SUBGROUP)
        raise ValueError(
            f"chart: {name} needs subgroups of {chart.min_n} to {most} readings, "
            f"not {size}; set subgroup.size"
        )


def _check_rules(definition: "Definition") -> None:
    known = (*RULES, *PROFILES)
    for name in definition.rules:
        if name not in known:
            raise ValueError(f'rules: "{name}" is not known{nearest(name, known)}')
    compile_rules(definition.rules, definition.rule_options.model_dump(), CHARTS[definition.chart])


def _check_seed(config: CharacteristicConfig) -> None:
    seed = config.limits
    if seed is None:
        return
    if is_attribute(config.chart):
        if not 0 < seed.center < 1:
            raise ValueError(
                f"limits: the center of a p chart is a fraction between 0 and 1, not {seed.center}"
            )
        if seed.sigma is not None:
            raise ValueError("limits: an attribute chart takes the center alone; remove sigma")
    elif seed.sigma is None and not seed.given:
        raise ValueError(
            "limits: give sigma (of one value) with the center, or printed lcl and ucl"
        )


def _check_plausible(config: CharacteristicConfig) -> None:
    if config.plausible is None or config.spec is None:
        return
    low, high = config.plausible.lower, config.plausible.upper
    if low is not None and config.spec.lower is not None and config.spec.lower < low:
        raise ValueError(
            f"plausible: lower {low} lies above the specification's {config.spec.lower}; "
            "parts out of specification would be taken for errors"
        )
    if high is not None and config.spec.upper is not None and config.spec.upper > high:
        raise ValueError(
            f"plausible: upper {high} lies below the specification's {config.spec.upper}; "
            "parts out of specification would be taken for errors"
        )
