"""The compiled judge of points: one step of every run rule, over the shift registers of a stream.

A register holds the last 32 outcomes of one predicate, newest in bit 0; "k of the last n" is a
population count over a mask. All functions are compiled; none allocates or touches an object, so
they inline into the loops of others.
"""

from typing import Any

import numpy as np
from numba import int64, njit
from numba.extending import intrinsic
from numpy.typing import NDArray

from rules.runs import (
    BEYOND,
    DISPERSION,
    DISPERSION_LOWER,
    DISPERSION_UPPER,
    EITHER,
    FALLING,
    FIRST_FREE,
    LOW,
    LOW_BIT,
    MASK,
    NEED,
    REGISTERS,
    RISING,
    SEEN,
    SHAPE_SIDELESS,
    SIDED,
    STEPPING,
    TURNING,
    UP,
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

MEMORY = 1
"""Floats that a stream remembers: the statistic of its last point, for the steps."""

ULPS = 4.0 * float(np.finfo(np.float64).eps)
"""How far rounding moves a point, relative to its size: within it, on a line is on the line."""


def _population(typing: Any, bits: Any) -> Any:  # noqa: ARG001
    """Count the ones of an integer, in one instruction where the processor has it."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return int64(int64), codegen


_count: Any = intrinsic(_population)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def cut(registers: Registers, memory: Floats) -> None:
    """Forget the history of one stream: no pattern reaches back across this."""
    for i in range(REGISTERS):
        registers[i] = 0
    memory[0] = 0.0


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _shift(registers: Registers, at: int, hit: bool) -> None:
    registers[at] = np.uint32((np.int64(registers[at]) << 1) | np.int64(hit))


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _observe(
    shape: Ints,
    edges: Floats,
    registers: Registers,
    memory: Floats,
    x: float,
    center: float,
    sigma_up: float,
    sigma_low: float,
) -> None:
    """Shift the outcome of every predicate for one point into its register."""
    if shape[STEPPING]:
        near = ULPS * (abs(x) + abs(memory[0]))
        step = x - memory[0]
        follows = (registers[SEEN] & 1) != 0
        rising = follows & (step > near)
        falling = follows & (step < -near)
        turning = (rising & ((registers[FALLING] & 1) != 0)) | (
            falling & ((registers[RISING] & 1) != 0)
        )
        _shift(registers, RISING, rising)
        _shift(registers, FALLING, falling)
        _shift(registers, TURNING, turning)
    memory[0] = x
    _shift(registers, SEEN, True)
    near = ULPS * (abs(x) + abs(center))
    deviation = x - center
    at = FIRST_FREE
    for i in range(shape[BEYOND]):
        # an infinite sigma, a missing given limit, still has a center line with two sides
        up = edges[i] * sigma_up if edges[i] > 0.0 else 0.0
        low = edges[i] * sigma_low if edges[i] > 0.0 else 0.0
        _shift(registers, at, deviation > up + near)
        _shift(registers, at + 1, deviation < -low - near)
        at += 2
    for i in range(shape[BEYOND], shape[BEYOND] + shape[WITHIN]):
        up = edges[i] * sigma_up
        low = edges[i] * sigma_low
        # without any sigma the center line itself is within, z being 0 there
        inner_up = deviation < up - near if up > near else deviation <= near
        inner_low = deviation > near - low if low > near else deviation >= -near
        _shift(registers, at, inner_up & inner_low)
        at += 1
    first = shape[BEYOND] + shape[WITHIN]
    for i in range(first, first + shape[WITHIN_INCLUSIVE]):
        up = edges[i] * sigma_up
        low = edges[i] * sigma_low
        _shift(registers, at, (deviation <= up + near) & (deviation >= -low - near))
        at += 1


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _complete(shape: Ints, rules: Ints, registers: Registers) -> np.int64:
    """Return the bits of all rules that the newest point completes."""
    found = np.int64(0)
    seen = np.int64(registers[SEEN])
    for i in range(shape[SIDED]):
        mask = rules[i, MASK]
        k = rules[i, K]
        up = np.int64(registers[rules[i, UP]]) & mask
        low = np.int64(registers[rules[i, LOW]]) & mask
        ready = (seen & rules[i, NEED]) != 0
        if (_count(up) >= k) & ((up & 1) != 0) & ready:
            found |= rules[i, UP_BIT]
        if (_count(low) >= k) & ((low & 1) != 0) & ready:
            found |= rules[i, LOW_BIT]
    for i in range(shape[SIDED], shape[SIDED] + shape[SHAPE_SIDELESS]):
        mask = rules[i, MASK]
        up = np.int64(registers[rules[i, UP]]) & mask
        low = np.int64(registers[rules[i, LOW]]) & mask
        hits = up | low
        sides = (rules[i, EITHER] != 0) | ((up != 0) & (low != 0))
        ready = (seen & rules[i, NEED]) != 0
        if (_count(hits) >= rules[i, K]) & ((hits & 1) != 0) & ready & sides:
            found |= rules[i, UP_BIT]
    return found


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def judge_point(
    table: Table,
    program: int,
    registers: Registers,
    memory: Floats,
    x: float,
    center: float,
    sigma_up: float,
    sigma_low: float,
    boundary: bool,
    d: float,
    d_lcl: float,
    d_ucl: float,
) -> np.int64:
    """Judge one point of one stream and return the bits of all violations that it completes.

    ``sigma_up`` and ``sigma_low`` are of the plotted statistic, above and below the center line;
    infinite where a given limit is missing. ``boundary`` cuts the history first. A NaN ``x`` is no
    point: it counts nowhere and cuts. NaN in ``d`` or its limits: nothing to judge.
    """
    if boundary or np.isnan(x):
        cut(registers, memory)
    if np.isnan(x):
        return np.int64(0)
    shape = table.shape[program]
    _observe(shape, table.edges[program], registers, memory, x, center, sigma_up, sigma_low)
    found = _complete(shape, table.rules[program], registers)
    if shape[DISPERSION]:
        near = ULPS * abs(d)
        if d > d_ucl + near:
            found |= np.int64(1) << DISPERSION_UPPER
        if d < d_lcl - near:
            found |= np.int64(1) << DISPERSION_LOWER
    return found


@njit(cache=True, nogil=True, error_model="numpy")
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
