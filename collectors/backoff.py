"""How long to wait before a lost source is tried again."""

import random
from collections.abc import Iterator


def backoff(first_s: float, cap_s: float) -> Iterator[float]:
    """Yield waits under a ceiling that doubles from ``first_s`` to ``cap_s``, with full jitter."""
    ceiling = first_s
    while True:
        yield random.uniform(0.0, ceiling)
        ceiling = min(cap_s, ceiling * 2)
