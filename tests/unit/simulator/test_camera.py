"""Movies grow as a camera writes them, and break as files break."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cryodaq.errors import FormatError
from cryodaq.simulator.camera import (
    GrowingTiff,
    corrupt_one_strip,
    encode_tiff,
    write_jpg,
    write_mrc_movie,
    write_tiff_movie,
    write_truncated,
)


def counts(frame_count: int = 4, shape_yx: tuple[int, int] = (150, 97)) -> NDArray[np.uint8]:
    return np.random.default_rng(3).poisson(1.5, (frame_count, *shape_yx)).astype(np.uint8)


def read(content: bytes) -> NDArray[np.generic]:
    with tifffile.TiffFile(BytesIO(content)) as tiff:
        return np.stack([page.asarray() for page in tiff.pages])


def test_a_growing_movie_is_a_valid_tiff_after_every_page(tmp_path: Path) -> None:
    frames, path, seen = counts(), tmp_path / "growing.tif", []

    def look() -> None:
        seen.append(len(seen) + 1)
        np.testing.assert_array_equal(read(path.read_bytes()), frames[: len(seen)])

    write_tiff_movie(path, frames, pause=look)
    assert seen == [1, 2, 3, 4]


class _Recorder(BytesIO):
    """Keeps the file's content as it was at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[bytes] = []

    def flush(self) -> None:
        self.states.append(self.getvalue())


def test_between_two_pages_the_movie_is_still_the_valid_shorter_one() -> None:
    """A page's strips and directory come first and the link to it last, as libtiff does it."""
    frames, handle = counts(), _Recorder()
    movie = GrowingTiff(handle)
    for frame in frames:
        movie.append(frame)
    pages = [len(read(state)) for state in handle.states if struct.unpack_from("<I", state, 4)[0]]
    assert sorted(pages) == pages
    assert {pages.count(n) for n in (1, 2, 3)} == {3}
    assert pages[-1] == 4


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.float32])
def test_every_kind_of_pixel_comes_back(dtype: type[np.generic]) -> None:
    frames = counts().astype(dtype)
    found = read(encode_tiff(frames))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, frames)


def test_the_movie_is_lzw_compressed_with_one_page_a_frame() -> None:
    with tifffile.TiffFile(BytesIO(encode_tiff(counts()))) as tiff:
        page = tiff.pages[0].aspage()
        assert len(tiff.pages) == 4
        assert page.compression == tifffile.COMPRESSION.LZW
        assert len(page.dataoffsets) == 3


def test_a_corrupt_strip_cannot_be_decoded_and_harms_one_page_only() -> None:
    frames = counts()
    with tifffile.TiffFile(BytesIO(corrupt_one_strip(encode_tiff(frames)))) as tiff:
        assert len(tiff.pages) == 4
        np.testing.assert_array_equal(tiff.pages[1].asarray(), frames[1])
        with pytest.raises(Exception, match=r"(?i)lzw"):
            tiff.pages[2].asarray()


def test_a_truncated_movie_is_never_whole_on_the_way(tmp_path: Path) -> None:
    whole, path, sizes = encode_tiff(counts()), tmp_path / "cut.tif", []
    write_truncated(path, whole, pause=lambda: sizes.append(path.stat().st_size))
    assert sizes == sorted(set(sizes))
    assert path.read_bytes() == whole[: int(len(whole) * 0.6)]


def test_an_mrc_movie_grows_to_the_same_bytes(tmp_path: Path) -> None:
    source, path, sizes = tmp_path / "source.mrc", tmp_path / "sent.mrc", []
    with mrcfile.new(source) as mrc:
        mrc.set_data(counts().astype(np.int8))
    write_mrc_movie(path, source, frame_count=4, pause=lambda: sizes.append(path.stat().st_size))
    assert sizes == [1024 + 150 * 97 * frame for frame in (1, 2, 3, 4)]
    assert path.read_bytes() == source.read_bytes()


def test_a_short_mrc_movie_says_that_it_is_short(tmp_path: Path) -> None:
    source, path = tmp_path / "source.mrc", tmp_path / "sent.mrc"
    with mrcfile.new(source) as mrc:
        mrc.set_data(counts().astype(np.int16))
    write_mrc_movie(path, source, frame_count=3, pause=lambda: None)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, counts()[:3])


def test_an_mrc_of_complex_numbers_is_no_movie(tmp_path: Path) -> None:
    source = tmp_path / "source.mrc"
    with mrcfile.new(source) as mrc:
        mrc.set_data(counts().astype(np.complex64))
    with pytest.raises(FormatError, match="mode 4"):
        write_mrc_movie(tmp_path / "sent.mrc", source, frame_count=4, pause=lambda: None)


def test_a_picture_without_any_contrast_can_be_written(tmp_path: Path) -> None:
    write_jpg(tmp_path / "flat.jpg", np.ones((32, 48), dtype=np.float32))
    assert (tmp_path / "flat.jpg").read_bytes().startswith(b"\xff\xd8")
