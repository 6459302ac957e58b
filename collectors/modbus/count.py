"""What a part counter says: a new part, parts missed, or that it began anew."""

from typing import NamedTuple


class Step(NamedTuple):
    """What happened between two looks at a part counter."""

    part: bool  # the registers hold a part that was not read yet
    missed: int = 0  # parts that came and went between the two looks
    reset: bool = False  # it began anew, so what was missed is not known


def step(last: int | None, now: int, period: int | None) -> Step:
    """Compare two looks at a counter; the first look only tells where it stands.

    A fall is a wrap while the way forward through ``period`` is short, else a reset. After a reset
    to zero nothing has been counted yet, so there is no part to read.
    """
    if last is None or now == last:
        return Step(part=False)
    if now > last:
        return Step(part=True, missed=now - last - 1)
    forward = (now - last) % period if period is not None else 0
    if period is not None and 0 < forward < max(2, period // 4):
        return Step(part=True, missed=forward - 1)
    return Step(part=now > 0, reset=True)
