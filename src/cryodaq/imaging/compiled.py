"""How loops are compiled here: once, cached beside the package, without holding Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def compiled(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Compile a loop; sums may be reordered, so it must not meet NaN.

    Threads of our own run compiled loops side by side: numba's own thread pool does not survive the forks of
    a task runner, and takes several times longer to compile.
    """
    loop = numba.njit(cache=True, nogil=True, fastmath=True)(function)
    return cast("Callable[Parameters, Returned]", loop)  # numba has no types


def compiled_exactly(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Compile a loop that has to see NaN and infinity."""
    loop = numba.njit(cache=True, nogil=True)(function)
    return cast("Callable[Parameters, Returned]", loop)  # numba has no types


def inlined(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Compile a piece that other compiled loops call."""
    loop = numba.njit(cache=True, nogil=True, fastmath=True, inline="always")(function)
    return cast("Callable[Parameters, Returned]", loop)  # numba has no types
