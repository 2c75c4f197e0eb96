"""Every frame that is read is the frame that was written, or an error names it."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cryodaq.errors import FormatError, TruncatedFileError
from cryodaq.formats.closure import inspect
from cryodaq.formats.metadata import read_metadata
from cryodaq.formats.movie import load_decoder, read_frames, read_header, render_fractions

MAKE_EER = Path(__file__).parents[4] / "shared" / "tools" / "make_eer.py"


def counts(shape: tuple[int, ...], dtype: str = "u1") -> NDArray[np.generic]:
    return np.random.default_rng(11).poisson(2.0, shape).astype(dtype)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", None])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
@pytest.mark.parametrize("rows_per_strip", [1, 7, 64])
def test_tiff_frames_come_back_as_written(
    tmp_path: Path, compression: str | None, dtype: str, rows_per_strip: int
) -> None:
    frames = counts((5, 50, 37), dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames, compression=compression, rowsperstrip=rows_per_strip, photometric="minisblack")
    assert np.array_equal(read_frames(path), frames)
    header = read_header(path)
    assert (header.frame_count, header.shape_yx, header.dtype) == (5, (50, 37), np.dtype(dtype))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_byte_order_predictor_and_bigtiff_are_understood(tmp_path: Path, byteorder: str, bigtiff: bool) -> None:
    frames = counts((3, 40, 30), "u2")
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, frames, compression="lzw", predictor=2, byteorder=byteorder, bigtiff=bigtiff, photometric="minisblack"
    )
    assert np.array_equal(read_frames(path), frames)


def test_the_pixel_size_that_serialem_writes_as_resolution_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    per_cm = 1e8 / 0.83
    tifffile.imwrite(path, counts((2, 8, 8)), resolution=(per_cm, per_cm), resolutionunit=3, photometric="minisblack")
    assert read_header(path).pixel_size_ang == pytest.approx(0.83, rel=1e-6)
    tifffile.imwrite(path, counts((2, 8, 8)), resolution=(72, 72), resolutionunit=2, photometric="minisblack")
    assert read_header(path).pixel_size_ang is None


def test_a_truncated_movie_is_an_error_and_not_a_shorter_movie(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts((5, 64, 64)), compression="lzw", photometric="minisblack")
    data = path.read_bytes()
    for share in (0.2, 0.5, 0.9, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(FormatError):
            read_frames(path)


def test_a_strip_that_decodes_to_too_little_names_its_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts((5, 64, 64)), compression="lzw", photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        offset, size = tiff.pages[2].dataoffsets[0], tiff.pages[2].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset + size // 2 : offset + size] = b"\xff" * (size - size // 2)
    path.write_bytes(data)
    with pytest.raises(FormatError, match="frame 3"):
        read_frames(path)


def test_frames_of_different_size_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for rows in (16, 16, 20):
            writer.write(counts((rows, 16)), photometric="minisblack", metadata=None, contiguous=False)
    with pytest.raises(FormatError, match="frame 3 is 20 x 16"):
        read_frames(path)


def test_what_no_camera_writes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts((32, 32, 3)), photometric="rgb")
    with pytest.raises(FormatError, match="coloured"):
        read_frames(path)
    tifffile.imwrite(path, counts((32, 32)), tile=(16, 16), photometric="minisblack")
    with pytest.raises(FormatError, match="tiled"):
        read_frames(path)
    path.write_bytes(b"no movie at all" * 100)
    with pytest.raises(FormatError):
        read_frames(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), noise=st.binary(min_size=1, max_size=6))
def test_a_damaged_movie_raises_nothing_but_a_format_error(tmp_path: Path, at: float, noise: bytes) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts((2, 24, 24)), compression="lzw", photometric="minisblack")
    data = path.read_bytes()
    start = int(at * len(data))
    path.write_bytes(data[:start] + noise + data[start + len(noise) :])
    try:
        frames = read_frames(path)
    except FormatError:
        return
    assert frames.ndim == 3


@pytest.mark.parametrize("dtype", ["i1", "u2", "i2", "f4"])
def test_mrc_stacks_come_back_as_written(tmp_path: Path, dtype: str) -> None:
    frames = counts((4, 20, 30), dtype)
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(frames)
        mrc.voxel_size = 1.25
    assert np.array_equal(read_frames(path), frames)
    header = read_header(path)
    assert (header.frame_count, header.shape_yx, header.dtype) == (4, (20, 30), np.dtype(dtype))
    assert header.pixel_size_ang == pytest.approx(1.25)


def test_imods_unsigned_bytes_stay_unsigned(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    frames = np.full((2, 4, 4), 200, np.uint8)
    with mrcfile.new(path) as mrc:
        mrc.set_data(frames.view(np.int8))
    data = bytearray(path.read_bytes())
    data[152:160] = (1146047817).to_bytes(4, "little") + bytes(4)
    path.write_bytes(data)
    assert np.array_equal(read_frames(path), frames)


@pytest.mark.parametrize("columns", [30, 31])
def test_two_counts_in_a_byte_come_apart_in_their_order(tmp_path: Path, columns: int) -> None:
    path = tmp_path / "a.mrc"
    frames = np.random.default_rng(12).integers(0, 16, (3, 20, columns), dtype=np.uint8)
    halves = np.zeros((3, 20, columns + columns % 2), np.uint8)
    halves[..., :columns] = frames
    with mrcfile.new(path) as mrc:
        mrc.set_data((halves[..., 1::2] * 16 + halves[..., ::2]).astype(np.int8))
    with path.open("r+b") as file:
        for offset, number in ((0, columns), (12, 101), (28, columns)):
            file.seek(offset)
            file.write(struct.pack("<i", number))
    found = read_frames(path)
    assert (found.dtype, found.max()) == (np.uint8, 15)
    assert np.array_equal(found, frames)
    assert read_header(path).shape_yx == (20, columns)
    assert inspect(path).closed
    if columns % 2 == 0 and shutil.which("relion_image_handler") is not None:  # it takes rows of even length only
        path.rename(tmp_path / "a.mrcs")
        command = ["relion_image_handler", "--i", "a.mrcs", "--o", "b.mrcs"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
        with mrcfile.open(tmp_path / "b.mrcs", permissive=True) as theirs:
            assert np.array_equal(theirs.data, frames)


def test_a_cut_mrc_stack_names_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(counts((4, 20, 30), "i2"))
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(TruncatedFileError, match="section 4 of 4"):
        read_frames(path)


def make_eer(folder: Path, *arguments: str, frames: int = 84) -> tuple[Path, NDArray[np.int64]]:
    """Return a movie of known electrons and, for each raw frame, the true counts (frame, y, x)."""
    if not MAKE_EER.exists():
        pytest.skip(f"{MAKE_EER} is not here: it writes EER movies whose every event is known")
    path, events = folder / "a.eer", folder / "events.npz"
    command = [sys.executable, MAKE_EER, path, "--shape", "96x128", "--frames", str(frames), "--events", events]
    subprocess.run([*command, *arguments], check=True, capture_output=True, timeout=60)
    with np.load(events) as known:
        ends = np.cumsum(known["counts"])
        pieces = np.split(known["codes"] >> 4, ends[:-1])
    return path, np.stack([np.bincount(p.astype(np.int64), minlength=96 * 128).reshape(96, 128) for p in pieces])


@pytest.mark.parametrize("dose", ["0.002", "0.1"])
@pytest.mark.parametrize("form", [("65000", "drop"), ("65000", "keep"), ("65001", "drop"), ("65002", "drop")])
def test_every_electron_of_an_eer_movie_is_found(tmp_path: Path, form: tuple[str, str], dose: str) -> None:
    path, truth = make_eer(tmp_path, "--compression", form[0], "--overflow", form[1], "--dose-per-px", dose)
    frames = render_fractions(path, raw_frames=8)
    assert np.array_equal(frames, truth[:80].reshape(10, 8, 96, 128).sum(axis=1))
    assert np.array_equal(render_fractions(path, raw_frames=1), truth)


@pytest.mark.parametrize("upsampling", [2, 4])
@pytest.mark.parametrize("form", [("65000", "drop"), ("65001", "drop")])
def test_electrons_are_placed_within_their_pixel(tmp_path: Path, form: tuple[str, str], upsampling: int) -> None:
    path, truth = make_eer(tmp_path, "--compression", form[0], "--overflow", form[1], "--dose-per-px", "0.05")
    with np.load(tmp_path / "events.npz") as known:
        codes, ends = known["codes"].astype(np.int64), np.cumsum(known["counts"])
    row, column = np.divmod(codes >> 4, 128)
    y, x = ((axis * 4 + (codes >> bits) % 4) * upsampling // 4 for axis, bits in ((row, 2), (column, 0)))
    wanted = np.zeros((84, 96 * upsampling, 128 * upsampling), np.int64)
    np.add.at(wanted, (np.searchsorted(ends, np.arange(len(codes)), side="right"), y, x), 1)
    finer = render_fractions(path, raw_frames=1, upsampling=upsampling)
    assert np.array_equal(finer, wanted)
    assert np.array_equal(render_fractions(path, raw_frames=1, upsampling=upsampling, chosen=[3, 80]), wanted[[3, 80]])
    assert np.array_equal(finer.reshape(84, 96, upsampling, 128, upsampling).sum(axis=(2, 4)), truth)
    assert render_fractions(path, upsampling=upsampling).shape == (42, 96 * upsampling, 128 * upsampling)


def test_an_eer_movie_has_about_forty_frames_and_says_its_pixel(tmp_path: Path) -> None:
    path, truth = make_eer(tmp_path, "--pixel-size", "0.735")
    header = read_header(path)
    assert (header.frame_count, header.stored_frame_count, header.shape_yx) == (42, 84, (96, 128))
    assert header.pixel_size_ang == pytest.approx(0.735)
    assert np.array_equal(read_frames(path), truth.reshape(42, 2, 96, 128).sum(axis=1))
    assert inspect(path).frame_count == 84
    (metadata,) = read_metadata(path)
    assert metadata.total_dose_e_ang2 == pytest.approx(truth.sum() / truth[0].size / 0.735**2, rel=1e-6)
    assert metadata.camera == "Falcon 4"


def test_a_damaged_eer_frame_is_an_error_that_names_it(tmp_path: Path) -> None:
    path, _ = make_eer(tmp_path, "--dose-per-px", "0.1", frames=4)
    with tifffile.TiffFile(path) as tiff:
        offset, size = tiff.pages[1].dataoffsets[0], tiff.pages[1].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset + size // 2 : offset + size] = bytes(size - size // 2)
    path.write_bytes(data)
    with pytest.raises(FormatError, match="raw frame 2"):
        render_fractions(path, raw_frames=2)


def test_only_eer_movies_are_gathered(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts((2, 8, 8)), photometric="minisblack")
    with pytest.raises(FormatError, match="no EER"):
        render_fractions(path, raw_frames=1)


@pytest.mark.parametrize(("content", "sentence"), [(b"", "it is empty"), (b"hello", "does not begin like a TIFF")])
def test_what_only_bears_the_name_of_a_movie_is_refused_by_name(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "movie.tiff"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=sentence):
        read_header(path)


@pytest.mark.parametrize("compression", ["lzw", "zlib", None])
def test_the_decoder_of_a_movie_can_be_loaded_before_it_is_read(tmp_path: Path, compression) -> None:
    frames = np.arange(3 * 8 * 10, dtype=np.uint8).reshape(3, 8, 10)
    movie = tmp_path / "movie.tif"
    tifffile.imwrite(movie, frames, compression=compression, photometric="minisblack")
    load_decoder(movie)
    np.testing.assert_array_equal(read_frames(movie), frames)


def test_there_is_no_decoder_for_what_is_no_movie(tmp_path: Path) -> None:
    movie = tmp_path / "movie.tif"
    movie.write_bytes(b"no movie")
    with pytest.raises(FormatError, match="does not begin like"):
        load_decoder(movie)
