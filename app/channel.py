"""Where announcements go: what plant.toml says of a channel, and how sending can fail."""

from typing import Annotated, Any, Final, Literal, Protocol, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, SecretStr, SerializationInfo, field_serializer, model_validator

from app.characteristic import Frozen
from app.duration import UNITS, Duration
from app.store.batch import Outbox
from collectors.mqtt.config import Tls
from collectors.source import NearbyPath

MQTT_SCHEMES: Final = {"mqtt": 1883, "tcp": 1883, "mqtts": 8883, "ssl": 8883}
SECURE: Final = frozenset({"mqtts", "ssl"})
OF_WEBHOOKS: Final = frozenset({"secret", "secret_file", "ca"})
OF_MQTT: Final = frozenset(
    {"topic", "heartbeat_topic", "client_id", "username", "password", "password_file", "tls", "qos"}
)


class Announce(Frozen):
    """One ``[[announce]]``: a webhook, or a broker with a topic, a heartbeat or both."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
    kind: Literal["webhook", "mqtt"]
    url: str
    """``https://host/path`` for a webhook, ``mqtt://host:1883`` or ``mqtts://`` for a broker."""
    send: Literal["all", "calls"] = "all"
    """``calls``: only what calls somebody; ``all``: also what became of it (seen, returned, ...)."""
    timeout: Duration = 5 * UNITS["s"]
    give_up_after: Duration = UNITS["d"]
    """What could not be delivered in this time is marked as failed."""
    secret: SecretStr | None = None
    secret_file: NearbyPath | None = None
    """What signs a webhook's body (HMAC-SHA256)."""
    ca: NearbyPath | None = None
    """A certificate authority of the plant's own, for https."""
    topic: str | None = None
    """Where alarms go; ``{characteristic}`` and ``{class}`` stand for the alarm's."""
    heartbeat_topic: str | None = None
    """Retained: ``{"monitoring": true, ...}`` every 5 s, ``false`` by last will."""
    client_id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    username: str | None = None
    password: SecretStr | None = None
    password_file: NearbyPath | None = None
    tls: Tls | None = None
    qos: Literal[0, 1] = 1

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        strange = OF_MQTT if self.kind == "webhook" else OF_WEBHOOKS
        fields = type(self).model_fields
        wrong = sorted(name for name in strange if getattr(self, name) != fields[name].default)
        if wrong:
            raise ValueError(f'{", ".join(wrong)}: not for kind "{self.kind}"; remove it')
        if self.kind == "webhook":
            self._check_webhook()
        else:
            self._check_broker()
        return self

    def _check_webhook(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f'url "{self.url}" is no webhook; write "https://host/path"')
        if parts.username is not None or parts.password is not None:
            raise ValueError("url carries a user; use secret_file to prove who sends")
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("secret and secret_file are both given; keep secret_file")

    def _check_broker(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in MQTT_SCHEMES or not parts.hostname:
            raise ValueError(f'url "{self.url}" is no broker; write "mqtt://host:1883"')
        if parts.username is not None or parts.password is not None:
            raise ValueError("url carries a user; write username and password_file instead")
        if self.topic is None and self.heartbeat_topic is None:
            raise ValueError("give topic, heartbeat_topic or both")
        for name in ("topic", "heartbeat_topic"):
            text = getattr(self, name)
            if text is not None and (not text or any(sign in text for sign in "+#\0")):
                raise ValueError(f'{name} "{text}": a topic to publish on has no + and no #')
        if self.username is None and (self.password or self.password_file):
            raise ValueError("a password goes with a username; name the user too")
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file are both given; keep password_file")
        if self.tls is not None and parts.scheme not in SECURE:
            raise ValueError("tls is given, but the url is not encrypted; write mqtts://")

    @field_serializer("secret", "password", when_used="unless-none")
    def _masked(self, secret: SecretStr, info: SerializationInfo) -> str:
        # Stored with the plant it must come back as it was; everywhere else it is hidden.
        shown = bool(info.context and info.context.get("secrets"))
        return secret.get_secret_value() if shown else str(secret)

    @property
    def takes_alarms(self) -> bool:
        """Whether alarms leave here; a broker may get the heartbeat alone."""
        return self.kind == "webhook" or self.topic is not None


def secret_text(text: SecretStr | None, file: NearbyPath | None) -> str | None:
    """A secret, read now from its file: a rotated one counts the next time.

    Raises:
        OSError: the file cannot be read.
    """
    if file is not None:
        return file.read_text(encoding="utf-8").strip()
    return None if text is None else text.get_secret_value()


class Undelivered(Exception):
    """It did not leave; trying again later may help."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Rejected(Undelivered):
    """The other side does not want this announcement; trying again cannot help."""


class ChannelStatus(msgspec.Struct):
    """A channel as people see it."""

    id: str
    kind: str
    state: Literal["idle", "up", "down"]
    since: int | None = None
    waiting: int = 0
    delivered: int = 0
    failed: int = 0  # given up
    last_delivered_at: int | None = None
    last_error: str | None = None


class Channel(Protocol):
    """One way out."""

    async def serve(self, up: "Up") -> None:
        """Keep what the channel needs open until cancelled; say when it is back."""
        ...

    async def send(self, row: Outbox) -> str:
        """Deliver one announcement; returns what the other side said.

        Raises:
            Rejected: it does not want it.
            Undelivered: it may take it later.
        """
        ...


class Up(Protocol):
    """How a channel tells that its other side is there (again)."""

    def __call__(self) -> None:
        """The other side is there."""
        ...


def body(row: Outbox, plant: str) -> bytes:
    """What leaves: the same bytes however often it is sent."""
    payload: dict[str, Any] = {"plant": plant, **row.payload}
    payload.pop("channels", None)
    # The database does not keep the order of keys.
    return msgspec.json.encode(payload, order="deterministic")


def delivery_key(row: Outbox) -> str:
    """Names an announcement for good, so that a receiver knows a second copy of it."""
    return f"andon-{row.id}-{row.created_at}"
