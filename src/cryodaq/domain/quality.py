"""Numbers by which people judge a micrograph, derived from the stages' results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

DRIFT_SPANS = (1, 3, 5, 8)


def frame_steps_ang(displacement_px_xy: Sequence[tuple[float, float]], *, pixel_size_ang: float) -> tuple[float, ...]:
    """Return the length of each frame-to-frame step, Å."""
    return tuple(math.hypot(b[0] - a[0], b[1] - a[1]) * pixel_size_ang for a, b in pairwise(displacement_px_xy))


def drift_summary_ang(displacement_px_xy: Sequence[tuple[float, float]], *, pixel_size_ang: float) -> dict[str, float]:
    """Return the mean frame-to-frame shift over the first 1, 3, 5, 8 and all steps, Å per frame.

    The keys are the elogbook's: `first1`, `first3`, `first5`, `first8`, `all`.
    """
    steps = frame_steps_ang(displacement_px_xy, pixel_size_ang=pixel_size_ang)
    if not steps:
        return {**{f"first{n}": 0.0 for n in DRIFT_SPANS}, "all": 0.0}
    means = {f"first{n}": sum(steps[:n]) / len(steps[:n]) for n in DRIFT_SPANS}
    return {**means, "all": sum(steps) / len(steps)}


def resolution_performance(fit_resolution_ang: float, *, pixel_size_ang: float) -> float:
    """Return Nyquist over the fit's resolution: 1 is perfect."""
    return 2 * pixel_size_ang / fit_resolution_ang if fit_resolution_ang > 0 else 0.0
