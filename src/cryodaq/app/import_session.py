"""Take a finished session from disk into a sample, as if it had just been collected.

The session's files are copied, verified and registered by the microscope's own transfer engine under a lease of their
own; the sample belongs to its microscope, whose pipeline then processes the movies like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.follow_logbook import Following, register
from cryodaq.app.prepare_sample import Preparation, prepare_sample
from cryodaq.app.transfer_folder import FolderTransfer, bring, parts_for
from cryodaq.domain.experiment import Sample
from cryodaq.domain.file_roles import FileRole, classify
from cryodaq.domain.layout import SampleLayout
from cryodaq.domain.names import check_experiment_name
from cryodaq.errors import ConfigError, LogbookError
from cryodaq.ledger import custody, samples
from cryodaq.ledger.custody import Backlog
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ports import Logbook

if TYPE_CHECKING:
    from sqlalchemy import Engine

AS_MANY_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionImport:
    """What importing needs."""

    engine: Engine
    logbook: Logbook
    following: Following
    """Of the microscope to which the sample belongs."""
    preparation: Preparation
    now: Callable[[], datetime]
    scan_pause_s: float = 1.0


def import_session(
    parts: SessionImport,
    session: Path,
    *,
    experiment: str,
    sample: str,
    stop: Callable[[], bool],
    show: Callable[[Backlog], None],
) -> tuple[SampleRecord, Backlog]:
    """Bring a session into a sample of the elogbook; return the sample, and what is left to bring.

    Parameters
    ----------
    session
        The session's folder; it is only read.
    sample
        Name or id in the elogbook.

    Raises
    ------
    ConfigError
        The session is no folder, lies in the storage, or has movies whose names the sample has already from elsewhere.
    LogbookError
        The elogbook has no such sample.
    UnsafeNameError
        The experiment's name is none of this site.
    """
    if not session.is_dir():
        message = f"{session} is not a folder"
        raise ConfigError(message)
    check_experiment_name(experiment, parts.following.experiment_pattern)
    said, owner = _register(parts, experiment, sample)
    raw = Path(SampleLayout(root=PurePosixPath(owner.folder)).raw)
    if session.is_relative_to(Path(parts.following.storage_root)):
        message = f"{session} lies in the storage already; import it from where it was collected"
        raise ConfigError(message)
    folder = FolderTransfer(
        engine=parts.engine, source=session, target=raw, now=parts.now, scan_pause_s=parts.scan_pause_s
    )
    _check_names(parts.engine, folder, owner)
    prepare_sample(parts.preparation, owner)
    transfer = parts_for(folder, experiment=experiment, sample=said, storage_root=parts.following.storage_root)
    return owner, bring(folder, transfer, once=True, stop=stop, show=show)


def _register(parts: SessionImport, experiment: str, name: str) -> tuple[Sample, SampleRecord]:
    """Register the sample as its microscope's, as if it had been current there."""
    found = [one for one in parts.logbook.samples(experiment) if name in {one.name, one.id}]
    if len(found) != 1:
        message = (
            f"the elogbook has {len(found) or 'no'} samples {name!r} in {experiment}; give a name or id that it has"
        )
        raise LogbookError(message)
    wanted = parts.following.microscope.instrument.casefold()
    spelled = (one.id for one in parts.logbook.instruments() if one.id.casefold() == wanted)
    instrument = next(spelled, parts.following.microscope.instrument)
    with parts.engine.begin() as connection:
        register(
            connection,
            parts.following,
            experiment,
            sample=found[0],
            instrument=instrument,
            started_at=None,
            known=samples.find_sample(connection, found[0].id),
        )
        owner = samples.find_sample(connection, found[0].id)
    assert owner is not None  # noqa: S101  # `register` made it
    return found[0], owner


def _check_names(engine: Engine, folder: FolderTransfer, owner: SampleRecord) -> None:
    """Refuse movies that would pass for newer versions of others: those that the sample has from elsewhere."""
    with engine.connect() as connection:
        held = custody.files_of_sample(connection, owner.id)
    elsewhere = {one.path for one in held if one.role == FileRole.MOVIE and one.share != str(folder.source)}
    same = sorted(elsewhere.intersection(_movies_below(folder.source)))
    if same:
        named = ", ".join(same[:AS_MANY_NAMED])
        message = f"{owner.name} has {len(same)} movies of these names from elsewhere, such as {named}; "
        raise ConfigError(message + "import the folder above the session, so that their paths differ")


def _movies_below(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        relative = PurePosixPath(path.relative_to(folder))
        if classify(relative).role is FileRole.MOVIE:
            yield str(relative)
