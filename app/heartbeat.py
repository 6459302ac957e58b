"""A broker as a way out: alarms on a topic, and a heartbeat that says whether anybody watches."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

import aiomqtt
import msgspec
import structlog

from app.announcement import iso
from app.channel import MQTT_SCHEMES, SECURE, Announce, Undelivered, Up, body, secret_text
from app.duration import UNITS
from app.store.batch import Outbox
from collectors.backoff import backoff

EVERY_S: Final = 5.0
KEEPALIVE_S: Final = 10
"""The broker publishes the will after one and a half of these without a sign of life."""

CONNECT_TIMEOUT_S: Final = 4.0
FAREWELL_S: Final = 2.0
STEADY_S: Final = 10.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
NOT_MONITORING: Final = {"monitoring": False, "text": "SPC not monitoring"}

log = structlog.get_logger()


class Broker:
    """One connection to a broker, kept up; the will speaks when this process cannot."""

    def __init__(
        self,
        config: Announce,
        plant: str,
        clock: Callable[[], int],
        state: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._config = config
        self._plant = plant
        self._clock = clock
        self._state = state
        self._client: aiomqtt.Client | None = None
        self._news = asyncio.Event()
        self._why = "not connected yet"

    def changed(self) -> None:
        """Say the state now, not only at the next beat."""
        self._news.set()

    async def serve(self, up: Up) -> None:
        """Stay connected and let the heart beat until cancelled; then say that it ends."""
        loop = asyncio.get_running_loop()
        waits = backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        lost = False
        while True:
            start = loop.time()
            try:
                async with self._connection() as client:
                    start = loop.time()
                    if lost:
                        log.info("broker is back", channel=self._config.id)
                    lost = False
                    self._client = client
                    up()
                    await self._beat(client)
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                self._why = str(error) or type(error).__name__
                if not lost:
                    log.warning("broker lost", channel=self._config.id, error=self._why)
                lost = True
            finally:
                self._client = None
            if loop.time() - start > STEADY_S:
                waits = backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
            await asyncio.sleep(next(waits))

    async def send(self, row: Outbox) -> str:
        """Publish one announcement; with QoS 1 the broker has confirmed it."""
        client = self._client
        if client is None:
            raise Undelivered(f"the broker is away: {self._why}")
        if self._config.topic is None:
            return "nothing to do: this channel has the heartbeat alone"
        topic = topic_of(self._config.topic, row)
        timeout = self._config.timeout / UNITS["s"]
        try:
            await client.publish(
                topic, body(row, self._plant), qos=self._config.qos, timeout=timeout
            )
        except (aiomqtt.MqttError, ValueError) as error:
            raise Undelivered(f"the broker did not take it: {error}") from error
        return f"on {topic}"

    async def _beat(self, client: aiomqtt.Client) -> None:
        """Publish the state at every beat and at every change; ends when the connection does."""
        lost = asyncio.create_task(_until_lost(client), name=f"watch {self._config.id}")
        try:
            while not lost.done():
                self._news.clear()
                await self._publish_state(client, self._state())
                news = asyncio.create_task(self._news.wait())
                await asyncio.wait(
                    {lost, news}, timeout=EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                news.cancel()
            await lost
        finally:
            lost.cancel()
            with suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await lost

    async def _publish_state(self, client: aiomqtt.Client, state: Mapping[str, Any]) -> None:
        topic = self._config.heartbeat_topic
        if topic is None:
            return
        content = {"plant": self._plant, **state, "at": iso(self._clock())}
        await client.publish(
            topic,
            msgspec.json.encode(content),
            qos=self._config.qos,
            retain=True,
            timeout=self._config.timeout / UNITS["s"],
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiomqtt.Client]:
        client = await self._made()
        entering = asyncio.create_task(client.__aenter__())
        try:
            await asyncio.shield(entering)
            try:
                yield client
            except asyncio.CancelledError:
                with suppress(aiomqtt.MqttError, TimeoutError):
                    async with asyncio.timeout(FAREWELL_S):
                        await self._publish_state(client, NOT_MONITORING)
                raise
            finally:
                with suppress(aiomqtt.MqttError):
                    await client.__aexit__(None, None, None)
        finally:
            if not entering.done():
                # A thread resolves and connects; it can only be waited for.
                await asyncio.wait([entering], timeout=CONNECT_TIMEOUT_S)
                entering.cancel()
                with suppress(asyncio.CancelledError, aiomqtt.MqttError):
                    await entering
            # aiomqtt leaves the socket open when connecting or disconnecting fails.
            client._client._sock_close()  # noqa: SLF001

    async def _made(self) -> aiomqtt.Client:
        config = self._config
        parts = urlsplit(config.url)
        password = await asyncio.to_thread(secret_text, config.password, config.password_file)
        tls = await asyncio.to_thread(_tls, config) if parts.scheme in SECURE else None
        will = None
        if config.heartbeat_topic is not None:
            content = {"plant": self._plant, **NOT_MONITORING, "at": iso(self._clock())}
            will = aiomqtt.Will(
                config.heartbeat_topic, msgspec.json.encode(content), qos=config.qos, retain=True
            )
        client = aiomqtt.Client(
            parts.hostname or "",
            parts.port or MQTT_SCHEMES[parts.scheme],
            username=config.username,
            password=password,
            identifier=config.client_id or f"andon-announce-{config.id}",
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            keepalive=KEEPALIVE_S,
            timeout=config.timeout / UNITS["s"],
            tls_context=tls,
            will=will,
            max_queued_incoming_messages=1,
        )
        client._client.connect_timeout = CONNECT_TIMEOUT_S  # noqa: SLF001
        return client


def topic_of(pattern: str, row: Outbox) -> str:
    """The topic of one announcement."""
    alarm = row.payload.get("alarm") or {}
    topic = pattern.replace("{characteristic}", _level(alarm.get("characteristic", "test")))
    return topic.replace("{class}", _level(alarm.get("class", "test")))


def _level(name: str) -> str:
    return "".join("-" if sign in "/+#\0" else sign for sign in name)


async def _until_lost(client: aiomqtt.Client) -> None:
    async for _ in client.messages:
        continue


def _tls(config: Announce) -> ssl.SSLContext:
    files = config.tls
    context = ssl.create_default_context(cafile=files.ca if files is not None else None)
    if files is not None and files.cert is not None:
        context.load_cert_chain(files.cert, files.key)
    return context
