"""How memory that a process has not touched before comes to it.

Large arrays come in huge pages (2 MiB) where they may, which is best on a machine of its own. A virtual machine whose
host takes free memory back (free page reporting of virtio's balloon) gives away just its free huge pages, and each
one that is wanted again has to be asked for, found and cleared outside: five times as slow as small pages, which mostly
come from what the host left.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BALLOONS = Path("/sys/bus/virtio/drivers/virtio_balloon")
REPORTING_BIT = 5
"""VIRTIO_BALLOON_F_REPORTING (virtio 1.2, section 5.5.3)."""
SET_HUGE_PAGES_OFF = 41
"""PR_SET_THP_DISABLE of prctl(2)."""

log = logging.getLogger(__name__)


def host_takes_free_memory(balloons: Path = BALLOONS) -> bool:
    """Whether this is a virtual machine that tells its host about free memory.

    Parameters
    ----------
    balloons
        Folder of the kernel's balloon devices.
    """
    return any(file.read_text()[REPORTING_BIT : REPORTING_BIT + 1] == "1" for file in balloons.glob("virtio*/features"))


@contextmanager
def fitting_pages() -> Iterator[None]:
    """Let this process do without huge pages for a while, where the host takes free memory."""
    if not (host_takes_free_memory() and _allow_huge_pages(allowed=False)):
        yield
        return
    try:
        yield
    finally:
        _allow_huge_pages(allowed=True)


def _allow_huge_pages(*, allowed: bool) -> bool:
    """Say it to the kernel for new memory of the whole process; returns whether it agreed."""
    libc = ctypes.CDLL(None, use_errno=True)
    agreed = bool(libc.prctl(SET_HUGE_PAGES_OFF, *(ctypes.c_ulong(n) for n in (not allowed, 0, 0, 0))) == 0)
    if not agreed:
        log.debug("the kernel keeps its huge pages", extra={"errno": ctypes.get_errno()})
    return agreed
