"""Memory that the steps of one movie use one after another.

Memory that a process has not touched before has to be found and cleared by the system, which takes longer than most
loops that fill it; and arrays as large as these go back to the system as soon as they are dropped.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Workspace:
    """Blocks that were used and can be used again; not to be shared between threads."""

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:  # Any: the type that was asked for
        """Return an array with whatever was in it before: the smallest free block that holds it, or a new one.

        Where none holds it, the free ones go: they would only lie beside it.
        """
        size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        fitting = [block for block in self._free if block.size >= size_bytes]
        if fitting:
            block = min(fitting, key=lambda free: free.size)
            self._free = [free for free in self._free if free is not block]
        else:
            self._free.clear()
            block = np.empty(size_bytes, np.uint8)
        return block[:size_bytes].view(dtype).reshape(shape)

    def give_back(self, array: NDArray[Any]) -> None:  # Any: an array of any type
        """Take the block of an array that `empty` returned, and that nobody looks at any more."""
        block = array
        while isinstance(block.base, np.ndarray):
            block = block.base
        self._free.append(block.view(np.uint8))
