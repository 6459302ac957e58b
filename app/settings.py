"""The service's settings, from the environment and andon.toml; secrets never show."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from app.duration import UNITS, Duration
from app.mistakes import explain
from app.spelling import nearest

PREFIX = "ANDON_"
FILE = "andon.toml"
SECRETS = ("database_url", "access_token", "ingest_keys")
TOKEN_LENGTH = 16
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CONFIG = f"{PREFIX}CONFIG"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]*)(:\d{1,5})?")
_TESTS = f"{PREFIX}TEST_"  # names of the tests' servers, no settings


class SettingsInvalid(Exception):
    """The settings cannot be used."""


class Settings(BaseSettings):
    """Everything that an installation may set; the plant itself is described in plant.toml."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        validate_default=False,
        use_attribute_docstrings=True,
        env_ignore_empty=True,
    )

    database_url: SecretStr | None = None
    """PostgreSQL to write to (postgresql://user:password@host/name); none: an embedded one."""
    data_dir: Path = Path(".andon")
    """Where the embedded database, the spool and the snapshot live."""
    plant: Path | None = None
    """Plant file that is applied when the service starts."""
    host: str = "127.0.0.1"
    """Address to listen on; beyond loopback an access token is needed."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes any free one."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Names under which browsers reach the service besides localhost (comma-separated)."""
    tls_cert: Path | None = None
    """Certificate chain (PEM) to serve HTTPS with."""
    tls_key: Path | None = None
    """Private key (PEM) of the certificate."""

    access_token: SecretStr | None = None
    """What people and programs show to be let in; at least 16 characters."""
    ingest_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys that may post readings and nothing else, each written name:key (comma-separated)."""
    session_age: Duration = 30 * UNITS["d"]
    """How long a browser stays signed in."""

    body_max_bytes: Annotated[int, Field(ge=KIB)] = 8 * MIB
    """The largest request body that is read."""
    intake_capacity: Annotated[int, Field(ge=1)] = 100_000
    """Readings that may wait for their batch; above it sources wait."""
    batch_max: Annotated[int, Field(ge=1)] = 10_000
    """The most readings in one transaction."""
    spool_max_bytes: Annotated[int, Field(ge=MIB)] = 4 * GIB
    """The most that is kept on disk while the database is away."""
    live_clients: Annotated[int, Field(ge=1)] = 200
    """The most browsers that watch at once."""
    shutdown_grace: Duration = 20 * UNITS["s"]
    """How long stopping may take before what still runs is cut off."""

    log_format: Literal["auto", "console", "json"] = "auto"
    """auto: console on a terminal, else one JSON object per line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("ingest_keys", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.replace(",", " ").split() if part)
        return value

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        # An empty one is a mistake too: "is it given?" must not depend on how long it is.
        if url is not None and not url.get_secret_value().startswith(
            ("postgresql://", "postgres://")
        ):
            raise ValueError("must begin with postgresql://")
        if url is not None and not _readable(url.get_secret_value()):
            raise ValueError(
                "cannot be read; write postgresql://user:password@host:port/name, and in the "
                "password / as %2F, : as %3A, @ as %40, # as %23, ? as %3F"
            )
        return url

    @field_validator("access_token")
    @classmethod
    def _long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value()) < TOKEN_LENGTH:
            raise ValueError(f"must have at least {TOKEN_LENGTH} characters")
        if token is not None and not token.get_secret_value().isascii():
            raise ValueError("must be of ASCII characters: no other arrive whole in an HTTP header")
        return token

    @field_validator("ingest_keys")
    @classmethod
    def _named_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        names = set()
        for key in keys:
            name, _, secret = key.get_secret_value().partition(":")
            if not name or len(secret) < TOKEN_LENGTH or not secret.isascii():
                raise ValueError(
                    f"write each key as name:key, the key with at least {TOKEN_LENGTH} characters, "
                    "ASCII only"
                )
            if name in names:
                raise ValueError(f'two keys are called "{name}"; give each owner one')
            names.add(name)
        return keys

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not is_loopback(self.host) and self.access_token is None:
            raise ValueError(
                f"host {self.host} is reachable from other machines: set ANDON_ACCESS_TOKEN or "
                "ANDON_ACCESS_TOKEN_FILE, or listen on 127.0.0.1"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both or none")
        return self

    @property
    def keys_by_name(self) -> dict[str, str]:
        """The ingest keys by the name of their owner."""
        pairs = (key.get_secret_value().partition(":") for key in self.ingest_keys)
        return {name: secret for name, _, secret in pairs}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then secret files, then andon.toml."""
        del dotenv_settings, file_secret_settings
        path = Path(os.environ.get(CONFIG) or FILE)
        return (
            init_settings,
            env_settings,
            SecretFiles(settings_cls),
            TomlConfigSettingsSource(settings_cls, toml_file=path),
        )


class SecretFiles(EnvSettingsSource):
    """Secrets that the environment names a file for: ``ANDON_ACCESS_TOKEN_FILE=/run/...``."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content of the secret's file, if one is named."""
        del field
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        if field_name not in SECRETS or not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsInvalid(
                f"{PREFIX}{field_name.upper()}_FILE: {path} cannot be read: "
                f"{getattr(error, 'strerror', 'it is not text')}"
            ) from error


def load_settings(**given: Any) -> Settings:
    """The settings, with what the command line gives on top.

    Raises:
        SettingsInvalid: with one sentence per mistake.
    """
    config = os.environ.get(CONFIG)
    if config and not Path(config).exists():
        raise SettingsInvalid(f"{CONFIG}: {config} does not exist")
    if Path(config or FILE).is_dir():
        raise SettingsInvalid(f"settings: {config or FILE} is a directory, not a file")
    _refuse_unknown(os.environ)
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsInvalid("\n".join(explain(error, Settings, "settings"))) from error
    except SettingsError as error:
        if isinstance(error.__cause__, SettingsInvalid):
            raise error.__cause__ from None
        raise SettingsInvalid(f"settings: {error}") from error
    except UnicodeDecodeError as error:
        raise SettingsInvalid(f"settings: {config or FILE} is not UTF-8 text") from error
    except ValueError as error:  # tomllib's, and a list that is no JSON
        raise SettingsInvalid(f"settings: {config or FILE} cannot be read: {error}") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _readable(url: str) -> bool:
    """Whether an address has its parts where they belong; said without showing any of them."""
    try:
        hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    except ValueError:
        return False
    return all(_HOST.fullmatch(host) for host in hosts)


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    names = {"CONFIG", *(name.upper() for name in Settings.model_fields)}
    names |= {f"{name.upper()}_FILE" for name in SECRETS}
    for variable in environment:
        name = variable.removeprefix(PREFIX)
        if name == variable or variable.startswith(_TESTS) or name in names:
            continue
        # Compared without what all of them begin with: else each is near to each.
        hint = nearest(name, names).replace('"', f'"{PREFIX}', 1)
        raise SettingsInvalid(f"settings: {variable} is no setting{hint}")
