"""The tables of a sample grow by a line a movie, and are right whatever was interrupted."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import mrcfile
import numpy as np
import pytest
import starfile
import tifffile
from PIL import Image
from sqlalchemy import Engine, update

from cryodaq.app.exporting.keeping import ExportedBranch, keep_exports
from cryodaq.app.publish_results import StageResults, publish_movie
from cryodaq.domain.parameters import to_mapping
from cryodaq.formats.mrc import write_micrograph
from cryodaq.formats.relion_motion import read_relion_motion
from cryodaq.formats.star import write_star
from cryodaq.ledger import exports
from cryodaq.ledger import tables as t
from cryodaq.ledger.results import movie_to_process
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie, example_fit, example_parameters

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
A = "a" * 24
FILES = ("corrected_micrographs.star", "micrographs_ctf.star", "coordinates.star", "micrographs.csv")


def processed(
    seed: LedgerSeeder, name: str, *, particles: int | None = 2, fitted: bool = True
) -> tuple[SeededMovie, StageResults]:
    """Return a movie with products and results of the stages before publication."""
    movie = seed.add_movie(seed.add_sample(A), name)
    align, ctf, pick = seed.add_measurements(movie, particles=particles, fit=example_fit(fitted=fitted))
    for product in (align.micrograph, align.micrograph_dose_weighted):
        write_micrograph(Path(product), np.zeros((64, 96), np.float32), pixel_size_ang=1.06)
    Image.new("L", (64, 64), 80).save(ctf.spectrum)
    source = Path(movie.sample.folder) / "raw/session" / f"{name}.tiff"
    source.parent.mkdir(exist_ok=True)
    tifffile.imwrite(source, np.zeros((2, 64, 96), np.uint8))
    if pick is not None:
        write_star(Path(pick.coordinates), {"": {"rlnCoordinateX": [10.0], "rlnCoordinateY": [20.0]}})
    return movie, StageResults(align=align, ctf=ctf, pick=pick)


def publish(engine: Engine, movie: SeededMovie, found: StageResults) -> None:
    """Publish a movie."""
    with engine.connect() as connection:
        target = movie_to_process(connection, movie.id, movie.branch_id)
    assert target is not None
    publish_movie(engine, target, layout=movie.layout, found=found, clock=lambda: NOW)


def names(movie: SeededMovie, file: str = "micrographs_ctf.star", block: str = "micrographs") -> list[str]:
    """Return the micrographs that a STAR file lists."""
    return list(starfile.read(Path(movie.layout.root / file), always_dict=True)[block]["rlnMicrographName"])


def everything(movie: SeededMovie) -> list[dict[str, str]]:
    """Return the rows of the table of everything."""
    with Path(movie.layout.root / "micrographs.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def paths(movie: SeededMovie) -> list[Path]:
    return [Path(movie.layout.root / name) for name in FILES]


def test_a_publication_appends_and_rewrites_nothing(seed: LedgerSeeder, engine: Engine) -> None:
    first, found = processed(seed, "m1")
    publish(engine, first, found)
    before = [(path.stat().st_ino, path.read_bytes()) for path in paths(first)]
    second, found = processed(seed, "m2")
    publish(engine, second, found)
    for path, (inode, content) in zip(paths(first), before, strict=True):
        assert path.stat().st_ino == inode
        assert path.read_bytes().startswith(content)
        assert path.read_bytes().count(b"\n") == content.count(b"\n") + 1
    assert names(first) == ["aligned/m1_DW.mrc", "aligned/m2_DW.mrc"]
    assert names(first, "corrected_micrographs.star") == names(first)
    assert names(first, "coordinates.star", "coordinate_files") == names(first)


def test_what_a_lost_transaction_appended_is_cut_off_by_the_next(seed: LedgerSeeder, engine: Engine) -> None:
    first, found = processed(seed, "m1")
    publish(engine, first, found)
    before = [path.read_bytes() for path in paths(first)]
    lost, _ = processed(seed, "lost")
    root = PurePosixPath(first.sample.folder)
    branch = ExportedBranch(branch_id=lost.branch_id, layout=lost.layout, sample_folder=root)
    connection = engine.connect()
    keep_exports(engine, connection, branch, movie_id=lost.id, has_motion=False)
    connection.close()  # rolled back: the process died before it could commit
    assert [path.read_bytes() for path in paths(first)] != before
    second, found = processed(seed, "m2")
    publish(engine, second, found)
    for file, block in zip(FILES[:3], ("micrographs", "micrographs", "coordinate_files"), strict=True):
        assert names(first, file, block) == ["aligned/m1_DW.mrc", "aligned/m2_DW.mrc"]
    assert [row["run"] for row in everything(first)] == ["m1", "m2"]


def test_files_made_anew_by_a_process_that_died_are_made_anew_again(seed: LedgerSeeder, engine: Engine) -> None:
    first, found = processed(seed, "m1")
    publish(engine, first, found)
    again, found_again = processed(seed, "m2")
    publish(engine, again, found_again)
    other = replace(found.ctf, aligned=example_fit(defocus_ang=22_000))
    seed.add_result(first, "ctf", result=asdict(other), attempt=2)
    root = PurePosixPath(first.sample.folder)
    branch = ExportedBranch(branch_id=first.branch_id, layout=first.layout, sample_folder=root)
    connection = engine.connect()
    keep_exports(engine, connection, branch, movie_id=first.id, has_motion=False)
    connection.close()
    with engine.connect() as connection:
        state = exports.export_state_of(connection, first.branch_id)
    assert state is not None
    assert state.files == {}
    publish(engine, again, found_again)
    table = starfile.read(first.layout.micrographs_star, always_dict=True)["micrographs"]
    assert list(table["rlnMicrographName"]) == ["aligned/m1_DW.mrc", "aligned/m2_DW.mrc"]
    assert list(table["rlnDefocusU"]) == [22_100.0, 15_100.0]


def test_a_movie_done_again_says_the_new_in_its_old_place_and_all_else_stays(
    seed: LedgerSeeder, engine: Engine
) -> None:
    movies = [processed(seed, name) for name in ("m1", "m1_2", "m3")]
    for movie, found in movies:
        publish(engine, movie, found)
    (again, found), *_ = movies
    before = [path.read_text().split("\n") for path in paths(again)]
    for attempt, fit in ((2, example_fit(defocus_ang=22_000)), (3, example_fit(fitted=False)), (4, example_fit())):
        found = replace(found, ctf=replace(found.ctf, aligned=fit))
        seed.add_result(again, "ctf", result=asdict(found.ctf), attempt=attempt)
        publish(engine, again, found)
        table = starfile.read(again.layout.micrographs_star, always_dict=True)["micrographs"]
        said = dict(zip(table["rlnMicrographName"], table["rlnDefocusU"], strict=True))
        wanted = {2: 22_100.0, 3: None, 4: 15_100.0}[attempt]
        assert said.get("aligned/m1_DW.mrc") == wanted
        assert [said[f"aligned/{name}_DW.mrc"] for name in ("m1_2", "m3")] == [15_100.0] * 2
        assert [row["run"] for row in everything(again)] == ["m1", "m1_2", "m3"]
        assert everything(again)[0]["ctf_fitted"] == str(fit.fitted)
    for lines, path in zip(before, paths(again), strict=True):
        assert sorted(lines) == sorted(path.read_text().split("\n"))
    last, found = processed(seed, "m4")
    publish(engine, last, found)
    assert names(last) == [f"aligned/{name}_DW.mrc" for name in ("m1_2", "m3", "m1", "m4")]


def test_a_lost_file_comes_back_whole(seed: LedgerSeeder, engine: Engine) -> None:
    first, found = processed(seed, "m1")
    publish(engine, first, found)
    for path in paths(first):
        path.unlink()
    publish(engine, first, found)
    assert names(first) == ["aligned/m1_DW.mrc"]
    assert [row["run"] for row in everything(first)] == ["m1"]


def test_other_optics_make_another_group_without_losing_a_row(seed: LedgerSeeder, engine: Engine) -> None:
    first, found = processed(seed, "m1")
    publish(engine, first, found)
    second, found = processed(seed, "m2")
    values = to_mapping(example_parameters(pixel_size_ang=0.83))
    with engine.begin() as connection:
        connection.execute(update(t.trigger).where(t.trigger.c.movie_id == second.id).values(parameters=values))
    publish(engine, second, found)
    third, found = processed(seed, "m3")
    publish(engine, third, found)
    blocks = starfile.read(first.layout.micrographs_star, always_dict=True)
    assert list(blocks["micrographs"]["rlnOpticsGroup"]) == [1, 2, 1]
    assert list(blocks["optics"]["rlnMicrographOriginalPixelSize"]) == [1.06, 0.83]


def test_a_movie_without_fit_or_picks_is_where_it_belongs_only(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1", fitted=False, particles=None)
    publish(engine, movie, found)
    assert names(movie) == []
    assert names(movie, "coordinates.star", "coordinate_files") == []
    assert names(movie, "corrected_micrographs.star") == ["aligned/m1_DW.mrc"]
    (row,) = everything(movie)
    assert (row["ctf_fitted"], row["coordinates"], row["movie"]) == ("False", "", "raw/session/m1.tiff")
    assert not Path(movie.layout.ctf_text("m1")).exists()


def test_everything_that_is_known_stands_in_one_row(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1")
    said = {"grid_square": "=cmd()", "stage_x_um": -12.5, "beam_shift_xy": [0.1, -0.2], "foil_hole": "42"}
    with engine.begin() as connection:
        connection.execute(update(t.movie).where(t.movie.c.id == movie.id).values(metadata=said))
    publish(engine, movie, found)
    (row,) = everything(movie)
    assert row["grid_square"] == "'=cmd()"  # no formula for a spreadsheet
    assert (row["stage_x_um"], row["beam_shift_x"], row["beam_shift_y"]) == ("-12.5", "0.1", "-0.2")
    assert (row["ctf_defocus_angle_deg"], row["ctf_phase_shift_deg"]) == ("37.5", "0.0")
    assert (float(row["voltage_kv"]), float(row["motion_early_ang"])) == (300.0, pytest.approx(1.59))
    assert (row["picks_count"], row["ctf_unaligned_fit_resolution_ang"]) == ("2", "6.2")


def test_the_fit_is_there_as_ctffind_writes_it(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1")
    found = replace(found, ctf=replace(found.ctf, aligned=replace(found.ctf.aligned, phase_shift_deg=90.0)))
    publish(engine, movie, found)
    row = np.loadtxt(Path(movie.layout.ctf_text("m1")))
    assert np.allclose(row, [1, 15_100, 14_900, 37.5, np.pi / 2, 0.31, 3.6], atol=1e-5)


def mrc_movie(engine: Engine, movie: SeededMovie, *, gain: np.ndarray) -> None:
    """Give a movie an MRC source of 40 frames, and a gain reference."""
    source = Path(movie.sample.folder) / "raw/session" / f"{movie.run_name}.mrc"
    source.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(source) as file:
        file.set_data(np.zeros((40, 64, 96), np.int8))
    reference = Path(movie.sample.folder) / "raw/GainRefs/gain.mrc"
    with mrcfile.new(reference, overwrite=True) as file:
        file.set_data(gain.astype(np.float32))
    with engine.begin() as connection:
        changed = update(t.movie).where(t.movie.c.id == movie.id).values(gain_target=str(reference))
        file_id = connection.execute(changed.returning(t.movie.c.file_id)).scalar_one()
        connection.execute(update(t.file).where(t.file.c.id == file_id).values(target=str(source)))


def test_motion_goes_to_relion_with_the_gain_as_it_was_applied(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1")
    gain = np.random.default_rng(3).uniform(0.8, 1.2, (96, 64))
    mrc_movie(engine, movie, gain=gain)
    turned = "turned by 90 degrees (columns reversed after transposing)"
    found = replace(found, align=replace(found.align, gain_orientation=turned))
    publish(engine, movie, found)
    table = starfile.read(Path(movie.layout.root / "corrected_micrographs.star"), always_dict=True)["micrographs"]
    (star,) = table["rlnMicrographMetadata"]
    motion = read_relion_motion(Path(movie.sample.folder) / star)
    assert (motion.shape_yx, motion.frame_count, motion.first_frame) == ((64, 96), 40, 1)
    assert everything(movie)[0]["gain"] == "raw/GainRefs/gain.mrc"
    assert np.allclose(motion.shifts_px_xy, [(-x, -y) for x, y in found.align.motion.displacement_px_xy])
    general = starfile.read(Path(movie.sample.folder) / star)["general"]
    with mrcfile.open(Path(movie.sample.folder) / general["rlnMicrographGainName"]) as file:
        assert np.allclose(file.data, gain.T[:, ::-1], atol=1e-6)


def test_an_eer_movies_motion_says_how_frames_are_gathered_and_its_gain_divides(
    seed: LedgerSeeder, engine: Engine, shared_data: Path
) -> None:
    movie, found = processed(seed, "m1")
    raw = Path(movie.sample.folder) / "raw"
    source, reference = raw / "m1.eer", raw / "GainRefs/20260101_EER_GainReference.gain"
    tool = shared_data.parent / "tools/make_eer.py"
    size = ("--shape", "64x96", "--frames", "84", "--dose-per-px", "0.1")
    subprocess.run([sys.executable, str(tool), *size, str(source)], check=True, capture_output=True, timeout=60)
    gain = np.random.default_rng(4).uniform(0.8, 1.2, (64, 96)).astype(np.float32)
    gain[3, 5] = 0
    tifffile.imwrite(reference.with_suffix(".tif"), gain)
    reference.with_suffix(".tif").rename(reference)
    with engine.begin() as connection:
        changed = update(t.movie).where(t.movie.c.id == movie.id).values(gain_target=str(reference))
        file_id = connection.execute(changed.returning(t.movie.c.file_id)).scalar_one()
        connection.execute(update(t.file).where(t.file.c.id == file_id).values(target=str(source)))
    way = tuple((0.1 * frame, -0.2 * frame) for frame in range(42))
    align = replace(found.align, motion=replace(found.align.motion, displacement_px_xy=way))
    publish(engine, movie, replace(found, align=align))
    general = starfile.read(Path(movie.layout.motion("m1")))["general"]
    assert (general["rlnImageSizeZ"], general["rlnEERGrouping"], general["rlnEERUpsampling"]) == (42, 2, 1)
    assert general["rlnMicrographDoseRate"] == pytest.approx(2 * 1.25)  # of a gathered frame
    with mrcfile.open(Path(movie.sample.folder) / general["rlnMicrographGainName"]) as file:
        divisor = np.asarray(file.data)
    assert divisor[3, 5] == 0
    assert np.allclose(divisor[gain > 0], 1 / gain[gain > 0], rtol=1e-5)


def test_one_movie_that_relion_would_turn_takes_the_column_of_motion_away(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1")
    mrc_movie(engine, movie, gain=np.ones((64, 96)))
    publish(engine, movie, found)
    tiff, found = processed(seed, "m2")
    publish(engine, tiff, found)
    third, found = processed(seed, "m3")
    mrc_movie(engine, third, gain=np.ones((64, 96)))
    publish(engine, third, found)
    blocks = starfile.read(Path(movie.layout.root / "corrected_micrographs.star"), always_dict=True)
    assert "rlnMicrographMetadata" not in blocks["micrographs"]
    assert len(blocks["micrographs"]) == 3
