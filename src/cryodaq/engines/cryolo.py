"""crYOLO with a model that the site brings (T. Wagner et al. 2019, doi 10.1038/s42003-019-0437-z)."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import PickResult
from cryodaq.engines.child import last_lines, run_child
from cryodaq.engines.external_picking import link_micrograph, pick_result, read_star_picks
from cryodaq.engines.program import KnownProgram, ProgramSettings
from cryodaq.errors import EngineError

CRYOLO = KnownProgram(
    name="cryolo",
    executable="cryolo_predict.py",
    version_pattern=r"(?i)cryolo\D{0,20}(\d+(?:\.\d+)+)",
    at_least=(1, 8),
    below=(2,),
)
CONFIGURATION, OUT = "cryolo.json", "cryolo_out"
THRESHOLD = 0.3


@dataclass(frozen=True, slots=True)
class CryoloPicking:
    """Particle picking by crYOLO."""

    settings: ProgramSettings
    name: str = CRYOLO.name

    def pick(self, micrograph: Path, *, parameters: ImagingParameters, folder: Path) -> PickResult:
        """Pick particles and write their coordinates. See `ports.ParticlePicking`."""
        started = time.monotonic()
        model = self.settings.model
        if model is None:
            raise EngineError(self.name, problem="it needs the file of a trained model; name it in the facility file")
        link = link_micrograph(micrograph, folder)
        (folder / CONFIGURATION).write_text(json.dumps(configuration(parameters)), encoding="ascii")
        threshold = THRESHOLD if self.settings.threshold is None else self.settings.threshold
        words = ["-c", CONFIGURATION, "-w", model, "-i", link.name, "-o", OUT, "-t", f"{threshold:g}"]
        words += ["-g", *(str(number) for number in self.settings.gpus), "-nc", str(self.settings.threads), "--otf"]
        said = run_child(
            CRYOLO.command(self.settings, words),
            program=self.name,
            folder=folder,
            log=folder / "cryolo.log",
            timeout_s=self.settings.timeout_s,
        )
        if self.settings.version is not None:
            CRYOLO.check_version(said, self.settings)
        made = folder / OUT / "STAR" / f"{link.stem}.star"
        if not (folder / OUT).is_dir():
            raise EngineError(self.name, problem=f"it ended well but left no {OUT}", last_lines=last_lines(said))
        picks = read_star_picks(made) if made.is_file() else []  # no particles, no file
        return pick_result(picks, parameters=parameters, folder=folder, engine=self.name, started=started)


def configuration(parameters: ImagingParameters) -> dict[str, dict[str, object]]:
    """Return crYOLO's settings for particles of a size, low-pass filtered as its general models are."""
    box_px = round(parameters.particle_diameter_ang.value / parameters.pixel_size_ang.value)
    return {
        "model": {
            "architecture": "PhosaurusNet",
            "input_size": 1024,
            "anchors": [box_px, box_px],
            "max_box_per_image": 700,
            "norm": "STANDARD",
            "filter": [0.1, "filtered"],
        }
    }
