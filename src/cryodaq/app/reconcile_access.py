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
from cryodaq.errors import LedgerError, LogbookError, StoreError
from cryodaq.ledger import custody, events, readers, samples
from cryodaq.ledger.events import Subject
from cryodaq.ledger.readers import AppliedAccess
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ports import Logbook
from cryodaq.store import access
from cryodaq.store.access import AccessDifference, Readers

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)
ATTEMPTS = 3
"""So often access is set anew because files came meanwhile."""
WALKS = 3
"""So often all files are looked at, at most, until nothing is to be changed."""


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
    """Set an experiment's access when the elogbook's list is another than last time, or files came meanwhile.

    Raises
    ------
    LogbookError
        There is no complete answer; nothing is changed.
    StoreError
        Rights cannot be set, a collaborator has no number, or so many would lose access that a person must confirm.
    """
    access.make_passable(folder, below=keeping.storage_root)
    plan, _ = _set(keeping, experiment, folder=folder, again=False, confirmed=False)
    if plan.unknown:
        message = (
            f"no numeric id is known of {', '.join(plan.unknown)}; add it to the elogbook's directory "
            "(what they had before is kept)"
        )
        raise StoreError(message)


def keep_access_of_others(keeping: AccessKeeping, microscope: str, *, current: str | None) -> None:
    """Do the same for experiments that are not current: those in doubt, and the one compared longest ago.

    So who comes to an experiment, or leaves it, after its session is heard of too. What is in the way is an alarm;
    somebody whose number is not known is none here, the experiment's page says so.
    """
    with keeping.engine.connect() as connection:
        due = readers.to_compare(connection, microscope, besides=current)
    for experiment in due:
        with keeping.engine.begin() as connection:
            readers.note_compared(connection, experiment, at=keeping.now())
        folder = _folder(keeping, experiment)
        if folder.is_dir():
            _keep_or_tell(keeping, experiment, folder=folder, microscope=microscope)


def _keep_or_tell(keeping: AccessKeeping, experiment: str, *, folder: Path, microscope: str) -> None:
    key, subject = f"access:{experiment}", Subject(microscope=microscope, experiment=experiment)
    try:
        plan, _ = _set(keeping, experiment, folder=folder, again=False, confirmed=False)
    except LogbookError as error:
        log.warning("access was not compared", extra={"experiment": experiment, "problem": str(error)})
    except StoreError as error:
        message, at = f"{experiment}: {error}", keeping.now()
        with keeping.engine.begin() as connection:
            events.raise_alarm(connection, key, severity="warning", message=message, at=at, subject=subject)
    else:
        with keeping.engine.begin() as connection:
            over = [] if plan.unknown else custody.samples_called(connection, experiment)  # raised while current
            events.clear_alarms(connection, [key, *(f"access:{one.id}" for one in over)], at=keeping.now())


def check_access(keeping: AccessKeeping, experiment: str, *, limit: int = 20) -> AccessState:
    """Compare the effective rights of all files with what is wanted; at most `limit` differences.

    Raises `LogbookError`, `StoreError`, and `LedgerError` for an experiment that was never current.
    """
    folder = _folder(keeping, experiment)
    listed = keeping.logbook.collaborators(experiment)
    plan = plan_access(_applied(keeping.engine, experiment), listed)
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
    access.make_passable(folder, below=keeping.storage_root)
    _, changed = _set(keeping, experiment, folder=folder, again=True, confirmed=confirmed)
    return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What comparing the effective rights of many experiments' files led to."""

    experiments: int
    changed: int
    """Rights of files and folders that were not as they should be."""
    problems: tuple[str, ...]
    """Of experiments that could not be compared."""


def mend_access(keeping: AccessKeeping, *, active_since: datetime) -> Mended:
    """Compare the effective rights of all files of experiments that were active lately; mend what others changed."""
    with keeping.engine.connect() as connection:
        names = readers.experiments_active_since(connection, active_since)
    changed, problems = 0, []
    for experiment in names:
        try:
            if _folder(keeping, experiment).is_dir():
                changed += repair_access(keeping, experiment, confirmed=False)
        except (LogbookError, StoreError) as error:
            problems.append(f"{experiment}: {error}")
    return Mended(experiments=len(names), changed=changed, problems=tuple(problems))


def reader_standings(engine: Engine, experiment: str, listed: Sequence[Collaborator] | None) -> list[Reader]:
    """Return who is on the elogbook's list, and whether the files' access was set for them; without one, who has it."""
    applied = _applied(engine, experiment)
    if listed is None:
        had = [one for one in applied if one.posix_id is not None]
        listed = [Collaborator(uid=one.uid, is_group=one.is_group, posix_id=one.posix_id) for one in had]
    return standings(applied, listed)


def grant_as_applied(
    engine: Engine, always: Readers, sample: SampleRecord, files: Sequence[Path]
) -> Sequence[readers.Person]:
    """Let those whose access was set last, and nobody else, read files that go to a sample; return who they are.

    Files that are not there are passed over. Raises `StoreError`.
    """
    applied = _applied(engine, sample.experiment)
    for file in files:
        if file.exists():
            access.grant_file(file, always | readers_of(applied))
    return [asdict(one) for one in applied]


def readers_of(grants: Sequence[Grant]) -> Readers:
    """Return the numbers of those that have one."""
    return Readers(
        uids=frozenset(one.posix_id for one in grants if one.posix_id is not None and not one.is_group),
        gids=frozenset(one.posix_id for one in grants if one.posix_id is not None and one.is_group),
    )


def _applied(engine: Engine, experiment: str) -> list[Grant]:
    """Return whose access was set last."""
    with engine.connect() as connection:
        return _grants(readers.applied_access(connection, experiment))


def _grants(stored: AppliedAccess) -> list[Grant]:
    return [
        Grant(
            uid=str(one["uid"]),
            is_group=bool(one["is_group"]),
            posix_id=one["posix_id"] if isinstance(one["posix_id"], int) else None,
        )
        for one in stored.collaborators
    ]


def _folder(keeping: AccessKeeping, experiment: str) -> Path:
    with keeping.engine.connect() as connection:
        folder = samples.folder_of_experiment(connection, experiment)
    if folder is None:
        message = f"{experiment} was never current on a microscope"
        raise LedgerError(message)
    return Path(folder)


def _set(
    keeping: AccessKeeping, experiment: str, *, folder: Path, again: bool, confirmed: bool
) -> tuple[AccessPlan, int]:
    """Set what the elogbook says, and once more where files came with other readers meanwhile.

    Returns what was set, and how many rights were changed. Raises what `keep_access` raises.
    """
    changed = 0
    for _ in range(ATTEMPTS):
        listed = keeping.logbook.collaborators(experiment)
        with keeping.engine.begin() as connection:
            stored = readers.applied_access(connection, experiment, lock=True)
            plan = plan_access(_grants(stored), listed)
            if plan.must_be_confirmed and not confirmed:
                raise StoreError(_confirmation(experiment, plan))
            if stored.complete and _grants(stored) == list(plan.grants) and not again:
                return plan, changed
            # who stops half-way takes away later whatever was set here
            begun = [asdict(one) for one in (*plan.revoked, *plan.grants)]
            change = readers.begin_access(connection, experiment, begun)
        changed += _walk(folder, keeping.always, plan)
        if _save(keeping, experiment, plan, change=change):
            log.info("access was set", extra={"experiment": experiment, "rights_changed": changed})
            return plan, changed
        again = True
    message = f"files came to {experiment} again and again while their access was set; the next pass looks again"
    raise StoreError(message)


def _walk(folder: Path, always: Readers, plan: AccessPlan) -> int:
    """Set the rights of all files until a walk finds nothing to do: a file may be moved behind one."""
    total = 0
    for _ in range(WALKS):
        changed = access.grant_tree(folder, always | readers_of(plan.grants), revoke=readers_of(plan.revoked) - always)
        total += changed
        if not changed:
            break
    return total


def _save(keeping: AccessKeeping, experiment: str, plan: AccessPlan, *, change: int) -> bool:
    """Record what was set; return False when others gave files away, or set access, meanwhile."""
    at, grants = keeping.now(), [asdict(one) for one in plan.grants]
    with keeping.engine.begin() as connection:
        if not readers.save_collaborators(connection, experiment, grants, at=at, change=change):
            readers.doubt_access(connection, experiment, grants)
            return False
        facts = {"readers": [one.uid for one in plan.grants], "revoked": [one.uid for one in plan.revoked]}
        events.record_event(connection, "access_set", at=at, subject=Subject(experiment=experiment), facts=facts)
    return True


def _confirmation(experiment: str, plan: AccessPlan) -> str:
    names = ", ".join(one.uid for one in plan.revoked)
    return (
        f"more than half of the readers of {experiment} would lose their access ({names}); nothing was changed: "
        f"if that is meant, run cryodaq access repair {experiment} --confirm"
    )
