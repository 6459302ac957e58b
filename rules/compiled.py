"""How the loops of this package are compiled: one place for the flags, typed as what they wrap."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

# No reference counts: these functions allocate nothing, and only borrow arrays that their caller
# holds. Counting them, atomically, costs more than judging a point does.
_FLAGS: Any = {"nogil": True, "error_model": "numpy", "_nrt": False}


def compiled(function: F) -> F:
    """Compile a function that borrows arrays, allocates nothing and runs without the GIL."""
    return _cached(function, _FLAGS)


def inlined(function: F) -> F:
    """Compile as ``compiled`` does, into the loop of each caller."""
    return _cached(function, {**_FLAGS, "forceinline": True})


def _cached(function: F, flags: Any) -> F:
    """Keep the machine code on disk where that is possible, until any source changes."""
    try:
        dispatcher: Any = njit(cache=True, **flags)(function)
    except RuntimeError:  # nowhere to write: a read-only installation compiles at each start
        return cast(F, njit(**flags)(function))
    # numba looks at the file of the function alone, and would go on with the old code of those
    # that are inlined into it from other files.
    dispatcher._cache._cache_file._source_stamp = _SOURCES  # noqa: SLF001
    return cast(F, dispatcher)


def _fingerprint() -> str:
    """Return a hash of all sources that can be inlined into one another."""
    content = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        content.update(path.read_bytes())
    return content.hexdigest()


_SOURCES = _fingerprint()
