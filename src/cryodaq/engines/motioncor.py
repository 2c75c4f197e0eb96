"""MotionCor2 and MotionCor3: build their arguments, read what they print."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import AlignmentResult
from cryodaq.engines.child import last_lines, run_child
from cryodaq.engines.external_alignment import ProgramOutput, alignment_result
from cryodaq.engines.movie_input import MovieInput, lay_out_movie, write_gain
from cryodaq.engines.program import KnownProgram, ProgramSettings, installed_version
from cryodaq.errors import EngineError
from cryodaq.formats.motioncor_log import MotionCorLog, parse_motioncor_log

MOTIONCOR2 = KnownProgram(
    name="motioncor2",
    executable="MotionCor2",
    version_pattern=r"(?i)MotionCor2\s+version\s+(\d+(?:\.\d+)*)",
    at_least=(1, 3),
    below=(2,),
    asks_version=("--version",),
)
MOTIONCOR3 = KnownProgram(
    name="motioncor3",
    executable="MotionCor3",
    version_pattern=r"(?i)MotionCor3\s+version\s+(\d+(?:\.\d+)*)",
    at_least=(1, 0),
    below=(2,),
    asks_version=("--version",),
)
INPUT_OPTIONS = {"tiff": "-InTiff", "mrc": "-InMrc", "eer": "-InEer"}
OUTPUT = "motioncor.mrc"
VOLTAGES_KV = (80.0, 300.0)
"""Outside these it leaves dose weighting out without a word."""
B_FACTORS = ("500", "100")


@dataclass(frozen=True, slots=True)
class MotionCorCorrection:
    """Motion correction by MotionCor2 or MotionCor3, on GPUs."""

    known: KnownProgram
    settings: ProgramSettings

    @property
    def name(self) -> str:
        """What results and settings call it."""
        return self.known.name

    def align(self, movie: Path, *, gain: Path | None, parameters: ImagingParameters, folder: Path) -> AlignmentResult:
        """Align a movie's frames and write both sums and the unaligned one. See `ports.MotionCorrection`."""
        started = time.monotonic()
        _check_voltage(parameters, program=self.name)
        installed_version(self.known, self.settings)
        given = lay_out_movie(movie, gain=gain, parameters=parameters, folder=folder)
        gain_file = write_gain(given, pixel_size_ang=parameters.pixel_size_ang.value, folder=folder)
        said = run_child(
            self.known.command(self.settings, self._arguments(given, gain_file, parameters=parameters)),
            program=self.name,
            folder=folder,
            log=folder / f"{self.name}.log",
            timeout_s=self.settings.timeout_s,
        )
        found = self._read(said, folder)
        made = ProgramOutput(
            unweighted=folder / OUTPUT,
            dose_weighted=folder / OUTPUT.replace(".mrc", "_DW.mrc"),
            shifts_px_xy=found.shifts_px_xy,
            hot_pixels=None,
        )
        return alignment_result(
            made,
            given,
            parameters=parameters,
            folder=folder,
            engine=self.name,
            seconds=time.monotonic() - started,
        )

    def _read(self, said: str, folder: Path) -> MotionCorLog:
        found = parse_motioncor_log(said, path=folder / f"{self.name}.log")
        if not found.finished:  # old versions end with code 0 when they fail
            raise EngineError(self.name, problem="it stopped before its last line", last_lines=last_lines(said))
        return found

    def _arguments(self, given: MovieInput, gain_file: Path | None, *, parameters: ImagingParameters) -> list[str]:
        rows, columns = parameters.patches_yx
        words = [
            *(INPUT_OPTIONS[given.kind], given.link.name),
            *("-OutMrc", OUTPUT),
            *("-Patch", str(columns), str(rows)),
            *("-Iter", "10", "-Tol", "0.5"),
            *("-Bft", *B_FACTORS),
            *("-FtBin", "1"),
            *("-Throw", str(given.throw * given.raw_frames_per_frame)),
            *("-Trunc", str(given.trunc * given.raw_frames_per_frame)),
            *("-kV", f"{parameters.voltage_kv.value:.0f}"),
            *("-PixSize", f"{parameters.pixel_size_ang.value:.6g}"),
            *("-FmDose", f"{given.dose_per_frame_e_ang2:.6g}"),
            *("-InitDose", "0", "-SumRange", "0", "0"),
            *("-Gpu", *(str(number) for number in self.settings.gpus or (0,))),
        ]
        if gain_file is not None:
            words += ["-Gain", gain_file.name, "-RotGain", "0", "-FlipGain", "0"]
        if given.kind == "eer":
            words += ["-EerSampling", "1", "-FmIntFile", _write_grouping(given).name]
        if self.known is MOTIONCOR3:
            words += ["-Cs", "0"]  # leaves its CTF estimation out
        return words


def _check_voltage(parameters: ImagingParameters, *, program: str) -> None:
    low, high = VOLTAGES_KV
    if not low <= parameters.voltage_kv.value <= high:
        problem = f"it weights by dose from {low:g} to {high:g} kV only, not at {parameters.voltage_kv.value:g} kV"
        raise EngineError(program, problem=problem)


def _write_grouping(given: MovieInput) -> Path:
    """Say how many raw frames of an EER movie make one frame, and the dose of a raw frame."""
    group = given.raw_frames_per_frame
    path = given.link.with_name("frames.txt")
    dose = given.dose_per_frame_e_ang2 / group
    path.write_text(f"{given.frame_count * group} {group} {dose:.8g}\n", encoding="ascii")
    return path
