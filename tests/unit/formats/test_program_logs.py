"""Logs and results of external programs: every real one at hand, and damaged ones."""

from __future__ import annotations

import math
import re
import string
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.errors import FormatError, TruncatedFileError
from cryodaq.formats.ctffind_txt import aliasing_from_ang, parse_ctffind, parse_ctffind_curves
from cryodaq.formats.gctf_log import parse_gctf_log
from cryodaq.formats.motioncor_log import parse_motioncor_log
from cryodaq.formats.relion_log import parse_relion_motion_log
from cryodaq.formats.relion_motion import read_relion_motion
from cryodaq.formats.star import read_star
from cryodaq.formats.topaz_txt import parse_topaz

HERE = PurePath("made in the test")
MOTIONCOR_1_6_4 = """Full-frame alignment has been started.
Iteration  1  Error:     7.619

Full-frame alignment
  Frame   x Shift   y Shift
    1      0.000      0.000
    2     -0.610     -2.320
    3     -1.070     -4.150

Global shifts are corrected: 0.064114 sec
Start to align patches.
  1    0     1.11      3.20
Total time: 10.766483 sec
"""
"""Lines of test/test_motioncorrection_utils/motioncor2_1.6.4_log.txt of nysbc/appion (Apache-2.0), shortened."""
GCTF = """
**************************************   LAST CYCLE    *************************************

   Defocus_U   Defocus_V       Angle        CCC
    22195.93    22722.04       47.05    0.039181  Final Values

Resolution limit estimated by EPA: RES_LIMIT 3.972
Estimated Bfactor: B_FACTOR  5.09
"""


def motioncor_text(shifts: list[tuple[float, float]], *, tabled: bool) -> str:
    if tabled:
        rows = "".join(f"{n:5d} {x:10.3f} {y:10.3f}\n" for n, (x, y) in enumerate(shifts, start=1))
        return f"Full-frame alignment\n  Frame   x Shift   y Shift\n{rows}\nTotal time: 1 sec\n"
    rows = "".join(f"...... Frame ({n:3d}) shift: {x:9.3f}  {y:9.3f}\n" for n, (x, y) in enumerate(shifts, start=1))
    return f"Full-frame alignment shift\n{rows}\nTotal time: 1 sec\n"


@pytest.mark.parametrize(
    ("name", "frames", "first", "last", "stack"),
    [
        ("29123499.motioncor2.log", 28, (-2.55, 5.76), (1.39, -1.61), (5760, 4092, 28)),
        ("motioncor2_1.5.0_log.txt", 16, (2.46, 8.51), (-1.32, -4.6), (4096, 4096, 16)),
    ],
)
def test_real_motioncor2_logs_are_understood(
    shared_data: Path,
    name: str,
    frames: int,
    first: tuple[float, float],
    last: tuple[float, float],
    stack: tuple[int, int, int],
) -> None:
    path = shared_data / "logs/motioncor2" / name
    log = parse_motioncor_log(path.read_text(), path=path)
    assert len(log.shifts_px_xy) == frames
    assert (log.shifts_px_xy[0], log.shifts_px_xy[-1]) == (first, last)
    assert log.stack_xyz == stack
    assert log.finished
    assert log.options["kV"] == "300"


def test_the_table_of_motioncor2_1_6_says_the_same_as_the_list_of_1_5(shared_data: Path) -> None:
    listed = parse_motioncor_log((shared_data / "logs/motioncor2/motioncor2_1.5.0_log.txt").read_text(), path=HERE)
    tabled = parse_motioncor_log(MOTIONCOR_1_6_4, path=HERE)
    assert len(tabled.shifts_px_xy) == 3
    (x0, y0), *_ = listed.shifts_px_xy
    for (x, y), (other_x, other_y) in zip(tabled.shifts_px_xy, listed.shifts_px_xy[:3], strict=True):
        assert math.hypot(x - (other_x - x0), y - (other_y - y0)) < 0.5  # the same movie, aligned by both versions


@pytest.mark.parametrize("tabled", [False, True])
@given(st.lists(st.tuples(st.integers(-99999, 99999), st.integers(-99999, 99999)), min_size=1, max_size=50))
def test_every_motioncor_table_comes_back(tabled: bool, thousandths: list[tuple[int, int]]) -> None:
    shifts = [(x / 1000, y / 1000) for x, y in thousandths]
    assert parse_motioncor_log(motioncor_text(shifts, tabled=tabled), path=HERE).shifts_px_xy == tuple(shifts)


@pytest.mark.parametrize("text", ["", "GPU 0 memory: 8107 MB\n", "Full-frame alignment shift\n\nsomething else\n"])
def test_a_motioncor_log_without_shifts_is_cut_short(text: str) -> None:
    with pytest.raises(TruncatedFileError):
        parse_motioncor_log(text, path=HERE)


def test_motioncor_frames_that_are_missing_in_the_middle_are_an_error() -> None:
    text = motioncor_text([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)], tabled=False).replace("Frame (  2)", "Frame (  4)")
    with pytest.raises(FormatError, match="steps of 1"):
        parse_motioncor_log(text, path=HERE)


def test_every_real_relion_log_and_its_star_file_agree(shared_data: Path) -> None:
    logs = sorted((shared_data / "logs/relion5_own_motioncor").glob("*.log"))
    assert len(logs) == 12
    for path in logs:
        log = parse_relion_motion_log(path.read_text(), path=path)
        motion = read_relion_motion(shared_data / "star/relion5_motion" / f"{path.stem}.star")
        assert (log.shape_yx, log.frame_count) == (motion.shape_yx, motion.frame_count) == ((3838, 3710), 24)
        assert log.hot_pixels == motion.hot_pixels
        assert len(motion.shifts_px_xy) == len(log.frames_used) == 24
        assert log.patches_yx == (5, 5)
        assert log.local_fit_rmsd_px_xy is not None
        assert log.local_fit_rmsd_px_xy[0] < 2
        assert log.dose_weighted is not None
        assert motion.has_local_motion
        assert (motion.first_frame, motion.voltage_kv, motion.pixel_size_ang) == (1, 200.0, 0.885)


def test_relions_shifts_add_up_to_the_motion_that_it_publishes_in_pixels(shared_data: Path) -> None:
    table = read_star(shared_data / "star/relion5/corrected_micrographs.star")["micrographs"]
    stars, totals = table["rlnMicrographMetadata"], table["rlnAccumMotionTotal"]
    assert isinstance(stars, list)
    assert isinstance(totals, list)
    compared = 0
    for star, total in zip(stars, totals, strict=True):
        path = shared_data / "star/relion5_motion" / PurePath(str(star)).name
        if not path.is_file():
            continue
        motion = read_relion_motion(path)
        steps = zip(motion.shifts_px_xy, motion.shifts_px_xy[1:], strict=False)
        way_px = sum(math.dist(a, b) for a, b in steps)
        assert way_px == pytest.approx(float(total), rel=2e-3)  # RELION's label says Å; the pixel is 0.885 Å
        compared += 1
    assert compared == 12


def test_a_frame_that_relion_left_out_has_no_shift(tmp_path: Path) -> None:
    path = tmp_path / "movie.star"
    path.write_text(
        "\ndata_general\n\n_rlnImageSizeX 512\n_rlnImageSizeY 384\n_rlnImageSizeZ 3\n_rlnMicrographMovieName m.tiff\n"
        "_rlnMicrographOriginalPixelSize 1.0\n_rlnMicrographDoseRate 1.5\n_rlnVoltage 300.0\n"
        "_rlnMicrographStartFrame 2\n_rlnMotionModelVersion 0\n\ndata_global_shift\n\nloop_\n"
        "_rlnMicrographFrameNumber #1\n_rlnMicrographShiftX #2\n_rlnMicrographShiftY #3\n"
        "1 -9999.00000 -9999.00000\n2 0.0 0.0\n3 0.5 -0.25\n"
    )
    motion = read_relion_motion(path)
    assert motion.shifts_px_xy == ((0.0, 0.0), (0.5, -0.25))
    assert (motion.first_frame, motion.frame_count, motion.has_local_motion) == (2, 3, False)


def test_every_real_ctffind_4_result_is_understood(shared_data: Path) -> None:
    paths = sorted((shared_data / "logs/ctffind4.1.14").glob("*_PS.txt"))
    assert len(paths) == 12
    for path in paths:
        settings, rows = parse_ctffind(path.read_text(), path=path)
        assert (settings.version, settings.box_px, settings.voltage_kv, settings.cs_mm) == ("4.1.14", 512, 200.0, 1.4)
        assert settings.defocus_ang == (5000.0, 50000.0)
        assert len(rows) == 1
        assert rows[0].defocus_1_ang >= rows[0].defocus_2_ang > 30_000
        log = path.with_name(f"{path.stem}_ctffind4.log").read_text()
        score = re.search(r"^Score +: ([\d.]+)$", log, re.M)
        assert score is not None
        assert float(score[1]) == pytest.approx(rows[0].score, abs=1e-5)
        aliased = aliasing_from_ang(log)
        assert aliased is not None
        assert aliased > rows[0].fit_resolution_ang


def test_every_real_set_of_ctffind_curves_is_understood(shared_data: Path) -> None:
    paths = sorted((shared_data / "logs/ctffind4.1.14").glob("*_avrot.txt"))
    assert len(paths) == 12
    for path in paths:
        (curves,) = parse_ctffind_curves(path.read_text(), path=path)
        assert len(curves.frequency_per_ang) == len(curves.fit) == len(curves.quality) == 363
        assert all(a < b for a, b in zip(curves.frequency_per_ang, curves.frequency_per_ang[1:], strict=False))
        assert 0 <= min(curves.fit) <= max(curves.fit) <= 1
        assert max(map(abs, curves.quality)) <= 1.0001


def test_ctffind_5_has_three_more_columns_which_are_left(shared_data: Path) -> None:
    path = shared_data / "logs/ctffind5_example_from_docs.txt"
    settings, (row,) = parse_ctffind(path.read_text(), path=path)
    assert (settings.version, settings.pixel_size_ang) == ("5.0.2", 0.93)
    assert (row.defocus_1_ang, row.azimuth_deg, row.score) == (8984.742188, 45.948771, 0.446317)


def test_a_ctffind_log_without_the_warning_says_that_nothing_is_aliased() -> None:
    assert aliasing_from_ang("Thon rings with good fit up to  : 3.6 Angstroms\n") is None


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("1.000000 8984", "#1.000000 8984", TruncatedFileError),
        ("45.948771 0.000000 0.446317 3.720000 221.912292 12.251187 1619.773438", "45.9", FormatError),
        ("45.948771", "south", FormatError),
        ("version 5.0.2", "edition 5.0.2", FormatError),
        ("Box size: 512 pixels", "Box size: many pixels", FormatError),
    ],
)
def test_a_damaged_ctffind_result_is_refused(shared_data: Path, old: str, new: str, error: type[Exception]) -> None:
    text = (shared_data / "logs/ctffind5_example_from_docs.txt").read_text()
    assert old in text
    with pytest.raises(error):
        parse_ctffind(text.replace(old, new), path=HERE)


def test_curves_that_end_early_are_refused(shared_data: Path) -> None:
    path = sorted((shared_data / "logs/ctffind4.1.14").glob("*_avrot.txt"))[0]
    lines = path.read_text().rstrip("\n").split("\n")
    with pytest.raises(TruncatedFileError):
        parse_ctffind_curves("\n".join(lines[:-1]), path=path)
    with pytest.raises(FormatError):
        parse_ctffind_curves("\n".join([*lines[:-1], lines[-1][: len(lines[-1]) // 2]]), path=path)


def test_gctf_values_come_with_their_names() -> None:
    found = parse_gctf_log(GCTF, path=HERE)
    assert (found.defocus_u_ang, found.defocus_v_ang, found.angle_deg) == (22195.93, 22722.04, 47.05)
    assert (found.score, found.fit_resolution_ang, found.phase_shift_deg) == (0.039181, 3.972, 0.0)


def test_gctf_of_a_phase_plate_has_one_column_more() -> None:
    text = "  Defocus_U  Defocus_V  Angle  Ph_shift  CCC\n 9000.00 8800.00 12.00 91.50 0.120000  Final Values\n"
    found = parse_gctf_log(text, path=HERE)
    assert (found.phase_shift_deg, found.score, found.fit_resolution_ang) == (91.5, 0.12, None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", TruncatedFileError),
        (" 1 2 3 4  Final Values\n", FormatError),
        (" Defocus_U Defocus_V Angle CCC\n 1 2 nothing 4  Final Values\n", FormatError),
    ],
)
def test_a_damaged_gctf_log_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_gctf_log(text, path=HERE)


@given(st.lists(st.tuples(*[st.floats(-1e4, 1e4, allow_nan=False)] * 3), max_size=30))
def test_every_topaz_table_comes_back(picks: list[tuple[float, float, float]]) -> None:
    rows = "".join(f"a name\t{x!r}\t{y!r}\t{score!r}\n" for x, y, score in picks)
    assert parse_topaz(f"image_name\tx_coord\ty_coord\tscore\n{rows}", path=HERE) == picks


@pytest.mark.parametrize("row", ["m\t1\t2", "m\t1\t2\tnan", "m\t1\ttwo\t3", "m 1 2 3"])
def test_a_damaged_topaz_table_is_refused(row: str) -> None:
    with pytest.raises(FormatError, match="line 2"):
        parse_topaz(f"image_name\tx_coord\ty_coord\tscore\n{row}\n", path=HERE)


@given(st.text(alphabet=string.printable, max_size=400))
def test_no_text_makes_a_parser_fall_over(text: str) -> None:
    for parse in (parse_motioncor_log, parse_ctffind, parse_ctffind_curves, parse_gctf_log, parse_topaz):
        for head in ("", "Full-frame alignment\n", "image_name\tx_coord\ty_coord\tscore\n"):
            try:
                parse(head + text, path=HERE)
            except FormatError:
                continue
