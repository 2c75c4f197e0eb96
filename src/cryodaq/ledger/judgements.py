"""What people say of single movies, and movies that a person wants processed once more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.errors import LedgerError
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.given_up import decide_anew
from cryodaq.ledger.healing import name_another_run
from cryodaq.ledger.tables import branch, judgement, movie, sample, trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What somebody said of a movie last."""

    verdict: str | None
    """in or out; None: the limits decide."""
    rating: int | None
    """1 to 5."""
    comment: str
    judged_by: str
    judged_at: datetime


def find_judgement(connection: Connection, movie_id: int) -> Judgement | None:
    """Return what was said of a movie, or None."""
    columns = [judgement.c[name] for name in Judgement.__dataclass_fields__]
    row = connection.execute(select(*columns).where(judgement.c.movie_id == movie_id)).mappings().first()
    return None if row is None else Judgement(**row)


def save_judgement(connection: Connection, movie_id: int, said: Judgement) -> None:
    """Record what somebody says of a movie, in the place of what was said before."""
    values = {name: getattr(said, name) for name in Judgement.__dataclass_fields__}
    connection.execute(
        insert(judgement)
        .values(movie_id=movie_id, **values)
        .on_conflict_do_update(index_elements=[judgement.c.movie_id], set_=values)
    )
    facts = {"verdict": said.verdict, "rating": said.rating, "by": said.judged_by}
    record_event(connection, "movie_judged", at=said.judged_at, subject=_subject(connection, movie_id), facts=facts)


def process_again(connection: Connection, movie_id: int, *, branch_name: str, asked_by: str, at: datetime) -> None:
    """Have a movie that was processed, or failed, processed once more by a new run.

    Its results stay until new ones are there. One that failed because its frames contradict its gain reference is
    decided about anew and gets another one, in the current branch and in the one that is named.

    Raises
    ------
    LedgerError
        It was never handed over, or it is being processed now.
    """
    query = (
        select(
            trigger.c.id,
            trigger.c.settled_at,
            branch.c.name.label("branch"),
            (branch.c.name == sample.c.current_branch).label("is_current"),
        )
        .join(movie, trigger.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .join(branch, trigger.c.branch_id == branch.c.id)
        .where(movie.c.id == movie_id, branch.c.name == branch_name)
        .with_for_update(of=trigger)
    )
    row = connection.execute(query).first()
    if row is None:
        raise LedgerError("the movie was never handed over; it waits for what its page names")
    if row.settled_at is None:
        raise LedgerError("the movie is being processed now; wait until it has ended")
    subject = _subject(connection, movie_id)
    if decide_anew(connection, movie_id, only_with_refused_gain=True) and row.is_current:
        record_event(connection, "run_asked_for", at=at, subject=subject, facts={"branch": row.branch, "by": asked_by})
        return
    new = name_another_run(connection, row.id, not_before=at)
    connection.execute(
        update(movie).where(movie.c.id == movie_id, movie.c.state == "failed").values(state="queued", problem=None)
    )
    facts = {"run_id": new, "by": asked_by}
    record_event(connection, "run_asked_for", at=at, subject=subject, facts=facts)


def _subject(connection: Connection, movie_id: int) -> Subject:
    row = connection.execute(
        select(movie.c.sample_id, movie.c.experiment, sample.c.microscope)
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(movie.c.id == movie_id)
    ).one()
    return Subject(microscope=row.microscope, experiment=row.experiment, sample_id=row.sample_id, movie_id=movie_id)
