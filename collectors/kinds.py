"""The kinds of sources there are: what each may say, how it is made, what is advised about it."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from collectors.modbus.advice import advise as advise_modbus
from collectors.modbus.collector import ModbusCollector
from collectors.modbus.config import ModbusConfig
from collectors.mqtt.advice import advise as advise_mqtt
from collectors.mqtt.collector import MqttCollector, no_target
from collectors.mqtt.config import MqttConfig
from collectors.mqtt.mapping import Target
from collectors.reading import Collector
from collectors.source import SourceConfig

Clock = Callable[[], int]


class Make(Protocol):
    """Make a collector from its configuration and what was stored of it; opens no connection."""

    def __call__(
        self, config: Any, position: dict[str, Any] | None, clock: Clock, target: Target = no_target
    ) -> Collector:
        """Make one."""
        ...


class Kind(NamedTuple):
    """One kind of source."""

    config: type[SourceConfig]
    make: Make
    advise: Callable[[Any], Awaitable[list[str]]]


def _mqtt(
    config: MqttConfig, position: dict[str, Any] | None, clock: Clock, target: Target = no_target
) -> Collector:
    return MqttCollector(config, position, clock, target)


def _modbus(
    config: ModbusConfig,
    position: dict[str, Any] | None,
    clock: Clock,
    target: Target = no_target,  # noqa: ARG001 - registers hold values, not deviations
) -> Collector:
    return ModbusCollector(config, position, clock)


KINDS: dict[str, Kind] = {
    "mqtt": Kind(MqttConfig, _mqtt, advise_mqtt),
    "modbus": Kind(ModbusConfig, _modbus, advise_modbus),
}
