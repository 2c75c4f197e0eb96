"""Movies: stacks of frames in TIFF, MRC and EER files.

A frame is either what the camera wrote or an error that names it; strips are therefore decoded one by one, each
with its own buffer, and their lengths are checked (an image library's shared handle once gave a corrupt strip).
Rows come in the order in which the file stores them.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import FormatError, TruncatedFileError
from cryodaq.formats.mrc import HEADER_BYTES, parse_mrc_header, read_sections
from cryodaq.formats.tiff_pages import EER_COMPRESSIONS, TiffPage, TiffReader
from cryodaq.formats.tiff_strips import LZW, FileStrips, decode_page

MAX_STACK_BYTES = 64_000_000_000
MAX_EXPANSION = 5_000
"""No compression in use here makes more out of a byte: a header that claims so is damaged or hostile."""
EER_FRACTIONS = 40
"""Frames into which the raw frames of an EER movie are gathered where nobody says otherwise."""

DOUBLINGS = {1: 0, 2: 1, 4: 2}
"""How often the sensor's pixels are halved for each upsampling."""

_DTYPE = {(1, 8): "u1", (2, 8): "i1", (1, 16): "u2", (2, 16): "i2", (1, 32): "u4", (2, 32): "i4", (3, 32): "f4"}
_NAMES_OF_TIFF = frozenset({".tif", ".tiff", ".eer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieHeader:
    """What a movie is, without its pixels."""

    frame_count: int
    """Frames that `read_frames` returns."""
    stored_frame_count: int
    """Frames in the file: more than `frame_count` for EER, whose raw frames are gathered."""
    shape_yx: tuple[int, int]
    dtype: np.dtype[np.generic]
    pixel_size_ang: float | None

    @property
    def stored_per_frame(self) -> int:
        """Stored frames of which each frame of `read_frames` consists."""
        return self.stored_frame_count // self.frame_count


def read_header(path: Path) -> MovieHeader:
    """Return what a movie is; reads no pixels.

    Raises
    ------
    TruncatedFileError
        The file ends too early.
    FormatError
        It is no movie that can be read, or its frames differ in size.
    """
    if not _is_tiff(path):
        with path.open("rb") as handle:
            header = parse_mrc_header(handle.read(HEADER_BYTES), path=path)
        return MovieHeader(
            frame_count=header.sections,
            stored_frame_count=header.sections,
            shape_yx=header.shape_yx,
            dtype=header.dtype.newbyteorder("="),
            pixel_size_ang=header.pixel_size_ang,
        )
    pages, pixel_size_ang = _pages(path)
    first = pages[0]
    group = raw_frames_per_fraction(len(pages)) if _is_eer(first) else 1
    return MovieHeader(
        frame_count=len(pages) // group,
        stored_frame_count=len(pages),
        shape_yx=(first.height, first.width),
        dtype=_event_dtype(group) if _is_eer(first) else _dtype(first, path=path, frame=1),
        pixel_size_ang=pixel_size_ang,
    )


def load_decoder(path: Path) -> None:
    """Load the compiled loops that decode this movie, which threads that read it would wait for.

    Raises `FormatError` when it is no movie that can be read.
    """
    if _is_tiff(path):
        _load_loops(_pages(path)[0][0])


def read_frames(path: Path, *, threads: int = 2) -> NDArray[np.generic]:
    """Return all frames (frame, y, x) in the type in which they are stored.

    EER movies are gathered into about `EER_FRACTIONS` frames; `render_fractions` lets one choose.

    Raises
    ------
    TruncatedFileError
        A frame is missing or cut; the message names it.
    FormatError
        A frame is damaged or unlike the first; the message names it.
    """
    if not _is_tiff(path):
        return read_sections(path)[0]
    pages, _ = _pages(path)
    first = pages[0]
    if _is_eer(first):
        return _render(path, pages, group=raw_frames_per_fraction(len(pages)), doublings=0, threads=threads)
    frames = np.empty((len(pages), first.height, first.width), dtype=_dtype(first, path=path, frame=1))
    with path.open("rb") as handle, ThreadPoolExecutor(threads) as pool:
        loading = pool.submit(_load_loops, first)
        for frame in frames:
            if loading.done():
                break
            _find_memory(frame)
        loading.result()

        def decode(number: int) -> None:
            decode_page(FileStrips(path, handle.fileno(), number + 1), pages[number], frames[number])

        for _ in pool.map(decode, range(len(pages))):
            pass
    return frames


def render_fractions(
    path: Path,
    *,
    raw_frames: int | None = None,
    upsampling: int = 1,
    threads: int = 2,
    chosen: Sequence[int] | None = None,
) -> NDArray[np.generic]:
    """Return the frames (frame, y, x) of an EER movie: counted electrons.

    Parameters
    ----------
    raw_frames
        Camera frames in one frame; what is left at the end and fills no whole frame is left out. None: as many as
        `read_frames` gathers.
    upsampling
        Pixels along each edge of one of the sensor's: 1, 2 or 4.
    chosen
        Which frames to return, counted from 0. None: all of them.

    Raises
    ------
    FormatError
        It is no EER movie, has fewer raw frames, its events have no such fine places, or one of them is damaged.
    """
    pages, _ = _pages(path) if _is_tiff(path) else ([], None)
    if not pages or not _is_eer(pages[0]):
        raise FormatError(path, problem="it is no EER movie")
    group = raw_frames_per_fraction(len(pages)) if raw_frames is None else raw_frames
    if not 1 <= group <= len(pages):
        raise FormatError(path, problem=f"its {len(pages)} raw frames cannot be gathered by {group}")
    return _render(path, pages, group=group, doublings=DOUBLINGS[upsampling], threads=threads, chosen=chosen)


def raw_frames_per_fraction(stored_frame_count: int) -> int:
    """Return how many raw EER frames `read_frames` gathers into one."""
    return max(1, stored_frame_count // EER_FRACTIONS)


def _find_memory(frame: NDArray[np.generic]) -> None:
    """Have the system find a frame's memory, which decoding would wait for."""
    frame.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE] = 0


def _load_loops(page: TiffPage) -> None:
    if page.compression == LZW:
        from cryodaq.formats import lzw  # numba, needed for LZW only

        lzw.load()
    elif _is_eer(page):
        from cryodaq.formats import eer  # noqa: F401  # numba, needed for EER only


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as handle:
        begins = handle.read(4)
    if begins in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return True
    if path.suffix.lower() in _NAMES_OF_TIFF:
        if len(begins) < 4:
            raise TruncatedFileError(path, problem="it is empty")
        raise FormatError(
            path, problem="it does not begin like a TIFF or EER file; give the file that the camera wrote"
        )
    return False


def _is_eer(page: TiffPage) -> bool:
    return page.compression in EER_COMPRESSIONS


def _pages(path: Path) -> tuple[list[TiffPage], float | None]:
    """Return the pages, all alike, and the pixel size that the file declares."""
    with path.open("rb") as handle:
        size_bytes = os.fstat(handle.fileno()).st_size
        reader = TiffReader(handle, size_bytes, path=path)
        pages = list(reader.pages())
        first = pages[0]
        pixel_size_ang = first.pixel_size_ang
        if first.metadata_at is not None and first.metadata_at[1] < 1_000_000:
            pixel_size_ang = _eer_pixel_size_ang(reader.bytes_at(*first.metadata_at)) or pixel_size_ang
    if first.tiled or first.samples_per_pixel != 1:
        problem = "it is a tiled or a coloured TIFF, which no camera writes as a movie; give what the camera wrote"
        raise FormatError(path, problem=problem)
    kind = (first.height, first.width, first.bits, first.sample_format, first.compression)
    for number, page in enumerate(pages, start=1):
        if (page.height, page.width, page.bits, page.sample_format, page.compression) != kind or page.tiled:
            problem = (
                f"frame {number} is {page.height} x {page.width} and unlike the first, {first.height} x {first.width}; "
                "these are frames of two movies: have the camera write each into a file of its own"
            )
            raise FormatError(path, problem=problem)
    bytes_per_pixel = max(first.bits, 8) // 8
    if first.height * first.width * bytes_per_pixel * len(pages) > MAX_STACK_BYTES:
        raise FormatError(path, problem=f"its header declares more than {MAX_STACK_BYTES // 10**9} GB of pixels")
    if first.height * first.width * bytes_per_pixel > MAX_EXPANSION * size_bytes:
        raise FormatError(path, problem="its header declares more pixels than the file can hold")
    return pages, pixel_size_ang


def _dtype(page: TiffPage, *, path: Path, frame: int) -> np.dtype[np.generic]:
    code = _DTYPE.get((page.sample_format, page.bits))
    if code is None:
        problem = f"frame {frame} has {page.bits} bits a pixel of sample format {page.sample_format}"
        raise FormatError(path, problem=f"{problem}, which is not supported")
    return np.dtype(code)


def _event_dtype(group: int) -> np.dtype[np.generic]:
    """Return a type that holds `group` raw frames: a pixel has at most one event in each."""
    return np.dtype(np.uint8 if group <= 255 else np.uint16)


def _render(
    path: Path,
    pages: Sequence[TiffPage],
    *,
    group: int,
    doublings: int,
    threads: int,
    chosen: Sequence[int] | None = None,
) -> NDArray[np.generic]:
    from cryodaq.formats.eer import add_events  # numba, needed for EER only

    first = pages[0]
    sensor_px, finer = first.height * first.width, (first.width, doublings)
    chosen = range(len(pages) // group) if chosen is None else chosen
    shape = len(chosen), first.height << doublings, first.width << doublings
    if shape[0] * shape[1] * shape[2] * _event_dtype(group).itemsize > MAX_STACK_BYTES:
        raise FormatError(path, problem=f"so finely it would be more than {MAX_STACK_BYTES // 10**9} GB of pixels")
    fractions = np.zeros((shape[0], sensor_px << (2 * doublings)), dtype=_event_dtype(group))

    def render(descriptor: int, bits: tuple[int, int, int, int], number: int) -> None:
        for index in range(chosen[number] * group, (chosen[number] + 1) * group):
            strip = _whole_strip(FileStrips(path, descriptor, index + 1), pages[index])
            if add_events(strip, fractions[number], bits, finer) != sensor_px:
                problem = f"raw frame {index + 1} is damaged: its events do not end at its last pixel"
                raise FormatError(path, problem=f"{problem}; copy the movie again")

    with path.open("rb") as handle, ThreadPoolExecutor(threads) as pool:
        bits = _event_bits(path, handle.fileno(), pages)
        if doublings > min(bits[1], bits[2]):
            raise FormatError(path, problem=f"its events' places have {bits[1]} and {bits[2]} bits; choose 1 or 2")
        for _ in pool.map(partial(render, handle.fileno(), bits), range(len(fractions))):
            pass
    return fractions.reshape(shape)


def _whole_strip(strips: FileStrips, page: TiffPage) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(strips.bytes_at(*strip) for strip in page.strips), np.uint8)


def _event_bits(path: Path, descriptor: int, pages: Sequence[TiffPage]) -> tuple[int, int, int, int]:
    """Return the bits of runs and places, and those after an all-ones run, on which programs disagree.

    The first frame that ends right for one of both habits only tells.
    """
    from cryodaq.formats.eer import add_events

    first = pages[0]
    run_bits, horizontal, vertical = first.eer_bits
    sub_bits = horizontal + vertical
    if not (1 <= run_bits <= 16 and 0 <= sub_bits <= 16):
        problem = f"its event codes have {run_bits} + {sub_bits} bits, which is not supported"
        raise FormatError(path, problem=problem)
    habits = (run_bits, horizontal, vertical, 0), (run_bits, horizontal, vertical, sub_bits)
    scratch = np.zeros(first.height * first.width, np.uint8)
    for index in range(len(pages) if first.compression == 65000 else 0):
        strip = _whole_strip(FileStrips(path, descriptor, index + 1), pages[index])
        fits = [add_events(strip, scratch, habit, (first.width, 0)) == scratch.size for habit in habits]
        if fits[0] != fits[1]:
            return habits[0] if fits[0] else habits[1]
    return habits[0]


def _eer_pixel_size_ang(metadata: bytes) -> float | None:
    """Return the specimen pixel size that the acquisition metadata of an EER file declares (in metres)."""
    found = re.search(rb'name="sensorPixelSize\.width"[^>]*>\s*([0-9.eE+-]{1,30})\s*<', metadata)
    try:
        metres = float(found[1]) if found else 0.0
    except ValueError:
        return None
    return metres * 1e10 if 1e-12 < metres < 1e-6 else None
