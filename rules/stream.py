"""Readings become points and points get verdicts: one compiled loop over the state of many streams."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rules.charts import P, subgroup_statistics
from rules.compiled import compiled, inlined
from rules.kernel import MEMORY, REGISTERS, judge_point
from rules.limits import dispersion_at, sigmas_at

NONE = np.iinfo(np.int64).min
"""An integer that is not there: no subgroup, nothing seen yet."""

FOREVER = np.iinfo(np.int64).max
MOST_IN_SUBGROUP = 25
NAME_HOLDS = 86_400_000_000
"""A day: sources begin to number their samples anew; a timeout of the subgroup says otherwise."""

# Columns of a stream's whole numbers.
(
    NEWEST_TIME,
    NEWEST_KEY,
    SEQ,
    VERSION,  # row in force
    VALID_TO,  # measured time at which the next version begins
    OPEN_COUNT,
    OPEN_TIME,
    OPEN_KEY,
    OPEN_NUMBER,
    OPEN_FLAGS,
    OPEN_VERSION,
    LAST_NUMBER,  # of subgroups that are counted here
    LAST_TIME,  # newest reading that was charted
    CUT_STAMP,
    KEY_STAMP,
    PENDING,
    SAMPLE_TIME,
    SAMPLE_COUNT,
    SLOT,  # row of the open subgroup's values
    RECEIVED,
    SOURCE,  # of the newest arrival
) = range(21)
INTEGERS = 21

PREVIOUS = 0  # the value before, for the moving range
FLOATS = 1

# Columns of a version's whole numbers.
V_CHART, V_SIZE, V_GAP, V_TIMEOUT, V_EVERY, V_EVERY_PARTS, V_PROGRAM, V_FLAGS = range(8)
VERSION_INTEGERS = 8
V_CENTER, V_SIGMA, V_LCL, V_UCL, V_GIVEN_N, V_LOWER, V_UPPER = range(7)
VERSION_FLOATS = 7

# Bits of V_FLAGS.
LIMITS, TRIAL = 1, 2
# Bits of OPEN_FLAGS, which has POINT_ABOVE and POINT_BELOW too, and of PENDING.
CUT, NAMED, CLOSE = 1, 2, 4

# Bits and codes of stored rows; app.store.rows has the same, a test compares them.
READING_CUT, READING_NAMED = 1, 4
POINT_CUT, POINT_PARTIAL, POINT_EXCLUDED, POINT_UNJUDGED, POINT_TRIAL, POINT_NAMED = (
    1,
    2,
    8,
    32,
    64,
    512,
)
POINT_ABOVE, POINT_BELOW = 128, 256
BAD, PRODUCTION = 2, 0


@compiled
def classify(rows: Any, integers: Any, known: Any) -> int:
    """Mark readings strictly newer than all of their stream as new; the rest has to be looked up.

    Returns how many are not new; ``known[i]`` is 1 for those.
    """
    doubtful = 0
    for i in range(rows.shape[0]):
        state = integers[rows[i].stream]
        time, key = rows[i].time, rows[i].key
        if time > state[NEWEST_TIME] or (time == state[NEWEST_TIME] and key > state[NEWEST_KEY]):
            state[NEWEST_TIME] = time
            state[NEWEST_KEY] = key
            known[i] = 0
        else:
            known[i] = 1
            doubtful += 1
    return doubtful


@compiled
def verdict(
    row: int,
    tables: Any,
    registers: Any,
    memory: Any,
    n: float,
    statistic: float,
    dispersion: float,
    cut: bool,
) -> tuple[int, int]:
    """The violations that a point completes, and its flags for missing or trial limits.

    ``tables`` are the whole numbers and floats of the versions, and the rules.
    """
    versions_i, versions_f, programs = tables
    version, line = versions_i[row], versions_f[row]
    if not version[V_FLAGS] & LIMITS:
        return 0, POINT_UNJUDGED
    chart, center, sigma = version[V_CHART], line[V_CENTER], line[V_SIGMA]
    above, below = sigmas_at(chart, center, sigma, line[V_LCL], line[V_UCL], line[V_GIVEN_N], n)
    _, low, high = dispersion_at(chart, sigma, n)
    mask = judge_point(
        programs,
        version[V_PROGRAM],
        registers,
        memory,
        statistic,
        center,
        above,
        below,
        cut,
        dispersion,
        low,
        high,
    )
    return mask, (POINT_TRIAL if version[V_FLAGS] & TRIAL else 0)  # type: ignore[return-value]


@compiled
def _plot(
    points: Any,
    at: int,
    stream: int,
    state: Any,
    time: int,
    key: int,
    number: int,
    n: float,
    statistic: float,
    dispersion: float,
    version: int,
    mask: int,
    flags: int,
) -> None:
    """Write a point; it is the next change of its stream."""
    state[SEQ] += 1
    points[at].stream = stream
    points[at].time = time
    points[at].key = key
    points[at].subgroup = number
    points[at].n = n
    points[at].statistic = statistic
    points[at].dispersion = dispersion
    points[at].version = version
    points[at].violations = mask
    points[at].flags = flags
    points[at].seq = state[SEQ]


@compiled
def close_subgroup(
    stream: int,
    integers: Any,
    registers: Any,
    memory: Any,
    values: Any,
    scratch: Any,
    tables: Any,
    points: Any,
    at: int,
) -> None:
    """Make the point of a stream's open subgroup, complete or partial, at ``points[at]``."""
    state = integers[stream]
    row = state[OPEN_VERSION]
    count = state[OPEN_COUNT]
    version = tables[0][row]
    cut = state[OPEN_FLAGS] & CUT != 0
    for i in range(count):
        scratch[i] = values[state[SLOT], i]
    mean, spread = subgroup_statistics(version[V_CHART], scratch[:count])
    mask, flags = verdict(row, tables, registers[stream], memory[stream], count, mean, spread, cut)
    if cut:
        flags |= POINT_CUT
    if count < version[V_SIZE]:
        flags |= POINT_PARTIAL
    if state[OPEN_FLAGS] & NAMED:
        flags |= POINT_NAMED
    flags |= state[OPEN_FLAGS] & (POINT_ABOVE | POINT_BELOW)
    _plot(
        points, at, stream, state, state[OPEN_TIME], state[OPEN_KEY], state[OPEN_NUMBER],
        count, mean, spread, row, mask, flags,
    )  # fmt: skip
    state[OPEN_COUNT] = 0


@compiled
def outside(value: float, lower: float, upper: float) -> int:
    """-1 below, 1 above, 0 within the specification; exactly on a limit is within."""
    ulps = 4.0 * 2.220446049250313e-16
    if value > upper + ulps * abs(upper):
        return 1
    if value < lower - ulps * abs(lower):
        return -1
    return 0


@compiled
def name_holds(version: Any) -> int:
    """How long after a subgroup's first reading its name still means that subgroup."""
    return version[V_TIMEOUT] if version[V_TIMEOUT] > 0 else NAME_HOLDS


@compiled
def _due(version: Any, state: Any, time: int) -> bool:
    """Whether a sampled characteristic may begin its next sample."""
    if state[SAMPLE_TIME] == NONE:
        return True
    if version[V_EVERY] > 0 and time - state[SAMPLE_TIME] < version[V_EVERY]:
        return False
    return not (version[V_EVERY_PARTS] > 0 and state[SAMPLE_COUNT] < version[V_EVERY_PARTS])


@compiled
def spec_flag(spec: int) -> int:
    """The bit of a point for a reading above or below the specification."""
    if spec > 0:
        return POINT_ABOVE
    if spec < 0:
        return POINT_BELOW
    return 0


@inlined
def _meets_boundary(version: Any, state: Any, time: int, stamp: int) -> bool:
    """Whether a boundary lies before this charted reading; it is the newest from here on."""
    boundary = state[PENDING] & CUT != 0
    if state[CUT_STAMP] != 0 and state[CUT_STAMP] != stamp:
        boundary = True
    gap = version[V_GAP]
    if gap > 0 and state[LAST_TIME] != NONE and time - state[LAST_TIME] > gap:
        boundary = True
    state[CUT_STAMP] = stamp
    state[LAST_TIME] = time
    return bool(boundary)


@inlined
def _plot_single(
    row: Any,
    tables: Any,
    state: Any,
    floats: Any,
    registers: Any,
    memory: Any,
    boundary: bool,
    points: Any,
    at: int,
) -> bool:
    """Make the point of a reading that is one; false when it is not part of a sample."""
    version = tables[0][state[VERSION]]
    number = NONE
    if version[V_EVERY] > 0 or version[V_EVERY_PARTS] > 0:
        state[SAMPLE_COUNT] += 1
        if not _due(version, state, row.time):
            state[PENDING] = CUT if boundary else 0
            row.subgroup = NONE
            return False
        state[SAMPLE_TIME] = row.time
        state[SAMPLE_COUNT] = 0
        state[LAST_NUMBER] += 1
        number = state[LAST_NUMBER]
    if boundary:
        row.flags |= READING_CUT
    state[PENDING] = 0
    row.subgroup = number
    value, n, dispersion = row.value, 1.0, np.nan
    if version[V_CHART] == P:
        if not np.isnan(row.size):
            n = row.size
        value /= n
    elif not boundary:
        dispersion = abs(value - floats[PREVIOUS])
    floats[PREVIOUS] = value
    mask, flags = verdict(state[VERSION], tables, registers, memory, n, value, dispersion, boundary)
    flags |= spec_flag(row.spec) | (POINT_CUT if boundary else 0)
    _plot(
        points, at, row.stream, state, row.time, row.key, number,
        n, value, dispersion, state[VERSION], mask, flags,
    )  # fmt: skip
    return True


@inlined
def _closes(row: Any, version: Any, state: Any, boundary: bool, keys: int) -> bool:
    """Whether the open subgroup ends before this reading."""
    if state[OPEN_COUNT] == 0:
        return False
    if row.flags & READING_NAMED or state[OPEN_FLAGS] & NAMED:
        return not (
            row.flags & READING_NAMED
            and state[OPEN_FLAGS] & NAMED
            and row.subgroup == state[OPEN_NUMBER]
            and row.time - state[OPEN_TIME] <= name_holds(version)
        )
    timeout = version[V_TIMEOUT]
    return bool(
        boundary
        or state[PENDING] & CLOSE != 0
        or state[KEY_STAMP] != keys
        or (timeout > 0 and row.time - state[OPEN_TIME] > timeout)
    )


@inlined
def _opens(row: Any, version: Any, state: Any) -> bool:
    """Open a subgroup with this reading; false when it is not part of a sample."""
    named = row.flags & READING_NAMED != 0
    state[SAMPLE_COUNT] += 1
    if not (named or _due(version, state, row.time)):
        row.subgroup = NONE
        return False
    cut = state[PENDING] & CUT
    state[SAMPLE_TIME] = row.time
    state[SAMPLE_COUNT] = 0
    state[OPEN_TIME] = row.time
    state[OPEN_KEY] = row.key
    state[OPEN_VERSION] = state[VERSION]
    state[OPEN_FLAGS] = (NAMED if named else 0) | cut
    if cut:
        row.flags |= READING_CUT
    state[PENDING] = 0
    if named:
        state[OPEN_NUMBER] = row.subgroup
    else:
        state[LAST_NUMBER] += 1
        state[OPEN_NUMBER] = state[LAST_NUMBER]
    return True


@compiled
def advance(
    begin: int,
    rows: Any,
    chosen: Any,
    cuts: Any,
    keys: Any,
    integers: Any,
    floats: Any,
    registers: Any,
    memory: Any,
    values: Any,
    scratch: Any,
    tables: Any,
    points: Any,
    made: int,
) -> tuple[int, int]:
    """Run the chosen readings through their streams, in the order of arrival.

    Fills ``spec``, ``flags`` and ``subgroup`` of the rows and appends to ``points``.
    Returns where it stopped, which is before the end when that reading needs the next version of
    its stream, and how many points there are.
    """
    for c in range(begin, chosen.shape[0]):
        i = chosen[c]
        row, stream = rows[i], rows[i].stream
        state = integers[stream]
        if row.time >= state[VALID_TO]:
            return c, made
        if row.received_at > state[RECEIVED]:
            state[RECEIVED] = row.received_at
            state[SOURCE] = row.source
        if row.purpose != PRODUCTION or row.quality == BAD:
            if row.purpose == PRODUCTION:
                state[PENDING] |= CUT if row.flags & READING_NAMED else CUT | CLOSE
            row.subgroup = NONE
            continue
        version, line = tables[0][state[VERSION]], tables[1][state[VERSION]]
        if version[V_CHART] != P:
            row.spec = outside(row.value, line[V_LOWER], line[V_UPPER])
        boundary = _meets_boundary(version, state, row.time, cuts[i])
        if version[V_SIZE] == 1:
            made += _plot_single(
                row, tables, state, floats[stream], registers[stream], memory[stream],
                boundary, points, made,
            )  # fmt: skip
            continue
        if _closes(row, version, state, boundary, keys[i]):
            close_subgroup(
                stream, integers, registers, memory, values, scratch, tables, points, made
            )
            made += 1
        if boundary:
            state[PENDING] = CUT  # until a subgroup opens behind it
        if state[OPEN_COUNT] > 0:
            state[SAMPLE_COUNT] += 1
        elif not _opens(row, version, state):
            continue
        state[KEY_STAMP] = keys[i]
        state[OPEN_FLAGS] |= spec_flag(row.spec)
        row.subgroup = state[OPEN_NUMBER]
        values[state[SLOT], state[OPEN_COUNT]] = row.value
        state[OPEN_COUNT] += 1
        if state[OPEN_COUNT] >= version[V_SIZE]:
            close_subgroup(
                stream, integers, registers, memory, values, scratch, tables, points, made
            )
            made += 1
    return chosen.shape[0], made


def new_state(
    streams: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint32], NDArray[np.float64]]:
    """The state of streams that have seen nothing yet: whole numbers, floats, registers, memory."""
    integers = np.zeros((streams, INTEGERS), np.int64)
    integers[:, [NEWEST_TIME, NEWEST_KEY, LAST_TIME, SAMPLE_TIME, OPEN_NUMBER, RECEIVED]] = NONE
    integers[:, VALID_TO] = FOREVER
    integers[:, [SLOT, VERSION]] = -1
    return (
        integers,
        np.full((streams, FLOATS), np.nan),
        np.zeros((streams, REGISTERS), np.uint32),
        np.zeros((streams, MEMORY)),
    )


@compiled
def recall(
    points: Any,
    version_rows: Any,
    tables: Any,
    integers: Any,
    floats: Any,
    registers: Any,
    memory: Any,
) -> None:
    """Bring rule history back from the newest points of each stream, in the order of time.

    ``version_rows`` are the rows of the points' versions in the table.
    """
    for i in range(points.shape[0]):
        stream, flags = points[i].stream, points[i].flags
        if flags & POINT_EXCLUDED:
            continue
        floats[stream, PREVIOUS] = points[i].statistic
        integers[stream, SEQ] = max(integers[stream, SEQ], points[i].seq)
        verdict(
            version_rows[i],
            tables,
            registers[stream],
            memory[stream],
            points[i].n,
            points[i].statistic,
            points[i].dispersion,
            flags & POINT_CUT != 0,
        )
