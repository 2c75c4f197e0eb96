"""Give what is already filed to another sample: copies, results, exports, access, elogbook runs and pending runs.

The plan stands in the ledger before anything is touched. Then files and rows move in one transaction that holds the
microscope's lease, so that a transfer that runs meanwhile ends and begins anew; then exports are written again.
Every step may run twice: a copy that was moved is known by its hash, a product replaces itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.compare_clocks import holder_name
from cryodaq.app.exporting.keeping import ExportedBranch, write_exports_anew
from cryodaq.app.exporting.movie_files import write_motion
from cryodaq.app.giving_movies import Giving, give_movies
from cryodaq.app.moving_copies import (
    Handover,
    Refiling,
    discard_parts,
    doubt_damaged,
    duplicate_files,
    move_files,
    moves_into,
    tell_refusal,
    unclaimed,
)
from cryodaq.app.preprocess_movie import alignment_of
from cryodaq.app.prove_copies import write_sample_manifest
from cryodaq.domain.layout import BranchLayout, SampleLayout
from cryodaq.errors import FormatError, LedgerError
from cryodaq.ledger import events, exposures, files, leases, reassignments, samples
from cryodaq.ledger.events import Subject
from cryodaq.ledger.reassignments import Plan
from cryodaq.ledger.results import MovieToProcess, latest_results, movie_to_process
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.workers import ShareWorker

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person says: what lies in a session folder, or was seen since a time, belongs to another sample."""

    to_sample: str
    """Its id."""
    asked_by: str
    folder: str | None = None
    since: datetime | None = None
    from_sample: str | None = None
    """Id of the only sample that gives something away; needed where several own what is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassigned:
    """What went from one sample to another, or would go."""

    from_sample: SampleRecord
    to_sample: SampleRecord
    exposures: int
    files: int
    movies: int
    with_results: int
    """Movies whose results went along; the others are processed anew, with the other sample's parameters."""


def reassign_exposures(refiling: Refiling, wish: Wish) -> Reassigned:
    """Carry a wish out.

    Raises
    ------
    LedgerError
        There is no such sample, nothing to give, several samples own what is meant, or a place is taken.
    StoreError, TransferError
        The plan stays open and is carried on by the next pass of the microscope, or by `resume_reassignments`.
    """
    with refiling.engine.begin() as connection:
        found = _meant(refiling, connection, wish)
        plan = reassignments.write_plan(
            connection,
            refiling.microscope,
            from_sample=found.from_sample.id,
            to_sample=found.to_sample.id,
            asked={"folder": wish.folder, "since": wish.since.isoformat() if wish.since else None},
            asked_by=wish.asked_by,
            exposures=found.exposures,
            at=refiling.now(),
        )
    return _carry_out(refiling, plan)


def preview_reassignment(refiling: Refiling, wish: Wish) -> Reassigned:
    """Return what a wish would move; how many results go along is known only then. Raises `LedgerError`."""
    with refiling.engine.connect() as connection:
        found = _meant(refiling, connection, wish)
        held = files.files_of_exposures(connection, found.exposures)
    return Reassigned(
        from_sample=found.from_sample,
        to_sample=found.to_sample,
        exposures=len(found.exposures),
        files=sum(record.has_copy for record in held),
        movies=sum(record.has_copy and record.role == "movie" for record in held),
        with_results=0,
    )


def resume_reassignments(refiling: Refiling) -> list[Reassigned]:
    """Carry on what a crash interrupted. Raises what `reassign_exposures` raises; an alarm stands until it is done."""
    with refiling.engine.connect() as connection:
        left = reassignments.open_plans(connection, refiling.microscope)
    return [_carry_out(refiling, plan) for plan in left]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meant:
    from_sample: SampleRecord
    to_sample: SampleRecord
    exposures: tuple[int, ...]


def _meant(refiling: Refiling, connection: Connection, wish: Wish) -> _Meant:
    to_sample = _sample(connection, wish.to_sample)
    if wish.folder is None and wish.since is None:
        raise LedgerError("say which session folder, or since when: --folder F or --since T")
    found = reassignments.filed_exposures(connection, refiling.microscope, folder=wish.folder, since=wish.since)
    owners = [wish.from_sample] if wish.from_sample else [one for one in found if one != to_sample.id]
    owners = [one for one in owners if one in found]
    if not owners:
        message = f"nothing of another sample was filed on {refiling.microscope} that this describes"
        raise LedgerError(message)
    if len(owners) > 1:
        names = ", ".join(f"{_sample(connection, one).name} ({len(found[one])} exposures)" for one in owners)
        message = f"several samples own what this describes: {names}; say which gives it away with --from"
        raise LedgerError(message)
    meant = _Meant(from_sample=_sample(connection, owners[0]), to_sample=to_sample, exposures=tuple(found[owners[0]]))
    moves = moves_into(PurePosixPath(to_sample.folder), files.files_of_exposures(connection, meant.exposures))
    taken = reassignments.occupied(
        connection,
        [str(move.target) for move in moves.values()],
        except_exposures=meant.exposures,
    )
    if taken:
        message = f"{taken[0]} is another file already; {to_sample.name} cannot take what is meant"
        raise LedgerError(message)
    return meant


def _sample(connection: Connection, sample_id: str) -> SampleRecord:
    found = samples.find_sample(connection, sample_id)
    if found is None:
        message = f"there is no sample {sample_id}"
        raise LedgerError(message)
    return found


def _carry_out(refiling: Refiling, plan: Plan) -> Reassigned:
    """Go on with a plan from wherever it is; its alarm stands until it is done."""
    key = f"reassign:{plan.id}"
    with refiling.engine.begin() as connection:
        givers, takers = _sample(connection, plan.from_sample), _sample(connection, plan.to_sample)
        message = f"{givers.name} of {givers.experiment} is being given to {takers.name} of {takers.experiment}"
        subject = Subject(microscope=plan.microscope)
        now = refiling.now()
        events.raise_alarm(connection, key, severity="notice", message=message, at=now, subject=subject)
    if plan.state == "planned":
        refiling.prepare(takers)
        plan = _move(refiling, plan)
    _write_exports(refiling, givers, came=())
    _write_exports(refiling, takers, came=plan.exposures)
    for sample in (givers, takers):
        write_sample_manifest(refiling.engine, sample)
    with refiling.engine.begin() as connection:
        now = refiling.now()
        reassignments.set_state(connection, plan.id, "done", at=now)
        events.clear_alarm(connection, key, at=now)
    log.info("exposures went to another sample", extra={"sample": takers.id, "movies": plan.facts["movies"]})
    return Reassigned(
        from_sample=givers,
        to_sample=takers,
        exposures=len(plan.exposures),
        files=plan.facts["files"],
        movies=plan.facts["movies"],
        with_results=plan.facts["with_results"],
    )


def _write_exports(refiling: Refiling, sample: SampleRecord, *, came: Sequence[int]) -> None:
    """Write a sample's tables anew; `came` are exposures whose movies' motion is told from their new place."""
    layout = SampleLayout(root=PurePosixPath(sample.folder))
    with refiling.engine.connect() as connection:
        live = samples.live_branch(connection, sample.id)
        numbers = reassignments.published_movies(connection, came) if live else []
        found = [movie_to_process(connection, number, live.id) for number in numbers] if live else []
        results = {number: latest_results(connection, number, live.id) for number in numbers} if live else {}
    if live is None:
        return
    has_motion = {
        movie.movie_id: _tell_motion(movie, layout.branch(live.name), results[movie.movie_id])
        for movie in found
        if movie is not None
    }
    branch = ExportedBranch(branch_id=live.id, layout=layout.branch(live.name), sample_folder=layout.root)
    with refiling.engine.begin() as connection:
        write_exports_anew(refiling.engine, connection, branch, has_motion=has_motion)


def _tell_motion(movie: MovieToProcess, layout: BranchLayout, stored: Mapping[str, Mapping[str, object]]) -> bool:
    """Write a movie's motion for RELION from its new place; return whether RELION can use it."""
    try:
        return write_motion(movie, layout=layout, align=alignment_of(stored))
    except (FormatError, OSError) as error:
        log.warning("the motion of a movie cannot be told", extra={"run": movie.run_name, "problem": str(error)})
        return False


def _move(refiling: Refiling, plan: Plan) -> Plan:
    """Move files and rows, in one transaction under the leases of the transfer and of the removal."""
    worker = refiling.open_worker(refiling.storage_root, threads=1)
    worker.start()
    holder = f"{holder_name()} (reassigning exposures)"
    names = (refiling.microscope, leases.clearing(refiling.microscope))
    try:
        with refiling.engine.begin() as connection:
            at = refiling.now()
            held = [leases.acquire(connection, name, holder=holder, at=at) for name in names]
            now = reassignments.lock_plan(connection, plan.id)
            if now.state == "planned":
                facts = _move_under_lease(refiling, connection, now, worker=worker, token=held[0].token)
                reassignments.set_state(connection, plan.id, "moved", at=at, facts=facts)
                now = replace(now, state="moved", facts=facts)
            for lease in held:
                leases.release(connection, lease, at=at)
    finally:
        worker.close()
    return now


def _move_under_lease(
    refiling: Refiling, connection: Connection, plan: Plan, *, worker: ShareWorker, token: str
) -> dict[str, object]:
    at = refiling.now()
    giving = Giving(
        from_sample=_sample(connection, plan.from_sample), to_sample=_sample(connection, plan.to_sample), plan=plan
    )
    movies = reassignments.lock_movies(connection, plan.exposures)
    held = files.files_of_exposures(connection, plan.exposures)
    moves = moves_into(PurePosixPath(giving.to_sample.folder), held)
    places = [str(move.target) for move in moves.values()]
    taken = reassignments.occupied(connection, places, except_exposures=plan.exposures)
    moves = unclaimed(moves, occupied=taken, token=token)
    exposures.assign(connection, plan.exposures, sample_id=giving.to_sample.id, at=at)
    files.retarget(connection, {number: str(move.target) for number, move in moves.items()})
    given = give_movies(connection, giving, movies, at=at)
    handover = Handover(connection, giving.to_sample, refiling.grant_access)
    moved = move_files(worker, [*moves.values(), *given.moves], grant=handover.grant)
    handover.end(connection)
    duplicate_files(worker, given.gains, token=token)
    doubt_damaged(connection, moves, moved)
    raw = SampleLayout(root=PurePosixPath(giving.from_sample.folder)).raw
    discard_parts(worker, [(raw / record.path).parent for record in held], token=token)
    if moved.refused is not None:
        tell_refusal(connection, giving.to_sample, moved.refused, at=at)
    facts: dict[str, object] = {
        "exposures": len(plan.exposures),
        "files": len(moves),
        "movies": len(movies),
        "with_results": given.with_results,
        "from": giving.from_sample.id,
        "to": giving.to_sample.id,
        "asked_by": plan.asked_by,
    }
    for sample in (giving.from_sample, giving.to_sample):
        events.record_event(connection, "exposures_reassigned", at=at, subject=sample.subject, facts=facts)
    return facts
