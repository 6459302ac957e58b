"""How the loops of this package are compiled: one place for the flags, typed as what they wrap."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

# No reference counts: these functions allocate nothing, and only borrow arrays that their caller
# holds. Counting them, atomically, costs more than judging a point does.
_FLAGS: Any = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}


def compiled(function: F) -> F:
    """Compile a function that borrows arrays, allocates nothing and runs without the GIL."""
    return cast(F, njit(**_FLAGS)(function))


def inlined(function: F) -> F:
    """Compile as ``compiled`` does, into the loop of each caller."""
    return cast(F, njit(**_FLAGS, forceinline=True)(function))
