from collections import Counter
from itertools import count
from pathlib import Path

import msgspec
import pytest

from app import apply
from app.catalog import Catalog
from app.characteristic import CharacteristicConfig
from app.plantfile import Plant, parse_plant
from app.store.batch import Batch, Stream

BY = apply.Author("A. Roth", 1_000, "test")
FIRST = """
[[characteristic]]
id = "bore"
chart = "xbar_r"
subgroup = { size = 5 }
limits = { center = 25.0, sigma = 0.004 }
[[characteristic]]
id = "force"
unit = "N"
"""


def plant(text: str) -> Plant:
    return parse_plant(text, base_dir=Path())


def applied(text: str, catalog: Catalog, newest: int | None = None) -> tuple[list[str], Batch]:
    """Plan, apply, and take up what became of it, as a restart would."""
    plan = apply.plan(plant(text), catalog)
    batch = Batch(id=1, at=BY.at)
    numbers = {
        "characteristic": count(catalog.next_characteristic()),
        "version": count(catalog.next_version()),
        "audit": count(1),
    }
    times = {entry.name: newest for entry in catalog.characteristics.values()}
    apply.rows(plan.steps, catalog, batch, number=lambda of: next(numbers[of]), newest=times, by=BY)
    batch = msgspec.msgpack.decode(msgspec.msgpack.encode(_plain(batch)), type=_Rows)
    for row in batch.characteristics:
        catalog.put_characteristic(
            row.id,
            CharacteristicConfig.model_validate(row.config),
            retired=row.retired_at is not None,
        )
    for version in batch.versions:
        catalog.put_version(version)
    return [f"{step.kind} {step.name}" for step in plan.steps], batch


class _Rows(msgspec.Struct):
    characteristics: list[apply.CharacteristicRow]
    versions: list[apply.Version]
    audits: list[apply.Audit]


def _plain(batch: Batch) -> _Rows:
    return _Rows(batch.characteristics, batch.versions, batch.audits)


def test_new_characteristics_begin_with_version_1():
    catalog = Catalog()
    steps, batch = applied(FIRST, catalog)
    assert steps == ["create bore", "create force"]
    seeded, collecting = batch.versions
    assert (seeded.state, seeded.number, seeded.valid_from) == ("active", 1, None)
    assert seeded.limits["sigma"] == 0.004
    assert (collecting.state, collecting.limits) == ("collecting", None)
    assert len(batch.audits) == 2


def test_applying_again_changes_nothing():
    catalog = Catalog()
    applied(FIRST, catalog)
    steps, batch = applied(FIRST, catalog)
    assert steps == []
    assert _plain(batch) == _Rows([], [], [])


def test_a_name_or_unit_makes_no_version():
    catalog = Catalog()
    applied(FIRST, catalog)
    steps, batch = applied(FIRST.replace('unit = "N"', 'unit = "kN"\nstation = "line-1"'), catalog)
    assert steps == ["change force"]
    assert batch.versions == []
    assert catalog.find("force").config.unit == "kN"


@pytest.mark.parametrize(
    ("line", "carried"),
    [
        ('rules = ["nelson-1"]', True),
        ("spec = { upper = 26 }", True),
        ('gap = "4h"', True),
        ('rule_options = { nelson_8 = "either_side" }', True),
        ('cut = ["part"]', True),
    ],
)
def test_a_definition_makes_a_version_after_the_newest_reading(line, carried):
    catalog = Catalog()
    applied(FIRST, catalog)
    text = FIRST.replace('id = "bore"\n', f'id = "bore"\n{line}\n')
    steps, batch = applied(text, catalog, newest=5_000)
    assert steps == ["version bore"]
    new, old = batch.versions
    assert (new.number, new.valid_from, new.state) == (2, 5_001, "active")
    assert (old.number, old.state) == (1, "superseded")
    assert (new.limits == old.limits) is carried
    assert applied(text, catalog)[0] == []


def test_limits_do_not_survive_another_subgroup_size():
    catalog = Catalog()
    applied(FIRST, catalog)
    steps, batch = applied(FIRST.replace("size = 5", "size = 4"), catalog, newest=5_000)
    assert steps == ["version bore"]
    assert applied(FIRST.replace("size = 5", "size = 4"), catalog)[0] == ["drift bore"]
    assert batch.versions[0].state == "collecting"
    assert batch.versions[0].limits is None


def test_a_version_never_begins_before_the_one_it_replaces():
    catalog = Catalog()
    applied(FIRST, catalog)
    applied(FIRST.replace('unit = "N"', 'gap = "1h"'), catalog, newest=9_000)
    _, batch = applied(FIRST.replace('unit = "N"', 'gap = "2h"'), catalog, newest=4_000)
    assert batch.versions[0].valid_from == 9_002


def test_limits_that_differ_are_drift_and_stay():
    catalog = Catalog()
    applied(FIRST, catalog)
    text = FIRST.replace("sigma = 0.004", "sigma = 0.005")
    for _ in range(2):
        steps, batch = applied(text, catalog)
        assert steps == ["drift bore"]
        assert batch.versions == []
    [step] = apply.plan(plant(text), catalog).steps
    assert "0.005" in step.sentence
    assert "0.004" in step.sentence
    assert not apply.plan(plant(text), catalog).acts


def test_what_is_gone_is_retired_and_can_come_back():
    catalog = Catalog()
    applied(FIRST, catalog)
    without = FIRST.split('[[characteristic]]\nid = "force"', maxsplit=1)[0]
    assert applied(without, catalog)[0] == ["retire force"]
    assert catalog.find("force") is None
    assert applied(without, catalog)[0] == []
    assert applied(FIRST, catalog)[0] == ["restore force"]
    assert catalog.find("force") is not None


def test_a_file_does_not_retire_what_people_made():
    catalog = Catalog()
    applied(FIRST, catalog)
    catalog.put_characteristic(9, CharacteristicConfig(id="hand", kept_by="api"))
    assert applied(FIRST, catalog)[0] == []


def test_streams_with_limits_of_their_own_keep_them():
    catalog = Catalog()
    text = FIRST.replace('unit = "N"', 'stream = ["cavity"]')
    applied(text, catalog)
    force = catalog.find("force")
    catalog.put_stream(Stream(7, force.id, "force:1", {"cavity": "1"}))
    wide = catalog.versions_of(force.id)[0]
    own = msgspec.structs.replace(
        wide, id=50, number=2, stream=7, state="active", valid_from=100,
        limits={"chart": "i_mr", "center": 1.0, "sigma": 1.0, "n": 1.0, "method": "entered"},
    )  # fmt: skip
    catalog.put_version(own)
    _, batch = applied(
        text.replace('stream = ["cavity"]', 'stream = ["cavity"]\ngap = "1h"'), catalog, 500
    )
    made = [version for version in batch.versions if version.number > 2]
    assert Counter(version.stream for version in made) == {None: 1, 7: 1}
    assert [version.state for version in made] == ["collecting", "active"]
    assert {version.state for version in batch.versions if version.number <= 2} == {"superseded"}
    in_force, _ = catalog.in_force(7, 600)
    assert in_force.limits == own.limits
    assert in_force.definition["gap"] == "1h"
