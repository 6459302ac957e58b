"""Which gauges and sources have gone silent: no reading for three times what is expected."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from app.duration import UNITS
from app.sentences import StreamFacts, silent, source_lost

Times = NDArray[np.int64]

PATIENCE: Final = 3
"""Silent after so many times the expected interval."""

GRACE: Final = 15 * UNITS["s"]
"""A source may be away so long before it counts as lost; most come back by themselves."""

DOWN: Final = np.iinfo(np.int64).max
"""Stands for the start of a source that is not up."""

NOT_YET: Final = np.iinfo(np.int64).min
"""Stands for the newest reading of a stream that has none."""

SILENT, UNKNOWN, HEARD = 1, 0, -1


class Quiet(NamedTuple):
    """Something that should be heard of and is not."""

    stream: int
    characteristic: str
    stream_name: str
    rule: str  # "silent", or "source" for a whole source
    since: int
    sentence: str


class Found(NamedTuple):
    """What is otherwise than at the last look, by stream; lost sources are negative numbers."""

    quiet: list[Quiet]
    heard: list[int]
    covered: Sequence[tuple[int, str]] = ()  # silent, and so is the source that feeds it
    uncovered: Sequence[int] = ()  # silent still, though the source is back
    ceased: Sequence[int] = ()  # not in use any more

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        parts = (self.quiet, self.heard, self.covered, self.uncovered, self.ceased)
        return any(len(part) for part in parts)


class Lost(NamedTuple):
    """A source as the supervisor sees it."""

    id: int
    name: str
    down_since: int | None  # None: it is up
    error: str | None
    streams: int  # that it feeds


def pseudo_stream(source: int) -> int:
    """The stream number under which a source's own alarm is kept; no real stream is negative."""
    return -source


def judge(now: int, last: Times, expect: Times, up_since: Times) -> NDArray[np.int8]:
    """Per stream: SILENT, HEARD, or UNKNOWN while nobody can tell.

    ``last`` is when the newest reading arrived (NOT_YET: none), ``expect`` the interval (0: none,
    such a stream is never silent), ``up_since`` the later start of source and service (DOWN: the
    source is away, which is an alarm of its own and says nothing about the gauge).
    """
    patience = PATIENCE * expect
    # now - patience instead of last + patience: the stand-ins would overflow.
    fresh = (last > now - patience) | (last == now - patience)
    up = up_since != DOWN
    overdue = up & ~fresh & (up_since < now - patience)
    verdict = np.where(overdue, SILENT, np.where(fresh, HEARD, UNKNOWN))
    return np.where(expect > 0, verdict, HEARD).astype(np.int8)


def look(
    now: int,
    last: Times,
    expect: Times,
    up_since: Times,
    *,
    known: Collection[int],
    describe: Callable[[int], StreamFacts],
    covered: Collection[int] = (),
) -> Found:
    """Compare all streams, by their number, with the clock.

    ``known`` are silent already; of these ``covered`` are left in peace while their source is lost.
    """
    verdict = judge(now, last, expect, up_since)
    quiet = [
        _quiet(int(stream), now, int(last[stream]), describe)
        for stream in np.flatnonzero(verdict == SILENT)
        if int(stream) not in known
    ]
    real = sorted(stream for stream in known if 0 <= stream < len(verdict))
    heard = [stream for stream in real if verdict[stream] == HEARD]
    uncovered = [s for s in real if s in covered and verdict[s] == SILENT]
    return Found(quiet, heard, uncovered=uncovered)


def _quiet(stream: int, now: int, last: int, describe: Callable[[int], StreamFacts]) -> Quiet:
    facts = describe(stream)
    known = None if last == NOT_YET else last
    sentence = silent(facts, known, now)
    since = now if known is None else known
    return Quiet(stream, facts.characteristic, facts.stream_name, "silent", since, sentence)


def look_at_sources(
    now: int, sources: Iterable[Lost], known: Collection[int], zone: ZoneInfo, grace: int = GRACE
) -> Found:
    """One alarm for a lost source, however many streams wait for it; ``known`` are pseudo streams."""
    quiet, heard = [], []
    gone = {stream for stream in known if stream < 0}
    for source in sources:
        gone.discard(pseudo_stream(source.id))
        stream = pseudo_stream(source.id)
        if source.down_since is None:
            if stream in known:
                heard.append(stream)
        elif stream not in known and now - source.down_since > grace:
            name = f"source:{source.name}"
            sentence = source_lost(
                source.name, source.down_since, source.error, source.streams, zone, at=now
            )
            quiet.append(Quiet(stream, name, name, "source", source.down_since, sentence))
    return Found(quiet, sorted(heard), ceased=sorted(gone))
