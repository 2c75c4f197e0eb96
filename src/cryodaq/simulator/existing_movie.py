"""An existing movie that the simulated camera sends as if it had just been taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import FormatError
from cryodaq.simulator.acquisition import Shot
from cryodaq.simulator.gain_store import provide_gain_file
from cryodaq.simulator.optics import ImagingConditions

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
MRC_SUFFIXES = frozenset({".mrc", ".mrcs"})
ASSUMED_DEFOCUS_TARGET_ANG = 20_000.0
"""What the metadata says was asked for; what was asked for in truth is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingMovie:
    """Movies to send, one after another and then from the start again, with what must be said about them."""

    paths: tuple[Path, ...]
    gain: Path | None
    """Gain reference (MRC) of all of them; None if they are corrected already."""
    pixel_size_ang: float
    dose_per_frame_e_ang2: float
    voltage_kv: float
    cs_mm: float
    amplitude_contrast: float = 0.1

    def path_for(self, number: int) -> Path:
        """Give the movie to send for an exposure, counted from 0."""
        return self.paths[number % len(self.paths)]


class ExistingMovies:
    """Takes exposures from files."""

    def __init__(self, source: ExistingMovie, *, gains: Path) -> None:
        self._source = source
        self._gain_name = None if source.gain is None else provide_gain_file(gains, source.gain)
        self._conditions = ImagingConditions(
            pixel_size_ang=source.pixel_size_ang,
            dose_per_frame_e_ang2=source.dose_per_frame_e_ang2,
            voltage_kv=source.voltage_kv,
            cs_mm=source.cs_mm,
            amplitude_contrast=source.amplitude_contrast,
        )

    def take(self, number: int) -> Shot:
        """Take the movie for the exposure of this number.

        Raises
        ------
        FormatError
            The movie is damaged, or its truth is.
        """
        path = self._source.path_for(number)
        frame_count, rows, columns = movie_shape(path)
        return Shot(
            conditions=self._conditions,
            frame_count=frame_count,
            shape_yx=(rows, columns),
            frames=read_frames(path),
            target_defocus_ang=ASSUMED_DEFOCUS_TARGET_ANG,
            gain_name=self._gain_name,
            displacement_px_xy=known_displacement(path),
            existing_path=path,
        )


def is_mrc(path: Path) -> bool:
    """Tell MRC from TIFF by the name.

    Raises
    ------
    FormatError
        The movie is neither.
    """
    suffix = path.suffix.lower()
    if suffix not in TIFF_SUFFIXES | MRC_SUFFIXES:
        raise FormatError(path, problem="the simulated camera can send TIFF (.tif) and MRC (.mrc) movies")
    return suffix in MRC_SUFFIXES


def movie_shape(path: Path) -> tuple[int, int, int]:  # (frame, y, x)
    """Read how many frames of which size a movie has.

    Raises
    ------
    FormatError
        The movie is not readable as what its name says.
    """
    import mrcfile
    import tifffile

    if is_mrc(path):
        try:
            with mrcfile.mmap(path, mode="r") as mrc:
                columns, rows, sections = (int(mrc.header[axis]) for axis in ("nx", "ny", "nz"))
        except ValueError as error:
            raise FormatError(path, problem=f"not a readable MRC movie ({error})") from error
        return sections, rows, columns
    try:
        with tifffile.TiffFile(path) as tiff:
            rows, columns = tiff.pages[0].aspage().shape
            return len(tiff.pages), rows, columns
    except (tifffile.TiffFileError, ValueError) as error:
        raise FormatError(path, problem=f"not a readable TIFF movie ({error})") from error


def read_frames(path: Path) -> Iterator[NDArray[np.generic]]:  # (y, x) each
    """Read a movie frame by frame."""
    import mrcfile
    import tifffile

    if is_mrc(path):
        with mrcfile.mmap(path, mode="r") as mrc:
            yield from (np.array(frame) for frame in mrc.data)
        return
    with tifffile.TiffFile(path) as tiff:
        for page in tiff.pages:
            yield page.asarray()


def known_displacement(path: Path) -> tuple[tuple[float, float], ...] | None:
    """Read the drift from the truth of the same stem that lies beside a movie; None if there is no such file.

    Raises
    ------
    FormatError
        The file is there but does not hold a drift.
    """
    truth_path = path.with_suffix(".json")
    if not truth_path.exists():
        return None
    try:
        track = json.loads(truth_path.read_text(encoding="utf-8"))["displacement_px_xy"]
        return tuple((float(x), float(y)) for x, y in track)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(truth_path, problem="it holds no list displacement_px_xy of x, y pairs") from error
