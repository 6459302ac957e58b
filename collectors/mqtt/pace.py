"""When messages are handed over: together where they come all the time, at once where they do not."""

from typing import Final

PACE_S: Final = 0.1
"""Between deliveries of what comes all the time: one commit for many messages."""

PAUSE_S: Final = 0.05
"""When none came for so long, none is waited for."""

REMEMBERED_S: Final = 1.0


class Pace:
    """Ten deliveries a second, without keeping the broker waiting.

    A broker sends no more than so many messages before they are acknowledged, and does not say
    how many. What it stopped at is handed over without waiting for more, until that is tried again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._stopped_at = most
        self._learned = self._handed_over = 0.0

    def enough(self, now: float) -> int:
        """So many messages need not wait for more."""
        if now - self._learned > REMEMBERED_S:
            self._stopped_at = self._most
        return self._stopped_at

    @property
    def until(self) -> float:
        """When few messages need not wait for more either."""
        return self._handed_over + PACE_S

    def hand_over(self, now: float, messages: int, *, under_way: bool) -> None:
        """So many messages are handed over, while earlier ones are not durable yet or all are."""
        if not messages:
            return
        if under_way:
            self._stopped_at = self._most  # it goes on sending
        elif messages < self._stopped_at and now < self.until:
            self._stopped_at, self._learned = messages, now
        self._handed_over = now
