"""The MQTT client's only home: connecting, and acknowledging when told to, not on arrival."""

import asyncio
import logging
import math
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
UNSPECIFIED = 128
TAKEN_OVER = 142
HASTY_S = 5.0
PACKETS_AT_ONCE = 64  # then others on the event loop have their turn
CLOCK_STEP_US = 1_000  # a clock that goes back further was set
RETAINED_NEVER = 2  # retain handling: what was measured before we came is not measured again


# What is lost and refused is told once, by the supervisor; paho would log each attempt.
_SILENT = logging.getLogger("collectors.mqtt.client")
_SILENT.setLevel(logging.CRITICAL)


class VersionUnsupported(Exception):
    """The broker does not speak this version of the protocol, or did not answer to it."""

    def __init__(self, reason: str, *, said_so: bool) -> None:
        super().__init__(reason)
        self.said_so = said_so


class Session:
    """One connection to a broker that keeps a session for us."""

    def __init__(self, protocol: Protocol, client: aiomqtt.Client, source: "_Socket") -> None:
        self.protocol = protocol
        self.resumed = False
        """Whether the broker remembered us: nothing sent meanwhile is lost on its side."""
        self.granted: Any = None
        """What the broker said of its own limits (MQTT 5)."""
        self.reached = source.reached
        self.hung_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended, also before it was accepted."""
        self._client = client
        self._paho = _paho(client)
        self._source = source

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
        answers = await self._client.subscribe(
            wanted,  # type: ignore[arg-type]
            timeout=self._patience(),
        )
        for topic, answer in zip(filters, answers, strict=True):
            code: Any = getattr(answer, "value", answer)
            if code >= REFUSED:
                raise ConfigInvalid(f'the broker refuses the subscription "{topic}": {answer}')

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """End subscriptions that an earlier configuration left in the session."""
        await self._client.unsubscribe(list(filters), timeout=self._patience())

    def _patience(self) -> float:
        """An answer may stand behind all that a session has kept; a dead broker misses its pings."""
        return math.inf if self.resumed else ANSWER_TIMEOUT_S

    def acknowledge(self, mids: Sequence[int]) -> None:
        """Send PUBACKs; on a dead connection nothing happens and the broker sends again."""
        for mid in mids:
            self._paho.ack(mid, 1)
        self._source.confirmed(len(mids))

    def go_on(self) -> None:
        """Read on if there is room again; to be called when messages were taken."""
        self._source.go_on()


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
    # A session's messages may follow the CONNACK at once: all is in place before connecting.
    opened = Session(protocol, client, _Socket(client, inbox, clock, config.inflight))
    _note_answers(client, opened)
    await _connect(client, opened, config)
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
        logger=_SILENT,
        timeout=ANSWER_TIMEOUT_S,
    )
    _paho(client).connect_timeout = CONNECT_TIMEOUT_S
    return client


def _tls(config: MqttConfig) -> ssl.SSLContext:
    files = config.tls
    context = ssl.create_default_context(cafile=files.ca if files is not None else None)
    context.sslsocket_class = _TlsSocket
    if files is not None and files.cert is not None:
        context.load_cert_chain(files.cert, files.key)
    return context


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when its handshake fails: paho, which began it, keeps no hold of it then."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class _Socket:
    """Reads packets, as long as there is room for messages.

    The window that the broker was told is what holds messages back. Some brokers overstep it
    (Mosquitto 2.0.11 sends a whole window again for every PUBACK), and MQTT 3.1.1 has none: then
    the socket is not read until enough is acknowledged, and TCP holds back the rest.
    """

    def __init__(
        self, client: aiomqtt.Client, inbox: Inbox, clock: Callable[[], int], inflight: int
    ) -> None:
        self._paho = _paho(client)
        self._inbox = inbox
        self._clock = clock
        self._inflight = inflight
        self._loop = asyncio.get_running_loop()
        self.reached: asyncio.Future[None] = self._loop.create_future()
        """Done when somebody answered at the address."""
        self._unconfirmed = 0
        self._received = 0
        self._newest = 0
        self._paused = False
        self._open_before = self._paho.on_socket_open
        # aiomqtt acknowledges before anybody has seen a message, and its queue is unbounded or
        # drops: so acknowledging is switched to manual and its callback replaced.
        self._paho.manual_ack_set(True)
        self._paho.on_message = self._message
        self._paho.on_socket_open = self._open

    def confirmed(self, count: int) -> None:
        """So many messages of QoS 1 are no longer under way."""
        self._unconfirmed -= count
        self.go_on()

    def go_on(self) -> None:
        """Read again if there is room."""
        if self._paused and self._has_room():
            self._paused = False
            sock = self._paho.socket()
            if sock is not None:
                self._loop.add_reader(sock.fileno(), self._read)
                self._loop.call_soon(self._read)  # TLS may hold bytes that no longer signal

    def _has_room(self) -> bool:
        return self._unconfirmed <= self._inflight and not self._inbox.full

    def _open(self, paho: PahoClient, userdata: Any, sock: Any) -> None:
        # Called by the thread that connects; ours comes after aiomqtt's reader and replaces it.
        if self._open_before is not None:
            self._open_before(paho, userdata, sock)
        self._loop.call_soon_threadsafe(self._opened, sock)

    def _opened(self, sock: Any) -> None:
        if not self.reached.done():
            self.reached.set_result(None)
        if sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        try:
            for _ in range(PACKETS_AT_ONCE):
                received = self._received
                self._paho.loop_read()
                sock = self._paho.socket()
                if self._paused or sock is None:
                    return
                pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
                if received == self._received and not pending:
                    return
            self._loop.call_soon(self._read)
        except Exception as error:  # noqa: BLE001 - paho raises whatever a malformed packet causes
            self._inbox.close(SourceLost(f"what the broker sends cannot be read: {error!r}"))

    def _message(self, paho: PahoClient, _userdata: Any, message: MQTTMessage) -> None:
        now = self._clock()
        if self._newest - CLOCK_STEP_US < now <= self._newest:
            now = self._newest + 1  # no two arrive at once: arrival may be their identity
        self._newest = now
        self._received += 1
        payload, size = message.payload, len(message.payload)
        if size > LARGEST_PAYLOAD:
            payload = payload[:KEPT_PAYLOAD]
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"
        qos = message.qos
        self._inbox.put(
            Arrived(topic, bytes(payload), size, message.mid, qos, message.retain, message.dup, now)
        )
        self._unconfirmed += qos
        sock = paho.socket()
        if not self._paused and not self._has_room() and sock is not None:
            self._paused = True
            self._loop.remove_reader(sock.fileno())


def _note_answers(client: aiomqtt.Client, opened: Session) -> None:
    """Keep what aiomqtt does not pass on: what the CONNACK says, and that none will come."""
    paho = _paho(client)
    on_connect: Any = paho.on_connect
    on_disconnect: Any = paho.on_disconnect

    def connected(
        inner: PahoClient, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        opened.resumed = flags.session_present
        opened.granted = properties
        on_connect(inner, userdata, flags, reason, properties)

    def disconnected(*arguments: Any) -> None:
        if not opened.hung_up.done():
            opened.hung_up.set_result(None)
        on_disconnect(*arguments)

    paho.on_connect = connected
    paho.on_disconnect = disconnected


async def _connect(client: aiomqtt.Client, opened: Session, config: MqttConfig) -> None:
    entering = asyncio.create_task(client.__aenter__(), name=f"mqtt connect {config.id}")
    ends: list[asyncio.Future[Any]] = [entering, opened.hung_up]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        # A thread resolves and connects; it cannot be interrupted, only waited for and undone.
        ends = [entering, opened.reached]
        await asyncio.wait(ends, timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        await _give_up(client, entering)
        raise
    if not entering.done():
        await asyncio.sleep(0)  # a refusal is answered and hung up in one go
    if not entering.done():
        await _give_up(client, entering)
        raise VersionUnsupported("the connection is closed without an answer", said_so=False)
    error = entering.exception()
    if isinstance(error, aiomqtt.MqttError):
        _abandon(client)
        raise _named(error, config) from error
    entering.result()


async def _give_up(client: aiomqtt.Client, entering: "asyncio.Task[aiomqtt.Client]") -> None:
    entering.cancel()
    await asyncio.wait([entering])
    if not entering.cancelled():
        entering.exception()  # it is known why; nothing is to be reported
    _abandon(client)


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
    loop = asyncio.get_running_loop()
    since = loop.time()
    try:
        async for _ in client.messages:
            continue
    except aiomqtt.MqttError as error:
        cause = error.__cause__ or error
        code = getattr(getattr(cause, "rc", None), "value", None)
        text = "the connection broke" if code == UNSPECIFIED else str(cause)
        if code == TAKEN_OVER:
            text = f'another client connected with the client id "{config.identifier}"'
        elif loop.time() - since < HASTY_S:
            text += f' at once; does another client use the client id "{config.identifier}"?'
        inbox.close(SourceLost(f"{_address(config)}: {text}"))
