"""The client that Andon's MQTT collector is compared with: the same session, an empty callback.

``python -m benchmarks.mqtt_peer PORT TOPIC INFLIGHT``
"""

import sys

import aiomqtt
import uvloop
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SESSION_EXPIRY_S = 86_400


def received(_message: aiomqtt.Message) -> None:
    """Do nothing; the client itself acknowledges."""


async def listen(port: int, topic: str, inflight: int) -> None:
    """Take messages until killed."""
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.ReceiveMaximum = inflight
    async with aiomqtt.Client(
        "127.0.0.1",
        port,
        identifier="andon-bench-peer",
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
    ) as client:
        await client.subscribe(topic, qos=1)
        print("ready", flush=True)
        async for message in client.messages:
            received(message)


if __name__ == "__main__":
    uvloop.run(listen(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
