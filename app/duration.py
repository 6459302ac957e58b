"""Durations as people write them: "30s", "10m", "4h"; microseconds inside the program."""

from typing import Annotated

from pydantic import Field

from collectors import source
from collectors.source import UNITS, format_duration, parse_duration

__all__ = ["UNITS", "Duration", "format_duration", "parse_duration"]

Duration = Annotated[source.Duration, Field(gt=0)]
"""A positive duration: text in files and JSON, microseconds in Python."""
