"""Remember how a camera's gain references lie against its movies, and tell people when a movie contradicts that.

Movies with few counts do not show it; they are corrected as other movies of the microscope showed.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from cryodaq.domain.gain_memory import GainMemory, kind_of
from cryodaq.domain.layout import BranchLayout
from cryodaq.domain.results import AlignmentResult
from cryodaq.errors import WrongGainError
from cryodaq.ledger import events, triggers
from cryodaq.ledger.gain_memory import gain_memory, save_gain_memory
from cryodaq.ledger.results import MovieToProcess

if TYPE_CHECKING:
    from sqlalchemy import Engine


def usual_gain_orientation(engine: Engine, movie: MovieToProcess) -> str | None:
    """Return what other movies showed; None where none did, or the movie has no gain reference."""
    if movie.gain is None:
        return None
    with engine.connect() as connection:
        known = gain_memory(connection, movie.microscope, _kind(movie))
    return None if known is None else known.orientation


def remember_gain_orientation(
    engine: Engine, movie: MovieToProcess, aligned: AlignmentResult, *, at: datetime
) -> GainMemory | None:
    """Take in what a movie showed for certain; return what is known then, None where it showed nothing.

    An alarm says when it contradicts what others showed; it is cleared once enough movies agree again. Another says
    when frames show neither that they need the reference nor that they were corrected with it.
    """
    seen = aligned.gain_orientation
    _tell_unproven(engine, movie, aligned, at=at)
    if movie.gain is None or seen is None or not aligned.gain_orientation_certain:
        return None
    kind, key = _kind(movie), f"gain-orientation:{movie.microscope}"
    with engine.begin() as connection:
        known = gain_memory(connection, movie.microscope, kind, to_change=True) or GainMemory(orientation=seen)
        memory = known.after(seen)
        save_gain_memory(connection, movie.microscope, kind, memory)
        if seen != known.orientation:
            message = (
                f"{movie.run_name} shows that {PurePath(movie.gain).name} has to be applied {seen!r}; until now it was "
                f"{known.orientation!r} ({kind} movies of {movie.microscope}). Was the camera's software or the export "
                "of the gain reference changed?"
            )
            events.raise_alarm(connection, key, severity="warning", message=message, at=at, subject=movie.subject)
        elif memory.is_settled:
            events.clear_alarm(connection, key, at=at)
    return memory


def _tell_unproven(engine: Engine, movie: MovieToProcess, aligned: AlignmentResult, *, at: datetime) -> None:
    """Raise or clear the alarms about references that are not the movie's; a movie that shows nothing leaves them."""
    shown = aligned.gain_orientation is not None or aligned.gain_orientation_certain
    with engine.begin() as connection:
        if shown:
            events.clear_alarm(connection, _wrong(movie), at=at)
        if aligned.gain_orientation_certain:
            events.clear_alarm(connection, _unproven(movie), at=at)
        if shown or movie.gain is None:
            return
        name = PurePath(movie.gain).name
        message = (
            f"{movie.experiment}: the frames of {movie.run_name} show neither that they need {name} "
            "nor that the camera has corrected them with it, so it was not applied; if the camera corrects frames with "
            "another gain reference, nothing is wrong, else give the right one"
        )
        events.raise_alarm(
            connection, _unproven(movie), severity="warning", message=message, at=at, subject=movie.subject
        )


def tell_wrong_gain(
    engine: Engine, movie: MovieToProcess, problem: WrongGainError, *, layout: BranchLayout, at: datetime
) -> None:
    """Raise an alarm: no movie of the sample can be corrected until there is another gain reference.

    A picture shows what the reference leaves. The first movie that a gain reference fits clears the alarm.
    """
    name = PurePath(movie.gain or "").name
    message = f"{movie.experiment}: {name} is not the gain reference of {movie.run_name}: {problem}"
    if problem.picture is not None:
        message += f" ({save_gain_picture(layout.gain_contradiction, problem.picture)})"
    with engine.begin() as connection:
        if movie.gain is not None:
            triggers.refuse_gain(connection, movie.movie_id, movie.gain)
        events.raise_alarm(connection, _wrong(movie), severity="error", message=message, at=at, subject=movie.subject)


def save_gain_picture(place: PurePath, png: bytes) -> Path:
    """Write the picture of an alarm about a gain reference, in the place of an older one; return where it lies."""
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(png)
    part.replace(path)
    return path


def _wrong(movie: MovieToProcess) -> str:
    return f"gain-wrong:{movie.sample_id}"


def _unproven(movie: MovieToProcess) -> str:
    return f"gain-unproven:{movie.sample_id}"


def _kind(movie: MovieToProcess) -> str:
    return kind_of(PurePath(movie.gain or "").suffix, PurePath(movie.source).suffix)
