"""The eight Nelson rules written out by hand in one numba loop: what being generic is measured by.

Counters instead of registers, no tolerance for rounding, no other rules, edges or options; the
verdicts on well-behaved numbers are the same.
"""

import math

import numpy as np
from numba import njit

STATE = 10


def new_state(streams):
    """Return counters and previous values of streams that have seen nothing."""
    return np.zeros((streams, STATE), np.int32), np.zeros(streams)


@njit(nogil=True, error_model="numpy")
def judge_eight(state, previous, stream, x, center, sigma, boundary, found):  # noqa: C901, PLR0912
    for i in range(len(x)):
        s = stream[i]
        row = state[s]
        value = x[i]
        if boundary[i] or math.isnan(value):
            row[:] = 0
            if math.isnan(value):
                found[i] = 0
                continue
        z = (value - center[i]) / sigma[i]
        mask = 0
        if z > 3.0:
            mask |= 1
        elif z < -3.0:
            mask |= 2
        # row[0]: length of the run on one side, negative below
        if z > 0.0:
            row[0] = row[0] + 1 if row[0] > 0 else 1
        elif z < 0.0:
            row[0] = row[0] - 1 if row[0] < 0 else -1
        else:
            row[0] = 0
        if row[0] >= 9:
            mask |= 1 << 2
        elif row[0] <= -9:
            mask |= 1 << 3
        # row[1]: steps of a trend, negative downwards; row[2]: steps of an alternation
        if row[6]:
            if value > previous[s]:
                row[2] = row[2] + 1 if row[1] < 0 else 1
                row[1] = row[1] + 1 if row[1] > 0 else 1
            elif value < previous[s]:
                row[2] = row[2] + 1 if row[1] > 0 else 1
                row[1] = row[1] - 1 if row[1] < 0 else -1
            else:
                row[1] = 0
                row[2] = 0
        row[6] = 1
        previous[s] = value
        if row[1] >= 5:
            mask |= 1 << 4
        elif row[1] <= -5:
            mask |= 1 << 5
        if row[2] >= 13:
            mask |= 1 << 6
        # row[3]: three outcomes beyond 2 sigma above, then three below; row[4]: five and five
        two = ((row[3] << 1) & 0b110110) | (z > 2.0) | ((z < -2.0) << 3)
        row[3] = two
        up, low = two & 7, two >> 3
        if up in (3, 5, 7):
            mask |= 1 << 8
        if low in (3, 5, 7):
            mask |= 1 << 9
        one = ((row[4] << 1) & 0b1111011110) | (z > 1.0) | ((z < -1.0) << 5)
        row[4] = one
        up, low = one & 31, one >> 5
        if up in (15, 23, 27, 29, 31):
            mask |= 1 << 10
        if low in (15, 23, 27, 29, 31):
            mask |= 1 << 11
        # row[5]: run within 1 sigma; row[7..9]: run beyond it, the part of it below, above
        row[5] = row[5] + 1 if -1.0 < z < 1.0 else 0
        if row[5] >= 15:
            mask |= 1 << 12
        if z > 1.0:
            row[7] += 1
            row[8] = 0
            row[9] += 1
        elif z < -1.0:
            row[7] += 1
            row[8] += 1
            row[9] = 0
        else:
            row[7] = 0
            row[8] = 0
            row[9] = 0
        if row[7] >= 8 and row[8] < 8 and row[9] < 8:
            mask |= 1 << 14
        found[i] = mask
