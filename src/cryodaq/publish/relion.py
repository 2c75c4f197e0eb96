"""What RELION's later jobs want of motion correction: `corrected_micrographs.star`, and one motion STAR a movie.

RELION 3.1 to 5 read both. A shift moves a frame back: it is minus the displacement of the specimen. Our motion is
one of whole frames, so there is no local model.

RELION (as IMOD and MotionCor) reads the last stored row of a TIFF first. A micrograph whose rows are in the TIFF's
own order is therefore mirrored against what RELION's polishing would cut out of the movie; such a micrograph is
listed without its motion, so that polishing stops with a clear word instead of averaging the wrong places.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cryodaq.formats.relion_motion import UNOBSERVED
from cryodaq.formats.star import Block, Value, write_star
from cryodaq.publish.star import Optics, optics_block, optics_groups

NO_LOCAL_MODEL = 0


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
    pixel_size_ang: float
    """Of the movie, Å."""
    dose_per_frame_e_ang2: float
    """Of a frame as counted by `frame_count`."""
    voltage_kv: float
    displacement_px_xy: tuple[tuple[float, float], ...]
    """Of the specimen in each frame used, relative to the first of them; pixels of the movie."""
    raw_frames_per_frame: int | None = None
    """For EER: camera frames in one frame."""


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
    used = motion.frame_count - motion.throw
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
        "rlnMicrographBinning": 1.0,
        "rlnMicrographOriginalPixelSize": motion.pixel_size_ang,
        "rlnMicrographDoseRate": motion.dose_per_frame_e_ang2,
        "rlnMicrographPreExposure": 0.0,
        "rlnVoltage": motion.voltage_kv,
        "rlnMicrographStartFrame": motion.throw + 1,
        "rlnMotionModelVersion": NO_LOCAL_MODEL,
    }
    if motion.raw_frames_per_frame is not None:
        general |= {"rlnEERGrouping": motion.raw_frames_per_frame, "rlnEERUpsampling": 1}
    shifts = [(UNOBSERVED, UNOBSERVED)] * motion.throw + [(0.0 - x, 0.0 - y) for x, y in motion.displacement_px_xy]
    return {
        "general": general,
        "global_shift": {
            "rlnMicrographFrameNumber": list(range(1, motion.frame_count + 1)),
            "rlnMicrographShiftX": [round(x, 6) for x, _ in shifts],
            "rlnMicrographShiftY": [round(y, 6) for _, y in shifts],
        },
    }


def corrected_micrographs_blocks(micrographs: Sequence[AlignedMicrograph], *, root: PurePosixPath) -> dict[str, Block]:
    """Return the blocks `optics` and `micrographs`; paths become relative to `root`, the sample's folder.

    The column of motion STARs is there only when every micrograph has one: RELION wants a column whole.
    Raises `ValueError` for a micrograph that does not lie below `root`.
    """
    groups = optics_groups([micrograph.optics for micrograph in micrographs])

    def below(path: str) -> str:
        return str(PurePosixPath(path).relative_to(root))

    table: dict[str, list[Value]] = {
        "rlnMicrographName": [below(micrograph.micrograph_dose_weighted) for micrograph in micrographs],
        "rlnMicrographNameNoDW": [below(micrograph.micrograph) for micrograph in micrographs],
    }
    stars = [micrograph.motion_star for micrograph in micrographs]
    if all(stars):
        table["rlnMicrographMetadata"] = [below(star) for star in stars if star is not None]
    table |= {
        "rlnOpticsGroup": [groups[micrograph.optics] for micrograph in micrographs],
        "rlnAccumMotionTotal": [round(micrograph.motion_total_ang, 3) for micrograph in micrographs],
        "rlnAccumMotionEarly": [round(micrograph.motion_early_ang, 3) for micrograph in micrographs],
        "rlnAccumMotionLate": [round(micrograph.motion_late_ang, 3) for micrograph in micrographs],
    }
    return {"optics": optics_block(groups), "micrographs": table}


def write_motion_star(path: Path, motion: MovieMotion, *, root: PurePosixPath) -> None:
    """Write one movie's motion; readers see the old file or the new one, whole."""
    _write_whole(path, motion_blocks(motion, root=root))


def write_corrected_micrographs_star(
    path: Path, micrographs: Sequence[AlignedMicrograph], *, root: PurePosixPath
) -> None:
    """Write all micrographs; readers see the old file or the new one, whole."""
    _write_whole(path, corrected_micrographs_blocks(micrographs, root=root))


def _write_whole(path: Path, blocks: Mapping[str, Block]) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="\n") as handle:
        write_star(handle, blocks)
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(path)


def _seen_from(root: PurePosixPath, path: str) -> str:
    """Return a path relative to `root` where it lies below, else as it is."""
    given = PurePosixPath(path)
    return str(given.relative_to(root)) if given.is_relative_to(root) else str(given)
