"""How far a source's clock is from ours."""

from collections import deque

SAMPLE_EVERY_US = 1_000_000
SAMPLES = 256
FRESH = 0.9  # most readings are late by their way here, hardly any is early: take the freshest
STEP_US = 1_000_000  # a correction follows the clock in steps: a message that comes twice
# must get the same time twice.


class Skew:
    """The source clock minus ours, from stamps and their arrival.

    One sample a second, so that a backlog that arrives in a burst does not look like a slow clock;
    near their top, because transport only ever makes stamps look old; not the top itself, because
    single stamps may be nonsense.
    """

    def __init__(self, correction: int | None = None) -> None:
        self.value: float | None = None if correction is None else float(correction)
        self.correction = correction or 0
        self._known = correction is not None
        self._samples: deque[int] = deque(maxlen=SAMPLES)
        self._freshest: int | None = None
        self._since = 0

    def see(self, time: int, received_at: int) -> None:
        """Take note of a stamp."""
        ahead = time - received_at
        if self._freshest is None:
            self._freshest, self._since = ahead, received_at
            if not self._known:
                self._known = True
                self._conclude(float(ahead))
        elif ahead > self._freshest:
            self._freshest = ahead
        if not 0 <= received_at - self._since < SAMPLE_EVERY_US:
            self._samples.append(self._freshest)
            self._freshest, self._since = ahead, received_at
            ordered = sorted(self._samples)
            self._conclude(float(ordered[int(FRESH * (len(ordered) - 1))]))

    def _conclude(self, value: float) -> None:
        self.value = value
        if abs(value - self.correction) > STEP_US:
            self.correction = round(value)
