"""The data directory: there, and ours to write to, before anything is begun in it."""

import os
import tempfile
from pathlib import Path

from app.commands.failure import Failed


def make(place: Path) -> None:
    """Make the data directory when it is not there.

    Raises:
        Failed: it cannot be used; the sentence says what to do.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(_sentence(place, error)) from error
    if (reason := unusable(place)) is not None:
        raise Failed(reason)


def unusable(place: Path) -> str | None:
    """Why Andon could not keep its data there; None when it can. Makes nothing that stays."""
    try:
        if place.exists():
            # Tried, not asked: a mode does not tell what the disk allows.
            with tempfile.TemporaryFile(dir=place):
                return None
        parent = nearest_directory(place)
        if not parent.is_dir():
            raise NotADirectoryError(20, os.strerror(20))
        if not os.access(parent, os.W_OK):
            raise PermissionError(13, os.strerror(13))
    except OSError as error:
        return _sentence(place, error)
    return None


def nearest_directory(place: Path) -> Path:
    """The directory itself, or the nearest above it that is there."""
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place


def _sentence(place: Path, error: OSError) -> str:
    return (
        f"{place} cannot hold Andon's data: {error.strerror or error}; set ANDON_DATA_DIR to a "
        "directory that this user may write to"
    )
