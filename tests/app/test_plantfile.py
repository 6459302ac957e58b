from pathlib import Path

import pytest

from app.characteristic import CharacteristicConfig, RuleOptions
from app.plantfile import PlantInvalid, load_plant, parse_plant
from rules import runs

WHOLE = """
[plant]
name = "Plant 1"
timezone = "Europe/Berlin"

[[characteristic]]
id = "bore-diameter"
aliases = ["Bohrung Ø 1"]
name = "Bore diameter"
part = "Housing 4711"
station = "line-1/op-20"
class = "significant"
unit = "mm"
decimals = 3
spec = { lower = 24.98, target = 25.0, upper = 25.02 }
plausible = { lower = 20, upper = 30 }
chart = "xbar_r"
stream = ["cavity"]
subgroup = { size = 5, timeout = "10m", keys = ["lot"] }
cut = ["part", "recipe"]
gap = "4h"
rules = ["nelson-1", "nelson-2", "nelson-5", "nelson-6"]
rule_options = { nelson_8 = "both_sides" }
limits = { center = 25.0, sigma = 0.004 }
expect = "30s"

[[characteristic]]
id = "leaks"
chart = "p"
limits = { center = 0.02 }

[[characteristic]]
id = "press-force"
rules = "nelson"
limits = { lcl = 1, center = 2, ucl = 4, source = "control plan 7" }

[[source]]
id = "line-1-broker"
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
client_id = "andon-line-1"
password_file = "mqtt-password"
username = "andon"
[[source.subscription]]
topic = "plant/line-1/+/{characteristic}"
value = "/value"
time = "/time"
key = "/serial"
tags = { lot = "/lot" }

[[source]]
id = "press-7"
kind = "modbus"
url = "tcp://127.0.0.1:1502"
poll = "200ms"
[[source.register]]
characteristic = "press-force"
address = 100
type = "float32"
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(PlantInvalid) as error:
        parse_plant(text, base_dir=Path())
    return error.value.sentences


def test_the_whole_of_a_plant_file(tmp_path):
    (tmp_path / "mqtt-password").write_text("secret")
    plant = parse_plant(WHOLE, base_dir=tmp_path)
    assert plant.plant.timezone == "Europe/Berlin"
    bore, leaks, force = plant.characteristics
    assert bore.subgroup.timeout == 600_000_000
    assert bore.gap == 4 * 3_600_000_000
    assert bore.class_ == "significant"
    assert leaks.limits.center == 0.02
    assert force.limits.given
    assert force.rules == ("nelson",)
    assert [source.id for source in plant.sources] == ["line-1-broker", "press-7"]


def test_a_stored_characteristic_reads_back():
    bore = parse_plant(WHOLE.split("[[source]]", maxsplit=1)[0], base_dir=Path()).characteristics[0]
    assert CharacteristicConfig.model_validate(bore.stored()) == bore


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[plant", "is not TOML"),
        ('[plnat]\nname = "x"', 'unknown key "plnat"; did you mean "plant"?'),
        ('[plant]\ntimezone = "Berlin"', '"Berlin" is no time zone'),
        ('characteristic = "x"', "[[characteristic]]"),
        ("[[characteristic]]", "characteristic number 1: id: is missing"),
        ('[[characteristic]]\nid = "Bore"', "id"),
        ('[[characteristic]]\nid = "a"\nuint = "mm"', 'did you mean "unit"?'),
        (
            '[[characteristic]]\nid = "a"\nspec = { lowwer = 1 }',
            'spec: unknown key "lowwer"; did you mean "lower"?',
        ),
        ('[[characteristic]]\nid = "a"\nspec = { lower = 2, upper = 1 }', "must ascend"),
        ('[[characteristic]]\nid = "a"\nspec = { lower = nan }', "finite"),
        ('[[characteristic]]\nid = "a"\nchart = "xbar"', 'did you mean "xbar_'),
        ('[[characteristic]]\nid = "a"\nchart = "xbar_r"', "needs subgroups of 2 to 10"),
        (
            '[[characteristic]]\nid = "a"\nchart = "xbar_s"\nsubgroup = { size = 26 }',
            "subgroups of 2 to 25",
        ),
        ('[[characteristic]]\nid = "a"\nsubgroup = { size = 5 }', 'use chart = "xbar_r"'),
        ('[[characteristic]]\nid = "a"\nrules = ["nelson-9"]', "nelson-9"),
        ('[[characteristic]]\nid = "a"\nrules = []', "at least one rule"),
        ('[[characteristic]]\nid = "a"\nrule_options = { nelson_8 = "both" }', "both_sides"),
        ('[[characteristic]]\nid = "a"\ngap = 4', "duration"),
        ('[[characteristic]]\nid = "a"\ngap = "0s"', "greater than 0"),
        ('[[characteristic]]\nid = "a"\nchart = "p"\nlimits = { center = 2 }', "between 0 and 1"),
        (
            '[[characteristic]]\nid = "a"\nchart = "p"\nlimits = { center = 0.2, sigma = 1 }',
            "center alone",
        ),
        ('[[characteristic]]\nid = "a"\nlimits = { center = 2 }', "give sigma"),
        ('[[characteristic]]\nid = "a"\nlimits = { center = 2, lcl = 3 }', "below center"),
        ('[[characteristic]]\nid = "a"\nspec = { upper = 1e16 }', "1000000000000000"),
        (
            '[[characteristic]]\nid = "a"\nlimits = { center = 1e300, sigma = 1 }',
            "1000000000000000",
        ),
        (
            '[[characteristic]]\nid = "a"\nspec = { lower = 1 }\nplausible = { lower = 2 }',
            "taken for errors",
        ),
        (
            '[[characteristic]]\nid = "a"\nstream = ["cavity"]\ncut = ["cavity"]',
            "cavity: a stream tag never changes",
        ),
        ('[[characteristic]]\nid = "a"\naliases = ["a"]', "its own id"),
        ('[[source]]\nid = "s"\nkind = "opcua"', 'kind: "opcua" is not known'),
        ('[[source]]\nid = "s"\nkind = "mqtt"\nurl = "mqtt://b"\ntopik = 1', '"topik"'),
    ],
)
def test_a_mistake_is_a_sentence_that_says_where(text, told):
    found = mistakes(text)
    assert any(told in sentence for sentence in found), found


def test_every_mistake_is_told_at_once():
    found = mistakes(
        '[[characteristic]]\nid = "a"\nunitt = "mm"\ngap = 1\n'
        '[[characteristic]]\nid = "b"\nchart = "q"\n'
    )
    assert len(found) == 3


def test_names_stand_for_one_characteristic():
    found = mistakes(
        '[[characteristic]]\nid = "a"\naliases = ["x"]\n'
        '[[characteristic]]\nid = "b"\naliases = ["x", "a"]\n'
        '[[characteristic]]\nid = "b"\n'
    )
    assert len(found) == 3
    assert all('"b"' in sentence for sentence in found)


def test_a_source_names_only_characteristics_of_the_file():
    text = WHOLE.replace('characteristic = "press-force"', 'characteristic = "press-forse"')
    assert 'did you mean "press-force"?' in mistakes(text)[0]


def test_two_sources_with_one_id():
    text = WHOLE.replace('id = "press-7"', 'id = "line-1-broker"')
    assert 'source "line-1-broker": 2 have this id' in mistakes(text)[0]


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "plant.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlantInvalid) as error:
        load_plant(path)
    assert str(error.value).startswith(str(path))


def test_rule_options_are_those_of_the_rules():
    ours = {name: field.default for name, field in RuleOptions.model_fields.items()}
    theirs = runs.RuleOptions()
    assert ours == {name: getattr(theirs, name) for name in runs.RuleOptions.__slots__}


def test_a_tag_may_be_called_characteristic(tmp_path):
    text = """
        [[characteristic]]
        id = "force"

        [[source]]
        id = "press"
        kind = "modbus"
        url = "tcp://127.0.0.1:1502"
        [[source.register]]
        characteristic = "force"
        address = 100
        type = "int16"
        tags = { characteristic = "of the steel" }
    """
    [source] = parse_plant(text, base_dir=tmp_path).sources
    assert source.registers[0].tags == {"characteristic": "of the steel"}


def test_no_source_goes_by_the_name_of_the_posted_readings():
    broker = '[[source]]\nid = "http"\nkind = "mqtt"\nurl = "mqtt://b"\n'
    text = broker + '[[source.subscription]]\ntopic = "a/{characteristic}"'
    assert mistakes(text) == [
        'source "http": readings that are posted go by this name; choose another id'
    ]


def test_a_list_is_not_called_too_short_for_what_is_wrong_in_it():
    broker = '[[source]]\nid = "b"\nkind = "mqtt"\nurl = "mqtt://b"\n'
    [said] = mistakes(broker + '[[source.subscription]]\ntopic = "a/#/{characteristic}"')
    assert '"#" stands only at the end' in said
    [said] = mistakes(broker + "subscription = []")
    assert "at least 1" in said
