import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.kinds import KINDS
from collectors.mqtt import config as config_module
from collectors.mqtt.advice import MOSQUITTO
from collectors.mqtt.config import MqttConfig

ROOT = Path(__file__).parents[2]
SAMPLE = Path(config_module.__file__).parent / "sample.toml"

PLAIN: dict[str, Any] = {
    "id": "b",
    "kind": "mqtt",
    "url": "mqtt://broker",
    "subscription": [{"topic": "a/{characteristic}"}],
}


def with_subscription(**keys: Any) -> dict[str, Any]:
    return {**PLAIN, "subscription": [{**PLAIN["subscription"][0], **keys}]}


def test_the_sample_loads() -> None:
    source = tomllib.loads(SAMPLE.read_text())["source"][0]
    config = KINDS["mqtt"].config.model_validate(source)
    assert isinstance(config, MqttConfig)
    assert len(config.subscription) == 2


def test_every_setting_is_in_the_sample() -> None:
    text = SAMPLE.read_text()
    names = {*MqttConfig.model_fields, *config_module.Subscription.model_fields}
    # A password in the plant file itself is possible, not recommended.
    missing = {name for name in names if f"{name} = " not in text}
    assert missing == {"password", "subscription"}


def test_defaults() -> None:
    config = MqttConfig.model_validate(PLAIN)
    assert (config.host, config.port, config.encrypted) == ("broker", 1883, False)
    assert (config.identifier, config.qos, config.inflight) == ("andon-b", 1, 1000)
    assert config.max_age == 7 * 86_400_000_000
    assert config.secret() is None


def test_encrypted_urls_have_their_own_port() -> None:
    assert MqttConfig.model_validate({**PLAIN, "url": "mqtts://[::1]"}).port == 8883


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({**PLAIN, "url": "http://broker"}, "is no broker"),
        ({**PLAIN, "url": "mqtt://me:secret@broker"}, "write username and password_file"),
        ({**PLAIN, "url": "mqtt://broker:99999"}, "its port is not between"),
        ({**PLAIN, "url": "mqtt://broker/topic"}, "goes on after the port"),
        ({**PLAIN, "tls": {"ca": "ca.pem"}}, "write mqtts://"),
        ({**PLAIN, "url": "mqtts://broker", "tls": {"key": "k"}}, "key goes with cert"),
        ({**PLAIN, "password_file": "x"}, "name the user too"),
        (
            {**PLAIN, "username": "u", "password": "p", "password_file": "x"},
            "are both given",
        ),
        ({**PLAIN, "subscription": []}, "at least 1"),
        ({**PLAIN, "subscription": PLAIN["subscription"] * 2}, "the second would map nothing"),
        ({**PLAIN, "keepalive": "0s"}, "between 1s and 18h"),
        ({**PLAIN, "max_age": 7}, "is not a duration"),
        ({**PLAIN, "wat": 1}, "Extra inputs"),
        (with_subscription(topic="a/b"), "say once which characteristic"),
        (with_subscription(characteristic="x"), "say once which characteristic"),
        (with_subscription(topic="a/#/{characteristic}"), "only at the end"),
        (with_subscription(topic="a/x{characteristic}"), "takes a whole level"),
        (with_subscription(topic="a/x+/{characteristic}"), "takes a whole level"),
        (with_subscription(topic="$share/g/{characteristic}"), "break the order"),
        (with_subscription(topic="{a}/{a}/{characteristic}"), "the same name"),
        (with_subscription(topic="{key}/{characteristic}"), "holds the original of a key"),
        (with_subscription(tags={"key": "/k"}), "holds the original of a key"),
        (with_subscription(value="value"), "is no JSON Pointer"),
        (with_subscription(value="/a~2"), '"~" is written "~0"'),
        (with_subscription(items="^/a"), 'leave out the "^"'),
        (with_subscription(time_zone="Mars/Olympus"), "is no time zone"),
        (with_subscription(time_zone="../etc/passwd"), "is no time zone"),
        (with_subscription(time_format="seconds"), "strptime pattern"),
        (with_subscription(scale=0), "every value would be the same"),
        (with_subscription(scale="nan"), "finite"),
        (with_subscription(qualities={"X": "great"}), "good"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as raised:
        MqttConfig.model_validate(given)
    assert says in str(raised.value)


def test_files_count_from_the_plant_file_and_are_read_when_needed(tmp_path: Path) -> None:
    config = MqttConfig.model_validate(
        {**PLAIN, "username": "u", "password_file": "secret"}, context={"base_dir": tmp_path}
    )
    with pytest.raises(FileNotFoundError):
        config.secret()
    (tmp_path / "secret").write_text("grüße \n")
    assert config.secret() == "grüße"


def test_a_password_is_hidden_unless_it_is_stored_with_the_plant() -> None:
    config = MqttConfig.model_validate({**PLAIN, "username": "u", "password": "s3cret"})
    assert "s3cret" not in repr(config)
    assert "s3cret" not in config.model_dump_json()
    stored = config.model_dump(mode="json", context={"secrets": True})
    assert MqttConfig.model_validate(stored) == config


def test_what_is_stored_reads_back_the_same() -> None:
    source = tomllib.loads(SAMPLE.read_text())["source"][0]
    config = MqttConfig.model_validate(source)
    assert MqttConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("place", ["deploy/mosquitto.conf", "collectors/mqtt/README.md"])
def test_the_broker_is_set_up_as_the_check_advises(place: str) -> None:
    lines = [line.strip() for line in (ROOT / place).read_text(encoding="utf-8").splitlines()]
    assert set(MOSQUITTO) <= set(lines)
    named = {setting.split()[0] for setting in MOSQUITTO}
    assert [line for line in lines if line.split(" ")[0] in named] == list(MOSQUITTO)
