"""The wall clock; everything that asks for the time is given one."""

import time


def wall_clock() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1_000
