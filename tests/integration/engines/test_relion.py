"""RELION itself, on a small simulated movie of known motion and known particles."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray

from cryodaq.domain.file_roles import Software
from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import AlignmentResult
from cryodaq.engines import catalogue
from cryodaq.engines.program import ProgramSettings, installed_version
from cryodaq.engines.relion import RELION
from cryodaq.errors import EngineError
from cryodaq.formats.gain import read_gain
from cryodaq.formats.movie import read_frames
from cryodaq.formats.mrc import read_micrograph, write_micrograph
from cryodaq.formats.star import read_star, write_star
from cryodaq.publish.relion import AlignedMicrograph, MovieMotion, corrected_micrographs_blocks, write_motion_star
from cryodaq.publish.star import Optics
from cryodaq.simulator.microscope import gain_folder, simulate_session
from cryodaq.simulator.plan import Clock, SessionPlan
from cryodaq.simulator.truth import Truth

pytestmark = pytest.mark.skipif(
    shutil.which("relion_run_motioncorr") is None,
    reason="RELION is not installed (Debian package relion): its adapters are tried against it only where it is",
)
SHAPE = (896, 1024)
FRAMES = 16
MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A share with one movie (TIFF, rows in stored order), and what is true of it."""
    share = tmp_path_factory.mktemp("share") / "tem1"
    plan = SessionPlan(
        software=Software.EPU,
        movie_count=1,
        session_name="s1",
        frame_count=FRAMES,
        shape_yx=SHAPE,
        seed=5,
        interval_s=0,
        write_time_s=0,
        metadata_delay_s=0,
    )
    (truth,) = simulate_session(share, plan, clock=Clock(now=lambda: MORNING, sleep=lambda _seconds: None))
    return share, truth


@pytest.fixture
def right(session: tuple[Path, Truth], parameters: ImagingParameters) -> ImagingParameters:
    """The parameters that are true of the movie."""
    truth = session[1]
    return replace(
        parameters,
        pixel_size_ang=replace(parameters.pixel_size_ang, value=truth.pixel_size_ang),
        dose_per_frame_e_ang2=replace(parameters.dose_per_frame_e_ang2, value=truth.dose_per_frame_e_ang2),
        frame_count=replace(parameters.pixel_size_ang, value=float(FRAMES)),
        patches_yx=(1, 1),
    )


Align = Callable[..., AlignmentResult]


@pytest.fixture
def align(session: tuple[Path, Truth], right: ImagingParameters, folder: Path) -> Align:
    def run(movie: Path | None = None, **changes: object) -> AlignmentResult:
        share, truth = session
        assert truth.gain is not None
        engine = catalogue.motion_correction("relion", ProgramSettings(timeout_s=100))
        return engine.align(
            movie or share / truth.movie,
            gain=gain_folder(share) / truth.gain,
            parameters=replace(right, **changes),
            folder=folder,
        )

    return run


def displacement(truth: Truth, *, throw: int = 0) -> NDArray[np.float64]:
    assert truth.displacement_px_xy is not None
    used = np.array(truth.displacement_px_xy)[throw:]
    return used - used[0]


def drift_error_px(result: AlignmentResult, true_xy: NDArray[np.float64]) -> float:
    return float(np.sqrt(((np.array(result.motion.displacement_px_xy) - true_xy) ** 2).sum(axis=1).mean()))


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of what is larger than 8 pixels, which motion does not blur."""
    rows, columns = SHAPE[0] // 8, SHAPE[1] // 8
    coarse = [picture.reshape(rows, 8, columns, 8).mean(axis=(1, 3)).ravel() for picture in (one, other)]
    return float(np.corrcoef(*coarse)[0, 1])


def test_the_version_is_asked_for_and_understood() -> None:
    version = installed_version(RELION, ProgramSettings())
    assert version is not None
    assert version[0] in "345"


def test_sign_size_and_rows_of_a_tiff_movies_displacement_come_out_right(
    session: tuple[Path, Truth], align: Align
) -> None:
    true_xy = displacement(session[1])
    assert np.abs(true_xy[-1]).min() > 1.5  # else neither a sign nor turned rows would be seen
    result = align()
    assert drift_error_px(result, true_xy) < 0.8
    for wrong in ((-1, -1), (1, -1), (-1, 1)):
        assert drift_error_px(result, true_xy * wrong) > 1.5
    assert (result.engine, result.frame_count, result.shape_yx, result.gain_applied) == ("relion", FRAMES, SHAPE, True)


def test_an_mrc_movie_of_the_same_frames_gives_the_same(
    session: tuple[Path, Truth], align: Align, write_movie: Callable[[str, NDArray[np.uint8]], Path]
) -> None:
    share, truth = session
    frames = read_frames(share / truth.movie)
    result = align(write_movie("same.mrc", frames))
    assert drift_error_px(result, displacement(truth)) < 0.8
    unaligned, _ = read_micrograph(Path(result.unaligned_sum))
    unweighted, _ = read_micrograph(Path(result.micrograph))
    assert correlation(unweighted, unaligned) > 0.5
    assert abs(correlation(unweighted[::-1], unaligned)) < 0.1


def test_sums_are_in_stored_order_gain_corrected_and_the_weighted_one_is_the_weighted_one(
    session: tuple[Path, Truth], align: Align
) -> None:
    share, truth = session
    result = align()
    assert truth.gain is not None
    plain = (read_frames(share / truth.movie).sum(axis=0, dtype=np.float32)) * read_gain(
        gain_folder(share) / truth.gain
    )
    unweighted, pixel_size_ang = read_micrograph(Path(result.micrograph))
    weighted, _ = read_micrograph(Path(result.micrograph_dose_weighted))
    unaligned, _ = read_micrograph(Path(result.unaligned_sum))
    assert pixel_size_ang == pytest.approx(truth.pixel_size_ang)
    assert unaligned.mean() == pytest.approx(plain.mean(), rel=1e-3)
    assert unweighted.mean() == pytest.approx(plain.mean(), rel=1e-2)
    assert weighted.mean() == pytest.approx(unweighted.mean(), rel=1e-3)
    assert correlation(unaligned, plain) > 0.9
    assert correlation(unweighted, plain) > 0.5
    assert abs(correlation(unweighted[::-1], plain)) < 0.1
    # Dose weighting takes fine detail of late frames away: less power between 3 Å and Nyquist, noise kept.
    fine, coarse = (share_of_fine_power(picture) for picture in (unweighted, weighted))
    assert coarse == pytest.approx(fine, rel=0.2)
    assert correlation(weighted, unweighted) < 0.999


def share_of_fine_power(picture: NDArray[np.float32]) -> float:
    power = np.abs(np.fft.rfft2(picture - picture.mean())) ** 2
    radius = np.hypot(np.fft.fftfreq(picture.shape[0])[:, None], np.fft.rfftfreq(picture.shape[1])[None, :])
    return float(power[radius > 1 / 3].sum() / power.sum())


def test_a_gain_reference_that_lies_otherwise_is_turned_for_relion_too(
    session: tuple[Path, Truth], align: Align, right: ImagingParameters, folder: Path, tmp_path: Path
) -> None:
    share, truth = session
    straight = align()
    assert (straight.gain_orientation, straight.gain_orientation_certain) == ("as stored", True)
    plain, _ = read_micrograph(Path(straight.micrograph))
    assert truth.gain is not None
    reversed_rows = tmp_path / "gain.mrc"
    write_micrograph(reversed_rows, read_gain(gain_folder(share) / truth.gain)[::-1].copy(), pixel_size_ang=1.0)
    engine = catalogue.motion_correction("relion", ProgramSettings(timeout_s=100))
    for usual in (None, "rows reversed"):
        parameters = replace(right, usual_gain_orientation=usual)
        result = engine.align(share / truth.movie, gain=reversed_rows, parameters=parameters, folder=folder)
        assert (result.gain_orientation, result.gain_orientation_certain) == ("rows reversed", usual is None)
        assert np.array_equal(read_micrograph(Path(result.micrograph))[0], plain)


def test_frames_thrown_away_leave_the_rest_right(session: tuple[Path, Truth], align: Align) -> None:
    result = align(throw=2)
    assert len(result.motion.displacement_px_xy) == FRAMES - 2
    assert drift_error_px(result, displacement(session[1], throw=2)) < 0.9


def test_patches_too_small_for_relion_are_not_asked_for(align: Align, folder: Path) -> None:
    align(patches_yx=(9, 2))
    log = (folder / "relion_out/movie.log").read_text()
    assert "Patches: X = 2 Y = 7" in log


def test_relions_own_words_are_in_the_error(
    session: tuple[Path, Truth], right: ImagingParameters, folder: Path
) -> None:
    share, truth = session
    engine = catalogue.motion_correction("relion")
    (folder / "relion_out").write_text("a file where RELION wants its folder")
    with pytest.raises(EngineError) as failed:
        engine.align(share / truth.movie, gain=None, parameters=right, folder=folder)
    assert failed.value.program == "relion"
    assert len(failed.value.last_lines.splitlines()) > 1
    assert (folder / "relion.log").stat().st_size > 0


def test_particles_are_found_where_they_are(
    session: tuple[Path, Truth], right: ImagingParameters, align: Align, folder: Path
) -> None:
    truth = session[1]
    micrograph = Path(align().micrograph_dose_weighted)
    result = catalogue.particle_picking("relion").pick(micrograph, parameters=right, folder=folder)
    table = next(iter(read_star(Path(result.coordinates)).values()))
    picked = list(zip(table["rlnCoordinateX"], table["rlnCoordinateY"], strict=True))  # type: ignore[arg-type]
    assert len(picked) == result.count > 10
    assert truth.particles_px_xy is not None
    near = [min(math.dist(pick, true) for true in truth.particles_px_xy) < 30 for pick in picked]
    assert sum(near) / len(near) > 0.7
    turned = [(x, SHAPE[0] - 1 - y) for x, y in picked]
    near = [min(math.dist(pick, true) for true in truth.particles_px_xy) < 30 for pick in turned]
    assert sum(near) / len(near) < 0.4


def test_relion_reads_the_files_that_we_export(
    session: tuple[Path, Truth], align: Align, folder: Path, tmp_path: Path
) -> None:
    share, truth = session
    result = align()
    write_motion_star(
        folder / "run.star",
        MovieMotion(
            movie=str(share / truth.movie),
            gain=None,
            shape_yx=SHAPE,
            frame_count=FRAMES,
            throw=0,
            pixel_size_ang=truth.pixel_size_ang,
            dose_per_frame_e_ang2=truth.dose_per_frame_e_ang2,
            voltage_kv=truth.voltage_kv,
            displacement_px_xy=result.motion.displacement_px_xy,
        ),
        root=PurePosixPath(folder),
    )
    optics = Optics(
        voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1, original_pixel_size_ang=1.0, pixel_size_ang=1.0
    )
    row = AlignedMicrograph(
        micrograph=result.micrograph,
        micrograph_dose_weighted=result.micrograph_dose_weighted,
        optics=optics,
        motion_star=str(folder / "run.star"),
        motion_total_ang=result.motion.total_ang,
        motion_early_ang=result.motion.early_ang,
        motion_late_ang=result.motion.late_ang,
    )
    blocks = corrected_micrographs_blocks([row], root=PurePosixPath(folder))
    write_star(folder / "corrected_micrographs.star", blocks)

    def ask(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    shifts = ask("relion_star_printtable", "run.star", "data_global_shift", "_rlnMicrographShiftX")
    assert np.allclose(
        [float(word) for word in shifts.split()], [-x for x, _ in result.motion.displacement_px_xy], atol=1e-5
    )
    totals = ask(
        "relion_star_printtable",
        "corrected_micrographs.star",
        "data_micrographs",
        "_rlnMicrographName",
        "_rlnAccumMotionTotal",
    )
    name, total = totals.split()
    assert (folder / name).is_file()
    assert float(total) == pytest.approx(result.motion.total_ang, abs=1e-3)
    ask("relion_star_handler", "--i", "corrected_micrographs.star", "--o", str(tmp_path / "copy.star"), "--combine")
    assert "rlnMicrographMetadata" in (tmp_path / "copy.star").read_text()
