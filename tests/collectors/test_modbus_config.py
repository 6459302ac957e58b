"""A Modbus source's settings: what is accepted, and one clear sentence for what is not."""

import json
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from collectors.modbus import config as config_module
from collectors.modbus.config import ModbusConfig, Register, TimeWord, Trigger

SAMPLE = Path(config_module.__file__).parent / "sample.toml"


def source(register, **settings):
    given = {"characteristic": "force", "address": 100, "type": "float32", **register}
    return {"id": "plc", "url": "tcp://10.0.0.7", "register": [given], **settings}


def test_the_sample_loads():
    (given,) = tomllib.loads(SAMPLE.read_text())["source"]
    loaded = ModbusConfig.model_validate(given)
    assert (loaded.host, loaded.port, loaded.poll) == ("127.0.0.1", 502, 200_000)
    assert [register.table for register in loaded.registers] == ["holding", "input", "discrete"]
    assert loaded.registers[2].type == "bit"


def test_every_setting_is_in_the_sample():
    text = SAMPLE.read_text()
    models = (ModbusConfig, Register, Trigger, TimeWord)
    names = {field.alias or name for model in models for name, field in model.model_fields.items()}
    missing = {name for name in names if f"{name} = " not in text}
    assert missing == {"register"}  # it is a table


def test_what_was_loaded_can_be_written_and_loaded_again():
    (given,) = tomllib.loads(SAMPLE.read_text())["source"]
    loaded = ModbusConfig.model_validate(given)
    again = ModbusConfig.model_validate(json.loads(json.dumps(loaded.model_dump(mode="json"))))
    assert again == loaded


@pytest.mark.parametrize(
    ("trigger", "period"),
    [
        ({"type": "uint16"}, 65536),
        ({"type": "uint32"}, 2**32),
        ({"type": "int16"}, None),
        ({"type": "int16", "wrap": 10000}, 10000),
    ],
)
def test_a_counter_goes_around_as_its_type_does(trigger, period):
    assert Trigger(address=1, **trigger).period() == period


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (source({"type": "float31"}), "'float31' is not a type"),
        (source({"type": "string(0)"}), "a string has 1 to 250 characters"),
        (source({"type": "string(8)", "order": "CDAB"}), "words of a string are never swapped"),
        (source({"table": "coil"}), "is a bit"),
        (source({"type": "bit"}), "needs type"),
        (source({"bit": 3}), "needs type"),
        (source({"table": "coil", "type": "bit", "bit": 3}), "is a bit itself"),
        (source({"address": 65535}), "runs beyond the last address"),
        (source({"address": -1}), "greater than or equal to 0"),
        (source({"scale": 0}), "leaves no value"),
        (source({"trigger": {"address": 9, "type": "float32"}}), "a part counter is one of"),
        (source({"size": {"address": 9, "type": "string(4)"}}), "a sample size is a number"),
        (source({"key": {"address": 9, "type": "float32"}}), "an integer or a string"),
        (source({"tags": {"key": "a"}}), "original of a key"),
        (source({"time": {"address": 9, "type": "string(20)"}}), "strings iso or a strptime"),
        (source({"time": {"address": 9, "type": "uint32", "zone": "Mars/X"}}), "not a time zone"),
        (source({}, poll="200"), "not a duration"),
        (source({}, poll="1ms"), "from 10ms to 1d"),
        (source({}, url="http://plc"), "is not a Modbus address"),
        (source({}, url="tcp://plc:x"), "Port could not be cast"),
        (source({"type": "string(40)"}, registers_max=10), "does not fit in one request"),
        (source({"colour": "red"}), "Extra inputs are not permitted"),
        ({**source({}), "register": []}, "at least one [[source.register]]"),
        (
            {**source({}), "register": [{"characteristic": "force", "address": 1}]},
            "its type is missing",
        ),
        (
            {
                **source({}),
                "register": [
                    {
                        "characteristic": "a",
                        "address": 1,
                        "type": "int16",
                        "trigger": {"address": 5},
                    },
                    {
                        "characteristic": "b",
                        "address": 2,
                        "type": "int16",
                        "trigger": {"address": 5, "wrap": 100},
                    },
                ],
            },
            "described in two different ways",
        ),
    ],
)
def test_mistakes_are_one_sentence(given, sentence):
    with pytest.raises(ValidationError) as caught:
        ModbusConfig.model_validate(given)
    errors = caught.value.errors()
    assert len(errors) == 1
    assert sentence in errors[0]["msg"]
    assert "\n" not in errors[0]["msg"]
