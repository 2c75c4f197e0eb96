"""What each step of motion correction takes: wall, user and system seconds, steps inside it taken off."""

from __future__ import annotations

import importlib
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

READY, REST_OF_DECODING = "make ready (beside reading)", "decode and read gain, what is left"
WARP = "warp and add"
TRANSFORMS, COMBINE = "final transforms", "combine, rest of summing"
STEPS = (
    ("plain sum", "cryodaq.imaging.detector", "_checked_sum"),
    ("fit gain", "cryodaq.imaging.detector", "fit_gain"),
    ("hot pixels", "cryodaq.imaging.detector", "find_hot_pixels"),
    ("defects", "cryodaq.imaging.detector", "make_detector"),
    ("bin frames, rest of finding motion", "cryodaq.imaging.motion", "_find_motion"),
    ("rough spectra", "cryodaq.imaging.motion_search", "binned_spectra"),
    ("rough track", "cryodaq.imaging.drift", "rough_track"),
    ("transform patches", "cryodaq.imaging.motion_search", "cut_patches"),
    ("likeness of frames", "cryodaq.imaging.local_motion", "_likeness"),
    ("measure patches", "cryodaq.imaging.local_motion", "_measure"),
    ("smooth tracks", "cryodaq.imaging.local_motion", "likeliest_tracks"),
    ("smooth tracks", "cryodaq.imaging.local_motion", "likeliest_flow"),
    ("local motion, rest", "cryodaq.imaging.local_motion", "estimate_field"),
    (WARP, "cryodaq.imaging.summation", "_sum_terms"),
    (TRANSFORMS, "cryodaq.imaging.summation", "_transform_in_place"),
    (COMBINE, "cryodaq.imaging.summation", "sum_aligned"),
    ("rest", "cryodaq.imaging.motion", "align_movie"),
)


Seconds = NDArray[np.float64]
"""Wall, user, system."""


def _now() -> Seconds:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([time.perf_counter(), used.ru_utime, used.ru_stime])


@dataclass
class Stopwatch:
    """Seconds of named steps, each without the steps inside it."""

    spent_s: dict[str, Seconds] = field(default_factory=dict)
    inside: list[Seconds] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        begun = _now()
        self.inside.append(np.zeros(3))
        try:
            yield
        finally:
            spent = _now() - begun
            self.spent_s[name] = self.spent_s.get(name, np.zeros(3)) + spent - self.inside.pop()
            if self.inside:
                self.inside[-1] += spent

    def watch(self) -> None:
        """Time every call of the known steps from now on."""
        for name, module_name, function_name in STEPS:
            module = importlib.import_module(module_name)
            setattr(module, function_name, self._watched(name, getattr(module, function_name)))

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            with self.step(name):
                return function(*args, **named)

        return timed


def table(spent_s: Mapping[str, Sequence[float]]) -> str:
    """One line a step, and the whole."""
    rows = [("step", "wall s", "user s", "system s")]
    rows += [(name, *(f"{s:.2f}" for s in seconds)) for name, seconds in spent_s.items()]
    rows.append(("all", *(f"{s:.2f}" for s in np.sum(list(spent_s.values()), axis=0))))
    return "\n".join(f"  {row[0]:36s}" + "".join(f"{cell:>9s}" for cell in row[1:]) for row in rows)


def floor(
    spent_s: Mapping[str, Sequence[float]], alone_s: Mapping[str, float], *, wall_s: float, forked_s: float
) -> str:
    """What no motion correction can leave out, wall seconds, and the whole process against it.

    Parameters
    ----------
    alone_s
        Wall seconds of what `motion_floor` measures by itself.
    wall_s
        Of the whole process.
    forked_s
        Of a fork of a worker that has loaded everything.
    """
    parts = dict(alone_s)
    parts["moving and adding"] = spent_s[WARP][0]
    parts["dose weighting"] = spent_s[TRANSFORMS][0] + spent_s[COMBINE][0]
    least = sum(parts.values())
    listed = ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
    return (
        f"  floor: {listed}: {least:.2f} s; the whole process took {wall_s / least:.2f} times that, "
        f"a fork of a loaded worker {forked_s / least:.2f} times"
    )
