"""A file is finished when its format says so, and no header makes us read, loop or believe without bound."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path, PurePath

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.formats.closure import inspect
from cryodaq.formats.mrc import write_micrograph

FRAMES = np.random.default_rng(5).poisson(1.0, (4, 32, 48)).astype(np.uint8)


def tiff_bytes(*, bigtiff: bool = False, compression: str | None = "lzw", byteorder: str = "<") -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=bigtiff, byteorder=byteorder) as writer:
        for frame in FRAMES:
            writer.write(frame, compression=compression, photometric="minisblack", contiguous=False, metadata=None)
    return file.getvalue()


def look(data: bytes, name: str) -> tuple[bool | None, int | None]:
    found = inspect(io.BytesIO(data), name=PurePath(name))
    assert (found.problem is None) == (found.closed is True or name.endswith((".bin", ".nav")))
    return found.closed, found.frame_count


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("compression", ["lzw", None])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_whole_tiff_is_closed_with_its_frames(bigtiff: bool, compression: str | None, byteorder: str) -> None:
    data = tiff_bytes(bigtiff=bigtiff, compression=compression, byteorder=byteorder)
    assert look(data, "a.tiff") == (True, 4)


def test_a_tiff_that_is_cut_anywhere_is_never_called_whole() -> None:
    data = tiff_bytes()
    assert look(data, "a.tif") == (True, 4)
    for size in range(1, len(data)):
        closed, frames = look(data[:size], "a.tif")
        assert not closed
        assert (frames or 0) <= 4


def test_a_tiff_growing_page_by_page_counts_its_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    counts = []
    for number in range(1, 4):
        tifffile.imwrite(path, FRAMES[:number], photometric="minisblack", metadata=None)
        counts.append((inspect(path).closed, inspect(path).frame_count))
    assert counts == [(True, 1), (True, 2), (True, 3)]


def test_a_chain_of_pages_that_bites_its_tail_is_refused() -> None:
    data = bytearray(tiff_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * tags, first)
    found = inspect(io.BytesIO(bytes(data)), name=PurePath("a.tif"))
    assert found.closed is False
    assert "comes back" in (found.problem or "")


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_header_that_declares_monstrous_sizes_costs_nothing(bigtiff: bool) -> None:
    data = bytearray(tiff_bytes(bigtiff=bigtiff))
    first = struct.unpack_from("<Q", data, 8)[0] if bigtiff else struct.unpack_from("<I", data, 4)[0]
    start, size, head = (first + 8, 20, "<HHQQ") if bigtiff else (first + 2, 12, "<HHII")
    tags = struct.unpack_from("<Q" if bigtiff else "<H", data, first)[0]
    for at in range(start, start + size * tags, size):
        (tag,) = struct.unpack_from("<H", data, at)
        if tag in {273, 279}:
            struct.pack_into(head, data, at, tag, 4, 2**31, 8)
    began = time.process_time()
    found = inspect(io.BytesIO(bytes(data)), name=PurePath("a.tif"))
    assert found.closed is False
    assert time.process_time() - began < 0.5


@given(
    data=st.binary(max_size=400), name=st.sampled_from(["a.tif", "a.mrc", "a.dm4", "a.xml", "a.jpg", "a.mdoc", "a.png"])
)
def test_any_bytes_are_judged_without_an_exception(data: bytes, name: str) -> None:
    assert inspect(io.BytesIO(data), name=PurePath(name)).size_bytes == len(data)


@given(
    at=st.integers(0, 3000),
    noise=st.binary(min_size=1, max_size=12),
    bigtiff=st.booleans(),
)
def test_a_damaged_tiff_is_judged_without_an_exception(at: int, noise: bytes, bigtiff: bool) -> None:
    data = tiff_bytes(bigtiff=bigtiff)
    at %= len(data)
    assert inspect(io.BytesIO(data[:at] + noise + data[at + len(noise) :]), name=PurePath("a.tif")).size_bytes > 0


def test_an_mrc_is_whole_when_its_size_is_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_micrograph(path, FRAMES[0].astype(np.float32) + 1, pixel_size_ang=1.0)
    data = path.read_bytes()
    assert look(data, "a.mrc") == (True, 1)
    assert look(data[:-1], "a.mrc") == (False, 0)
    assert look(data[:100], "a.mrc") == (False, None)
    assert look(data + b"\1", "a.mrc") == (None, 1)


def test_space_taken_beforehand_does_not_pass_for_a_whole_mrc(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_micrograph(path, np.zeros((64, 64), np.float32), pixel_size_ang=1.0)
    found = inspect(path)
    assert found.closed is None
    assert "zeros" in (found.problem or "")


def test_an_mrc_of_a_hundred_gigabytes_in_a_kilobyte_is_unfinished() -> None:
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, 100_000, 100_000, 10, 1)
    header[212:214] = b"\x44\x44"
    assert look(bytes(header), "a.mrc") == (False, 0)
    struct.pack_into("<4i", header, 0, -5, 100, 10, 1)
    assert look(bytes(header), "a.mrc") == (False, None)


def test_only_what_ends_itself_is_called_sealed() -> None:
    whole = b"<a><b>1</b></a>"
    assert inspect(io.BytesIO(whole), name=PurePath("a.xml")).sealed
    assert not any(inspect(io.BytesIO(whole[:size]), name=PurePath("a.xml")).sealed for size in range(len(whole)))
    mdoc = b"[FrameSet = 0]\nNumSubFrames = 2\nDateTime = now\n"
    assert not inspect(io.BytesIO(mdoc), name=PurePath("a.mdoc")).sealed, "another line may follow"
    assert not inspect(io.BytesIO(tiff_bytes()), name=PurePath("a.tif")).sealed, "another page may follow"


def test_texts_and_pictures_are_whole_at_their_end() -> None:
    assert look(b"<a><b/></a>", "a.xml")[0] is True
    assert look(b"<a><b/>", "a.xml")[0] is False
    assert look(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "a.xml")[0] is False
    assert look(b"\xff\xd8pixels\xff\xd9", "a.jpg")[0] is True
    assert look(b"\xff\xd8pixels\xff\xd9\0\0\0", "a.jpg")[0] is True
    assert look(b"\xff\xd8pixels", "a.jpg")[0] is False
    assert look(b"[FrameSet = 0]\nNumSubFrames = 2\nDateTime = now\n", "a.mdoc")[0] is True
    assert look(b"[FrameSet = 0]\nNumSubFra", "a.mdoc")[0] is False


def test_formats_that_cannot_say_say_so() -> None:
    for name in ("a.nav", "a.bin"):
        assert inspect(io.BytesIO(b"something"), name=PurePath(name)).closed is None
    assert inspect(io.BytesIO(b"[ZValue = 0]\nTiltAngle = 0\n"), name=PurePath("a.mdoc")).closed is None
    assert inspect(io.BytesIO(b""), name=PurePath("a.nav")).closed is False


def test_a_gigabyte_movie_is_judged_in_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    with path.open("wb") as file:  # 40 pages whose pixels are a hole in the file
        file.write(struct.pack("<2sHI", b"II", 42, 8))
        size = 25_000_000
        for page in range(40):
            at = 8 + page * 100
            offset = 8192 + page * size
            fields = [(256, 5000), (257, 5000), (258, 8), (259, 1), (273, offset), (278, 5000), (279, size)]
            body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
            file.write(
                (struct.pack("<H", 7) + body + struct.pack("<I", at + 100 if page < 39 else 0)).ljust(100, b"\0")
            )
        file.truncate(8192 + 40 * size)
    inspect(path)
    began = time.process_time()
    found = inspect(path)
    assert (found.closed, found.frame_count) == (True, 40)
    assert time.process_time() - began < 0.05
