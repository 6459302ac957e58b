"""Topic patterns: MQTT's wildcards, and placeholders that name what a level holds."""

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
LONGEST_TOPIC = 65_535


class TopicPattern:
    """A pattern such as ``plant/+/{characteristic}``: what to subscribe to, and what a topic says."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.names: list[str] = []
        self._levels = [self._level(level) for level in pattern.split("/")]
        self._check()
        self._literal, self._rest = self._literals()

    def _level(self, level: str) -> str | tuple[str]:
        match = _PLACEHOLDER.fullmatch(level)
        if match is None:
            if "{" in level or "}" in level:
                raise ValueError(f'"{level}": a placeholder in braces takes a whole level')
            if ("+" in level or "#" in level) and len(level) > 1:
                raise ValueError(f'"{level}": a wildcard takes a whole level')
            return level
        if _NAME.fullmatch(match[1]) is None:
            raise ValueError(f'"{level}": name the placeholder with letters, digits, _ . or -')
        self.names.append(match[1])
        return (match[1],)

    def _check(self) -> None:
        if not self.pattern or "\0" in self.pattern or len(self.pattern.encode()) > LONGEST_TOPIC:
            raise ValueError("a topic has 1 to 65535 bytes and no NUL character")
        if "#" in self._levels[:-1]:
            raise ValueError('"#" stands only at the end of a topic')
        if self._levels[0] == "$share":
            raise ValueError(
                "shared subscriptions break the order of readings; name the topic alone"
            )
        if len(set(self.names)) < len(self.names):
            raise ValueError("two placeholders have the same name")

    def _literals(self) -> tuple[list[tuple[int, str]], bool]:
        rest = self._levels[-1] == "#"
        levels = self._levels[:-1] if rest else self._levels
        return [
            (place, level)
            for place, level in enumerate(levels)
            if isinstance(level, str) and level != "+"
        ], rest

    @property
    def filter(self) -> str:
        """The topic filter that the broker is given."""
        return "/".join("+" if isinstance(level, tuple) else level for level in self._levels)

    def match(self, topic: str) -> Mapping[str, str] | None:
        """What the placeholders stand for in ``topic``; None when the pattern does not cover it."""
        levels = topic.split("/")
        # "a/#" also covers "a", as MQTT has it.
        fixed = len(self._levels) - self._rest
        if len(levels) < fixed or (len(levels) > fixed and not self._rest):
            return None
        if topic.startswith("$") and self._levels[0] != levels[0]:
            return None
        if any(levels[place] != level for place, level in self._literal):
            return None
        return {
            level[0]: levels[place]
            for place, level in enumerate(self._levels)
            if isinstance(level, tuple)
        }
