"""What the plant's screens see at once: the live protocol andon.v1 and its fan-out."""

from app.live.door import Door
from app.live.frames import FrameSocket
from app.live.hub import Live
from app.live.source import (
    CharacteristicFacts,
    History,
    HistoryAway,
    LiveSource,
    StreamFacts,
)

__all__ = [
    "CharacteristicFacts",
    "Door",
    "FrameSocket",
    "History",
    "HistoryAway",
    "Live",
    "LiveSource",
    "StreamFacts",
]
