"""CTFFIND 4 and 5: answers its questions, reads its results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import CtfResult, FitCurve
from cryodaq.engines.child import run_child
from cryodaq.engines.external_ctf import (
    COARSE_ANG,
    DEFOCUS_STEP_ANG,
    FINE_ANG,
    LEAST_DEFOCUS_ANG,
    MOST_DEFOCUS_ANG,
    MOST_PHASE_SHIFT_DEG,
    PHASE_SHIFT_STEP_DEG,
    ProgramFit,
    fit_both,
    normalised_fit,
)
from cryodaq.engines.program import KnownProgram, ProgramSettings
from cryodaq.errors import EngineError
from cryodaq.formats.ctffind_txt import aliasing_from_ang, parse_ctffind, parse_ctffind_curves

_VERSION = r"CTFFind version (\d+(?:\.\d+)*)"
CTFFIND4 = KnownProgram(name="ctffind4", executable="ctffind", version_pattern=_VERSION, at_least=(4, 1, 5), below=(5,))
CTFFIND5 = KnownProgram(name="ctffind5", executable="ctffind", version_pattern=_VERSION, at_least=(5,), below=(6,))

TOLERATED_ASTIGMATISM_ANG = 500.0
MOST_NOS = 4
"""After "find additional phase shift?": tilt (from 4.1.11), thickness (from 5), expert options, and one to spare."""


@dataclass(frozen=True, slots=True)
class CtffindEstimation:
    """CTF estimation by CTFFIND."""

    known: KnownProgram
    settings: ProgramSettings

    @property
    def name(self) -> str:
        """What results and settings call it."""
        return self.known.name

    def fit(
        self, micrograph: Path, *, unaligned_sum: Path | None, parameters: ImagingParameters, folder: Path
    ) -> CtfResult:
        """Fit the micrograph and, where there is one, the unaligned sum. See `ports.CtfEstimation`.

        Raises `EngineError`; a fit that cannot be believed comes back with `fitted` False.
        """

        def run(link: Path, box_px: int) -> ProgramFit:
            return self._run(link, box_px, parameters=parameters, folder=folder)

        return fit_both(micrograph, unaligned_sum, folder=folder, engine=self.name, run=run)

    def _run(self, link: Path, box_px: int, *, parameters: ImagingParameters, folder: Path) -> ProgramFit:
        diagnostic = folder / f"{link.stem}_spectrum.mrc"
        text_file = diagnostic.with_suffix(".txt")
        text_file.unlink(missing_ok=True)
        diagnostic.with_name(f"{diagnostic.stem}_avrot.txt").unlink(missing_ok=True)
        said = run_child(
            self.known.command(self.settings, ()),
            program=self.name,
            folder=folder,
            log=folder / f"{self.name}.log",
            timeout_s=self.settings.timeout_s,
            answers=answers(link.name, diagnostic.name, parameters=parameters, box_px=box_px),
            environment={"OMP_NUM_THREADS": str(self.settings.threads)},
        )
        if not text_file.is_file():
            raise EngineError(self.name, problem=f"it ended well but left no {text_file.name}", last_lines=said[-2000:])
        text = text_file.read_text(encoding="utf-8", errors="replace")
        self.known.check_version(text, self.settings)
        _, rows = parse_ctffind(text, path=text_file)
        row = rows[0]
        return ProgramFit(
            fit=normalised_fit(
                defocus_ang=(row.defocus_1_ang, row.defocus_2_ang),
                azimuth_deg=row.azimuth_deg,
                phase_shift_deg=math.degrees(row.phase_shift_rad),
                score=row.score,
                fit_resolution_ang=row.fit_resolution_ang,
            ),
            diagnostic=diagnostic,
            aliased_from_ang=aliasing_from_ang(said),
            curve=_curve(diagnostic.with_name(f"{diagnostic.stem}_avrot.txt")),
        )


def _curve(path: Path) -> FitCurve | None:
    """Read the rings along frequency; a version or setting that leaves none is no reason to fail."""
    if not path.is_file():
        return None
    curves = parse_ctffind_curves(path.read_text(encoding="utf-8", errors="replace"), path=path)[0]
    return FitCurve(
        frequency_per_ang=curves.frequency_per_ang,
        experimental=curves.spectrum_along_rings,
        fitted=curves.fit,
        correlation=curves.quality,
    )


def answers(micrograph: str, diagnostic: str, *, parameters: ImagingParameters, box_px: int) -> str:
    """Return the answers to CTFFIND's questions about one micrograph, in the order in which it asks.

    The slower search is used: the quick one misses strong astigmatism.
    """
    pixel_size_ang = parameters.pixel_size_ang.value
    given = [
        micrograph,
        diagnostic,
        f"{pixel_size_ang:.6g}",
        f"{parameters.voltage_kv.value:.6g}",
        f"{parameters.cs_mm.value:.6g}",
        f"{parameters.amplitude_contrast.value:.6g}",
        str(box_px),
        f"{COARSE_ANG:g}",
        f"{max(FINE_ANG, 2.1 * pixel_size_ang):.4g}",
        f"{LEAST_DEFOCUS_ANG:g}",
        f"{MOST_DEFOCUS_ANG:g}",
        f"{DEFOCUS_STEP_ANG:g}",
        "no",  # do you know what astigmatism is present?
        "yes",  # slower, more exhaustive search?
        "yes",  # use a restraint on astigmatism?
        f"{TOLERATED_ASTIGMATISM_ANG:g}",
        *(_phase_shift_range() if parameters.phase_plate else ["no"]),  # find additional phase shift?
        *["no"] * MOST_NOS,
    ]
    return "\n".join(given) + "\n"


def _phase_shift_range() -> list[str]:
    """Answer that there is one, and where to look: least, most and step, in radians."""
    return ["yes", *(f"{math.radians(degrees):.6g}" for degrees in (0, MOST_PHASE_SHIFT_DEG, PHASE_SHIFT_STEP_DEG))]
