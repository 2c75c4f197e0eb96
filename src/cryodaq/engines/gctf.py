"""Gctf: builds its arguments, reads its log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import CtfResult
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
from cryodaq.formats.gctf_log import parse_gctf_log

GCTF = KnownProgram(
    name="gctf",
    executable="Gctf",
    version_pattern=r"(?i)gctf[\s_:-]*v?(?:ersion)?[\s:]*(\d+\.\d+)",
    at_least=(1, 0),
    below=(2,),
)
BOX_FACTOR = 2
"""Gctf is at home with boxes twice as large as CTFFIND's."""


@dataclass(frozen=True, slots=True)
class GctfEstimation:
    """CTF estimation by Gctf, on one GPU."""

    settings: ProgramSettings
    name: str = GCTF.name

    def fit(
        self, micrograph: Path, *, unaligned_sum: Path | None, parameters: ImagingParameters, folder: Path
    ) -> CtfResult:
        """Fit the micrograph and, where there is one, the unaligned sum. See `ports.CtfEstimation`.

        Raises `EngineError`; a fit that cannot be believed comes back with `fitted` False.
        """

        def run(link: Path, box_px: int) -> ProgramFit:
            return self._run(link, BOX_FACTOR * box_px, parameters=parameters, folder=folder)

        return fit_both(micrograph, unaligned_sum, folder=folder, engine=self.name, run=run)

    def _run(self, link: Path, box_px: int, *, parameters: ImagingParameters, folder: Path) -> ProgramFit:
        log = folder / f"{link.stem}_gctf.log"
        log.unlink(missing_ok=True)
        said = run_child(
            GCTF.command(self.settings, self._arguments(link, box_px, parameters=parameters)),
            program=self.name,
            folder=folder,
            log=folder / "gctf.log",
            timeout_s=self.settings.timeout_s,
        )
        if not log.is_file():
            raise EngineError(self.name, problem=f"it ended well but left no {log.name}", last_lines=said[-2000:])
        text = log.read_text(encoding="utf-8", errors="replace")
        if self.settings.version is not None or re.search(GCTF.version_pattern, said + text):
            GCTF.check_version(said + text, self.settings)
        found = parse_gctf_log(text, path=log)
        return ProgramFit(
            fit=normalised_fit(
                defocus_ang=(found.defocus_u_ang, found.defocus_v_ang),
                azimuth_deg=found.angle_deg,
                phase_shift_deg=found.phase_shift_deg,
                score=found.score,
                fit_resolution_ang=float("nan") if found.fit_resolution_ang is None else found.fit_resolution_ang,
            ),
            diagnostic=folder / f"{link.stem}.ctf",
            aliased_from_ang=None,
        )

    def _arguments(self, link: Path, box_px: int, *, parameters: ImagingParameters) -> list[str]:
        given: dict[str, float | str] = {
            "--apix": parameters.pixel_size_ang.value,
            "--kV": parameters.voltage_kv.value,
            "--cs": parameters.cs_mm.value,
            "--ac": parameters.amplitude_contrast.value,
            "--boxsize": box_px,
            "--resL": COARSE_ANG,
            "--resH": max(FINE_ANG, 2.1 * parameters.pixel_size_ang.value),
            "--defL": LEAST_DEFOCUS_ANG,
            "--defH": MOST_DEFOCUS_ANG,
            "--defS": DEFOCUS_STEP_ANG,
            "--gid": self.settings.gpus[0] if self.settings.gpus else 0,
            "--logsuffix": "_gctf.log",
            "--ctfstar": f"{link.stem}_gctf.star",
        }
        if parameters.phase_plate:
            given |= {
                "--phase_shift_L": 0.0,
                "--phase_shift_H": MOST_PHASE_SHIFT_DEG,
                "--phase_shift_S": PHASE_SHIFT_STEP_DEG,
            }
        words = [text for name, value in given.items() for text in (name, _said(value))]
        return [*words, "--do_EPA", "1", link.name]


def _said(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
