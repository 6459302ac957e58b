"""Signals in words: what happened, with its numbers, and what to do; the rule's name comes second."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.characteristic import Class
from app.duration import UNITS
from app.store.batch import Version
from rules.charts import chart_named
from rules.limits import Limits, Line, dispersion, location

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - as zoneinfo spells it


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What an alarm says about its stream besides the numbers of a point."""

    characteristic: str  # id towards the outside
    label: str
    stream_name: str
    zone: ZoneInfo  # of the plant
    unit: str = ""
    decimals: int | None = None
    class_: Class = "standard"
    expect: int | None = None
    version: Callable[[int], Version | None] = lambda _: None  # by the id that a point carries
    version_at: Callable[[int], Version | None] = lambda _: None  # by measured time


class Evidence(NamedTuple):
    """The newest point or reading of an event, and how long the event lasts already."""

    value: float  # what the chart plots, or the reading itself
    n: float
    version: Version | None
    count: int  # type: ignore[assignment] # as events count
    first_time: int
    last_time: int


class Words(NamedTuple):
    """How a run rule reads: ``{k}`` points in a row, ``{side}``, ``{line}`` and what to do."""

    window: int
    text: str
    sigmas: float | None  # where the line lies that the text names
    todo: str


SHIFTED = "The level has moved: check tool, material and setting."
DRIFTS = "It drifts: check tool wear, temperature and coolant."
OUTSIDE = "Measure again, then check tool and setting."
MIXED = "Two sources may be mixed: look at machine, cavity and material."
TWO_OF_THREE = Words(3, "2 of the last 3 points {side} {line} (2 sigma)", 2.0, SHIFTED)
FOUR_OF_FIVE = Words(5, "4 of the last 5 points {side} {line} (1 sigma)", 1.0, SHIFTED)

RULES = {
    "nelson-2": Words(9, "{k} points in a row {side} the centre line {line}", 0.0, SHIFTED),
    "nelson-3": Words(6, "{k} points in a row {trend}", None, DRIFTS),
    "nelson-4": Words(
        14,
        "{k} points in a row going up and down in turn",
        None,
        "Two sources may alternate, or somebody corrects too often.",
    ),
    "nelson-5": TWO_OF_THREE,
    "nelson-6": FOUR_OF_FIVE,
    "nelson-7": Words(
        15,
        "{k} points in a row closer to the centre line than 1 sigma",
        None,
        "Too calm to be true: check the gauge; the limits may be out of date.",
    ),
    "nelson-8": Words(
        8, "{k} points in a row on both sides, none within 1 sigma of the centre line", None, MIXED
    ),
    "we-2": TWO_OF_THREE,
    "we-3": FOUR_OF_FIVE,
    "we-4": Words(8, "{k} points in a row {side} the centre line {line}", 0.0, SHIFTED),
}
OF_THE_LAST = frozenset({"nelson-5", "nelson-6", "we-2", "we-3"})
"""Their window slides: more points make the event longer, not the pattern."""

BEYOND_LIMITS = frozenset({"nelson-1", "we-1"})
"""Rule 1 under its published names."""

MOST_EXTRA = 4
"""Digits beyond those of the gauge, at most: what is nearer than that is the noise of floats."""

SPREAD = {"i_mr": "moving range", "xbar_r": "range", "xbar_s": "standard deviation"}
"""What the dispersion chart shows, by chart."""

SIDE = {"upper": "above", "lower": "below", "": "outside"}
TREND = {"upper": "rising", "lower": "falling", "": "rising or falling"}


def clock(time: int, zone: ZoneInfo, at: int, *, seconds: bool = False) -> str:
    """A time of day in the plant's zone; with the date when it is another day than ``at``.

    In the hour that a clock change repeats, the offset tells which of the two it was.
    """
    local = (EPOCH + timedelta(microseconds=time)).astimezone(zone)
    today = (EPOCH + timedelta(microseconds=at)).astimezone(zone)
    text = local.strftime("%H:%M:%S" if seconds else "%H:%M")
    if local.date() != today.date():
        text = f"{local:%Y-%m-%d} {text}"
    if local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset():
        text = f"{text} {local:%z}"
    return text


def span(microseconds: int) -> str:
    """A length of time as people say it: ``45 s``, ``4 min``, ``2 h 5 min``, ``3 d 4 h``."""
    seconds = microseconds // UNITS["s"]
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def number(value: float, decimals: int | None, unit: str = "", extra: int = 0) -> str:
    """A value with the decimals of its gauge; ``extra`` more for means, limits and sigma."""
    if not math.isfinite(value):
        return "not a number"
    text = f"{value:.{6 + extra}g}" if decimals is None else f"{value:.{decimals + extra}f}"
    return f"{text} {unit}" if unit else text


def percent(value: float, extra: int = 0) -> str:
    """A proportion as people read it."""
    return f"{100 * value:.{2 + extra}f} %"


def counted(count: int, noun: str) -> str:
    """A number of things: ``1 chart``, ``2 charts``, ``no charts``."""
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _apart(show: Callable[[float, int], str], *values: float | None) -> Callable[[float], str]:
    """Write numbers with as many digits as it takes to tell these apart.

    A point just beyond its limit would else read as if it lay on it.
    """
    there = {value for value in values if value is not None}
    for extra in range(MOST_EXTRA + 1):
        if len({show(value, extra) for value in there}) == len(there):
            return lambda value: show(value, extra)
    return lambda value: show(value, 0)


def signal(kind: str, rule: str, side: str, seen: Evidence, facts: StreamFacts, *, at: int) -> str:
    """What an event of the control chart means."""
    limits = _limits(seen.version)
    if kind == "dispersion":
        what, newest, todo = _dispersion(side, seen, facts, limits)
    else:
        what, newest, todo = _location(rule, side, seen, facts, limits)
    return (
        f"{what} {_when(seen, facts, at)}, newest {newest}"
        f"{_basis(seen.version, limits, facts)}. {todo} [{rule}]"
    )


class Said(NamedTuple):
    """What happened, the newest value, and what to do."""

    what: str
    newest: str
    todo: str


def _location(
    rule: str, side: str, seen: Evidence, facts: StreamFacts, limits: Limits | None
) -> Said:
    line = None if limits is None else location(limits, seen.n)
    share = limits is not None and chart_named(limits.chart).kind == "attribute"
    of_means = 1 if seen.n > 1 else 0

    def write(value: float, extra: int) -> str:
        if share:
            return percent(value, extra)
        return number(value, facts.decimals, facts.unit, of_means + extra)

    if rule in BEYOND_LIMITS:
        limit = _limit(side, line)
        show = _apart(write, seen.value, limit)
        what = f"{counted(seen.count, 'point')} {SIDE[side]} {_beyond(side, limit, show)}"
        return Said(what, show(seen.value), OUTSIDE)
    words = RULES.get(rule)
    if words is None:
        what = f"{counted(seen.count, 'point')} by the rule {rule}"
        return Said(what, write(seen.value, 0), "Look at the chart.")
    at_line = None
    if words.sigmas is not None and line is not None:
        reach = words.sigmas * (line.sigma or 0.0)
        at_line = line.center + (reach if side == "upper" else -reach)
    show = _apart(write, seen.value, at_line)
    return Said(_pattern(rule, words, side, seen, at_line, show), show(seen.value), words.todo)


def _pattern(
    rule: str,
    words: Words,
    side: str,
    seen: Evidence,
    at_line: float | None,
    show: Callable[[float], str],
) -> str:
    named = "its line" if at_line is None else show(at_line)
    run = words.window + seen.count - 1
    what = words.text.format(k=run, side=SIDE[side], trend=TREND[side], line=named)
    if rule in OF_THE_LAST and seen.count > 1:
        what = f"{what}, again and again for {counted(seen.count, 'point')}"
    return what


def _dispersion(side: str, seen: Evidence, facts: StreamFacts, limits: Limits | None) -> Said:
    limit = _limit(side, None if limits is None else dispersion(limits, seen.n))

    def write(value: float, extra: int) -> str:
        return number(value, facts.decimals, facts.unit, 1 + extra)

    show = _apart(write, seen.value, limit)
    what = f"{counted(seen.count, _spread(limits))} {SIDE[side]} {_beyond(side, limit, show)}"
    todo = (
        "The spread has shrunk: check the gauge and the limits."
        if side == "lower"
        else "The spread has grown: check clamping, gauge and material."
    )
    return Said(what, show(seen.value), todo)


def reach(kind: str, side: str, seen: Evidence) -> float:
    """How far a point lies out, counted in the distance of its control limit from the centre line."""
    limits = _limits(seen.version)
    if limits is None:
        return 0.0
    line = (dispersion if kind == "dispersion" else location)(limits, seen.n)
    limit = _limit(side, line)
    if line is None or limit is None or limit == line.center:
        return 0.0
    return (seen.value - line.center) / (limit - line.center)


def out_of_spec(side: str, seen: Evidence, facts: StreamFacts, good: int | None, at: int) -> str:
    """What readings outside the specification mean: a part to be held, and since when."""
    spec = (seen.version.definition.get("spec") if seen.version else None) or {}
    limit = spec.get(side)

    def write(value: float, extra: int) -> str:
        return number(value, facts.decimals, facts.unit, extra)

    show = _apart(write, seen.value, limit)
    named = "" if limit is None else f" {show(limit)}"
    hold = (
        "Hold the part and check those before it."
        if good is None
        else f"Hold everything made after the last good one ({clock(good, facts.zone, at)})."
    )
    return (
        f"{counted(seen.count, 'reading')} {SIDE[side]} the {side} specification limit{named} "
        f"{_when(seen, facts, at)}, newest {show(seen.value)}. "
        f"{hold} Measure again. [spec]"
    )


def silent(facts: StreamFacts, last: int | None, at: int) -> str:
    """What missing readings mean: it is the gauge, not the product."""
    due = "" if facts.expect is None else f" (one is due every {span(facts.expect)})"
    if last is None:
        return f"No reading yet{due}. Check the gauge and its connection. [silent]"
    return (
        f"No reading since {clock(last, facts.zone, at, seconds=True)}{due}. "
        "Check the gauge and its connection. [silent]"
    )


def source_lost(
    name: str, since: int, error: str | None, streams: int, zone: ZoneInfo, *, at: int
) -> str:
    """What a lost source means: nothing that it feeds is being checked."""
    why = f": {error}" if error else ""
    waits = f"{counted(streams, 'chart')} {'waits' if streams == 1 else 'wait'} for it"
    if streams == 0:  # it is a source's readings that tell which charts it feeds
        waits = "nothing has come from it yet"
    return (
        f"Source {name} has been lost since {clock(since, zone, at, seconds=True)}{why}. "
        f"{waits[0].upper()}{waits[1:]}. Check its power, network and settings. [source]"
    )


def in_short(kind: str, rule: str, version: Version | None) -> str:
    """A signal in short, as it stands beside another one's sentence."""
    return f"{rule} of the {_spread(_limits(version))}" if kind == "dispersion" else rule


def joined(worst: str, others: list[str], over: int, *, still: bool = True) -> str:
    """An alarm's sentence: that of its worst signal, and how many other ones there are.

    ``others`` are true now, ``over`` are not any more; ``still`` says whether the worst is true.
    """
    more = ""
    if others:
        true_now = "are true too" if len(others) > 1 else "is true too"
        if not still:
            true_now = f"{true_now.removesuffix(' too')} now"
        more = f" {counted(len(others), 'other signal')} {true_now}: {', '.join(others)}."
        if not still:
            more = f" This is over;{more}"
    if over:
        left = f"{over} more" if others else counted(over, "other signal")
        more = f"{more} {left} {'is' if over == 1 else 'are'} over."
    return worst + more


def _limits(version: Version | None) -> Limits | None:
    if version is None or version.limits is None:
        return None
    return Limits.from_dict(version.limits)


def _when(seen: Evidence, facts: StreamFacts, at: int) -> str:
    word = "at" if seen.first_time == seen.last_time else "since"
    return f"{word} {clock(seen.first_time, facts.zone, at)}"


def _limit(side: str, line: Line | None) -> float | None:
    return None if line is None or not side else line.ucl if side == "upper" else line.lcl


def _beyond(side: str, limit: float | None, show: Callable[[float], str]) -> str:
    name = {"upper": "the upper control limit", "lower": "the lower control limit"}.get(
        side, "the control limits"
    )
    return name if limit is None else f"{name} {show(limit)}"


def _spread(limits: Limits | None) -> str:
    chart = "" if limits is None else limits.chart
    return SPREAD.get(chart, "spread")


def _basis(version: Version | None, limits: Limits | None, facts: StreamFacts) -> str:
    """Which limits judged: ``(limits v3, sigma 0.0021)``."""
    if version is None or limits is None:
        return ""
    kind = "given limits" if limits.given else "limits"
    if version.state == "trial":
        kind = f"trial {kind}"
    sigma = (
        ""
        if limits.sigma is None or limits.given
        else f", sigma {number(limits.sigma, facts.decimals, extra=1)}"
    )
    return f" ({kind} v{version.number}{sigma})"
