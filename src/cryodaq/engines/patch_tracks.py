"""Tracks of single patches as a STAR file, for people and programs that look at local motion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.formats.star import write_star

if TYPE_CHECKING:
    from cryodaq.imaging.motion_field import MotionField


def write_patch_tracks(path: Path, field: MotionField, *, patches_yx: tuple[int, int], throw: int) -> None:
    """Write where each patch was, as RELION's block `local_shift`: what moves it back, beyond the whole field's shift.

    Rows count in the order in which the movie stores them, pixels are the movie's.

    Parameters
    ----------
    throw
        Frames that were left out at the start; frames are numbered from 1 with them.
    """
    import numpy as np

    rows, columns = patches_yx
    height, width = field.shape_yx
    local = field.mean_px_yx()[:, None, None, :] - field.tiled(patches_yx)
    frame, y, x = np.meshgrid(np.arange(field.frame_count), np.arange(rows), np.arange(columns), indexing="ij")
    table = {
        "rlnMicrographFrameNumber": (frame.ravel() + throw + 1).tolist(),
        "rlnCoordinateX": ((x.ravel() + 0.5) * width / columns).tolist(),
        "rlnCoordinateY": ((y.ravel() + 0.5) * height / rows).tolist(),
        "rlnMicrographShiftX": np.round(local[..., 1].ravel(), 4).tolist(),
        "rlnMicrographShiftY": np.round(local[..., 0].ravel(), 4).tolist(),
    }
    write_star(path, {"local_shift": table})
