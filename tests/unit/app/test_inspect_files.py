"""What a file or a session is, said of real ones, broken ones and hostile ones."""

from __future__ import annotations

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from cryodaq.app.inspect_files import inspect_file, inspect_session
from cryodaq.cli.commands import app

FRAMES = "2023-09-25_14.13.07_Grid9-_template_0035"
STEM = "FoilHole_1_Data_2_3_20260101_120000"


@pytest.mark.parametrize(
    ("name", "format_name", "facts"),
    [
        ("epu/session_epu3.9.1_k3/EpuSession.dm", "EPU's session", {"needs_gain": True}),
        ("movies/dm4_format/dmTest_float32_nonSquare_diffPixelSize.dm4", "Gatan DigitalMicrograph", {"zeros": 64}),
        ("logs/ctffind5_example_from_docs.txt", "CTFFIND's result", {"searched_defocus_ang": (0.0, 50000.0)}),
        ("logs/motioncor2/29123499.motioncor2.log", "MotionCor's log", {"stack_xyz": (5760, 4092, 28)}),
        ("serialem/pyem/nav1.nav", "SerialEM's navigator", {}),
        (
            "serialem/spa_frames_k2/2023-09-25_14.13.07_Grid9-_template_0035.tif.mdoc",
            "SerialEM's mdoc",
            {"exposures": 1},
        ),
    ],
)
def test_real_files_of_every_kind_are_known(
    shared_data: Path, name: str, format_name: str, facts: dict[str, object]
) -> None:
    found = inspect_file(shared_data / name)
    assert found.format == format_name
    assert facts.items() <= found.facts.items()
    assert found.problems == ()


def test_a_movie_tells_frames_shape_and_what_its_header_says(shared_data: Path) -> None:
    found = inspect_file(shared_data / "micrographs/falcon3_epu2.9/epu2.9_example.mrc")
    assert (found.facts["shape_yx"], found.facts["frames"], found.closed) == ([4096, 4096], 1, True)
    assert found.metadata[0]["software"] == "EPU 2.9.0.1519"


def session(folder: Path) -> Path:
    """Make a session of two exposures; one lost its movie."""
    data = folder / "Images-Disc1/GridSquare_1/Data"
    data.mkdir(parents=True)
    tifffile.imwrite(data / f"{STEM}_fractions.tiff", np.zeros((4, 32, 48), np.uint8), photometric="minisblack")
    (data / f"{STEM}.xml").write_text("<MicroscopeImage/>")
    (data / f"{STEM.replace('_2_3_', '_2_4_')}.xml").write_text("<MicroscopeImage/>")
    (data / "mystery.tif").write_bytes(b"\0" * 6_000_000)
    return folder


def test_a_session_counts_its_exposures_and_names_what_is_missing(tmp_path: Path) -> None:
    found = inspect_session(session(tmp_path))
    assert (found.exposures, found.movies, found.software) == (2, 1, {"epu": 4})
    assert [key.rsplit("/", 1)[1] for key in found.without_movie] == [STEM.replace("_2_3_", "_2_4_")]
    (movie,) = found.looked_into
    assert (movie.format, movie.facts["frames"], movie.facts["shape_yx"]) == ("TIFF", 4, [32, 48])
    assert any("1 exposures have metadata and no movie" in problem for problem in found.problems)
    assert any("mystery.tif" in problem for problem in found.problems)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.tif", b"II*\0\x08\0\0\0"),
        ("cut.mrc", b"\0" * 100),
        ("empty.mrc", b""),
        ("huge.mrc", np.array([2**30, 2**30, 2**30, 2], "<i4").tobytes() + b"\0" * 1008),
        ("bomb.xml", b'<!DOCTYPE x [<!ENTITY a "b">]><MicroscopeImage>&a;</MicroscopeImage>'),
        ("half.mdoc", b"[FrameSet = 0]\nVoltage = many\n"),
        ("broken.dm4", b"\0\0\0\4" + b"\xff" * 60),
        ("torn.star", b"data_x\nloop_\n_a #1\n_b #2\n1\n"),
        ("EpuSession.dm", b"<EpuSessionXml>" + b" " * 8_100_000),
    ],
)
def test_a_broken_file_is_an_answer_with_a_problem(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    found = inspect_file(tmp_path / name)
    assert found.problems
    assert found.size_bytes == len(data)


def test_a_link_out_of_the_session_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret_00001.mrc").write_bytes(b"x")
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "grid_00001.mrc").symlink_to(tmp_path / "secret_00001.mrc")
    assert inspect_session(folder).files == 0


def test_the_command_prints_json_and_ends_with_1_for_problems(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "grid_00001.mrc") as file:
        file.set_data(np.zeros((3, 16, 16), np.int8))
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "grid_00001.mrc"), "--json"])
    assert (done.exit_code, json.loads(done.output)["role"]) == (0, "movie")
    (tmp_path / "bad\x1b[31m_00002.mrc").write_bytes(b"")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "bad\x1b[31m_00002.mrc")])
    assert done.exit_code == 1
    assert "it is empty" in done.output
    assert "\x1b" not in done.output


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(20) + b"\xff\xd9", "JPEG"),
        ("a.mrc.gz", b"\x1f\x8b\x08\x00" + bytes(20), "unpack"),
        ("defects_1.txt", b"CameraSizeX 60\nCameraSizeY 40\nBadColumns 3\n", "list of defects"),
        ("notes.txt", b"\x1b[1mtoday\x1b[0m the stage drifted\n", "text"),
        ("noise.bin", bytes(range(256)), "unknown"),
    ],
)
def test_what_is_no_movie_is_still_told_apart(tmp_path: Path, name: str, data: bytes, named: str) -> None:
    (tmp_path / name).write_bytes(data)
    found = inspect_file(tmp_path / name)
    assert named in found.format
    assert not found.problems


def test_radial_averages_are_not_taken_for_results(shared_data: Path) -> None:
    for path in sorted((shared_data / "logs/ctffind4.1.14").glob("*_avrot.txt")):
        found = inspect_file(path)
        assert found.format == "CTFFIND's curves"
        assert found.facts["micrographs"] == 1
        assert not found.metadata


def test_wrong_fits_of_ctffind_and_aliased_rings_are_problems(shared_data: Path) -> None:
    folder = shared_data / "logs/ctffind4.1.14"
    for log in folder.glob("*_ctffind4.log"):
        result, told = inspect_file(folder / log.name.replace("_ctffind4.log", ".txt")), inspect_file(log)
        assert (result.format, told.format) == ("CTFFIND's result", "CTFFIND's log")
        assert any("is not believed" in problem for problem in result.problems) or told.facts["aliased_from_ang"]
        assert bool(told.problems) == (told.facts["aliased_from_ang"] is not None)


def test_what_is_named_like_something_else_is_called_what_it_is(shared_data: Path, tmp_path: Path) -> None:
    old = shared_data / "epu/transphire_grouping/epu_1_8_k2"
    (text,) = (path for path in old.glob("*.mrc") if path.name.count("-") == 0)
    assert inspect_file(text).format == "text that no reader here knows"
    assert inspect_file(text).problems == ("it does not begin like an MRC file",)
    spectrum = shared_data / "micrographs/bgal_powerspectra/20170629_00021_frameImage_PS.mrc"
    assert inspect_file(spectrum).problems == ("it is named like a movie and holds a single image",)
    found = inspect_session(old)
    assert any("9 files hold a single frame" in problem for problem in found.problems)
    assert inspect_session(tmp_path).problems == ("it holds no movie",)


def test_a_session_without_movies_says_where_epu_put_them(shared_data: Path) -> None:
    found = inspect_session(shared_data / "epu/session_epu3.9.1_k3")
    (record,) = found.recorded
    assert (record["version"], record["needs_gain"]) == ("3.9.1.8206", True)
    (problem,) = found.problems
    assert "DoseFractions" in problem
