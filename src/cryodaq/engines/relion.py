"""RELION's own motion correction and its Laplacian-of-Gaussian autopicker."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import AlignmentResult, PickResult
from cryodaq.engines.child import last_lines, run_child
from cryodaq.engines.external_alignment import ProgramOutput, alignment_result
from cryodaq.engines.external_picking import link_micrograph, pick_result, read_star_picks
from cryodaq.engines.movie_input import MovieInput, lay_out_movie, write_gain
from cryodaq.engines.program import KnownProgram, ProgramSettings, installed_version
from cryodaq.errors import EngineError
from cryodaq.formats.relion_motion import read_relion_motion
from cryodaq.formats.star import write_star

_VERSION = r"RELION version:\s*(\d+(?:\.\d+)*)"
RELION = KnownProgram(
    name="relion",
    executable="relion_run_motioncorr",
    version_pattern=_VERSION,
    at_least=(3, 1),
    below=(6,),
    asks_version=("--version",),
)
AUTOPICK = "relion_autopick"
MOVIES_STAR, OUT, PICKS = "movies.star", "relion_out", "relion_picks"
B_FACTOR_PX2 = 150
SMALLEST_PATCH_PX = 128
"""RELION fits each patch alone: in smaller ones it follows the noise."""
DIAMETER_SPAN = (0.8, 1.2)
"""Smallest and largest diameter that is picked, in particle diameters."""
LOWPASS_ANG = 15


@dataclass(frozen=True, slots=True)
class RelionMotionCorrection:
    """Motion correction by `relion_run_motioncorr --use_own`."""

    settings: ProgramSettings
    name: str = RELION.name

    def align(self, movie: Path, *, gain: Path | None, parameters: ImagingParameters, folder: Path) -> AlignmentResult:
        """Align a movie's frames and write both sums and the unaligned one. See `ports.MotionCorrection`."""
        started = time.monotonic()
        installed_version(RELION, self.settings)
        given = lay_out_movie(movie, gain=gain, parameters=parameters, folder=folder)
        pixel_size_ang = parameters.pixel_size_ang.value
        divides = given.kind == "eer"  # RELION inverts the gain references of EER movies
        gain_file = write_gain(given, pixel_size_ang=pixel_size_ang, folder=folder, divides=divides)
        _describe_movie(folder / MOVIES_STAR, given, parameters=parameters)
        said = run_child(
            RELION.command(self.settings, self._arguments(given, gain_file, parameters=parameters)),
            program=self.name,
            folder=folder,
            log=folder / "relion.log",
            timeout_s=self.settings.timeout_s,
        )
        micrograph = folder / OUT / f"{given.link.stem}.mrc"
        record = micrograph.with_suffix(".star")
        if not record.is_file():
            raise EngineError(
                self.name, problem=f"it ended well but left no {record.name}", last_lines=last_lines(said)
            )
        motion = read_relion_motion(record)
        made = ProgramOutput(
            unweighted=micrograph.with_name(f"{micrograph.stem}_noDW.mrc"),
            dose_weighted=micrograph,
            shifts_px_xy=motion.shifts_px_xy,
            hot_pixels=motion.hot_pixels,
        )
        return alignment_result(
            made,
            given,
            parameters=parameters,
            folder=folder,
            engine=self.name,
            seconds=time.monotonic() - started,
        )

    def _arguments(self, given: MovieInput, gain_file: Path | None, *, parameters: ImagingParameters) -> list[str]:
        rows, columns = _patches(parameters.patches_yx, given.shape_yx)
        words = [
            *("--use_own", "--i", MOVIES_STAR, "--o", f"{OUT}/", "--j", str(self.settings.threads)),
            *("--first_frame_sum", str(given.throw + 1)),
            *("--last_frame_sum", str(given.frame_count - given.trunc)),
            *("--bin_factor", "1", "--bfactor", str(B_FACTOR_PX2)),
            *("--patch_x", str(columns), "--patch_y", str(rows)),
            *("--dose_weighting", "--dose_per_frame", f"{given.dose_per_frame_e_ang2:.6g}", "--preexposure", "0"),
            "--save_noDW",
        ]
        if gain_file is not None:
            words += ["--gainref", gain_file.name, "--gain_rot", "0", "--gain_flip", "0"]
        if given.kind == "eer":
            words += ["--eer_grouping", str(given.raw_frames_per_frame), "--eer_upsampling", "1"]
        return words


def _patches(wanted_yx: tuple[int, int], shape_yx: tuple[int, int]) -> tuple[int, int]:
    rows, columns = (
        min(wanted, max(1, size // SMALLEST_PATCH_PX)) for wanted, size in zip(wanted_yx, shape_yx, strict=True)
    )
    return rows, columns


def _describe_movie(path: Path, given: MovieInput, *, parameters: ImagingParameters) -> None:
    write_star(
        path,
        {
            "optics": {
                "rlnOpticsGroupName": ["opticsGroup1"],
                "rlnOpticsGroup": [1],
                "rlnMicrographOriginalPixelSize": [parameters.pixel_size_ang.value],
                "rlnVoltage": [parameters.voltage_kv.value],
                "rlnSphericalAberration": [parameters.cs_mm.value],
                "rlnAmplitudeContrast": [parameters.amplitude_contrast.value],
            },
            "movies": {"rlnMicrographMovieName": [given.link.name], "rlnOpticsGroup": [1]},
        },
    )


@dataclass(frozen=True, slots=True)
class RelionLogPicking:
    """Particle picking by `relion_autopick --LoG`."""

    settings: ProgramSettings
    name: str = RELION.name

    def pick(self, micrograph: Path, *, parameters: ImagingParameters, folder: Path) -> PickResult:
        """Pick particles and write their coordinates. See `ports.ParticlePicking`."""
        started = time.monotonic()
        installed_version(RELION, self.settings)
        link = link_micrograph(micrograph, folder)
        said = run_child(
            RELION.command(self.settings, self._arguments(link, parameters=parameters), executable=self._executable()),
            program=self.name,
            folder=folder,
            log=folder / "relion_autopick.log",
            timeout_s=self.settings.timeout_s,
        )
        made = folder / PICKS / f"{link.stem}_autopick.star"
        if not made.is_file():  # RELION writes an empty table where it finds none
            raise EngineError(self.name, problem=f"it ended well but left no {made.name}", last_lines=last_lines(said))
        return pick_result(
            read_star_picks(made), parameters=parameters, folder=folder, engine=self.name, started=started
        )

    def _arguments(self, link: Path, *, parameters: ImagingParameters) -> list[str]:
        diameter = parameters.particle_diameter_ang.value
        low, high = (f"{share * diameter:.6g}" for share in DIAMETER_SPAN)
        return [
            *("--i", link.name, "--odir", f"{PICKS}/", "--pickname", "autopick", "--LoG"),
            *("--LoG_diam_min", low, "--LoG_diam_max", high, "--shrink", "0", "--lowpass", str(LOWPASS_ANG)),
            *("--LoG_adjust_threshold", f"{self.settings.threshold or 0:g}"),
            *("--angpix", f"{parameters.pixel_size_ang.value:.6g}"),
        ]

    def _executable(self) -> str:
        """Return the picker beside the motion correction that the facility file names."""
        named = self.settings.executable
        return AUTOPICK if named is None or "/" not in named else str(Path(named).with_name(AUTOPICK))
