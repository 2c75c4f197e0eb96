"""Topaz with one of the detectors that it brings along (T. Bepler et al. 2019, doi 10.1038/s41592-019-0575-8)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import PickResult
from cryodaq.engines.child import last_lines, run_child
from cryodaq.engines.external_picking import link_micrograph, pick_result
from cryodaq.engines.program import KnownProgram, ProgramSettings, installed_version
from cryodaq.errors import EngineError
from cryodaq.formats.topaz_txt import parse_topaz

TOPAZ = KnownProgram(
    name="topaz",
    executable="topaz",
    version_pattern=r"(?im)^(?:topaz\s+)?v?(\d+(?:\.\d+)+)",
    at_least=(0, 2, 5),
    below=(1,),
    asks_version=("--version",),
)
SHRUNK, PICKS = "topaz_shrunk", "topaz_picks.txt"
MODEL = "resnet16"
THRESHOLD = -1.0
"""Best on hand-picked micrographs of apoferritin; Topaz's own, -6, floods them with false ones."""
DIAMETER_PX = 22
"""Of a particle in the shrunken micrograph, with which the detectors were trained."""


@dataclass(frozen=True, slots=True)
class TopazPicking:
    """Particle picking by Topaz."""

    settings: ProgramSettings
    name: str = TOPAZ.name

    def pick(self, micrograph: Path, *, parameters: ImagingParameters, folder: Path) -> PickResult:
        """Pick particles and write their coordinates. See `ports.ParticlePicking`."""
        started = time.monotonic()
        installed_version(TOPAZ, self.settings)
        link = link_micrograph(micrograph, folder)
        shrink, radius_px = scale_and_radius(parameters)
        (folder / SHRUNK).mkdir(exist_ok=True)
        device = self.settings.gpus[0] if self.settings.gpus else -1
        common = ("--device", str(device), "--num-workers", "0", "--num-threads", str(self.settings.threads))
        self._run(["preprocess", "--scale", str(shrink), *common, "--destdir", f"{SHRUNK}/", link.name], folder)
        threshold = THRESHOLD if self.settings.threshold is None else self.settings.threshold
        said = self._run(
            [
                *("extract", "--model", self.settings.model or MODEL, "--radius", str(radius_px)),
                *("--threshold", f"{threshold:g}", "--up-scale", str(shrink), *common),
                *("--output", PICKS, f"{SHRUNK}/{link.name}"),
            ],
            folder,
        )
        made = folder / PICKS
        if not made.is_file():
            raise EngineError(self.name, problem=f"it ended well but left no {PICKS}", last_lines=last_lines(said))
        picks = parse_topaz(made.read_text(encoding="utf-8", errors="replace"), path=made)
        return pick_result(picks, parameters=parameters, folder=folder, engine=self.name, started=started)

    def _run(self, arguments: list[str], folder: Path) -> str:
        return run_child(
            TOPAZ.command(self.settings, arguments),
            program=self.name,
            folder=folder,
            log=folder / "topaz.log",
            timeout_s=self.settings.timeout_s,
            environment={"OMP_NUM_THREADS": str(self.settings.threads)},
        )


def scale_and_radius(parameters: ImagingParameters) -> tuple[int, int]:
    """Return by how much to shrink the micrograph, and the particle's radius then, in pixels."""
    diameter_px = parameters.particle_diameter_ang.value / parameters.pixel_size_ang.value
    shrink = max(1, round(diameter_px / DIAMETER_PX))
    return shrink, max(2, int(diameter_px / shrink / 2))
