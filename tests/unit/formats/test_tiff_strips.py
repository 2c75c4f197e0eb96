"""Pages whose strips are packed, or lie, in unusual ways."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from cryodaq.errors import FormatError
from cryodaq.formats.tiff_pages import TiffPage
from cryodaq.formats.tiff_strips import FileStrips, decode_page

ROWS, WIDTH, ROWS_PER_STRIP = 50, 40, 7


def old_lzw(content: bytes) -> bytes:
    """Codes from their lowest bit on, as writers older than TIFF 6.0 left them; each byte is a code of 9 bits."""
    codes = [256, *(code for at in range(0, len(content), 200) for code in (*content[at : at + 200], 256)), 257]
    bits = sum(code << (9 * number) for number, code in enumerate(codes))
    return bits.to_bytes(-(-9 * len(codes) // 8), "little")


def read(tmp_path: Path, packed: list[bytes], *, gap: int = 0, compression: int = 5) -> np.ndarray:
    file, places = b"begin", []
    for strip in packed:
        places.append((len(file), len(strip)))
        file += strip + bytes(gap)
    path = tmp_path / "a.tif"
    path.write_bytes(file)
    fields = {"height": ROWS, "width": WIDTH, "bits": 8, "sample_format": 1, "samples_per_pixel": 1, "predictor": 1}
    fields |= {"rows_per_strip": ROWS_PER_STRIP, "tiled": False, "byte_order": "<", "pixel_size_ang": None}
    page = TiffPage(**fields, compression=compression, strips=tuple(places), eer_bits=(7, 2, 2), metadata_at=None)
    target = np.zeros((ROWS, WIDTH), np.uint8)
    with path.open("rb") as handle:
        decode_page(FileStrips(path, handle.fileno(), 3), page, target)
    return target


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(5).poisson(1.0, (ROWS, WIDTH)).astype(np.uint8)


def packed_by(picture: np.ndarray, *packers) -> list[bytes]:
    strips = [picture[top : top + ROWS_PER_STRIP].tobytes() for top in range(0, ROWS, ROWS_PER_STRIP)]
    return [packers[number % len(packers)](strip) for number, strip in enumerate(strips)]


@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize(
    "packers",
    [(imagecodecs.lzw_encode,), (old_lzw,), (imagecodecs.lzw_encode, old_lzw), (old_lzw, imagecodecs.lzw_encode)],
)
def test_old_and_usual_codes_may_follow_each_other(tmp_path, picture, packers, gap) -> None:
    np.testing.assert_array_equal(read(tmp_path, packed_by(picture, *packers), gap=gap), picture)


def test_a_last_strip_may_be_filled_up(tmp_path, picture) -> None:
    packed = packed_by(picture, imagecodecs.lzw_encode)
    rest = ROWS % ROWS_PER_STRIP
    filled = np.zeros((ROWS_PER_STRIP, WIDTH), np.uint8)
    filled[:rest] = picture[-rest:]
    np.testing.assert_array_equal(read(tmp_path, [*packed[:-1], imagecodecs.lzw_encode(filled.tobytes())]), picture)


@pytest.mark.parametrize(
    ("packed", "sentence"),
    [
        (imagecodecs.lzw_encode(bytes(200)), "frame 3 is damaged in strip 4 .it holds 200 bytes of 280"),
        (imagecodecs.lzw_encode(bytes(300)), "frame 3 is damaged in strip 4 .LZW codes for more"),
        (b"\x80\x7f\xff\xff\xff", "frame 3 is damaged in strip 4 .LZW codes that mean nothing"),
        (old_lzw(bytes(200)), "frame 3 is damaged in strip 4 .it holds 200 bytes of 280"),
        (b"", "frame 3 is damaged in strip 4"),
    ],
)
def test_a_damaged_strip_is_named(tmp_path, picture, packed, sentence) -> None:
    strips = packed_by(picture, imagecodecs.lzw_encode)
    strips[3] = packed
    with pytest.raises(FormatError, match=sentence):
        read(tmp_path, strips)


def test_too_few_and_too_many_strips_are_refused(tmp_path, picture) -> None:
    packed = packed_by(picture, imagecodecs.lzw_encode)
    with pytest.raises(FormatError, match="too few"):
        read(tmp_path, packed[:-1])
    with pytest.raises(FormatError, match="more strips than rows"):
        read(tmp_path, [*packed, packed[0]])
    with pytest.raises(FormatError, match="compression 77"):
        read(tmp_path, packed, compression=77)
