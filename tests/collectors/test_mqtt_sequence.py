from hypothesis import given
from hypothesis import strategies as st

from collectors.mqtt.sequence import MOST_SCOPES, MOST_STORED_SCOPES, PATIENCE_US, Sequences


def missing(sequences: Sequences, numbers: list[int], *, repeated: bool = False) -> list[range]:
    """What is given up at once, and what is when nobody waits any longer."""
    found = []
    for number in numbers:
        found += sequences.see("t", number, number * 10, number, repeated=repeated)
    found += [missed for _, missed in sequences.overdue(PATIENCE_US * 2)]
    return [range(missed.first, missed.last + 1) for missed in found]


def test_nothing_is_missing_in_a_row() -> None:
    assert missing(Sequences(), [5, 6, 7, 7, 6, 8]) == []


def test_a_hole_is_a_gap_between_its_neighbours() -> None:
    sequences = Sequences()
    for number in (1, 2, 6):
        assert sequences.see("t", number, number * 10, 0, repeated=False) == []
    assert sequences.waiting
    assert sequences.overdue(PATIENCE_US - 1) == []
    ((scope, missed),) = sequences.overdue(PATIENCE_US)
    assert (scope, missed.first, missed.last, missed.many) == ("t", 3, 5, 3)
    assert (missed.start, missed.end) == (20, 60)
    assert not sequences.waiting


def test_what_comes_late_is_not_missing() -> None:
    assert missing(Sequences(), [1, 5, 3, 2, 7, 6]) == [range(4, 5)]


def test_a_counter_may_begin_anew() -> None:
    assert missing(Sequences(), [998, 999, 0, 1, 2]) == []
    assert missing(Sequences(), [5000, 5002, 100, 101]) == [range(5001, 5002)]


def test_a_repeated_message_does_not_begin_anew() -> None:
    sequences = Sequences()
    assert missing(sequences, [998, 999]) == []
    assert missing(sequences, [0, 1], repeated=True) == []
    assert missing(sequences, [1000]) == []


def test_scopes_are_apart_and_bounded() -> None:
    sequences = Sequences()
    for scope in range(MOST_SCOPES + 10):
        sequences.see(str(scope), scope, 0, 0, repeated=False)
    assert len(sequences._scopes) == MOST_SCOPES
    assert sequences.stored() is None


def test_too_many_to_store_are_not_stored_in_part() -> None:
    sequences = Sequences()
    for scope in range(MOST_STORED_SCOPES):
        sequences.see(str(scope), 1, 0, 0, repeated=False)
    stored = sequences.stored()
    assert stored is not None
    assert len(stored) == MOST_STORED_SCOPES
    sequences.see("one more", 1, 0, 0, repeated=False)
    assert sequences.stored() is None


@given(st.permutations(range(1, 30)), st.integers(0, 30), st.sets(st.integers(1, 29)))
def test_a_restart_changes_nothing(order: list[int], cut: int, lost: set[int]) -> None:
    arrived = [0, *(number for number in order if number not in lost)]
    straight = missing(Sequences(), arrived)
    before = Sequences()
    found = []
    for number in arrived[:cut]:
        found += before.see("t", number, number * 10, number, repeated=False)
    after = Sequences(before.stored(), now=0)
    assert found == []
    assert missing(after, arrived[cut:]) == straight
    # Everything lost below the highest is named, nothing that came is.
    named = {number for span in straight for number in span}
    assert named == {number for number in lost if number < max(arrived)}
