"""Keep an experiment's access as the elogbook says: what was set is compared with what is wanted, and mended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.domain.access import AccessPlan, Grant, Reader, plan_access, standings
from cryodaq.domain.experiment import Collaborator
from cryodaq.errors import LedgerError, StoreError
from cryodaq.ledger import events, samples
from cryodaq.ledger.events import Subject
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ports import Logbook
from cryodaq.store import access
from cryodaq.store.access import AccessDifference, Readers

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeeping:
    """What keeping access needs."""

    engine: Engine
    logbook: Logbook
    storage_root: Path
    always: Readers
    """Who reads every experiment."""
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessState:
    """What is wanted of an experiment's access, and where it is not so."""

    plan: AccessPlan
    differences: tuple[AccessDifference, ...]


def keep_access(keeping: AccessKeeping, experiment: str, *, folder: Path) -> None:
    """Set an experiment's access when the elogbook's list is another than last time.

    Raises
    ------
    LogbookError
        There is no complete answer; nothing is changed.
    StoreError
        Rights cannot be set, a collaborator has no number, or so many would lose access that a person must confirm.
    """
    is_set, plan = _planned(keeping, experiment)
    access.make_passable(folder, below=keeping.storage_root)
    if plan.must_be_confirmed:
        raise StoreError(_confirmation(experiment, plan))
    if not is_set:
        _apply(keeping, experiment, plan, folder=folder)
    if plan.unknown:
        message = (
            f"no numeric id is known of {', '.join(plan.unknown)}; add it to the elogbook's directory "
            "(what they had before is kept)"
        )
        raise StoreError(message)


def check_access(keeping: AccessKeeping, experiment: str, *, limit: int = 20) -> AccessState:
    """Compare the effective rights of all files with what is wanted; at most `limit` differences.

    Raises `LogbookError`, `StoreError`, and `LedgerError` for an experiment that was never current.
    """
    folder = _folder(keeping, experiment)
    _, plan = _planned(keeping, experiment)
    wanted, revoked = keeping.always | readers_of(plan.grants), readers_of(plan.revoked)
    closed = "others cannot pass it (it lacks x for others)"
    parents = (AccessDifference(path=one, problem=closed) for one in access.impassable_parents(folder.parent))
    differences = chain(parents, access.check_tree(folder, wanted, revoke=revoked))
    return AccessState(plan=plan, differences=tuple(islice(differences, limit)))


def repair_access(keeping: AccessKeeping, experiment: str, *, confirmed: bool) -> int:
    """Set what is wanted on every file; return how many rights were changed.

    Raises
    ------
    LogbookError, LedgerError
        As for checking.
    StoreError
        Rights cannot be set, or more than half would lose access and that was not confirmed.
    """
    folder = _folder(keeping, experiment)
    _, plan = _planned(keeping, experiment)
    if plan.must_be_confirmed and not confirmed:
        raise StoreError(_confirmation(experiment, plan))
    access.make_passable(folder, below=keeping.storage_root)
    return _apply(keeping, experiment, plan, folder=folder)


def applied_readers(engine: Engine, experiment: str, *, always: Readers) -> Readers:
    """Return who reads an experiment's files by what was set last."""
    return always | readers_of(_applied(engine, experiment)[0])


def reader_standings(engine: Engine, experiment: str, listed: Sequence[Collaborator] | None) -> list[Reader]:
    """Return who is on the elogbook's list, and whether the files' access was set for them; without one, who has it."""
    applied, _ = _applied(engine, experiment)
    if listed is None:
        had = [one for one in applied if one.posix_id is not None]
        listed = [Collaborator(uid=one.uid, is_group=one.is_group, posix_id=one.posix_id) for one in had]
    return standings(applied, listed)


def grant_as_applied(engine: Engine, always: Readers, sample: SampleRecord, files: Sequence[Path]) -> None:
    """Let those whose access was set last, and nobody else, read files that go to a sample.

    Files that are not there are passed over. Raises `StoreError`.
    """
    readers = applied_readers(engine, sample.experiment, always=always)
    for file in files:
        if file.exists():
            access.grant_file(file, readers)


def readers_of(grants: Sequence[Grant]) -> Readers:
    """Return the numbers of those that have one."""
    return Readers(
        uids=frozenset(one.posix_id for one in grants if one.posix_id is not None and not one.is_group),
        gids=frozenset(one.posix_id for one in grants if one.posix_id is not None and one.is_group),
    )


def _planned(keeping: AccessKeeping, experiment: str) -> tuple[bool, AccessPlan]:
    """Return whether everything is set already, and what is to be."""
    applied, complete = _applied(keeping.engine, experiment)
    plan = plan_access(applied, keeping.logbook.collaborators(experiment))
    return complete and applied == list(plan.grants), plan


def _applied(engine: Engine, experiment: str) -> tuple[list[Grant], bool]:
    """Return whose access was set last, and whether that came to its end."""
    with engine.connect() as connection:
        stored = samples.applied_access(connection, experiment)
    grants = [
        Grant(
            uid=str(one["uid"]),
            is_group=bool(one["is_group"]),
            posix_id=one["posix_id"] if isinstance(one["posix_id"], int) else None,
        )
        for one in stored.collaborators
    ]
    return grants, stored.complete


def _folder(keeping: AccessKeeping, experiment: str) -> Path:
    with keeping.engine.connect() as connection:
        folder = samples.folder_of_experiment(connection, experiment)
    if folder is None:
        message = f"{experiment} was never current on a microscope"
        raise LedgerError(message)
    return Path(folder)


def _apply(keeping: AccessKeeping, experiment: str, plan: AccessPlan, *, folder: Path) -> int:
    always = keeping.always
    with keeping.engine.begin() as connection:  # who stops half-way takes away later whatever was set here
        samples.begin_access(connection, experiment, [asdict(one) for one in (*plan.revoked, *plan.grants)])
    changed = access.grant_tree(folder, always | readers_of(plan.grants), revoke=readers_of(plan.revoked) - always)
    at = keeping.now()
    with keeping.engine.begin() as connection:
        samples.save_collaborators(connection, experiment, [asdict(one) for one in plan.grants], at=at)
        facts = {"readers": [one.uid for one in plan.grants], "revoked": [one.uid for one in plan.revoked]}
        events.record_event(connection, "access_set", at=at, subject=Subject(experiment=experiment), facts=facts)
    log.info("access was set", extra={"experiment": experiment, "rights_changed": changed})
    return changed


def _confirmation(experiment: str, plan: AccessPlan) -> str:
    names = ", ".join(one.uid for one in plan.revoked)
    return (
        f"more than half of the readers of {experiment} would lose their access ({names}); nothing was changed: "
        f"if that is meant, run cryodaq access repair {experiment} --confirm"
    )
