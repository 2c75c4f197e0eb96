"""Bind a movie's gain reference: the one that its metadata names, else the newest older one that fits its frames."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.mask_defects import gain_without_defects
from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.domain.gain_fit import other_mode
from cryodaq.domain.layout import SampleLayout
from cryodaq.domain.names import safe_component
from cryodaq.errors import FormatError, UnsafeNameError
from cryodaq.ledger import triggers
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ledger.triggers import GainCandidate, WaitingMovie

if TYPE_CHECKING:
    from sqlalchemy import Connection

SIDES = (0.5, 1.0, 2.0)
"""Side of a gain reference in sides of the frames: super-resolution doubles one or the other."""


def gain_is_bound(
    connection: Connection,
    movie: WaitingMovie,
    sample: SampleRecord,
    metadata: AcquisitionMetadata | None,
    *,
    defects: PurePosixPath | None,
    at: datetime,
) -> bool:
    """Bind the movie's gain once it is copied and fits; until then the movie waits, and says for what.

    Parameters
    ----------
    defects
        The facility's own list or mask of the camera's defects, for movies that name none.
    """
    if movie.gain_target is not None:
        return True
    if triggers.has_unsettled_gain(connection, movie.microscope):
        triggers.keep_waiting(connection, movie, "waits for a gain reference that is being written", at=at)
        return False
    candidates = triggers.gain_candidates(connection, movie)
    ordered = in_order_of_choice(
        candidates,
        named=metadata.gain_file_name if metadata else None,
        movie_mtime_ns=movie.source_mtime_ns,
    )
    misfits: list[str] = []
    for candidate in ordered:
        if candidate.target is None:
            _fetch(connection, movie, sample, candidate, at)
            return False
        try:
            why = _misfit(Path(candidate.target), Path(movie.target), metadata=metadata)
        except (FormatError, OSError) as error:
            triggers.keep_waiting(connection, movie, f"its gain reference cannot be read: {error}", at=at)
            return False
        if why is None:
            named = metadata.defect_file_name if metadata else None
            target = gain_without_defects(connection, movie, candidate.target, named=named, of_camera=defects, at=at)
            if target not in movie.refused_gains:
                triggers.bind_gain(connection, movie.id, target)
                return True
            why = "is not its own, as its frames show"
        misfits.append(f"{candidate.name} {why}")
    newer = f"{len(candidates)} are newer than the movie" if candidates else "none was found"
    found = f"none fits: {'; '.join(misfits)}" if misfits else newer
    triggers.keep_waiting(connection, movie, f"waits for a gain reference: {found}", at=at)
    return False


def in_order_of_choice(
    candidates: Sequence[GainCandidate], *, named: str | None, movie_mtime_ns: int
) -> list[GainCandidate]:
    """Return the gain references that a movie may be corrected with, the best first.

    Parameters
    ----------
    candidates
        Newest first.
    named
        Base name that the movie's metadata gives; it comes first where such a file exists.
    movie_mtime_ns
        The microscope's clock, on which gains and movies are compared.
    """
    by_name = [gain for gain in candidates if named and gain.name.lower() == named.lower()]
    older = [gain for gain in candidates if gain.mtime_ns <= movie_mtime_ns and gain not in by_name]
    return by_name[:1] + older


def fits(gain_yx: tuple[int, int], frames_yx: tuple[int, int]) -> bool:
    """Whether a gain reference can be turned and binned to the size of the frames."""
    sizes = {tuple(side * scale for side in frames_yx) for scale in SIDES}
    return any(tuple(map(float, turned)) in sizes for turned in (gain_yx, gain_yx[::-1]))


def _misfit(gain: Path, movie: Path, *, metadata: AcquisitionMetadata | None) -> str | None:
    """Return why a gain reference cannot be the movie's; None where it may be, or where the movie cannot say."""
    says = gain.suffix.lower() in {".dm3", ".dm4"}
    said = _gain_metadata(str(gain), gain.stat().st_mtime_ns) if says else None
    why = other_mode(gain.suffix, movie.suffix, gain=said, movie=metadata)
    if why is not None:
        return why
    try:
        frames = _frame_shape(str(movie), movie.stat().st_mtime_ns)
    except (FormatError, OSError):
        return None  # aligning the movie will tell what is wrong with it
    size = _gain_shape(str(gain), gain.stat().st_mtime_ns)
    if fits(size, frames):
        return None
    return f"has {size[1]} x {size[0]} px, the movie {frames[1]} x {frames[0]}"


@lru_cache(maxsize=1024)
def _frame_shape(path: str, mtime_ns: int) -> tuple[int, int]:
    """Return the size (y, x) of a movie's frames, read once a state of the file: a movie may wait for long."""
    from cryodaq.formats.movie import read_header

    del mtime_ns
    return read_header(Path(path)).shape_yx


@lru_cache(maxsize=64)
def _gain_metadata(path: str, mtime_ns: int) -> AcquisitionMetadata:
    """Return what a gain reference says of how it was taken, read once a state of the file."""
    from cryodaq.formats.metadata import read_metadata

    del mtime_ns
    (said,) = read_metadata(Path(path))
    return said


@lru_cache(maxsize=64)
def _gain_shape(path: str, mtime_ns: int) -> tuple[int, int]:
    """Return the size (y, x) of a gain reference, read once a state of the file."""
    from cryodaq.formats.gain import read_gain

    del mtime_ns
    rows, columns = read_gain(Path(path)).shape
    return rows, columns


def _fetch(
    connection: Connection, movie: WaitingMovie, sample: SampleRecord, chosen: GainCandidate, at: datetime
) -> None:
    try:
        folder = SampleLayout(root=PurePosixPath(sample.folder)).gain_references
        target = folder / safe_component(chosen.name)
    except UnsafeNameError as error:
        triggers.keep_waiting(connection, movie, f"its gain reference cannot be copied: {error}", at=at)
        return
    triggers.want_gain(connection, chosen.reference_id or 0, sample_id=sample.id, target=str(target), at=at)
    why = f": {chosen.problem}" if chosen.problem else ""
    triggers.keep_waiting(connection, movie, f"waits until its gain reference {chosen.name} is copied{why}", at=at)
