"""What RELION's later jobs want of motion correction: `corrected_micrographs.star`, and one motion STAR a movie.

RELION 3.1 to 5 read both. A shift moves a frame back: it is minus the displacement of the specimen.

RELION (as IMOD and MotionCor) reads the last stored row of a TIFF first. Motion STARs say how the movie moves as
RELION reads it. A micrograph whose rows are in the TIFF's own order is mirrored against that: the sample's tables list
it without its motion, so that polishing stops with a clear word instead of averaging the wrong places; in a project
for polishing (`publish.polishing`) it is turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path, PurePosixPath

from cryodaq.formats.relion_motion import UNOBSERVED
from cryodaq.formats.star import Block, Value, write_star
from cryodaq.publish.growing import write_anew
from cryodaq.publish.star import Optics, as_columns, optics_block, optics_groups

NO_LOCAL_MODEL, THIRD_ORDER_POLYNOMIAL = 0, 1
_SIGNS_WITH_Y_TURNED = tuple(sign for sign in (1.0, 1.0, 1.0, -1.0, 1.0, -1.0) for _ in range(3))
"""Of the 18 coefficients: three powers of time for each of 1, x, x², y, y², xy (RELION's ThirdOrderPolynomialModel)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieMotion:
    """One movie and how its specimen moved. Paths are absolute."""

    movie: str
    gain: str | None
    shape_yx: tuple[int, int]
    frame_count: int
    """All frames of the movie; for EER the gathered ones."""
    throw: int
    """Frames left out at the start."""
    trunc: int = 0
    """Frames left out at the end."""
    pixel_size_ang: float
    """Of the movie, Å."""
    dose_per_frame_e_ang2: float
    """Of a frame as counted by `frame_count`."""
    voltage_kv: float
    displacement_px_xy: tuple[tuple[float, float], ...]
    """Of the specimen in each frame used, relative to the first of them; pixels of the movie, rows as RELION reads."""
    raw_frames_per_frame: int | None = None
    """For EER: camera frames in one frame."""
    binning: float = 1.0
    """Pixels of the movie in one of the micrograph."""
    local_motion_coefficients: tuple[float, ...] = ()
    """RELION's local model, 18 for x and 18 for y, pixels of the movie; empty without one."""

    def rows_turned(self) -> MovieMotion:
        """Return the motion of the same movie read from its last row on: y runs the other way."""
        signs = [along_y * (1.0 if of_x else -1.0) for of_x in (True, False) for along_y in _SIGNS_WITH_Y_TURNED]
        mirrored = zip(self.local_motion_coefficients, signs, strict=False)
        return replace(
            self,
            displacement_px_xy=tuple((x, 0.0 - y) for x, y in self.displacement_px_xy),
            local_motion_coefficients=tuple(coefficient * sign for coefficient, sign in mirrored),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedMicrograph:
    """One row of `corrected_micrographs.star`. Paths are absolute."""

    micrograph: str
    micrograph_dose_weighted: str
    optics: Optics
    motion_star: str | None
    """None where RELION would read the movie's rows in another order than the micrograph's."""
    motion_total_ang: float
    motion_early_ang: float
    motion_late_ang: float


def relion_turns_rows(movie: PurePosixPath) -> bool:
    """Whether RELION reads the last stored row of this movie first."""
    return movie.suffix.lower() in {".tif", ".tiff"}


def motion_blocks(motion: MovieMotion, *, root: PurePosixPath) -> dict[str, Block]:
    """Return the blocks `general` and `global_shift`; paths below `root` become relative to it.

    Raises `ValueError` when there are not as many displacements as frames used.
    """
    used = motion.frame_count - motion.throw - motion.trunc
    if len(motion.displacement_px_xy) != used:
        message = f"{motion.movie} has {used} frames that were used and {len(motion.displacement_px_xy)} displacements"
        raise ValueError(message)
    rows, columns = motion.shape_yx
    general: dict[str, Value] = {
        "rlnImageSizeX": columns,
        "rlnImageSizeY": rows,
        "rlnImageSizeZ": motion.frame_count,
        "rlnMicrographMovieName": _seen_from(root, motion.movie),
        **({} if motion.gain is None else {"rlnMicrographGainName": _seen_from(root, motion.gain)}),
        "rlnMicrographBinning": motion.binning,
        "rlnMicrographOriginalPixelSize": motion.pixel_size_ang,
        "rlnMicrographDoseRate": motion.dose_per_frame_e_ang2,
        "rlnMicrographPreExposure": 0.0,
        "rlnVoltage": motion.voltage_kv,
        "rlnMicrographStartFrame": motion.throw + 1,
        "rlnMotionModelVersion": THIRD_ORDER_POLYNOMIAL if motion.local_motion_coefficients else NO_LOCAL_MODEL,
    }
    if motion.raw_frames_per_frame is not None:
        general |= {"rlnEERGrouping": motion.raw_frames_per_frame, "rlnEERUpsampling": 1}
    unobserved = (UNOBSERVED, UNOBSERVED)
    seen = [(0.0 - x, 0.0 - y) for x, y in motion.displacement_px_xy]
    shifts = [unobserved] * motion.throw + seen + [unobserved] * motion.trunc
    blocks: dict[str, Block] = {
        "general": general,
        "global_shift": {
            "rlnMicrographFrameNumber": list(range(1, motion.frame_count + 1)),
            "rlnMicrographShiftX": [round(x, 6) for x, _ in shifts],
            "rlnMicrographShiftY": [round(y, 6) for _, y in shifts],
        },
    }
    if motion.local_motion_coefficients:
        blocks["local_motion_model"] = {
            "rlnMotionModelCoeffsIdx": list(range(len(motion.local_motion_coefficients))),
            "rlnMotionModelCoeff": [float(f"{value:.9g}") for value in motion.local_motion_coefficients],
        }
    return blocks


CORRECTED_COLUMNS = (
    "rlnMicrographName",
    "rlnMicrographNameNoDW",
    "rlnOpticsGroup",
    "rlnAccumMotionTotal",
    "rlnAccumMotionEarly",
    "rlnAccumMotionLate",
)
METADATA_COLUMN = "rlnMicrographMetadata"


def corrected_columns(*, with_motion: bool) -> tuple[str, ...]:
    """Return the columns of `corrected_micrographs.star`, with or without that of motion STARs."""
    return (*CORRECTED_COLUMNS, METADATA_COLUMN) if with_motion else CORRECTED_COLUMNS


def corrected_micrographs_blocks(micrographs: Sequence[AlignedMicrograph], *, root: PurePosixPath) -> dict[str, Block]:
    """Return the blocks `optics` and `micrographs`; paths become relative to `root`, the sample's folder.

    The column of motion STARs is there only when every micrograph has one: RELION wants a column whole.
    Raises `ValueError` for a micrograph that does not lie below `root`.
    """
    groups = optics_groups([micrograph.optics for micrograph in micrographs])
    with_motion = all(micrograph.motion_star for micrograph in micrographs)
    rows = [
        corrected_row(micrograph, group=groups[micrograph.optics], root=root, with_motion=with_motion)
        for micrograph in micrographs
    ]
    table = as_columns(rows, corrected_columns(with_motion=with_motion))
    return {"optics": optics_block(groups), "micrographs": table}


def corrected_row(micrograph: AlignedMicrograph, *, group: int, root: PurePosixPath, with_motion: bool) -> list[Value]:
    """Return one row, in the order of `corrected_columns`.

    Raises `ValueError` for a micrograph that is not below `root`, or that lacks the motion that is asked for.
    """
    row: list[Value] = [
        str(PurePosixPath(micrograph.micrograph_dose_weighted).relative_to(root)),
        str(PurePosixPath(micrograph.micrograph).relative_to(root)),
        group,
        round(micrograph.motion_total_ang, 3),
        round(micrograph.motion_early_ang, 3),
        round(micrograph.motion_late_ang, 3),
    ]
    if with_motion:
        row.append(str(PurePosixPath(micrograph.motion_star or "").relative_to(root)))
    return row


def write_motion_star(path: Path, motion: MovieMotion, *, root: PurePosixPath) -> None:
    """Write one movie's motion; readers see the old file or the new one, whole.

    Raises `ValueError` as `motion_blocks` does.
    """
    text = StringIO()
    write_star(text, motion_blocks(motion, root=root))
    write_anew(path, [text.getvalue()])


def _seen_from(root: PurePosixPath, path: str) -> str:
    """Return a path relative to `root` where it lies below, else as it is."""
    given = PurePosixPath(path)
    return str(given.relative_to(root)) if given.is_relative_to(root) else str(given)
