"""Hand movies over again that were given up, once a person has removed the cause."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cryodaq.domain.failures import Cause
from cryodaq.errors import LedgerError
from cryodaq.ledger.given_up import GivenUpMovie, admit_again, given_up_movies
from cryodaq.ledger.judgements import process_again

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of the movies that were given up; None and nothing mean all."""

    experiment: str | None = None
    sample: str | None = None
    """Name or id."""
    microscope: str | None = None
    causes: Collection[Cause] = ()
    stage: str | None = None
    problem: str | None = None
    """Words of the problem, in any case."""

    def takes(self, found: GivenUpMovie) -> bool:
        """Whether a movie is meant."""
        return (
            (not self.causes or found.cause in self.causes)
            and self.stage in {None, found.stage}
            and (self.problem is None or self.problem.lower() in found.problem.lower())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUpGroup:
    """Movies of one sample that failed alike."""

    experiment: str
    sample_name: str
    stage: str | None
    cause: Cause
    problem: str
    movies: int


def choose(engine: Engine, choice: Choice) -> list[GivenUpMovie]:
    """Return the movies that were given up and are meant."""
    with engine.connect() as connection:
        found = given_up_movies(
            connection, experiment=choice.experiment, sample_name=choice.sample, microscope=choice.microscope
        )
    return [one for one in found if choice.takes(one)]


def grouped(found: Sequence[GivenUpMovie]) -> list[GivenUpGroup]:
    """Return how many failed alike, the most first."""
    alike = Counter((one.experiment, one.sample_name, one.stage, one.cause, one.problem) for one in found)
    return [
        GivenUpGroup(experiment=experiment, sample_name=name, stage=stage, cause=cause, problem=problem, movies=count)
        for (experiment, name, stage, cause, problem), count in alike.most_common()
    ]


def retry_movies(engine: Engine, found: Sequence[GivenUpMovie], *, asked_by: str, at: datetime) -> int:
    """Hand movies over again; return how many. One that somebody else was quicker with is left alone.

    A movie that failed in the branch that is current gets another run. One that failed in an earlier branch is
    decided about anew, with the parameters that the sample has now.
    """
    done = 0
    for one in found:
        with engine.begin() as connection:
            if one.branch != one.current_branch:
                done += admit_again(connection, one, asked_by=asked_by, at=at)
                continue
            try:
                process_again(connection, one.id, branch_name=one.branch, asked_by=asked_by, at=at)
            except LedgerError as error:
                log.info("a movie is left alone", extra={"movie": one.run_name, "problem": str(error)})
            else:
                done += 1
    return done
