"""A movie as external programs take it, and their sums as we keep them.

IMOD, RELION and MotionCor turn the rows of a TIFF around when they read it, so that their pictures begin with
the last stored row; MRC and EER they read as stored. Pictures of cryodaq have the rows in the order in which the
movie stores them: gain references are turned on their way to a program, sums and shifts on their way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.errors import EngineError, ImagingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cryodaq.formats.movie import MovieHeader
    from cryodaq.imaging.detector import CorrectedSum

MovieKind = Literal["tiff", "mrc", "eer"]
LINK_NAMES: dict[MovieKind, str] = {"tiff": "movie.tiff", "mrc": "movie.mrcs", "eer": "movie.eer"}
GAIN_NAME = "gain.mrc"


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieInput:
    """One movie, laid out in the attempt's folder under a name that no program trips over."""

    kind: MovieKind
    link: Path
    gain: NDArray[np.float32] | None
    """(y, x), factors in the order of stored rows; 0 marks a defect."""
    gain_orientation: str | None
    """How the reference was turned for that: as other movies of the camera showed, else as this one does."""
    gain_orientation_certain: bool
    """Whether this movie showed it, or, where nothing is to be applied, that the camera has applied it."""
    frame_count: int
    """Frames that are aligned: an EER movie's raw frames are gathered."""
    raw_frames_per_frame: int
    shape_yx: tuple[int, int]
    dose_per_frame_e_ang2: float
    """Of an aligned frame."""
    throw: int
    """Frames left out at the start."""
    trunc: int
    """Frames left out at the end."""

    @property
    def used_frame_count(self) -> int:
        """Frames that are added up."""
        return self.frame_count - self.throw - self.trunc

    @property
    def rows_turned(self) -> bool:
        """Whether programs read the last stored row first."""
        return self.kind == "tiff"


def check_frame_count(found: int, parameters: ImagingParameters) -> None:
    """Raise `ImagingError` when a movie has other frames than it should have."""
    expected = parameters.frame_count
    if expected is not None and int(expected.value) != found:
        message = (
            f"the movie has {found} frames, {expected.source} says {expected.value:.0f}; "
            "correct total_frames or look for the missing frames on the microscope"
        )
        raise ImagingError(message)


def lay_out_movie(movie: Path, *, gain: Path | None, parameters: ImagingParameters, folder: Path) -> MovieInput:
    """Check a movie and link it into `folder`.

    Raises
    ------
    FormatError
        Movie or gain reference cannot be read.
    ImagingError
        It has other frames than expected, or all of them would be thrown away.
    """
    from cryodaq.formats.gain import read_event_gain, read_gain
    from cryodaq.formats.movie import read_header
    from cryodaq.imaging.detector import check_gain

    header = read_header(movie)
    check_frame_count(header.stored_frame_count, parameters)
    kind = _kind(movie, header)
    if min(parameters.throw, parameters.trunc) < 0 or parameters.throw + parameters.trunc >= header.frame_count:
        message = (
            f"throw {parameters.throw} and trunc {parameters.trunc} leave none of {header.frame_count} frames; "
            "give smaller ones"
        )
        raise ImagingError(message)
    turned = _Turned(factors=None, orientation=None, certain=False)
    if gain is not None:
        stored = check_gain((read_event_gain if kind == "eer" else read_gain)(gain), shape_yx=header.shape_yx)
        turned = _turned(stored, movie, usual=parameters.usual_gain_orientation)
    link = folder / LINK_NAMES[kind]
    link.unlink(missing_ok=True)
    link.symlink_to(movie.resolve())
    gathered = header.stored_per_frame
    return MovieInput(
        kind=kind,
        link=link,
        gain=turned.factors,
        gain_orientation=turned.orientation,
        gain_orientation_certain=turned.certain,
        frame_count=header.frame_count,
        raw_frames_per_frame=gathered,
        shape_yx=header.shape_yx,
        dose_per_frame_e_ang2=parameters.dose_per_frame_e_ang2.value * gathered,
        throw=parameters.throw,
        trunc=parameters.trunc,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turned:
    factors: NDArray[np.float32] | None
    orientation: str | None
    certain: bool


def _turned(stored: NDArray[np.float32], movie: Path, *, usual: str | None) -> _Turned:
    """Return the factors in the orientation that other movies showed; the first movie is looked at itself."""
    from cryodaq.formats.movie import read_frames
    from cryodaq.imaging.detector import sum_frames
    from cryodaq.imaging.gain import gain_as_applied

    shape_yx = (stored.shape[0], stored.shape[1])
    if usual is not None:
        factors = gain_as_applied(stored, orientation=usual, shape_yx=shape_yx)
        return _Turned(factors=factors, orientation=usual, certain=False)
    shown = sum_frames(read_frames(movie), gain=stored)
    if shown.gain_orientation is None:  # the camera has corrected the frames already
        return _Turned(factors=None, orientation=None, certain=shown.gain_orientation_certain)
    factors = gain_as_applied(stored, orientation=shown.gain_orientation, shape_yx=shape_yx)
    return _Turned(factors=factors, orientation=shown.gain_orientation, certain=shown.gain_orientation_certain)


def _kind(movie: Path, header: MovieHeader) -> MovieKind:
    with movie.open("rb") as handle:
        is_tiff = handle.read(2) in {b"II", b"MM"}
    if header.stored_frame_count != header.frame_count or movie.suffix.lower() == ".eer":
        return "eer"
    return "tiff" if is_tiff else "mrc"


def write_gain(given: MovieInput, *, pixel_size_ang: float, folder: Path, divides: bool = False) -> Path | None:
    """Write the gain reference as the program wants it, MRC, rows as the program reads the movie's.

    Parameters
    ----------
    divides
        Write what frames are divided by instead of the factor; defects stay 0.
    """
    import numpy as np

    from cryodaq.formats.mrc import write_micrograph

    if given.gain is None:
        return None
    values = given.gain
    if divides:
        values = np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
    path = folder / GAIN_NAME
    write_micrograph(path, values[::-1] if given.rows_turned else values, pixel_size_ang=pixel_size_ang)
    return path


def read_sum(made: Path, *, given: MovieInput, program: str) -> NDArray[np.float32]:  # (y, x)
    """Return a program's sum with the rows in stored order.

    Raises
    ------
    EngineError
        The program left no sum, or one of another size.
    """
    from cryodaq.formats.mrc import read_micrograph

    if not made.is_file():
        raise EngineError(program, problem=f"it ended well but left no {made.name}")
    picture, _ = read_micrograph(made)
    if picture.shape != given.shape_yx:
        problem = f"{made.name} has the shape {picture.shape} (y, x), the movie {given.shape_yx}"
        raise EngineError(program, problem=problem)
    return picture[::-1] if given.rows_turned else picture


def displacements_px_yx(
    shifts_px_xy: tuple[tuple[float, float], ...],
    *,
    rows_turned: bool,
) -> NDArray[np.float64]:  # (frame, yx)
    """Return where the specimen went, relative to the first frame, from the shifts that undo it.

    RELION's and MotionCor's shifts move a frame back: they are minus the displacement, in their order of rows.
    """
    import numpy as np

    shifts = np.array(shifts_px_xy, np.float64)
    went = shifts[0] - shifts
    return np.stack([-went[:, 1] if rows_turned else went[:, 1], went[:, 0]], axis=1)


def sum_unaligned(given: MovieInput) -> CorrectedSum:
    """Add the frames up as recorded, gain applied, hot pixels replaced: no program leaves this sum."""
    from cryodaq.formats.movie import read_frames
    from cryodaq.imaging.detector import sum_frames

    return sum_frames(read_frames(given.link)[given.throw : given.frame_count - given.trunc], gain=given.gain)
