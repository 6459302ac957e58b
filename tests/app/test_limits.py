import msgspec
import numpy as np
import pytest

from app import limits
from app.catalog import Catalog
from app.characteristic import CharacteristicConfig
from app.limits import LimitsRefused
from app.store.batch import Stream, Version
from app.store.rows import POINT, PointFlag

RNG = np.random.default_rng(7)


def individuals(values) -> np.ndarray:
    values = np.asarray(values, float)
    rows = np.zeros(len(values), POINT)
    rows["time"] = np.arange(len(values)) * 1_000
    rows["statistic"] = values
    rows["dispersion"] = np.abs(np.diff(values, prepend=np.nan))
    rows["n"] = 1
    return rows


def catalog(*versions: Version) -> Catalog:
    made = Catalog()
    made.put_characteristic(1, CharacteristicConfig(id="a"))
    made.put_stream(Stream(1, 1, "a", {}))
    made.put_stream(Stream(2, 1, "a:2", {}))
    for version in versions:
        made.put_version(version)
    return made


def version(number: int, state: str, **changes) -> Version:
    plain = Version(
        id=number,
        characteristic=1,
        stream=None,
        number=number,
        state=state,
        valid_from=None,
        definition=CharacteristicConfig(id="a").definition(),
        limits={"chart": "i_mr", "center": 0.0, "sigma": 1.0, "n": 1.0, "method": "entered"},
        author="A. Roth",
        reason="",
        created_at=0,
    )
    return msgspec.structs.replace(plain, **changes)


def approve(proposal: Version, known: Catalog, **changes):
    given = {"who": "B. Kim", "at": 9, "second_person": False, "newest": 5_000, "valid_from": None}
    return limits.approved(proposal, known, **(given | changes))


def test_a_baseline_gives_center_and_sigma_of_one_value():
    found = limits.from_baseline("i_mr", individuals(RNG.normal(10, 2, 400)), [])
    assert found.limits.center == pytest.approx(10, abs=0.3)
    assert found.limits.sigma == pytest.approx(2, abs=0.3)
    assert found.points == 400
    assert not found.advice


def test_an_excluded_point_and_the_ranges_that_reach_it_take_no_part():
    values = RNG.normal(10, 1, 30)
    spoilt = values.copy()
    spoilt[12] = 1_000
    with_spike = limits.from_baseline("i_mr", individuals(spoilt), [(12_000, 0)])
    assert with_spike.points == 29
    assert with_spike.excluded == [(12_000, 0)]
    assert with_spike.limits.sigma < 2
    assert with_spike.limits.center == pytest.approx(np.delete(values, 12).mean())


def test_points_excluded_before_stay_excluded():
    rows = individuals([*RNG.normal(10, 1, 20), 500.0])
    rows["flags"][-1] = PointFlag.EXCLUDED
    assert limits.from_baseline("i_mr", rows, []).points == 20


@pytest.mark.parametrize(
    ("rows", "excluded", "method", "told"),
    [
        (individuals(range(11)), [], None, "11 points; limits need at least 12"),
        (individuals([5.0] * 30), [], None, "resolution of the gauge"),
        (individuals(range(30)), [(7, 7)], None, "not in the baseline"),
        (individuals(range(30)), [], "guess", "no method"),
    ],
)
def test_a_baseline_that_cannot_carry_limits_says_so(rows, excluded, method, told):
    with pytest.raises(LimitsRefused, match=told):
        limits.from_baseline("i_mr", rows, excluded, method)


def test_a_short_or_noisy_baseline_comes_with_advice():
    rows = individuals(RNG.normal(10, 1, 15))
    rows["violations"][3] = 1
    told = limits.from_baseline("i_mr", rows, []).advice
    assert len(told) == 2


def test_a_baseline_across_another_subgroup_size_is_refused():
    other = version(1, "superseded")
    other.definition = {**other.definition, "subgroup": {"size": 5}}
    known = catalog(other, version(2, "active", valid_from=10))
    with pytest.raises(LimitsRefused, match="start it later"):
        limits.comparable([1, 2], known, known.versions[2].definition)
    limits.comparable([2], known, known.versions[2].definition)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"center": 1.0, "sigma": 0.0}, "sigma is 0"),
        ({"center": 1.0}, "sigma"),
        ({"center": 1.0, "lcl": 2.0}, "wrong side"),
        ({"center": 1.0, "lcl": 0.0, "sigma": 1.0}, "not both"),
    ],
)
def test_typed_limits_that_judge_nothing_are_refused(given, told):
    with pytest.raises(LimitsRefused, match=told):
        limits.typed(CharacteristicConfig(id="a").definition(), **given)


def test_printed_limits_may_be_one_sided():
    made = limits.typed(CharacteristicConfig(id="a").definition(), center=1.0, ucl=4.0)
    assert (made.lcl, made.ucl, made.given) == (None, 4.0, True)


def test_approved_limits_hold_after_the_newest_reading():
    known = catalog(version(1, "active"), version(2, "proposed"))
    done, old = approve(known.versions[2], known)
    assert (done.state, done.valid_from, done.approved_by) == ("active", 5_001, "B. Kim")
    assert (old.number, old.state) == (1, "superseded")


def test_a_later_beginning_may_be_chosen():
    known = catalog(version(1, "active"), version(2, "proposed"))
    done, _ = approve(known.versions[2], known, valid_from=9_000)
    assert done.valid_from == 9_000


def test_before_any_reading_they_hold_since_ever():
    known = catalog(version(1, "collecting"), version(2, "proposed"))
    done, _ = approve(known.versions[2], known, newest=None)
    assert done.valid_from is None
    for one in (done, _):
        known.put_version(one)
    assert known.in_force(1, 0)[0].number == 2


def test_limits_of_one_stream_leave_the_others_alone():
    known = catalog(version(1, "active"), version(2, "proposed", stream=2))
    [done] = approve(known.versions[2], known)
    known.put_version(done)
    assert known.in_force(1, 6_000)[0].number == 1
    assert known.in_force(2, 6_000)[0].number == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"second_person": True, "who": " a. roth"}, "somebody other"),
        ({"valid_from": 50, "newest": None}, "holds from then or later; choose a later time"),
        ({"valid_from": 5_000}, "judged already"),
    ],
)
def test_an_approval_that_will_not_do(changes, told):
    known = catalog(version(1, "active", valid_from=100), version(2, "proposed"))
    with pytest.raises(LimitsRefused, match=told):
        approve(known.versions[2], known, **changes)


def test_a_proposal_for_an_older_definition_is_stale():
    now = version(1, "active")
    now.definition = {**now.definition, "gap": "4h"}
    known = catalog(now, version(2, "proposed"))
    with pytest.raises(LimitsRefused, match="propose again"):
        approve(known.versions[2], known)


@pytest.mark.parametrize("state", ["active", "rejected", "superseded", "collecting"])
def test_only_proposals_can_be_approved_or_rejected(state):
    known = catalog(version(1, "active"), version(2, state))
    with pytest.raises(LimitsRefused, match=state):
        approve(known.versions[2], known)
    with pytest.raises(LimitsRefused, match=state):
        limits.rejected(known.versions[2], who="x", at=0, reason="y")
