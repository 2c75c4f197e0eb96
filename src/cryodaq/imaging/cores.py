"""Which cores there are, and how work is shared out among them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def available_cores() -> int:
    """Cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


def for_each(job: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do a job for each item, on all cores; the first exception is raised here."""
    with ThreadPoolExecutor(available_cores()) as pool:
        for done in [pool.submit(job, item) for item in items]:
            done.result()
