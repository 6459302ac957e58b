"""New, duplicate, conflict or late: what an arriving reading is, before it is judged."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.engine import Engine
from app.store.rows import Purpose, Quality, ReadingFlag
from rules import stream as loop

Identity = tuple[int, int, int]

# Plain integers: an enumeration's operators cost more than the arrays of a small batch.
NAMED = int(ReadingFlag.NAMED)
PRODUCTION, BAD = int(Purpose.PRODUCTION), int(Quality.BAD)


class Sorted(NamedTuple):
    """One flag per row of a batch; a row that is none of these is new and in order."""

    late: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]
    conflict: NDArray[np.bool_]

    @property
    def stored(self) -> NDArray[np.bool_]:
        """The rows that become readings."""
        return ~(self.duplicate | self.conflict)


def nothing_known(rows: NDArray[np.void]) -> Sorted:
    """All rows are new and in order."""
    return Sorted(*(np.zeros(len(rows), bool) for _ in range(3)))


def sort_out(
    rows: NDArray[np.void], doubtful: NDArray[np.int64], stored: NDArray[np.void]
) -> Sorted:
    """Tell what the doubtful rows are, given those of them that the store knows.

    A row of the batch itself counts as known to the ones behind it.
    """
    found = nothing_known(rows)
    known: dict[Identity, np.void] = {identity(row): row for row in stored}
    unsure = np.zeros(len(rows), bool)
    unsure[doubtful] = True
    concerned = np.isin(rows["stream"], np.unique(rows["stream"][doubtful]))
    for i in np.flatnonzero(concerned).tolist():
        row = rows[i]
        name = identity(row)
        if not unsure[i]:
            known[name] = row
            continue
        other = known.get(name)
        if other is None:
            found.late[i] = True
            known[name] = row
        elif _same(row, other):
            found.duplicate[i] = True
        else:
            found.conflict[i] = True
    return found


def identity(row: np.void) -> Identity:
    """What makes a reading the same one."""
    return int(row["stream"]), int(row["time"]), int(row["key"])


def _same(one: np.void, other: np.void) -> bool:
    return (
        one["quality"] == other["quality"]
        and _equal(one["value"], other["value"])
        and _equal(one["size"], other["size"])
    )


def _equal(one: float, other: float) -> bool:
    return one == other or (np.isnan(one) and np.isnan(other))


class Names(NamedTuple):
    """Subgroups that sources named in a batch."""

    asked: dict[int, list[int]]  # by stream: names that may have readings in the store
    tangled: set[int]  # streams whose names do not simply follow each other


def names_of(rows: NDArray[np.void], engine: Engine) -> Names:
    """The names that a batch brings, beyond the subgroup that is open already."""
    asked: dict[int, list[int]] = {}
    tangled: set[int] = set()
    named = (rows["flags"] & NAMED) != 0
    if not named.any():
        return Names(asked, tangled)
    chosen = named & (rows["purpose"] == PRODUCTION) & (rows["quality"] != BAD)
    current: dict[int, int | None] = {}
    count: dict[int, int] = {}
    for row in rows[chosen]:
        stream, name = int(row["stream"]), int(row["subgroup"])
        state = engine.integers[stream]
        size = engine.versions_i[state[loop.VERSION], loop.V_SIZE]
        if size == 1:
            continue
        if stream not in current:
            is_open = state[loop.OPEN_COUNT] > 0 and state[loop.OPEN_FLAGS] & loop.NAMED
            current[stream] = int(state[loop.OPEN_NUMBER]) if is_open else None
            count[stream] = int(state[loop.OPEN_COUNT]) if is_open else 0
        if name != current[stream]:
            if name in asked.get(stream, ()):
                tangled.add(stream)
            asked.setdefault(stream, []).append(name)
            current[stream], count[stream] = name, 0
        count[stream] += 1
        if count[stream] > size:
            tangled.add(stream)
    return Names(asked, tangled)
