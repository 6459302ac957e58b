"""Ranges as decimals mean them: 25.015 - 25 is 0.015, not 0.015000000000000568."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

DIGITS: Final = 13
"""A difference of two numbers knows so many digits of theirs; the rest is the noise of floats."""

MOST_DECIMALS: Final = 22
"""Powers of ten are exact up to here, so that the division below gives the nearest float."""


def one_without_noise(spread: float, statistic: float) -> float:
    """One range or deviation without the digits that a value like ``statistic`` does not have."""
    size = max(abs(statistic), abs(spread))
    if not size > 0:  # no number, too
        return spread
    decimals = DIGITS - math.ceil(math.log10(size))
    return spread if decimals < 0 else round(spread, min(decimals, MOST_DECIMALS))


def without_noise(
    spread: NDArray[np.float64], statistic: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same for a column of them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        decimals = DIGITS - np.ceil(np.log10(np.maximum(np.abs(statistic), np.abs(spread))))
        scale = 10.0 ** np.clip(decimals, 0, MOST_DECIMALS)
        told: NDArray[np.float64] = np.where(decimals < 0, spread, np.rint(spread * scale) / scale)
    return told
