"""What all external CTF programs have in common: two sums to fit, their picture, and doubt about the result."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.quality import ctf_doubts
from cryodaq.domain.results import CtfFit, CtfResult, FitCurve
from cryodaq.engines.native import CURVES, SPECTRUM, SPECTRUM_SIZE_PX, SPECTRUM_UNALIGNED
from cryodaq.errors import EngineError
from cryodaq.formats.fit_curves import write_fit_curves

log = logging.getLogger(__name__)

COARSE_ANG, FINE_ANG = 30.0, 4.0
LEAST_DEFOCUS_ANG, MOST_DEFOCUS_ANG, DEFOCUS_STEP_ANG = 1_000.0, 50_000.0, 500.0
MOST_PHASE_SHIFT_DEG, PHASE_SHIFT_STEP_DEG = 180.0, 10.0
"""Searched from 0 with a phase plate."""
BOXES_PX = (512, 1024)
"""The second one is tried where the first one's rings are aliased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFit:
    """What a program found in one micrograph."""

    fit: CtfFit
    diagnostic: Path
    """Its picture of spectrum and fit, MRC."""
    aliased_from_ang: float | None
    curve: FitCurve | None = None
    """Its rings along frequency, where it leaves them."""


def normalised_fit(
    *,
    defocus_ang: tuple[float, float],
    azimuth_deg: float,
    phase_shift_deg: float,
    score: float,
    fit_resolution_ang: float,
) -> CtfFit:
    """Return a fit with U as the larger defocus and angles in [0, 180); `azimuth_deg` belongs to the first."""
    first, second = defocus_ang
    larger_first = first >= second
    return CtfFit(
        fitted=True,
        defocus_u_ang=first if larger_first else second,
        defocus_v_ang=second if larger_first else first,
        defocus_angle_deg=(azimuth_deg if larger_first else azimuth_deg + 90.0) % 180.0,
        phase_shift_deg=phase_shift_deg % 180.0,
        score=score,
        fit_resolution_ang=fit_resolution_ang,
    )


def fit_both(
    micrograph: Path,
    unaligned_sum: Path | None,
    *,
    folder: Path,
    engine: str,
    run: Callable[[Path, int], ProgramFit],
) -> CtfResult:
    """Fit the micrograph and, where there is one, the unaligned sum.

    Parameters
    ----------
    run
        Runs the program on one micrograph (linked into `folder`) with a box of so many pixels.
    """
    started = time.monotonic()
    aligned = _fit_one(micrograph, "aligned", folder=folder, picture=SPECTRUM, run=run, engine=engine)
    unaligned = None
    if unaligned_sum is not None:
        unaligned = _fit_one(
            unaligned_sum, "unaligned", folder=folder, picture=SPECTRUM_UNALIGNED, run=run, engine=engine
        )
    write_fit_curves(folder / CURVES, aligned=aligned, unaligned=unaligned)
    return CtfResult(
        aligned=aligned[0],
        unaligned=None if unaligned is None else unaligned[0],
        spectrum=str(folder / SPECTRUM),
        spectrum_unaligned=None if unaligned is None else str(folder / SPECTRUM_UNALIGNED),
        seconds=time.monotonic() - started,
        engine=engine,
        curves=str(folder / CURVES),
    )


def _fit_one(
    micrograph: Path, name: str, *, folder: Path, picture: str, run: Callable[[Path, int], ProgramFit], engine: str
) -> tuple[CtfFit, FitCurve | None]:
    link = folder / f"{name}.mrc"
    link.unlink(missing_ok=True)
    link.symlink_to(micrograph.resolve())
    for box_px in BOXES_PX:
        found = run(link, box_px)
        doubts = ctf_doubts(
            found.fit,
            aliased_from_ang=found.aliased_from_ang,
            searched_ang=(LEAST_DEFOCUS_ANG, MOST_DEFOCUS_ANG),
        )
        if not doubts or found.aliased_from_ang is None:
            break
    if not found.diagnostic.is_file():
        raise EngineError(engine, problem=f"it ended well but left no {found.diagnostic.name}")
    _write_picture(found.diagnostic, folder / picture)
    if doubts:
        log.warning("%s: the CTF of the %s sum is not believed: %s", engine, name, "; ".join(doubts))
        return _disbelieved(found.fit), found.curve
    return found.fit, found.curve


def _disbelieved(fit: CtfFit) -> CtfFit:
    """Return a fit as no fit; what is no number becomes 0, because stored results hold numbers only."""

    def finite(value: float) -> float:
        return value if math.isfinite(value) else 0.0

    return CtfFit(
        fitted=False,
        defocus_u_ang=finite(fit.defocus_u_ang),
        defocus_v_ang=finite(fit.defocus_v_ang),
        defocus_angle_deg=finite(fit.defocus_angle_deg),
        phase_shift_deg=finite(fit.phase_shift_deg),
        score=finite(fit.score),
        fit_resolution_ang=finite(fit.fit_resolution_ang),
    )


def _write_picture(diagnostic: Path, target: Path) -> None:
    """Write a program's picture (first section) as PNG, contrast stretched over all but 1 % of its pixels."""
    import numpy as np
    from PIL import Image

    from cryodaq.formats.mrc import read_sections

    section = read_sections(diagnostic)[0][0].astype(np.float32)
    low, high = np.nanpercentile(section, (0.5, 99.5))
    scaled = np.nan_to_num((section - low) / max(high - low, 1e-9) * 255)
    picture = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8), mode="L")
    picture.resize((SPECTRUM_SIZE_PX, SPECTRUM_SIZE_PX), Image.Resampling.LANCZOS).save(target)
