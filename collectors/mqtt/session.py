"""The MQTT client's only home: connecting, and acknowledging when told to, not on arrival."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTTMessage
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from collectors.mqtt.config import MqttConfig
from collectors.mqtt.inbox import Arrived, Inbox
from collectors.mqtt.payload import KEPT_PAYLOAD, LARGEST_PAYLOAD
from collectors.reading import ConfigInvalid, SourceLost

Protocol = Literal["5", "3.1.1"]

ANSWER_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 4.0
UNSUPPORTED_VERSION = 132
REFUSALS = {133, 134, 135, 138, 140, 144}
"""CONNACK codes that only a person can change: client id, password, rights, ban, method, topic."""
REFUSED = 128
TAKEN_OVER = 142
CLOCK_STEP_US = 1_000  # a clock that goes back further was set
RETAINED_NEVER = 2  # retain handling: what was measured before we came is not measured again


class VersionUnsupported(Exception):
    """The broker does not speak this version of the protocol, or did not answer to it."""

    def __init__(self, reason: str, *, said_so: bool) -> None:
        super().__init__(reason)
        self.said_so = said_so


class Session:
    """One connection to a broker that keeps a session for us."""

    def __init__(self, config: MqttConfig, protocol: Protocol, client: aiomqtt.Client) -> None:
        self.protocol = protocol
        self.resumed = False
        """Whether the broker remembered us: nothing sent meanwhile is lost on its side."""
        self.granted: Any = None
        """What the broker said of its own limits (MQTT 5)."""
        self._config = config
        self._client = client
        self._paho = _paho(client)

    async def subscribe(self, filters: dict[str, int]) -> None:
        """Subscribe to topic filters, each with its quality of service.

        Raises:
            ConfigInvalid: the broker refuses one of them.
        """
        wanted = [
            (
                topic,
                SubscribeOptions(qos=qos, retainHandling=RETAINED_NEVER)
                if self.protocol == "5"
                else qos,
            )
            for topic, qos in filters.items()
        ]
        answers = await self._client.subscribe(wanted)  # type: ignore[arg-type]
        for topic, answer in zip(filters, answers, strict=True):
            code: Any = getattr(answer, "value", answer)
            if code >= REFUSED:
                raise ConfigInvalid(f'the broker refuses the subscription "{topic}": {answer}')

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """End subscriptions that an earlier configuration left in the session."""
        await self._client.unsubscribe(list(filters))

    def acknowledge(self, mids: Sequence[int]) -> None:
        """Send PUBACKs; on a dead connection nothing happens and the broker sends again."""
        for mid in mids:
            self._paho.ack(mid, 1)


@asynccontextmanager
async def session(
    config: MqttConfig, protocol: Protocol, inbox: Inbox, clock: Callable[[], int]
) -> AsyncIterator[Session]:
    """Connect; what arrives goes to ``inbox``, and so does the loss of the connection.

    Raises:
        VersionUnsupported: the broker does not speak ``protocol``.
        ConfigInvalid: the broker refuses us.
        SourceLost: it cannot be reached.
    """
    client = await _client(config, protocol)
    opened = Session(config, protocol, client)
    _listen(client, inbox, clock, opened)
    await _connect(client, config)
    watch = asyncio.create_task(_watch(client, inbox, config), name=f"mqtt watch {config.id}")
    try:
        yield opened
    except aiomqtt.MqttError as error:
        raise SourceLost(f"{_address(config)}: {error}") from error
    finally:
        watch.cancel()
        with suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
        _abandon(client)


def _paho(client: aiomqtt.Client) -> PahoClient:
    """The client underneath, for what aiomqtt does not offer: acknowledging by hand."""
    return client._client  # noqa: SLF001


async def _client(config: MqttConfig, protocol: Protocol) -> aiomqtt.Client:
    five = protocol == "5"
    properties = Properties(PacketTypes.CONNECT) if five else None  # type: ignore[no-untyped-call]
    if properties is not None:
        properties.SessionExpiryInterval = min(config.session_expiry // 1_000_000, 2**32 - 1)
        properties.ReceiveMaximum = config.inflight
    try:
        password = config.secret()
        tls = await asyncio.to_thread(_tls, config) if config.encrypted else None
    except (OSError, ValueError) as error:
        raise ConfigInvalid(f"password or certificate: {error}") from error
    client = aiomqtt.Client(
        config.host,
        config.port,
        username=config.username,
        password=password,
        identifier=config.identifier,
        protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
        clean_session=None if five else False,
        clean_start=False if five else MQTT_CLEAN_START_FIRST_ONLY,
        properties=properties,
        keepalive=max(1, config.keepalive // 1_000_000),
        tls_context=tls,
        timeout=ANSWER_TIMEOUT_S,
    )
    _paho(client).connect_timeout = CONNECT_TIMEOUT_S
    return client


def _tls(config: MqttConfig) -> ssl.SSLContext:
    files = config.tls
    context = ssl.create_default_context(cafile=files.ca if files is not None else None)
    if files is not None and files.cert is not None:
        context.load_cert_chain(files.cert, files.key)
    return context


def _listen(
    client: aiomqtt.Client, inbox: Inbox, clock: Callable[[], int], opened: Session
) -> None:
    """Put messages into the inbox as paho reads them.

    aiomqtt acknowledges before anybody has seen a message, and its queue is unbounded or drops; so
    acknowledging is switched to manual and its callback replaced. A session's messages may follow
    the CONNACK at once: this happens before connecting.
    """
    paho = _paho(client)
    newest = 0

    def arrived(_client: PahoClient, _userdata: Any, message: MQTTMessage) -> None:
        nonlocal newest
        now = clock()
        if newest - CLOCK_STEP_US < now <= newest:
            now = (
                newest + 1
            )  # no two messages of a source arrive at once: arrival may be their identity
        newest = now
        size = len(message.payload)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"
        inbox.put(
            Arrived(
                topic,
                bytes(
                    message.payload if size <= LARGEST_PAYLOAD else message.payload[:KEPT_PAYLOAD]
                ),
                size,
                message.mid,
                message.qos,
                message.retain,
                message.dup,
                now,
            )
        )

    on_connect: Any = paho.on_connect

    def connected(
        inner: PahoClient, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        opened.resumed = flags.session_present
        opened.granted = properties
        on_connect(inner, userdata, flags, reason, properties)

    paho.manual_ack_set(True)
    paho.on_message = arrived
    paho.on_connect = connected


async def _connect(client: aiomqtt.Client, config: MqttConfig) -> None:
    entering = asyncio.create_task(client.__aenter__(), name=f"mqtt connect {config.id}")
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        # A thread resolves and connects; it cannot be interrupted, only waited for and undone.
        done, _ = await asyncio.wait([entering], timeout=CONNECT_TIMEOUT_S)
        if not done:
            entering.cancel()
        elif not entering.cancelled() and entering.exception() is None:
            with suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)
        _abandon(client)
        raise
    except aiomqtt.MqttError as error:
        _abandon(client)
        raise _named(error, config) from error


def _abandon(client: aiomqtt.Client) -> None:
    """Close the socket that aiomqtt leaves open when connecting or disconnecting fails."""
    _paho(client)._sock_close()  # noqa: SLF001


def _named(error: aiomqtt.MqttError, config: MqttConfig) -> Exception:
    """What the caller does next about a failed connection."""
    text = str(error)
    if isinstance(error, aiomqtt.MqttCodeError):
        code = getattr(error.rc, "value", error.rc)
        if code == UNSUPPORTED_VERSION:
            return VersionUnsupported(text, said_so=True)
        if code in REFUSALS:
            return ConfigInvalid(f"{_address(config)} refuses the connection: {error.rc}")
    elif "CERTIFICATE_VERIFY_FAILED" in text:
        return ConfigInvalid(f"{_address(config)}: its certificate is not trusted: {text}")
    elif "SSL" in text:
        return ConfigInvalid(f"{_address(config)}: TLS fails: {text}")
    elif "timed out" in text and "Operation" in text:
        return VersionUnsupported("no answer to CONNECT", said_so=False)
    return SourceLost(f"{_address(config)}: {text}")


def _address(config: MqttConfig) -> str:
    return f"{config.host}:{config.port}"


async def _watch(client: aiomqtt.Client, inbox: Inbox, config: MqttConfig) -> None:
    """Tell the inbox when the connection is lost; aiomqtt's own queue never holds a message."""
    try:
        async for _ in client.messages:
            continue
    except aiomqtt.MqttError as error:
        cause = error.__cause__ or error
        code = getattr(getattr(cause, "rc", None), "value", None)
        text = str(cause)
        if code == TAKEN_OVER:
            text = f'another client connected with the client id "{config.identifier}"'
        inbox.close(SourceLost(f"{_address(config)}: {text}"))
