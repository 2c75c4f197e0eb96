"""Gain references on the microscopes' gain roots, and their copies in samples' GainRefs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import gain_copy, gain_reference, movie, sample, stage_result


@dataclass(frozen=True, slots=True, kw_only=True)
class GainReference:
    """One state of one gain file."""

    id: int
    path: str
    """Relative to the gain root."""
    size_bytes: int
    mtime_ns: int
    """The microscope's clock."""
    settled: bool
    """Whether two looks agreed: it may be copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedGain:
    """A copy that a movie waits for."""

    id: int
    gain: GainReference
    sample_id: str
    target: str
    """Absolute path that its copy is to have."""


def register_gains(
    connection: Connection, microscope: str, *, root: str, found: Collection[tuple[str, int, int]], at: datetime
) -> None:
    """Record what a scan of the gain root found: (path, size in bytes, time of modification in ns)."""
    if found:
        connection.execute(
            insert(gain_reference).on_conflict_do_nothing(),
            [
                {
                    "microscope": microscope,
                    "root": root,
                    "path": path,
                    "size_bytes": size_bytes,
                    "mtime_ns": mtime_ns,
                    "seen_at": at,
                }
                for path, size_bytes, mtime_ns in found
            ],
        )


def unsettled_gains(connection: Connection, microscope: str, root: str) -> list[GainReference]:
    """Return the gains whose files may still be written."""
    query = select(gain_reference).where(
        gain_reference.c.microscope == microscope,
        gain_reference.c.root == root,
        gain_reference.c.settled_at.is_(None),
    )
    return [
        GainReference(id=row.id, path=row.path, size_bytes=row.size_bytes, mtime_ns=row.mtime_ns, settled=False)
        for row in connection.execute(query.order_by(gain_reference.c.id))
    ]


def settle_gain(connection: Connection, gain_id: int, *, at: datetime) -> None:
    """Record that a gain file is finished."""
    connection.execute(update(gain_reference).where(gain_reference.c.id == gain_id).values(settled_at=at))


def forget_unsettled(connection: Connection, gain_ids: Sequence[int]) -> None:
    """Drop states of gain files that passed while they were written; nothing refers to them."""
    connection.execute(
        gain_reference.delete().where(gain_reference.c.id.in_(list(gain_ids)), gain_reference.c.settled_at.is_(None))
    )


def forget_gone(
    connection: Connection, microscope: str, root: str, *, present: Collection[tuple[str, int, int]]
) -> None:
    """Drop finished gain files that are not on the gain root any more, or not as they were, and were never copied.

    Nobody can bring them to a movie. What was copied to a sample once stays.

    Parameters
    ----------
    present
        (path, size in bytes, time of modification in ns) of all that lies there.
    """
    known = connection.execute(
        select(gain_reference.c.id, gain_reference.c.path, gain_reference.c.size_bytes, gain_reference.c.mtime_ns)
        .where(
            gain_reference.c.microscope == microscope,
            gain_reference.c.root == root,
            gain_reference.c.settled_at.is_not(None),
        )
        .where(~exists().where(gain_copy.c.gain_id == gain_reference.c.id, gain_copy.c.copied_at.is_not(None)))
    )
    there = set(present)
    gone = [row.id for row in known if (row.path, row.size_bytes, row.mtime_ns) not in there]
    if gone:
        connection.execute(gain_copy.delete().where(gain_copy.c.gain_id.in_(gone)))
        connection.execute(gain_reference.delete().where(gain_reference.c.id.in_(gone)))


def wanted_gains(connection: Connection, microscope: str, root: str) -> list[WantedGain]:
    """Return the copies that movies wait for, oldest first."""
    query = (
        select(
            gain_copy.c.id.label("copy_id"),
            gain_copy.c.sample_id,
            gain_copy.c.target,
            gain_reference,
        )
        .join(gain_reference, gain_copy.c.gain_id == gain_reference.c.id)
        .where(
            gain_reference.c.microscope == microscope,
            gain_reference.c.root == root,
            gain_reference.c.settled_at.is_not(None),
            gain_copy.c.copied_at.is_(None),
        )
        .order_by(gain_copy.c.id)
    )
    return [
        WantedGain(
            id=row.copy_id,
            gain=GainReference(
                id=row.id, path=row.path, size_bytes=row.size_bytes, mtime_ns=row.mtime_ns, settled=True
            ),
            sample_id=row.sample_id,
            target=row.target,
        )
        for row in connection.execute(query)
    ]


def record_gain_copy(connection: Connection, wanted: WantedGain, *, target: str, xxh3_128: str, at: datetime) -> None:
    """Record a copied gain; its target is another one where a file of that name was there already.

    What its sample's movies wait for is found out anew.
    """
    connection.execute(
        update(gain_copy)
        .where(gain_copy.c.id == wanted.id)
        .values(target=target, xxh3_128=xxh3_128, copied_at=at, problem=None)
    )
    waiting = (movie.c.sample_id == wanted.sample_id, movie.c.state == "waiting")
    connection.execute(update(movie).where(*waiting).values(state="registered", problem=None))
    row = connection.execute(
        select(sample.c.microscope, sample.c.experiment).where(sample.c.id == wanted.sample_id)
    ).one()
    subject = Subject(microscope=row.microscope, experiment=row.experiment, sample_id=wanted.sample_id)
    record_event(connection, "gain_copied", at=at, subject=subject, facts={"path": wanted.gain.path, "target": target})


def record_gain_problem(connection: Connection, wanted: WantedGain, *, problem: str) -> None:
    """Record why a gain could not be copied yet."""
    connection.execute(update(gain_copy).where(gain_copy.c.id == wanted.id).values(problem=problem))


def sums_with_gain(connection: Connection, sample_id: str, target: str, *, branch_id: int, limit: int) -> list[str]:
    """Return the unaligned sums of the latest published movies of a sample that a gain's copy has corrected."""
    mine = (movie.c.sample_id == sample_id, movie.c.gain_target == target, movie.c.state == "published")
    query = (
        select(stage_result.c.result["unaligned_sum"].astext)
        .join(movie, movie.c.id == stage_result.c.movie_id)
        .where(
            *mine,
            stage_result.c.branch_id == branch_id,
            stage_result.c.stage == "align",
            stage_result.c.state == "succeeded",
        )
        .order_by(movie.c.id.desc(), stage_result.c.attempt.desc())
        .limit(limit)
    )
    return [str(path) for path in connection.execute(query).scalars()]
