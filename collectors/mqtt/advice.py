"""What ``andon check`` says about a broker and about what can be lost or doubled on the way."""

from collections.abc import Iterator

from collectors.mqtt.config import MqttConfig
from collectors.mqtt.inbox import Inbox
from collectors.mqtt.session import Protocol, VersionUnsupported, session
from collectors.reading import CollectorError, Counters, SourceLost
from collectors.source import format_duration, parse_duration

ASIDE = "-check"  # the check's own client id: it must not push the service off its session
KEPT = parse_duration("1m")
MOSQUITTO = (
    "persistence true",
    "autosave_interval 5",
    "max_queued_messages 1000000",
    "max_queued_bytes 1073741824",
    "max_inflight_messages 1000",
)
"""What Mosquitto has to be told; ``deploy/mosquitto.conf`` says it."""


async def advise(config: MqttConfig) -> list[str]:
    """Sentences that say what to do about this source; none when all is well."""
    found = list(_mapping(config))
    versions: list[Protocol] = ["5", "3.1.1"] if config.protocol == "5" else ["3.1.1"]
    for protocol in versions:
        try:
            found += await _broker(config, protocol)
        except VersionUnsupported as error:
            if protocol == "3.1.1":
                found.append(f"{config.id}: {config.host}:{config.port}: {error}.")
            else:
                found.append(
                    f"{config.id}: the broker does not speak MQTT 5; its own limit of messages in "
                    f"flight counts, not inflight = {config.inflight}."
                )
        except SourceLost as error:
            found.append(f"{config.id}: {error}; check url, and that the broker runs.")
            break
        except CollectorError as error:
            found.append(f"{config.id}: {error}.")
            break
        else:
            break
    return found


def _mapping(config: MqttConfig) -> Iterator[str]:
    for entry in config.subscription:
        where = f'{config.id}: "{entry.topic}"'
        if entry.time is None or config.clock == "arrival":
            yield (
                f"{where} may double: its readings have no time of their own, so a message that "
                "the broker sends again is stored again; map time"
                + ("." if config.clock != "arrival" else ' and set clock = "source".')
            )
        elif entry.key is None:
            yield (
                f"{where}: two messages with the same time are one reading or a conflict; map key "
                "(a serial number, a part counter) unless stamps are finer than the parts."
            )
        if config.qos_of(entry) == 0:
            yield f"{where} is subscribed with QoS 0: what is sent while Andon is away is lost."
        elif entry.sequence is None:
            yield (
                f"{where}: losses before the broker stay invisible; map sequence where the source "
                "numbers its messages."
            )


async def _broker(config: MqttConfig, protocol: Protocol) -> list[str]:
    """What the broker answers to a session that goes away and comes back."""
    aside = config.model_copy(
        update={"client_id": config.identifier + ASIDE, "session_expiry": KEPT}
    )
    found = []
    for _ in range(2):
        async with session(aside, protocol, Inbox(config.id, Counters()), lambda: 0) as opened:
            resumed, granted = opened.resumed, opened.granted
    if not resumed:
        found.append(
            f"{config.id}: the broker keeps no session, so what is sent while Andon is away is "
            "lost; let it keep persistent sessions."
        )
    expiry = getattr(granted, "SessionExpiryInterval", None)
    if expiry is not None and expiry * 1_000_000 < KEPT:
        found.append(
            f"{config.id}: the broker keeps a session for {expiry} s only; "
            f"{format_duration(config.session_expiry)} were asked for."
        )
    if getattr(granted, "MaximumQoS", 1) == 0 and config.qos == 1:
        found.append(f"{config.id}: the broker only offers QoS 0: messages can be lost on the way.")
    found.append(
        f"{config.id}: see to it that the broker queues enough for a stop of Andon and writes its "
        f"queue to disk every few seconds (Mosquitto: {', '.join(MOSQUITTO)}); by default it keeps "
        "1000 messages and loses them in a crash."
    )
    return found
