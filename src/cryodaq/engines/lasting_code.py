"""How libraries and compiled loops come into a process that keeps them until it ends."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_code() -> Iterator[None]:
    """Let Python's garbage collection never look at what is loaded inside: a hundred thousand objects that stay.

    Else it looks at them again and again while they come, and once more when the process ends, which together take a
    fifth of the time of loading. A process in which such code lies already is left alone, as its own objects come
    and go.
    """
    if "numba" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
