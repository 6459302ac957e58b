"""Refuse to build a wheel without the built screen in it."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ScreenIsBuilt(BuildHookInterface[Any]):
    """The build hook that hatchling runs; an editable install may go without the screen."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Look for the screen before anything is packed."""
        del build_data
        page = Path(self.root) / "app" / "static" / "index.html"
        if version != "editable" and not page.exists():
            raise FileNotFoundError(
                "app/static/index.html is missing: `make wheel` builds the screen first"
            )
