"""What is missing among messages that their publisher numbers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

MOST_SCOPES = 10_000
MOST_STORED_SCOPES = 256
MOST_SPANS = 100
PATIENCE_US = 10_000_000  # brokers redeliver out of order; a number may still come
REPEATS = 1_000  # how far back a repeated message may lie; further back the counter began anew
YOUNG = 20  # a counter this low says nothing when it is 0 or 1 again


class Missed(NamedTuple):
    """Numbers that did not come, and the times of the messages around them."""

    first: int
    last: int
    start: int
    end: int
    noticed: int

    @property
    def many(self) -> int:
        """How many numbers there are."""
        return self.last - self.first + 1


class Numbering:
    """The numbers of one publisher, as far as they were seen."""

    def __init__(self, highest: int, time: int) -> None:
        self.highest = highest
        self.time = time
        self.missing: list[Missed] = []

    def see(self, number: int, time: int, received_at: int, *, repeated: bool) -> list[Missed]:
        """Note a number; returns what is given up because of it."""
        if number == self.highest + 1:
            self.highest, self.time = number, time
            return []
        if number > self.highest:
            self.missing.append(Missed(self.highest + 1, number - 1, self.time, time, received_at))
            self.highest, self.time = number, time
            return [self.missing.pop(0)] if len(self.missing) > MOST_SPANS else []
        if self._fill(number) or repeated or not self._begins_anew(number):
            return []
        given_up, self.missing = self.missing, []
        self.highest, self.time = number, time
        return given_up

    def overdue(self, now: int) -> list[Missed]:
        """What nobody waits for any longer."""
        late = [span for span in self.missing if now - span.noticed >= PATIENCE_US]
        if late:
            self.missing = [span for span in self.missing if now - span.noticed < PATIENCE_US]
        return late

    def _begins_anew(self, number: int) -> bool:
        return (number <= 1 and self.highest > YOUNG) or self.highest - number > REPEATS

    def _fill(self, number: int) -> bool:
        for place, span in enumerate(self.missing):
            if span.first <= number <= span.last:
                self.missing[place : place + 1] = [
                    part
                    for part in (span._replace(last=number - 1), span._replace(first=number + 1))
                    if part.many
                ]
                return True
        return False


class Sequences:
    """The numberings of a source, by the topic or subscription that they belong to."""

    def __init__(self, stored: Any = None, now: int = 0) -> None:
        self._scopes: dict[str, Numbering] = {}
        self._pending: set[str] = set()
        for scope, (highest, time, spans) in _readable(stored):
            numbering = self._scopes[scope] = Numbering(highest, time)
            numbering.missing = [
                Missed(first, last, start, end, now) for first, last, start, end in spans
            ]
            if spans:
                self._pending.add(scope)

    def see(
        self, scope: str, number: int, time: int, received_at: int, *, repeated: bool
    ) -> list[Missed]:
        """Note a number of ``scope``; returns what is given up because of it."""
        numbering = self._scopes.get(scope)
        if numbering is None:
            if len(self._scopes) >= MOST_SCOPES:
                oldest = next(iter(self._scopes))
                del self._scopes[oldest]
                self._pending.discard(oldest)
            self._scopes[scope] = Numbering(number, time)
            return []
        given_up = numbering.see(number, time, received_at, repeated=repeated)
        if numbering.missing:
            self._pending.add(scope)
        return given_up

    @property
    def waiting(self) -> bool:
        """Whether a missing number may still come."""
        return bool(self._pending)

    def overdue(self, now: int) -> list[tuple[str, Missed]]:
        """What nobody waits for any longer, with its scope."""
        late = []
        for scope in sorted(self._pending):
            numbering = self._scopes[scope]
            late += [(scope, span) for span in numbering.overdue(now)]
            if not numbering.missing:
                self._pending.discard(scope)
        return late

    def stored(self) -> dict[str, Any] | None:
        """What a restart needs; None when there are too many scopes to store with every delivery."""
        if len(self._scopes) > MOST_STORED_SCOPES:
            return None
        return {
            scope: [known.highest, known.time, [list(span[:4]) for span in known.missing]]
            for scope, known in self._scopes.items()
        }


def _readable(stored: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(stored, dict):
        yield from stored.items()
