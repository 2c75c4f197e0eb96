"""Take a camera's known defects out of a gain reference: factor 0 marks them, and every engine replaces them."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.errors import FormatError
from cryodaq.ledger import events, triggers
from cryodaq.ledger.triggers import WaitingMovie

if TYPE_CHECKING:
    from sqlalchemy import Connection


def gain_without_defects(
    connection: Connection,
    movie: WaitingMovie,
    gain: str,
    *,
    named: str | None,
    of_camera: PurePosixPath | None,
    at: datetime,
) -> str:
    """Return the gain reference that a movie is corrected with: the given one, or a copy of it without defects.

    Parameters
    ----------
    gain
        Absolute path of the reference's copy.
    named
        Base name of the list of defects that the movie's metadata gives; used where the session has it.
    of_camera
        The facility's own list or mask of the camera, for movies that name none.
    """
    if PurePosixPath(movie.path).suffix.lower() == ".eer":
        return gain  # references of EER movies have their defects in them
    found = triggers.copied_file_called(connection, movie.sample_id, named) if named else None
    source = found or (None if of_camera is None else str(of_camera))
    if source is None:
        return gain
    target = Path(gain).with_name(f"{Path(gain).stem}.without-{Path(source).stem}.mrc")
    key = f"defects:{movie.sample_id}"
    if target.is_file():
        return str(target)
    try:
        _write(Path(gain), Path(source), target)
    except (FormatError, OSError) as error:
        message = f"{movie.experiment}: the camera's defects are not taken out of the gain reference: {error}"
        events.raise_alarm(connection, key, severity="warning", message=message, at=at, subject=movie.subject)
        return gain
    events.clear_alarm(connection, key, at=at)
    return str(target)


def _write(gain: Path, defects: Path, target: Path) -> None:
    import numpy as np

    from cryodaq.formats.defects import read_defects, scaled_to
    from cryodaq.formats.gain import read_gain
    from cryodaq.formats.mrc import write_micrograph

    factors, mask = read_gain(gain), read_defects(defects)
    rows, columns = factors.shape
    fitting = scaled_to(mask, (rows, columns))
    if fitting is None:
        problem = (
            f"it is of a camera of {mask.shape[1]} x {mask.shape[0]} px, the gain reference has {columns} x {rows}"
        )
        raise FormatError(defects, problem=problem)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    write_micrograph(part, np.where(fitting, np.float32(0), factors), pixel_size_ang=1.0)
    part.replace(target)
