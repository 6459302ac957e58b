"""What the live fan-out needs from the service, and nothing else."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.store.batch import Alarm, Version


class StreamFacts(msgspec.Struct, frozen=True):
    """A stream as the screen names it."""

    id: int
    name: str
    tags: dict[str, str]


class CharacteristicFacts(msgspec.Struct, frozen=True):
    """What a screen has to know of a characteristic before its first point."""

    id: str
    name: str
    unit: str
    decimals: int | None
    station: str | None
    part: str
    class_: str
    chart: str
    n: int
    expect_s: float | None
    plausible: tuple[float | None, float | None]
    causes: tuple[str, ...]
    actions: tuple[str, ...]
    streams: tuple[StreamFacts, ...]


class History(msgspec.Struct, frozen=True):
    """The newest points of a stream, ascending by (time, key), and how far they reach."""

    seq: int  # every change up to this one is in ``points``
    revised_seq: int  # the last change that was not a new newest point
    points: NDArray[np.void]


class HistoryAway(Exception):
    """The database is away, or lags behind what was already published; ask again later."""


class LiveSource(Protocol):
    """The service, as the live fan-out sees it; all but ``history`` answer from memory."""

    def epoch(self) -> str:
        """Names this history; another one after a restore or a re-import."""
        ...

    def characteristics(self) -> Iterable[CharacteristicFacts]:
        """All characteristics in use, in the order of the screen."""
        ...

    def characteristic(self, name: str) -> CharacteristicFacts | None:
        """One of them by its id."""
        ...

    def stream(self, name: str) -> int | None:
        """The stream that is called ``name`` towards the outside."""
        ...

    def versions(self, stream: int) -> Sequence[Version]:
        """All versions that hold, held or are proposed for a stream, oldest first."""
        ...

    def in_force(self, stream: int) -> Version | None:
        """The version that would judge a point of now."""
        ...

    def open_alarms(self) -> Sequence[Alarm]:
        """Every alarm that is not closed."""
        ...

    def alarm_seq(self) -> int:
        """The number of the newest alarm change."""
        ...

    async def history(self, stream: int, window: int) -> History:
        """The newest ``window`` points as stored.

        Raises:
            HistoryAway: not now.
        """
        ...
