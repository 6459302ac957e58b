"""The simulated plant: the same for the same seed, calm by itself, disturbed where it says so."""

import pytest

from app.demo.plant import BY_ID, GAUGES, PARTS, SECOND, Plant, schedule
from app.demo.schedule import CYCLE_S, FIRST, LABELS, Disturbance
from rules.evaluate import judge
from rules.limits import Limits

START = 1_800_000_000 * SECOND
HOUR = 3600 * SECOND


def limits_of(gauge):
    return Limits(
        gauge.chart, gauge.center, None if gauge.counts else gauge.sigma, gauge.n, "entered"
    )


def judged(gauge, plant, start, end, cavity=None):
    """Violated rules and points of a stretch of time, location and dispersion."""
    indexes = range(plant.index(gauge, start) + 1, plant.index(gauge, end) + 1)
    measured = [plant.measure(gauge, index, cavity=cavity) for index in indexes]
    values = [one.values if gauge.n > 1 and not gauge.counts else one.values[0] for one in measured]
    sizes = [one.size for one in measured] if gauge.counts else None
    verdicts = judge(gauge.chart, values, sizes=sizes, limits=limits_of(gauge), rules=gauge.rules)
    found = [*verdicts.violations().items(), *verdicts.dispersion_violations().items()]
    return {(rule, measured[i].time) for rule, places in found for i in places}, measured


def test_the_plant_is_as_large_as_it_claims():
    assert len(GAUGES) >= 24
    assert len({gauge.station for gauge in GAUGES}) == 6
    assert len({gauge.station.split("/")[0] for gauge in GAUGES}) == 3
    assert {gauge.chart for gauge in GAUGES} == {"i_mr", "xbar_r", "xbar_s", "p"}
    assert {gauge.route for gauge in GAUGES} == {"mqtt", "press", "mold", "oven", "mes"}
    assert any(gauge.cavities for gauge in GAUGES)
    assert len({gauge.id for gauge in GAUGES}) == len(GAUGES)


def test_each_characteristic_belongs_to_a_part_that_has_it():
    assert {gauge.station for gauge in GAUGES} == set(PARTS)
    for word, part in (
        ("shaft", "Shaft"), ("bore", "Housing"), ("thread", "Housing"), ("press", "Housing"),
        ("melt", "Impeller"), ("coating", "Housing"), ("leak", "Pump"),
    ):  # fmt: skip
        of = {PARTS[gauge.station] for gauge in GAUGES if gauge.id.startswith(word)}
        assert len(of) == 1, word
        assert of.pop().startswith(part), word


def test_each_gauge_can_tell_what_its_limits_ask_for():
    for gauge in GAUGES:
        if gauge.counts:
            assert (gauge.unit, gauge.decimals, gauge.spec) == ("", 0, None)
            continue
        assert gauge.unit, gauge.id
        assert gauge.sigma >= 5 * 10.0**-gauge.decimals, f"{gauge.id}: the gauge is too coarse"
        low, high = gauge.spec
        assert high is None or gauge.center < high
        assert low is None or 0 < low < gauge.center, f"{gauge.id}: nothing here is below nothing"


def test_faults_are_limited_above_and_strength_below():
    limited = {gauge.id: gauge.limited for gauge in GAUGES if gauge.limited != "both"}
    assert {name for name, side in limited.items() if side == "below"} == {"adhesion"}
    assert {"shaft-runout", "bore-roundness", "bore-position", "leak-rate"} <= set(limited)


def test_it_sends_no_more_than_a_small_machine_bears():
    readings = sum(
        len(gauge.streams) * (1 if gauge.counts else gauge.n) / gauge.period_s for gauge in GAUGES
    )
    assert 5 < readings <= 25


def test_the_same_seed_is_the_same_plant():
    one, same, other = (Plant(seed, schedule(seed, START)) for seed in (1, 1, 2))
    for gauge in GAUGES:
        index = one.index(gauge, START + 40 * SECOND)
        assert one.measure(gauge, index) == same.measure(gauge, index)
    assert any(
        one.measure(gauge, 10**8).values != other.measure(gauge, 10**8).values for gauge in GAUGES
    )
    assert [one for number in range(5) for one in schedule(1, START).cycle(number)] == [
        one for number in range(5) for one in schedule(1, START).cycle(number)
    ]


def test_time_and_index_belong_together():
    plant = Plant(3)
    for gauge in GAUGES:
        for index in (10**8, 10**8 + 1):
            assert plant.index(gauge, plant.time(gauge, index)) == index
            assert plant.index(gauge, plant.time(gauge, index) - 1) == index - 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 7])
def test_undisturbed_charts_are_calm(seed):
    plant = Plant(seed)
    alarms = points = 0
    for gauge in GAUGES:
        for cavity in gauge.streams:
            found, measured = judged(gauge, plant, START, START + HOUR, cavity)
            alarms += len({time for _, time in found})
            points += len(measured)
    assert points > 20_000
    assert alarms <= points / 10_000


def test_undisturbed_parts_are_within_specification():
    plant = Plant(1)
    for gauge in GAUGES:
        if gauge.spec is None:
            continue
        low, high = gauge.spec
        _, measured = judged(gauge, plant, START, START + HOUR // 4)
        for value in (value for one in measured for value in one.values):
            assert high is None or value <= high
            assert low is None or value >= low


@pytest.mark.parametrize("kind", [kind for kind in LABELS if kind not in ("lost", "late")])
@pytest.mark.parametrize("seed", [1, 7])
def test_every_disturbance_is_found_while_it_lasts(kind, seed):
    plan = schedule(seed, START)
    plant = Plant(seed, plan)
    disturbances = [one for number in range(6) for one in plan.cycle(number) if one.kind == kind]
    assert len(disturbances) == 6
    for one in disturbances:
        found, _ = judged(BY_ID[one.gauge], plant, one.start - 300 * SECOND, one.end)
        assert any(one.start <= time < one.end for _, time in found), one


def test_the_first_two_minutes_show_calm_an_alarm_and_a_silent_gauge():
    plan = schedule(1, START)
    plant = Plant(1, plan)
    alarms = []
    for gauge in GAUGES:
        for cavity in gauge.streams:
            found, _ = judged(gauge, plant, START - 300 * SECOND, START + 120 * SECOND, cavity)
            alarms += [time - START for _, time in found]
    assert min(alarms) > 20 * SECOND
    assert min(alarms) < 60 * SECOND
    (lost,) = [one for one in plan.cycle(0) if one.kind == "lost"]
    silent = lost.start - START + 3 * BY_ID[lost.gauge].expect_s * SECOND
    assert silent < 90 * SECOND
    assert lost.end - START > silent


def test_disturbances_stay_in_their_cycle_and_on_their_own_gauge():
    plan = schedule(5, START)
    for number in range(50):
        found = plan.cycle(number)
        assert [
            one.kind for one in sorted(found, key=lambda one: list(LABELS).index(one.kind))
        ] == list(LABELS)
        assert len({one.gauge for one in found}) == len(found)
        for one in found:
            begin = START + number * CYCLE_S * SECOND
            assert begin <= one.start < one.end <= begin + CYCLE_S * SECOND
            assert one.kind in BY_ID[one.gauge].prone
            assert plan.at(one.gauge, one.start) == one
            assert plan.at(one.gauge, one.end) is None
    assert {gauge for _, gauge, _ in FIRST} <= set(BY_ID)


def test_nothing_is_wrong_before_the_start():
    assert schedule(1, START).at("shaft-diameter", START - 1) is None


def test_a_stuck_gauge_repeats_itself():
    one = next(one for one in schedule(1, START).cycle(0) if one.kind == "stuck")
    gauge, plant = BY_ID[one.gauge], Plant(1, schedule(1, START))
    indexes = range(plant.index(gauge, one.start) + 1, plant.index(gauge, one.end))
    assert len({plant.measure(gauge, index).values for index in indexes}) == 1


def test_wear_grows_and_ends_with_a_new_tool():
    worn = Disturbance("wear", "bore-diameter", START, START + 100 * SECOND)
    levels = [worn.level(0.0, START + second * SECOND, other=False) for second in (0, 50, 99)]
    assert levels == sorted(levels)
    assert levels[0] == 0.0
    assert levels[-1] > 3
