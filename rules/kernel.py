"""The compiled judge of points: one step of every run rule, over the shift registers of a stream.

A register holds the last 32 outcomes of one predicate, newest in bit 0; "k of the last n" is a
population count over a mask. All functions are compiled; none allocates or touches an object, so
they inline into the loops of others.
"""

from typing import Any

import numpy as np
from numba import int64
from numba.extending import intrinsic
from numpy.typing import NDArray

from rules.compiled import compiled, inlined
from rules.runs import (
    BEYOND,
    DISPERSION,
    DISPERSION_LOWER,
    DISPERSION_UPPER,
    EITHER,
    FALLING,
    FIRST_EDGE,
    FIRST_FREE,
    JOIN,
    LOW_BIT,
    MASK,
    NEED,
    REGISTERS,
    RISING,
    SEEN,
    STARTS,
    STEPPING,
    TREND_WATCH,
    TURN_WATCH,
    TURNING,
    UP_BIT,
    WITHIN,
    WITHIN_INCLUSIVE,
    K,
    Programs,
    Table,
)

__all__ = ["MEMORY", "REGISTERS", "cut", "judge_point", "judge_series", "new_state", "warm"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Registers = NDArray[np.uint32]
Whole = int | np.int64 | np.uintp

MEMORY = 1
"""Floats that a stream remembers: the statistic of its last point, for the steps."""

ULPS = 4.0 * float(np.finfo(np.float64).eps)
"""How far rounding moves a point, relative to its size: within it, on a line is on the line."""


def _population(_typing: Any, _bits: Any) -> Any:
    """Count the ones of an integer, in one instruction where the processor has it."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return int64(int64), codegen


_count: Any = intrinsic(_population)


@inlined
def cut(registers: Registers, memory: Floats) -> None:
    """Forget the history of one stream: no pattern reaches back across this."""
    for i in range(REGISTERS):
        registers[i] = 0
    memory[0] = 0.0


@inlined
def _shift(registers: Registers, at: Whole, hit: bool | np.bool_) -> np.int64:
    """Shift one outcome into a register and return its new content."""
    place = np.uintp(at)
    outcomes = np.uint32((np.int64(registers[place]) << 1) | np.int64(hit))
    registers[place] = outcomes
    return np.int64(outcomes)


@inlined
def _completed(
    table: Table, program: Whole, watch: int, seen: Whole, upper: bool, up: Whole, low: Whole
) -> np.int64:
    """Return the bits of the rules on one predicate that the newest point completes.

    ``upper`` says on which side it hit, if it hit at all; a predicate without sides passes its
    outcomes as ``up``.
    """
    # The side is selected, not branched upon: it is a coin toss that no processor predicts.
    own = up if upper else low
    other = low if upper else up
    side = np.uintp(UP_BIT if upper else LOW_BIT)
    found = np.int64(0)
    start = table.shape[program, np.uintp(STARTS + watch)]
    for row in range(start, table.shape[program, np.uintp(STARTS + watch + 1)]):
        i = np.uintp(row)
        mask = table.rules[program, i, MASK]
        hits = (own & mask) | (other & table.rules[program, i, JOIN])
        sides = (other & mask) | table.rules[program, i, EITHER]
        full = seen & table.rules[program, i, NEED]
        enough = _count(hits) >= table.rules[program, i, K]
        if enough & ((own & 1) != 0) & (sides != 0) & (full != 0):
            found |= table.rules[program, i, side]
    return found


@inlined
def _steps(
    table: Table, program: Whole, registers: Registers, previous: float, x: float, seen: Whole
) -> np.int64:
    """Watch trends and turns; ``seen`` includes this point."""
    near = ULPS * abs(x) + ULPS * abs(previous)
    step = x - previous
    follows = (seen & 2) != 0
    rising = follows & (step > near)
    falling = follows & (step < -near)
    turning = (rising & ((registers[FALLING] & 1) != 0)) | (
        falling & ((registers[RISING] & 1) != 0)
    )
    up = _shift(registers, RISING, rising)
    low = _shift(registers, FALLING, falling)
    turns = _shift(registers, TURNING, turning)
    return _completed(table, program, TREND_WATCH, seen, rising, up, low) | _completed(
        table, program, TURN_WATCH, seen, True, turns, 0
    )


@inlined
def _beyond(
    table: Table,
    program: Whole,
    registers: Registers,
    deviation: float,
    near: float,
    sigma_up: float,
    sigma_low: float,
    seen: Whole,
) -> np.int64:
    """Watch the edges around the center line from outside, each with an upper and a lower side."""
    found = np.int64(0)
    for i in range(table.shape[program, BEYOND]):
        edge = table.edges[program, np.uintp(i)]
        # an infinite sigma, a missing given limit, still has a center line with two sides
        high = edge * sigma_up if edge > 0.0 else 0.0
        deep = edge * sigma_low if edge > 0.0 else 0.0
        above = deviation > high + near
        below = deviation < -deep - near
        up = _shift(registers, FIRST_FREE + 2 * i, above)
        low = _shift(registers, FIRST_FREE + 2 * i + 1, below)
        found |= _completed(table, program, FIRST_EDGE + i, seen, above, up, low)
    return found


@inlined
def _within(
    table: Table,
    program: Whole,
    registers: Registers,
    deviation: float,
    near: float,
    sigma_up: float,
    sigma_low: float,
    seen: Whole,
) -> np.int64:
    """Watch the edges around the center line from inside, where there are no sides."""
    found = np.int64(0)
    first = table.shape[program, BEYOND]
    strict = first + table.shape[program, WITHIN]
    for i in range(first, strict + table.shape[program, WITHIN_INCLUSIVE]):
        edge = table.edges[program, np.uintp(i)]
        high = edge * sigma_up
        deep = edge * sigma_low
        # Without any sigma z is 0 on the center line, and that is within.
        inside = (deviation < high - near) | (high <= near) & (deviation <= near)
        inside &= (deviation > near - deep) | (deep <= near) & (deviation >= -near)
        if i >= strict:
            inside = (deviation <= high + near) & (deviation >= -deep - near)
        hits = _shift(registers, FIRST_FREE + first + i, inside)
        found |= _completed(table, program, FIRST_EDGE + i, seen, True, hits, 0)
    return found


@inlined
def judge_point(
    table: Table,
    program: Whole,
    registers: Registers,
    memory: Floats,
    x: float,
    center: float,
    sigma_up: float,
    sigma_low: float,
    boundary: bool | np.bool_,
    d: float,
    d_lcl: float,
    d_ucl: float,
) -> np.int64:
    """Judge one point of one stream and return the bits of all violations that it completes.

    ``sigma_up`` and ``sigma_low`` are of the plotted statistic, above and below the center line;
    infinite where a given limit is missing. ``boundary`` cuts the history first. A NaN ``x`` is no
    point: it counts nowhere and cuts. NaN in ``d`` or its limits: nothing to judge.
    """
    absent = np.isnan(x)
    if boundary or absent:
        cut(registers, memory)
    if absent:
        return np.int64(0)
    p = np.uintp(program)
    seen = _shift(registers, SEEN, True)
    near = ULPS * abs(x) + ULPS * abs(center)
    deviation = x - center
    found = _beyond(table, p, registers, deviation, near, sigma_up, sigma_low, seen)
    found |= _within(table, p, registers, deviation, near, sigma_up, sigma_low, seen)
    if table.shape[p, STEPPING]:
        found |= _steps(table, p, registers, memory[0], x, seen)
        memory[0] = x
    if table.shape[p, DISPERSION]:
        slack = ULPS * abs(d)
        if d > d_ucl + slack:
            found |= np.int64(1) << DISPERSION_UPPER
        if d < d_lcl - slack:
            found |= np.int64(1) << DISPERSION_LOWER
    return found


@compiled
def judge_series(
    table: Table,
    program: Ints,
    registers: Registers,
    memory: Floats,
    stream: Ints,
    x: Floats,
    center: Floats,
    sigma_up: Floats,
    sigma_low: Floats,
    boundary: NDArray[np.bool_],
    d: Floats,
    d_lcl: Floats,
    d_ucl: Floats,
    found: Ints,
) -> None:
    """Judge points of many streams in order, each a column; ``program`` is indexed by stream.

    ``registers`` and ``memory`` carry the history from one call to the next.
    """
    for i in range(len(x)):
        s = stream[i]
        found[i] = judge_point(
            table,
            program[s],
            registers[s],
            memory[s],
            x[i],
            center[i],
            sigma_up[i],
            sigma_low[i],
            boundary[i],
            d[i],
            d_lcl[i],
            d_ucl[i],
        )


def new_state(streams: int) -> tuple[Registers, Floats]:
    """Return the registers and the memory of streams that have seen nothing."""
    return np.zeros((streams, REGISTERS), np.uint32), np.zeros((streams, MEMORY))


def warm() -> None:
    """Compile the kernel, so that the first reading does not wait for it."""
    table = Programs().table
    registers, memory = new_state(1)
    column = np.zeros(1)
    judge_series(
        table,
        np.zeros(1, np.int64),
        registers,
        memory,
        np.zeros(1, np.int64),
        column,
        column,
        column,
        column,
        np.zeros(1, np.bool_),
        column,
        column,
        column,
        np.zeros(1, np.int64),
    )
