"""Numbers by which people judge a micrograph, derived from the stages' results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from cryodaq.domain.results import CtfFit

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


LEAST_CTF_SCORE = 0.03
"""Below it rings and fit agree no better than noise does (an empty picture reaches 0.017)."""
LEAST_ALIASED_SCORE = 0.1
"""Needed where the fit reaches beyond the aliasing of the spectrum: there rings of many defoci look alike."""
COARSEST_FIT_ANG = 20.0


def ctf_doubts(
    fit: CtfFit, *, aliased_from_ang: float | None = None, searched_ang: tuple[float, float] | None = None
) -> tuple[str, ...]:
    """Return why a fitted CTF cannot be believed, each reason as a sentence; empty: nothing speaks against it.

    Parameters
    ----------
    aliased_from_ang
        Resolution, Å, beyond which the box was too small to show the rings of this defocus; None: all the way.
    searched_ang
        Smallest and largest defocus that were tried, Å: a fit that stops there did not find one.
    """
    numbers = (fit.defocus_u_ang, fit.defocus_v_ang, fit.defocus_angle_deg, fit.phase_shift_deg, fit.score)
    if not all(map(math.isfinite, (*numbers, fit.fit_resolution_ang))):
        return ("the program gave no numbers",)
    doubts = []
    if fit.score < LEAST_CTF_SCORE:
        doubts.append(f"the score {fit.score:.3f} is below {LEAST_CTF_SCORE}")
    elif aliased_from_ang is not None and fit.fit_resolution_ang < aliased_from_ang and fit.score < LEAST_ALIASED_SCORE:
        doubts.append(
            f"the rings are aliased from {aliased_from_ang:.1f} Å on, and with a score of {fit.score:.3f} "
            f"the fit to {fit.fit_resolution_ang:.1f} Å may be any; use a larger box"
        )
    if not 0 < fit.fit_resolution_ang <= COARSEST_FIT_ANG:
        doubts.append(f"the rings follow the fit to {fit.fit_resolution_ang:.1f} Å only")
    if searched_ang is not None and not searched_ang[0] * 1.01 < fit.defocus_mean_ang < searched_ang[1] * 0.99:
        doubts.append(f"the defocus {fit.defocus_mean_ang:.0f} Å is a limit of the search")
    return tuple(doubts)


def picks_per_um2(
    count: int, *, shape_yx: tuple[int, int], pixel_size_ang: float, masked_fraction: float = 0.0
) -> float:
    """Return the picks per area that is not masked, 1/µm²; 0 where everything is."""
    area_um2 = shape_yx[0] * shape_yx[1] * (pixel_size_ang * 1e-4) ** 2 * (1 - masked_fraction)
    return count / area_um2 if area_um2 > 0 else 0.0


def relative_ice_thickness(
    mean_counts_per_px_frame: float, *, dose_per_frame_e_ang2: float, pixel_size_ang: float
) -> float | None:
    """Return the thickness of the specimen in mean free paths, ln(incident / seen), by the counts it lets through.

    Only changes within a session mean something: what the camera misses adds a constant. None without counts.
    """
    incident = dose_per_frame_e_ang2 * pixel_size_ang**2
    if mean_counts_per_px_frame <= 0 or incident <= 0:
        return None
    return math.log(incident / mean_counts_per_px_frame)
