"""The run rules once more, each by its wording, on lists: slow, and unlike the kernel.

Takes z, and the numbers of the points that complete a rule are counted from 1.
"""

import itertools
import math


def segments(points, cuts=()):
    """Split at NaN and at cuts (indexes from 0) into (index of the first point, points)."""
    start, run = 0, []
    for i, z in enumerate(points):
        if math.isnan(z) or i in cuts:
            if run:
                yield start, run
            start, run = i, []
        if math.isnan(z):
            start = i + 1
        else:
            run.append(z)
    if run:
        yield start, run


def completes(rule, history, *, full, nelson_7="strict", nelson_8="both_sides"):
    """Return the sides, of '+', '-' and '0' (none), on which the last point completes ``rule``."""
    newest = history[-1]
    number = {"we-1": 1, "we-2": 5, "we-3": 6}.get(rule, 0) or int(rule[-1])
    if rule == "we-4":
        return sides_of(history[-8:], 8)
    if number == 1:
        return {"+"} if newest > 3 else {"-"} if newest < -3 else set()
    if number == 2:
        return sides_of(history[-9:], 9)
    if number == 3:
        last = history[-6:]
        steps = [b - a for a, b in itertools.pairwise(last)]
        if len(last) < 6:
            return set()
        return {"+"} if min(steps) > 0 else {"-"} if max(steps) < 0 else set()
    if number == 4:
        last = history[-14:]
        steps = [b - a for a, b in itertools.pairwise(last)]
        opposite = all(a * b < 0 for a, b in itertools.pairwise(steps))
        return {"0"} if len(last) == 14 and opposite else set()
    if number in (5, 6):
        n, k, edge = (3, 2, 2.0) if number == 5 else (5, 4, 1.0)
        if full and len(history) < n:
            return set()
        sign = 1 if newest > edge else -1 if newest < -edge else 0
        beyond = [z for z in history[-n:] if sign * z > edge]
        return {"+" if sign > 0 else "-"} if sign and len(beyond) >= k else set()
    if number == 7:
        last = history[-15:]
        calm = all(abs(z) < 1 or (nelson_7 == "inclusive" and abs(z) == 1) for z in last)
        return {"0"} if len(last) == 15 and calm else set()
    last = history[-8:]
    both = nelson_8 == "either_side" or (max(last) > 0 > min(last))
    return {"0"} if len(last) == 8 and both and all(abs(z) > 1 for z in last) else set()


def sides_of(last, n):
    """Return the side on which all of ``n`` points lie."""
    if len(last) < n:
        return set()
    return {"+"} if min(last) > 0 else {"-"} if max(last) < 0 else set()


def judge_plainly(rule, points, cuts=(), *, full=False, **readings):
    """Return (number, side) of every point that completes ``rule``."""
    return [
        (start + i + 1, side)
        for start, run in segments(points, cuts)
        for i in range(len(run))
        for side in sorted(completes(rule, run[: i + 1], full=full, **readings))
    ]
