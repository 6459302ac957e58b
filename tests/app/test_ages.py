"""Ages at arrival: whole arrays give what one after the other would."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app import ages
from app.alarms import NEVER
from app.store.rows import NO_SUBGROUP, POINT, READING, ReadingFlag

NOW = 1_000_000
ROWS = st.lists(
    st.tuples(
        st.integers(1, 3),  # stream
        st.integers(0, 4),  # time
        st.integers(0, 2),  # key
        st.sampled_from([NO_SUBGROUP, 1, 2]),
        st.integers(1, 2),  # source
        st.integers(0, 50),  # how long it took
        st.booleans(),  # historical
    ),
    max_size=12,
)
SKEWS = {1: -7}


def plain(point, readings):
    """The age of a point, by reading the rows one after the other."""
    age = NOW - int(point["time"])
    for row in readings:
        same = (
            (row["time"], row["key"]) == (point["time"], point["key"])
            if point["subgroup"] == NO_SUBGROUP
            else True
        )
        if same and all(row[name] == point[name] for name in ("stream", "subgroup")):
            age = int(row["received_at"] - row["time"]) + SKEWS.get(int(row["source"]), 0)
            age = NEVER if row["flags"] else age
    return age if point["violations"] else NEVER


@given(ROWS, ROWS, st.lists(st.booleans(), min_size=12, max_size=12))
def test_a_point_is_as_old_as_its_last_reading(came, plotted, violating) -> None:
    readings, points = np.zeros(len(came), READING), np.zeros(len(plotted), POINT)
    for row, (stream, time, key, number, source, took, historical) in zip(
        readings, came, strict=True
    ):
        row["stream"], row["time"], row["key"], row["subgroup"] = stream, time, key, number
        row["source"], row["received_at"] = source, time + took
        row["flags"] = ReadingFlag.HISTORICAL if historical else 0
    for point, (stream, time, key, number, *_), wrong in zip(
        points, plotted, violating, strict=False
    ):
        point["stream"], point["time"], point["key"] = stream, time, key
        point["subgroup"], point["violations"] = number, wrong
    found = ages.of_points(points, readings, SKEWS, NOW)
    assert found.tolist() == [plain(point, readings) for point in points]
