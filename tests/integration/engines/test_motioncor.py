"""MotionCor2 and MotionCor3, played back: arguments checked, real logs read, pictures put into our order of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import AlignmentResult
from cryodaq.engines import catalogue
from cryodaq.engines.program import ProgramSettings
from cryodaq.errors import EngineError, ImagingError
from cryodaq.formats.motioncor_log import parse_motioncor_log
from cryodaq.formats.mrc import read_micrograph

SHAPE = (48, 64)
MOTIONCOR = """
if arguments == ["--version"]:
    print("VERSION")
    sys.exit()
import mrcfile, tifffile
given = options({"-InTiff", "-InMrc", "-OutMrc", "-Patch", "-Iter", "-Tol", "-Bft", "-FtBin", "-Throw", "-Trunc", "-kV",
                 "-PixSize", "-FmDose", "-InitDose", "-SumRange", "-Gpu", "-Gain", "-RotGain", "-FlipGain", "-Cs"})
if "-InTiff" in given:
    frames = tifffile.imread(given["-InTiff"][0])[:, ::-1]
else:
    frames = mrcfile.read(given["-InMrc"][0])
total = frames[int(given["-Throw"][0]):].sum(axis=0).astype(np.float32)
if "-Gain" in given:
    total *= mrcfile.read(given["-Gain"][0])
write_mrc(given["-OutMrc"][0], total)
write_mrc(given["-OutMrc"][0].replace(".mrc", "_DW.mrc"), total * 0.25)
print(Path("LOG").read_text())
"""
REAL = {"29123499.motioncor2.log": 28, "motioncor2_1.5.0_log.txt": 16}


@pytest.fixture
def log(shared_data: Path) -> Path:
    return shared_data / "logs/motioncor2/29123499.motioncor2.log"


def frames(count: int) -> np.ndarray:  # type: ignore[type-arg]
    seed = 20_240
    return np.random.default_rng(seed).poisson(4.0, (count, *SHAPE)).astype(np.uint8)


def gain_factors() -> np.ndarray:  # type: ignore[type-arg]
    factors = np.linspace(0.5, 1.5, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    factors[3, 5] = 0.0
    return factors


Align = Callable[..., AlignmentResult]


@pytest.fixture
def align(stand_in, write_movie, write_gain, folder: Path, parameters: ImagingParameters) -> Align:  # type: ignore[no-untyped-def]
    def run(
        log: Path,
        *,
        name: str = "motioncor2",
        suffix: str = ".tiff",
        count: int = 28,
        gain: bool = True,
        **changes: object,
    ) -> AlignmentResult:
        version = "MotionCor2 version 1.6.4" if name == "motioncor2" else "MotionCor3 version 1.2.1"
        executable = stand_in(name, MOTIONCOR.replace("VERSION", version).replace("LOG", str(log)))
        movie = write_movie(f"Foil Hole 1{suffix}", frames(count))
        engine = catalogue.motion_correction(name, ProgramSettings(executable=executable, gpus=(1, 2), timeout_s=60))
        reference = write_gain(gain_factors()) if gain else None
        return engine.align(movie, gain=reference, parameters=replace(parameters, **changes), folder=folder)

    return run


@pytest.mark.parametrize("name", sorted(REAL))
@pytest.mark.parametrize(("suffix", "turned"), [(".tiff", True), (".mrc", False)])
def test_real_logs_become_displacements_in_our_order_of_rows(
    shared_data: Path, align: Align, name: str, suffix: str, turned: bool
) -> None:
    path = shared_data / "logs/motioncor2" / name
    result = align(path, suffix=suffix, count=REAL[name])
    shifts = parse_motioncor_log(path.read_text(), path=path).shifts_px_xy
    assert len(result.motion.displacement_px_xy) == REAL[name]
    for (x, y), (shift_x, shift_y) in zip(result.motion.displacement_px_xy, shifts, strict=True):
        assert x == pytest.approx(-(shift_x - shifts[0][0]))
        assert y == pytest.approx((1 if turned else -1) * (shift_y - shifts[0][1]))
    assert result.motion.total_ang == pytest.approx(result.motion.early_ang + result.motion.late_ang)


@pytest.mark.parametrize("suffix", [".tiff", ".mrc"])
def test_sums_and_gain_are_in_the_movies_order_of_rows(log: Path, align: Align, suffix: str) -> None:
    result = align(log, suffix=suffix)
    # The stand-in turns the rows of a TIFF, and multiplies by the gain as it gets it, as MotionCor does.
    expected = frames(28).sum(axis=0) * gain_factors()
    unweighted, pixel_size_ang = read_micrograph(Path(result.micrograph))
    assert np.allclose(unweighted, expected, atol=1e-3)
    assert pixel_size_ang == pytest.approx(1.0)
    weighted, _ = read_micrograph(Path(result.micrograph_dose_weighted))
    assert np.allclose(weighted, expected, rtol=1e-4, atol=1e-2)  # the stand-in weights by a factor; we take it out
    unaligned, _ = read_micrograph(Path(result.unaligned_sum))
    sound = gain_factors() > 0
    assert np.allclose(unaligned[sound], expected[sound], atol=1e-3)
    assert unaligned[3, 5] > 0  # a defect is filled from its neighbours


def test_super_resolution_frames_become_physical_pixels_here_too(log: Path, align: Align, folder: Path) -> None:
    plain = align(log, gain=False)
    sums = {path: read_micrograph(Path(path))[0] for path in (plain.micrograph, plain.unaligned_sum)}
    binned = align(log, gain=False, super_resolution=True)
    assert (binned.shape_yx, binned.pixel_size_ang) == ((SHAPE[0] // 2, SHAPE[1] // 2), 2.0)
    moved = np.array(plain.motion.displacement_px_xy)
    assert np.array(binned.motion.displacement_px_xy) == pytest.approx(moved / 2)
    assert binned.motion.total_ang == pytest.approx(plain.motion.total_ang)
    for path, before in sums.items():
        picture, pixel_size_ang = read_micrograph(Path(path))
        assert pixel_size_ang == 2.0
        assert picture.mean() == pytest.approx(4 * before.mean(), rel=1e-4)


def test_facts_of_the_result(log: Path, align: Align) -> None:
    result = align(log)
    assert (result.engine, result.frame_count, result.shape_yx, result.gain_applied) == ("motioncor2", 28, SHAPE, True)
    assert result.mean_counts_per_px_frame == pytest.approx(4.0, rel=0.05)
    assert result.relative_ice_thickness == pytest.approx(math.log(1.5 / 4.0), abs=0.05)
    assert not align(log, gain=False).gain_applied


def test_arguments_say_what_the_parameters_say(log: Path, align: Align, calls) -> None:  # type: ignore[no-untyped-def]
    align(log)
    version, words = calls("motioncor2")
    assert version == ["--version"]
    text = " ".join(words)
    for part in (
        "-InTiff movie.tiff -OutMrc motioncor.mrc",
        "-Patch 7 5",
        "-kV 300",
        "-PixSize 1 -FmDose 1.5 -InitDose 0 -SumRange 0 0",
        "-Throw 0 -Trunc 0",
        "-Gpu 1 2",
        "-Gain gain.mrc -RotGain 0 -FlipGain 0",
        "-FtBin 1",
    ):
        assert part in text
    assert "-Cs" not in words


def test_motioncor3_is_told_to_leave_the_ctf_alone(log: Path, align: Align, calls) -> None:  # type: ignore[no-untyped-def]
    result = align(log, name="motioncor3", suffix=".mrc", gain=False)
    assert result.engine == "motioncor3"
    words = calls("motioncor3")[-1]
    assert words[-2:] == ["-Cs", "0"]
    assert words[:2] == ["-InMrc", "movie.mrcs"]
    assert "-Gain" not in words


def test_frames_thrown_away_are_not_in_the_result(shared_data: Path, align: Align, calls) -> None:  # type: ignore[no-untyped-def]
    path = shared_data / "logs/motioncor2/motioncor2_1.5.0_log.txt"
    result = align(path, count=18, throw=2)
    assert len(result.motion.displacement_px_xy) == 16
    assert "-Throw 2" in " ".join(calls("motioncor2")[-1])
    unaligned, _ = read_micrograph(Path(result.unaligned_sum))
    sound = gain_factors() > 0
    assert np.allclose(unaligned[sound], (frames(18)[2:].sum(axis=0) * gain_factors())[sound], atol=1e-3)


def test_a_log_of_other_frames_than_the_movies_is_refused(log: Path, align: Align) -> None:
    with pytest.raises(EngineError, match="it aligned 28 frames of 27"):
        align(log, count=27)


def test_a_program_that_stops_early_with_code_0_has_failed(log: Path, tmp_path: Path, align: Align) -> None:
    cut = tmp_path / "cut.log"
    cut.write_text(log.read_text().split("Saving motion corrected images")[0])
    with pytest.raises(EngineError, match="stopped before its last line") as failed:
        align(cut)
    assert "Computation time" in failed.value.last_lines


def test_a_voltage_without_dose_weighting_is_refused(log: Path, align: Align, parameters: ImagingParameters) -> None:
    with pytest.raises(EngineError, match="80 to 300 kV only, not at 1000 kV"):
        align(log, voltage_kv=replace(parameters.voltage_kv, value=1000.0))


def test_a_movie_with_missing_frames_is_not_given_to_the_program(
    log: Path, align: Align, parameters: ImagingParameters
) -> None:
    with pytest.raises(ImagingError, match="the movie has 28 frames, operator says 40"):
        align(log, frame_count=replace(parameters.voltage_kv, value=40.0))


def test_nothing_is_left_of_a_movie_when_all_frames_are_thrown_away(log: Path, align: Align) -> None:
    with pytest.raises(ImagingError, match="leave none of 28 frames"):
        align(log, throw=28)
