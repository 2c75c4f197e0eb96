"""Bring one folder tree into another with everything that a microscope's transfer does, and nothing else."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.follow_logbook import Following
from cryodaq.app.prove_copies import write_sample_manifest
from cryodaq.app.transfer_movies import Transfer, transfer_window
from cryodaq.domain.experiment import Assignment, CurrentState, Instrument, Sample
from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.names import dag_id
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.errors import ConfigError
from cryodaq.ledger import custody, samples
from cryodaq.ledger.custody import Backlog
from cryodaq.ledger.samples import NewSample

if TYPE_CHECKING:
    from sqlalchemy import Engine

WINDOW_S = 600.0
LOOK_EVERY_S = 1.0
QUIET_LOOKS = 3
"""So many looks in a row must find nothing left, each after another scan, before everything was brought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderTransfer:
    """One folder to bring, and where to."""

    engine: Engine
    source: Path
    target: Path
    now: Callable[[], datetime]
    sentinel: str | None = None
    mounted_from: str | None = None
    excludes: tuple[str, ...] = ()
    scan_pause_s: float = 1.0
    clock: Callable[[], float] = time.monotonic

    @property
    def key(self) -> str:
        """What makes it the same transfer again: it goes on where it ended."""
        return hashlib.sha256(f"{self.source}\0{self.target}".encode()).hexdigest()

    @property
    def name(self) -> str:
        """Its name in the ledger."""
        return f"folder-{self.key[:12]}"

    @property
    def sample_id(self) -> str:
        """Its only sample."""
        return self.key[:24]


@dataclass(frozen=True, slots=True, kw_only=True)
class _AlwaysTheSame:
    """Everything belongs to one sample."""

    instrument: str
    experiment: str
    sample: Sample
    since: datetime

    def current_state(self, instrument: str, *, station: int) -> CurrentState:
        """Return the same sample at all times."""
        del instrument, station
        return CurrentState(
            assignment=Assignment.SAMPLE, experiment=self.experiment, sample=self.sample, switched_at=self.since
        )

    def instruments(self) -> Sequence[Instrument]:
        """Return the one."""
        return [Instrument(id=self.instrument)]


def transfer_folder(
    folder: FolderTransfer,
    *,
    once: bool,
    stop: Callable[[], bool],
    show: Callable[[Backlog], None],
) -> Backlog:
    """Copy what is complete, verified, until told to stop, or until nothing is left; return what is left.

    Parameters
    ----------
    once
        End when everything that is there was brought and verified.
    show
        Called about once a second with how far it is.

    Raises
    ------
    ConfigError
        One folder lies in the other.
    LeaseLostError
        Another process brings the same folder.
    """
    _check(folder)
    folder.target.mkdir(parents=True, exist_ok=True)
    _register(folder)
    sample = Sample(id=folder.sample_id, name=folder.target.name or "root")
    parts = parts_for(folder, experiment=folder.name, sample=sample, storage_root=PurePosixPath(folder.target))
    target = PurePosixPath(folder.target)
    left = bring(folder, replace(parts, raw_folder_of=lambda _: target), once=once, stop=stop, show=show)
    with folder.engine.connect() as connection:
        owner = samples.find_sample(connection, folder.sample_id)
    if owner is not None:
        write_sample_manifest(folder.engine, owner)
    return left


def bring(
    folder: FolderTransfer,
    parts: Transfer,
    *,
    once: bool,
    stop: Callable[[], bool],
    show: Callable[[Backlog], None],
) -> Backlog:
    """Transfer windows of a folder one after another; see `transfer_folder`."""
    looker = _Looker(folder, once=once, stop=stop, show=show)
    while not looker.ended:
        transfer_window(parts, WINDOW_S, looker.look)
    with folder.engine.connect() as connection:
        left = custody.backlog(connection, folder.name)
    show(left)
    return left


def _check(folder: FolderTransfer) -> None:
    if not folder.source.is_dir():
        message = f"{folder.source} is not a folder"
        raise ConfigError(message)
    if folder.target.is_relative_to(folder.source) or folder.source.is_relative_to(folder.target):
        message = f"{folder.source} and {folder.target} lie in each other; name two folders apart"
        raise ConfigError(message)


def _register(folder: FolderTransfer) -> None:
    new = NewSample(
        id=folder.sample_id,
        experiment=folder.name,
        instrument=folder.name,
        microscope=folder.name,
        name=folder.target.name or "root",
        experiment_folder=str(folder.target),
        folder=str(folder.target),
        params={},
        imaging_method="single-particle",
        preprocess=False,
        dag_id=dag_id(folder.name, folder.sample_id),
    )
    with folder.engine.begin() as connection:
        samples.register_sample(connection, new, at=folder.now())


def parts_for(folder: FolderTransfer, *, experiment: str, sample: Sample, storage_root: PurePosixPath) -> Transfer:
    """Return what a transfer window needs to give all of a folder to one sample."""
    share = Share(
        root=PurePosixPath(folder.source),
        sentinel=folder.sentinel,
        mounted_from=folder.mounted_from,
        excludes=folder.excludes,
    )
    microscope = Microscope(
        name=folder.name,
        instrument=folder.name,
        station=0,
        shares=(share,),
        gain_root=None,
        detector="",
        defaults=InstrumentDefaults(voltage_kv=None, cs_mm=None, amplitude_contrast=0.1),
        retention=RetentionRule(),
        queue=folder.name,
    )
    since = datetime.fromtimestamp(0, tz=folder.now().tzinfo)
    following = Following(
        engine=folder.engine,
        logbook=_AlwaysTheSame(instrument=folder.name, experiment=experiment, sample=sample, since=since),
        microscope=microscope,
        experiment_pattern=".*",
        storage_root=storage_root,
        now=folder.now,
    )
    return Transfer(following=following, scan_pause_s=folder.scan_pause_s, clock=folder.clock)


class _Looker:
    """Looks how far it is, once a second, and says when it is time to end."""

    def __init__(
        self, folder: FolderTransfer, *, once: bool, stop: Callable[[], bool], show: Callable[[Backlog], None]
    ) -> None:
        self._folder, self._once, self._stop, self._show = folder, once, stop, show
        self._due = folder.now()
        self._scan_at: datetime | None = None
        self._began_at = folder.now()
        self._quiet = 0
        self.ended = False

    def look(self) -> bool:
        """Return whether the window ends."""
        if self._stop():
            self.ended = True
        if self.ended or self._folder.now() < self._due:
            return self.ended
        self._due = self._folder.now() + timedelta(seconds=LOOK_EVERY_S)
        with self._folder.engine.connect() as connection:
            found = custody.backlog(connection, self._folder.name)
        self._show(found)
        if found.waiting or found.scan_began_at is None or found.scan_began_at < self._began_at:
            self._quiet = 0
        elif found.scan_began_at != self._scan_at:
            self._quiet += 1
        self._scan_at = found.scan_began_at
        self.ended = self._once and self._quiet >= QUIET_LOOKS
        return self.ended
