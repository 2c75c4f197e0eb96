"""Bayesian polishing by RELION itself, in projects made of movies whose motion and particles are known."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
import tifffile
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Engine, update

from cryodaq.app.publish_results import StageResults, publish_movie
from cryodaq.domain.parameters import to_mapping
from cryodaq.engines.native_alignment import NativeMotionCorrection
from cryodaq.errors import ExportError
from cryodaq.formats.coordinates import write_coordinates
from cryodaq.formats.star import write_star
from cryodaq.ledger import tables as t
from cryodaq.ledger.results import movie_to_process
from cryodaq.publish.polishing import make_polishing_project
from cryodaq.publish.project import make_relion_project
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie, example_fit, example_parameters

HEIGHT, WIDTH, FRAMES, BOX, PIXEL_SIZE_ANG = 448, 576, 12, 64, 1.06
STEP_XY = (0.35, -0.25)
"""The specimen's way from frame to frame, pixels."""
PICKS_XY = ((90, 80), (300, 90), (500, 120), (150, 250), (360, 220), (520, 270), (80, 380), (250, 370), (430, 390))
BLOBS = (
    (0, 0, 0, 3.0, 1.0),
    (0, -9, 6, 2.0, 1.0),
    (0, 10, 2, 2.0, 0.8),
    (4, 4, -12, 2.2, 1.0),
    (-5, -13, -4, 1.5, 0.9),
)
"""z, y, x, width, density: like none of its mirror images."""


def particle() -> NDArray[np.float32]:
    """Return the density (z, y, x) of the particle."""
    grid = np.indices((BOX, BOX, BOX)) - BOX // 2
    parts = [
        density * np.exp(-((grid[0] - z) ** 2 + (grid[1] - y) ** 2 + (grid[2] - x) ** 2) / 2 / width**2)
        for z, y, x, width, density in BLOBS
    ]
    return np.sum(parts, axis=0).astype(np.float32)


def recorded(gain: NDArray[np.float32], *, seed: int) -> NDArray[np.uint8]:  # (frame, y, x)
    """Return frames of dark particles that drift by `STEP_XY`, as a detector counts that `gain` corrects."""
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    specimen = np.zeros((HEIGHT, WIDTH))
    for x, y in PICKS_XY:
        specimen[y - BOX // 2 : y + BOX // 2, x - BOX // 2 : x + BOX // 2] += particle().sum(axis=0)
    transform = np.fft.fft2(specimen)
    along_y, along_x = np.fft.fftfreq(HEIGHT)[:, None], np.fft.fftfreq(WIDTH)[None, :]
    frames = np.empty((FRAMES, HEIGHT, WIDTH), np.uint8)
    for frame in range(FRAMES):
        turn = np.exp(-2j * np.pi * frame * (along_x * STEP_XY[0] + along_y * STEP_XY[1]))
        frames[frame] = random.poisson(np.clip(6 - 0.5 * np.fft.ifft2(transform * turn).real, 0.1, None) / gain)
    return frames


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedMovie:
    """A movie that was aligned by cryodaq and published, and its sample's folder."""

    movie: SeededMovie
    sample: Path


Publish = Callable[[str], PublishedMovie]


@pytest.fixture
def publish(seed: LedgerSeeder, engine: Engine) -> Publish:
    """Records, aligns and publishes a movie of a kind (its suffix)."""

    def work(suffix: str) -> PublishedMovie:
        movie = seed.add_movie(seed.add_sample("a" * 24), f"movie{suffix[1:]}")
        sample = Path(movie.sample.folder)
        source, reference = sample / f"raw/session/m{suffix}", sample / "raw/GainRefs/gain.mrc"
        source.parent.mkdir(exist_ok=True)
        gain = np.random.default_rng(3).uniform(0.7, 1.3, (HEIGHT, WIDTH)).astype(np.float32)
        frames = recorded(gain, seed=1)
        if suffix == ".mrc":
            with mrcfile.new(source) as file:
                file.set_data(frames.view(np.int8))
        else:
            tifffile.imwrite(source, frames, compression="lzw")
        with mrcfile.new(reference, overwrite=True) as file:
            file.set_data(gain)
        _aligned_and_published(seed, engine, movie, source=source, reference=reference)
        return PublishedMovie(movie=movie, sample=sample)

    return work


def _aligned_and_published(
    seed: LedgerSeeder, engine: Engine, movie: SeededMovie, *, source: Path, reference: Path
) -> None:
    parameters = replace(example_parameters(pixel_size_ang=PIXEL_SIZE_ANG), patches_yx=(1, 1), frame_count=None)
    folder = source.parent / "work"
    folder.mkdir()
    made = NativeMotionCorrection().align(source, gain=reference, parameters=parameters, folder=folder)
    _, ctf, pick = seed.add_measurements(movie, particles=len(PICKS_XY), fit=example_fit())
    assert pick is not None
    layout, run = movie.layout, movie.run_name
    align = replace(
        made,
        micrograph=str(layout.micrograph(run)),
        micrograph_dose_weighted=str(layout.micrograph_dose_weighted(run)),
    )
    for old, new in zip(
        (made.micrograph, made.micrograph_dose_weighted),
        (align.micrograph, align.micrograph_dose_weighted),
        strict=True,
    ):
        Path(old).rename(new)
    seed.add_result(movie, "align", result=asdict(align), attempt=2)
    Image.new("L", (64, 64), 80).save(ctf.spectrum)
    write_coordinates(Path(pick.coordinates), PICKS_XY)
    with engine.begin() as connection:
        values = to_mapping(parameters)
        connection.execute(update(t.trigger).where(t.trigger.c.movie_id == movie.id).values(parameters=values))
        changed = update(t.movie).where(t.movie.c.id == movie.id).values(gain_target=str(reference))
        file_id = connection.execute(changed.returning(t.movie.c.file_id)).scalar_one()
        connection.execute(update(t.file).where(t.file.c.id == file_id).values(target=str(source)))
        target = movie_to_process(connection, movie.id, movie.branch_id)
    assert target is not None
    found = StageResults(align=align, ctf=ctf, pick=pick)
    publish_movie(engine, target, layout=layout, found=found, clock=lambda: seed.now)


def write_map(path: Path, density: NDArray[np.float32]) -> None:
    with mrcfile.new(path) as file:
        file.set_data(np.ascontiguousarray(density))
        file.voxel_size = PIXEL_SIZE_ANG


def polished(project: Path, *, turned: bool) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Polish the picks of a project against the particle itself, as RELION sees it.

    The CTF is told to be 1 everywhere. Returns the polished particles (particle, y, x) and the way (frame, xy) of
    the first one, Å.
    """
    density = particle()
    seen = np.roll(density[:, ::-1], 1, axis=1) if turned else density
    write_map(project / "half.mrc", seen)
    write_map(project / "mask.mrc", np.ones_like(density))
    shells = range(BOX // 2 + 1)
    write_star(
        project / "post.star",
        {
            "general": {"rlnFinalResolution": 4.0, "rlnMaskName": "mask.mrc"},
            "fsc": {
                "rlnSpectralIndex": list(shells),
                "rlnFourierShellCorrelationCorrected": [1.0 if shell < 16 else 0.0 for shell in shells],
            },
        },
    )
    _write_particles(project)
    command = ["relion_motion_refine", "--i", "particles.star", "--f", "post.star", "--m1", "half.mrc"]
    command += ["--m2", "half.mrc", "--mask", "mask.mrc", "--angpix_ref", str(PIXEL_SIZE_ANG), "--o", "Polish/"]
    command += ["--corr_mic", "corrected_micrographs.star", "--combine_frames"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (stack,) = (project / "Polish").rglob("*_shiny.mrcs")
    (tracks,) = (project / "Polish").rglob("*_tracks.star")
    with mrcfile.open(stack) as file:
        particles = np.array(file.data)
    way = starfile.read(tracks, always_dict=True)["0"]
    return particles, way[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy()


def _write_particles(project: Path) -> None:
    """Extract the project's picks as RELION does, all seen from the same side."""
    (project / "Extract").mkdir()
    command = ["relion_preprocess", "--i", "micrographs_ctf.star", "--coord_dir", "AutoPick/cryodaq/"]
    command += ["--coord_suffix", "_autopick.star", "--part_star", "Extract/particles.star", "--part_dir", "Extract/"]
    command += ["--extract", "--extract_size", str(BOX), "--norm", "--bg_radius", "26", "--invert_contrast"]
    subprocess.run(command, cwd=project, capture_output=True, timeout=60, check=True)
    blocks = starfile.read(project / "Extract/particles.star", always_dict=True)
    optics, particles = blocks["optics"], blocks["particles"]
    optics["rlnSphericalAberration"], optics["rlnAmplitudeContrast"] = 0.0, 1.0
    for name in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift"):
        particles[name] = 0.0
    for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"):
        particles[name] = 0.0
    particles["rlnRandomSubset"] = [1 + number % 2 for number in range(len(particles))]
    particles["rlnClassNumber"] = particles["rlnGroupNumber"] = 1
    starfile.write({"optics": optics, "particles": particles}, project / "particles.star")


def likeness(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Correlation within the particle's circle."""
    inside = np.hypot(*(np.indices((BOX, BOX)) - BOX // 2)) < 24
    return float(np.corrcoef(one[inside], other[inside])[0, 1])


@pytest.mark.skipif(
    shutil.which("relion_motion_refine") is None,
    reason="RELION is not installed (Debian package relion): polishing is tried with it only where it is",
)
@pytest.mark.parametrize("suffix", [".mrc", ".tiff"])
def test_relion_polishes_the_particles_that_we_picked(publish: Publish, tmp_path: Path, suffix: str) -> None:
    made = publish(suffix)
    project = tmp_path / "project"
    told = make_polishing_project(made.sample, project)
    turned = suffix == ".tiff"
    assert (told.micrographs, told.copied, told.without_motion) == (1, int(turned), 0)
    particles, way_ang = polished(project, turned=turned)
    projection = particle().sum(axis=0)
    seen = np.roll(projection[::-1], 1, axis=0) if turned else projection
    assert len(particles) == len(PICKS_XY)
    assert min(likeness(one, seen) for one in particles) > 0.45
    assert likeness(particles.mean(axis=0), seen) > 0.9
    assert likeness(particles.mean(axis=0), seen[::-1]) < 0.7
    moved = np.array(STEP_XY) * (FRAMES - 1) * PIXEL_SIZE_ANG * (1, -1 if turned else 1)
    assert np.allclose(way_ang[-1] - way_ang[0], moved, atol=0.6)


def test_the_sample_itself_lists_a_tiff_movie_without_its_motion(publish: Publish, tmp_path: Path) -> None:
    """There its micrograph has the rows of the file, and RELION would cut particles out of other places."""
    made = publish(".tiff")
    assert Path(made.movie.layout.motion(made.movie.run_name)).is_file()
    table = starfile.read(made.sample / "corrected_micrographs.star", always_dict=True)["micrographs"]
    assert "rlnMicrographMetadata" not in table
    told = make_relion_project(made.sample, tmp_path / "plain")
    assert (told.copied, told.without_motion) == (0, 1)


@pytest.mark.skipif(
    shutil.which("relion_run_motioncorr") is None,
    reason="RELION is not installed (Debian package relion): it begins from our movies only where it is",
)
def test_relions_own_motion_correction_begins_from_a_projects_movies(publish: Publish, tmp_path: Path) -> None:
    made, project = publish(".tiff"), tmp_path / "plain"
    make_relion_project(made.sample, project)
    told = starfile.read(project / f"aligned/{made.movie.run_name}.star")["general"]
    command = ["relion_run_motioncorr", "--i", "movies.star", "--o", "MotionCorr/", "--use_own", "--j", "2"]
    command += ["--gainref", told["rlnMicrographGainName"], "--patch_x", "1", "--patch_y", "1"]
    subprocess.run(command, cwd=project, capture_output=True, timeout=100, check=True)
    blocks = starfile.read(project / "MotionCorr/corrected_micrographs.star", always_dict=True)
    (row,) = blocks["micrographs"].to_dict("records")
    assert blocks["optics"]["rlnMicrographOriginalPixelSize"].item() == PIXEL_SIZE_ANG
    found, ours = (
        starfile.read(project / path)["global_shift"][["rlnMicrographShiftX", "rlnMicrographShiftY"]].to_numpy()
        for path in (row["rlnMicrographMetadata"], f"aligned/{made.movie.run_name}.star")
    )
    assert np.allclose(found, ours, atol=1.0)
    assert np.linalg.norm(found[-1]) > 3


def test_everything_of_a_tiff_movie_is_mirrored_together(publish: Publish, tmp_path: Path) -> None:
    made, project = publish(".tiff"), tmp_path / "project"
    make_polishing_project(made.sample, project)
    blocks = starfile.read(project / "micrographs_ctf.star", always_dict=True)
    (row,) = blocks["micrographs"].to_dict("records")
    assert row["rlnDefocusAngle"] == pytest.approx(180 - 37.5)
    run = made.movie.run_name
    assert row["rlnMicrographName"] == f"turned/aligned/{run}_DW.mrc"
    with (
        mrcfile.open(project / row["rlnMicrographName"]) as ours,
        mrcfile.open(made.sample / f"aligned/{run}_DW.mrc") as stored,
    ):
        assert np.array_equal(ours.data, stored.data[::-1])
        assert ours.voxel_size == stored.voxel_size
    picks = starfile.read(project / f"AutoPick/cryodaq/turned/aligned/{run}_DW_autopick.star")
    assert list(zip(picks["rlnCoordinateX"], picks["rlnCoordinateY"], strict=True)) == [
        (x, HEIGHT - 1 - y) for x, y in PICKS_XY
    ]
    (motion,) = starfile.read(project / "corrected_micrographs.star", always_dict=True)["micrographs"][
        "rlnMicrographMetadata"
    ]
    told = starfile.read(project / motion)
    assert np.allclose(
        told["global_shift"][["rlnMicrographShiftX", "rlnMicrographShiftY"]].to_numpy()[-1],
        (-STEP_XY[0] * (FRAMES - 1), STEP_XY[1] * (FRAMES - 1)),
        atol=0.6,
    )
    with (
        mrcfile.open(project / told["general"]["rlnMicrographGainName"]) as file,
        mrcfile.open(made.sample / "raw/GainRefs/gain.mrc") as gain,
    ):
        assert np.allclose(file.data, gain.data[::-1])


def test_a_second_time_copies_only_what_is_new_and_no_room_is_said_before(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, project = publish(".tiff"), tmp_path / "project"
    make_polishing_project(made.sample, project)
    (copy,) = (project / "turned/aligned").glob("*_DW.mrc")
    inode = copy.stat().st_ino
    assert make_polishing_project(made.sample, project).copied == 1
    assert copy.stat().st_ino == inode
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    with pytest.raises(ExportError, match=r"1 micrographs of TIFF movies have to be copied .* make room"):
        make_polishing_project(made.sample, tmp_path / "other")


def test_a_sample_without_any_motion_cannot_be_polished(publish: Publish, tmp_path: Path) -> None:
    made = publish(".tiff")
    Path(made.movie.layout.motion(made.movie.run_name)).unlink()
    with pytest.raises(ExportError, match="process the sample again"):
        make_polishing_project(made.sample, tmp_path / "project")
