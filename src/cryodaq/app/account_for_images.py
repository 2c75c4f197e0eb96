"""Each and every image: count what became of a sample's exposures, and name those that got lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryodaq.ledger.files import HAS_COPY
from cryodaq.ledger.imagery import ExposureFate, exposure_fates
from cryodaq.ledger.samples import SampleRecord

if TYPE_CHECKING:
    from sqlalchemy import Engine

NO_MOVIE = "its metadata is there, its movie was never seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingImage:
    """An exposure that did not get to the end of the way."""

    name: str
    """Path of the movie, or of the exposure where no movie was seen."""
    step: str
    """The first step that it did not reach: seen, copied, run, published."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAccount:
    """How many exposures of a sample reached each step."""

    sample: SampleRecord
    exposures: int
    """Exposures that metadata or a movie speak of."""
    in_metadata: int
    seen: int
    """Movies seen on the microscope."""
    copied: int
    runs: int
    """Runs that the elogbook has."""
    published: int
    kept: int
    """Movies that are copied and registered only, as their sample says."""
    missing: tuple[MissingImage, ...]

    @property
    def complete(self) -> bool:
        """Whether every exposure reached the end of its way."""
        return not self.missing


def account_for_images(engine: Engine, sample: SampleRecord) -> ImageAccount:
    """Count a sample's exposures at each step, and name the missing ones."""
    with engine.connect() as connection:
        fates = exposure_fates(connection, sample.id)

    def count(reached: Callable[[ExposureFate], bool]) -> int:
        return sum(map(reached, fates))

    return ImageAccount(
        sample=sample,
        exposures=len(fates),
        in_metadata=count(lambda fate: fate.in_metadata),
        seen=count(lambda fate: fate.movie_path is not None),
        copied=count(_copied),
        runs=count(lambda fate: fate.in_elogbook),
        published=count(lambda fate: fate.movie_state == "published"),
        kept=count(lambda fate: fate.movie_state == "kept"),
        missing=tuple(found for fate in fates if (found := _missing(fate)) is not None),
    )


def _copied(fate: ExposureFate) -> bool:
    return fate.file_state in HAS_COPY and fate.run_name is not None


def _missing(fate: ExposureFate) -> MissingImage | None:
    name = fate.movie_path or fate.key
    if fate.movie_path is None:
        return MissingImage(name=name, step="seen", why=NO_MOVIE)
    if not _copied(fate):
        return MissingImage(name=name, step="copied", why=fate.file_problem or f"its file is {fate.file_state}")
    if not fate.in_elogbook:
        return MissingImage(name=name, step="run", why="the elogbook has not taken its run yet")
    if fate.movie_state not in {"published", "kept"}:
        return MissingImage(name=name, step="published", why=fate.movie_problem or f"it is {fate.movie_state}")
    return None
