"""A clock for services under test."""

NOW = 1_795_000_000_000_000
SECOND = 1_000_000


class Clock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now
