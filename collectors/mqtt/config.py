"""What a ``[[source]]`` of kind "mqtt" may say, checked without the network."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    FiniteFloat,
    SecretStr,
    SerializationInfo,
    field_serializer,
    model_validator,
)

from collectors.key import RESERVED_TAGS
from collectors.mqtt.topic import TopicPattern
from collectors.reading import Purpose, Quality
from collectors.source import Duration, NearbyPath, SourceConfig, parse_duration

SECURE = ("mqtts", "ssl")
SCHEMES = ("mqtt", "tcp", *SECURE)


def _pointer(text: str) -> str:
    body = text.removeprefix("^")
    if body and not body.startswith("/"):
        raise ValueError(f'"{text}" is no JSON Pointer: it is empty or begins with "/"')
    if "~" in body.replace("~0", "").replace("~1", ""):
        raise ValueError(f'"{text}": in a JSON Pointer "~" is written "~0" and "/" is written "~1"')
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(
            f'"{name}" is no time zone; write one such as "Europe/Berlin" or "UTC"'
        ) from error
    return name


def _topic(pattern: str) -> str:
    TopicPattern(pattern)
    return pattern


Pointer = Annotated[str, AfterValidator(_pointer)]
"""A JSON Pointer into an item; with "^" before it, into the whole message."""


class Tls(BaseModel, frozen=True, extra="forbid"):
    """Certificates; the broker's is always verified."""

    ca: NearbyPath | None = None
    cert: NearbyPath | None = None
    key: NearbyPath | None = None

    @model_validator(mode="after")
    def _cert_with_key(self) -> "Tls":
        if self.key is not None and self.cert is None:
            raise ValueError("key goes with cert; name the certificate too")
        return self


class Subscription(BaseModel, frozen=True, extra="forbid"):
    """A topic, and where its messages hold what a reading is made of."""

    topic: Annotated[str, AfterValidator(_topic)]
    characteristic: str | None = Field(default=None, min_length=1)
    qos: Literal[0, 1] | None = None
    items: Pointer = ""
    value: Pointer = ""
    time: Pointer | None = None
    time_format: str = Field(default="iso", min_length=1)
    time_zone: Annotated[str, AfterValidator(_zone)] | None = None
    key: Pointer | None = None
    sequence: Pointer | None = None
    sequence_scope: Literal["topic", "subscription"] = "topic"
    size: Pointer | None = None
    subgroup: Pointer | None = None
    quality: Pointer | None = None
    qualities: dict[str, Quality] = {}
    purpose: Pointer | None = None
    purposes: dict[str, Purpose] = {}
    decimal: Literal[".", ","] = "."
    invalid: tuple[FiniteFloat | str, ...] = ()
    scale: FiniteFloat = 1.0
    offset: FiniteFloat = 0.0
    relative_to: Literal["target"] | None = None
    tags: dict[str, Pointer] = {}

    @model_validator(mode="after")
    def _one_characteristic(self) -> "Subscription":
        named = "characteristic" in TopicPattern(self.topic).names
        if named == (self.characteristic is not None):
            raise ValueError(
                "say once which characteristic it is: {characteristic} in the topic, "
                'or characteristic = a name or a JSON Pointer such as "/name"'
            )
        pointer = self.characteristic
        if pointer is not None and pointer.startswith(("/", "^")):
            _pointer(pointer)
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "Subscription":
        if self.scale == 0:
            raise ValueError("scale is 0: every value would be the same")
        if self.time_format not in ("iso", "s", "ms", "us", "ns") and "%" not in self.time_format:
            raise ValueError('time_format is "iso", "s", "ms", "us", "ns" or a strptime pattern')
        if self.items.startswith("^"):
            raise ValueError('items is a JSON Pointer into the message; leave out the "^"')
        for tag in RESERVED_TAGS.intersection((*self.tags, *TopicPattern(self.topic).names)):
            raise ValueError(f'the tag "{tag}" holds the original of a {tag}; choose another name')
        return self


class MqttConfig(SourceConfig, frozen=True, extra="forbid"):
    """One broker, one session."""

    kind: Literal["mqtt"] = "mqtt"
    url: str
    tls: Tls | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str | None = Field(default=None, min_length=1, max_length=256)
    username: str | None = None
    password: SecretStr | None = None
    password_file: NearbyPath | None = None
    qos: Literal[0, 1] = 1
    inflight: int = Field(default=1000, ge=1, le=65_535)
    keepalive: Duration = parse_duration("30s")
    session_expiry: Duration = parse_duration("7d")
    subscription: tuple[Subscription, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _reachable(self) -> "MqttConfig":
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ValueError(
                f'url "{self.url}" is no broker; write "mqtt://host:1883" or "mqtts://host:8883"'
            )
        if parts.username is not None or parts.password is not None:
            raise ValueError("url carries a user; write username and password_file instead")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("url goes on after the port; topics belong under source.subscription")
        try:
            _ = parts.port
        except ValueError as error:
            raise ValueError(f'url "{self.url}": its port is not between 0 and 65535') from error
        if self.tls is not None and parts.scheme not in SECURE:
            raise ValueError("tls is given, but the url is not encrypted; write mqtts://")
        return self

    @model_validator(mode="after")
    def _one_password(self) -> "MqttConfig":
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file are both given; keep password_file")
        if self.username is None and (self.password or self.password_file):
            raise ValueError("a password goes with a username; name the user too")
        if not self.keepalive or self.keepalive > parse_duration("18h"):
            raise ValueError("keepalive lies between 1s and 18h")
        filters = [TopicPattern(entry.topic).filter for entry in self.subscription]
        if len(set(filters)) < len(filters):
            raise ValueError("two subscriptions have the same topic; the second would map nothing")
        return self

    @field_serializer("password", when_used="unless-none")
    def _masked(self, password: SecretStr, info: SerializationInfo) -> str:
        # Stored with the plant it must come back as it was; everywhere else it is hidden.
        shown = bool(info.context and info.context.get("secrets"))
        return password.get_secret_value() if shown else str(password)

    @property
    def host(self) -> str:
        """The broker's name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port."""
        return urlsplit(self.url).port or (8883 if self.encrypted else 1883)

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return urlsplit(self.url).scheme in SECURE

    @property
    def identifier(self) -> str:
        """The client id: always the same, or the broker could keep no session."""
        return self.client_id or f"andon-{self.id}"

    def qos_of(self, subscription: Subscription) -> int:
        """The quality of service of one subscription."""
        return self.qos if subscription.qos is None else subscription.qos

    def secret(self) -> str | None:
        """The password, read now from its file: a rotated one counts at the next connection.

        Raises:
            OSError: the file cannot be read.
        """
        if self.password_file is not None:
            return Path(self.password_file).read_text(encoding="utf-8").strip()
        return None if self.password is None else self.password.get_secret_value()
