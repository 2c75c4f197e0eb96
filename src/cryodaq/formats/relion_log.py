"""What RELION's own motion correction prints about one movie (`<micrograph>.log`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from cryodaq.errors import FormatError

_SIZE = re.compile(r"^Movie size: X = (\d{1,9}) Y = (\d{1,9}) N = (\d{1,9})$", re.M)
_USED = re.compile(r"^Frames to be used: ((?:\d{1,9} +)*\d{1,9}) *$", re.M)
_HOT = re.compile(r"^Detected (\d{1,9}) hot pixels to be corrected\.$", re.M)
_PATCHES = re.compile(r"^Patches: X = (\d{1,9}) Y = (\d{1,9})$", re.M)
_FIT = re.compile(r"^Polynomial fit RMSD: X = (\S+) px Y = (\S+) px$", re.M)
_WRITTEN = re.compile(r"^Written aligned and dose-weighted sum to (\S+)$", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelionMotionLog:
    """One movie's alignment as RELION reported it."""

    shape_yx: tuple[int, int]
    frame_count: int
    frames_used: tuple[int, ...]
    """Counted from 1."""
    hot_pixels: int | None
    patches_yx: tuple[int, int] | None
    local_fit_rmsd_px_xy: tuple[float, float] | None
    """Of the patches' tracks from the polynomial; None where no local motion was fitted."""
    dose_weighted: str | None
    """The micrograph that was written last; None where the log ends before."""


def parse_relion_motion_log(text: str, *, path: PurePath) -> RelionMotionLog:
    """Return what a log says; raises `FormatError` when it is not RELION's log of a movie."""
    size, used = _SIZE.search(text), _USED.search(text)
    if size is None or used is None:
        raise FormatError(path, problem="it does not say the movie's size and the frames used")
    hot, patches, fit, written = (pattern.search(text) for pattern in (_HOT, _PATCHES, _FIT, _WRITTEN))
    try:
        rmsd = None if fit is None else (float(fit[1]), float(fit[2]))
    except ValueError as error:
        raise FormatError(path, problem="its polynomial fit RMSD is no number") from error
    return RelionMotionLog(
        shape_yx=(int(size[2]), int(size[1])),
        frame_count=int(size[3]),
        frames_used=tuple(int(word) for word in used[1].split()),
        hot_pixels=None if hot is None else int(hot[1]),
        patches_yx=None if patches is None else (int(patches[2]), int(patches[1])),
        local_fit_rmsd_px_xy=rmsd,
        dose_weighted=None if written is None else written[1],
    )
