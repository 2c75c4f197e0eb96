"""What one transfer window knows: the ledger's facts about files that matter now, and what is in flight."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.follow_logbook import Following
from cryodaq.app.moving_copies import GrantAccess
from cryodaq.domain.completeness import Look
from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.layout import SampleLayout, quarantine_root, versioned
from cryodaq.domain.microscope import Microscope
from cryodaq.domain.names import safe_relative_path
from cryodaq.ledger import copy_names, events, exposures, files, leases, samples
from cryodaq.ledger.events import Severity, Subject
from cryodaq.ledger.exposures import ExposureRecord
from cryodaq.ledger.files import UNCOPIED, ChangedFile, FileRecord, StateChange
from cryodaq.ledger.leases import Lease
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.workers import ShareWorker

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


ALARM_EVERY_S = 20.0
"""An alarm that stays the same is refreshed at most so often."""


def _raw_folder(owner: SampleRecord) -> PurePosixPath:
    return SampleLayout(root=PurePosixPath(owner.folder)).raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What transferring a microscope's files needs."""

    following: Following
    lanes: int = 3
    """Large files copied at once: one lane takes the newest, the others the oldest."""
    scan_pause_s: float = 0.7
    """Between two scans of a share, at least: how long a closed file may lie unseen. A slow scan pauses for longer."""
    stall_s: float = 60.0
    """A share that says nothing for so long is given up."""
    floor_fraction: float = 0.02
    """Copying stops while less than this fraction of the target's bytes or inodes is free."""
    processing_floor_fraction: float = 0.1
    """No movie is handed over for processing while less is free: products must not take the raw data's room."""
    verify_max_bytes_per_s: float | None = None
    on_tick: Callable[[], None] = lambda: None
    """Called about twice a second, from a thread of its own: triggers and deliveries are pumped there."""
    clock: Callable[[], float] = time.monotonic
    open_worker: Callable[..., ShareWorker] = ShareWorker
    """Opens what does the I/O on one mount."""
    raw_folder_of: Callable[[SampleRecord], PurePosixPath] = _raw_folder
    """Where the microscope's tree of a sample is kept."""
    grant_access: GrantAccess = lambda *_: ()
    """Called for copies that are given to another sample before they are recorded."""
    new_wake: Callable[[], threading.Event] = threading.Event
    """Makes what a window rests on between two ticks."""

    @property
    def copy_max_bytes_per_s(self) -> float | None:
        """What each share may take of the microscope's bandwidth; None: no limit."""
        limit, shares = self.microscope.copy_max_bytes_per_s, max(1, len(self.microscope.shares))
        return None if limit is None else limit / shares

    @property
    def engine(self) -> Engine:
        """Connections to the ledger."""
        return self.following.engine

    @property
    def microscope(self) -> Microscope:
        """Whose files are transferred."""
        return self.following.microscope

    @property
    def now(self) -> Callable[[], datetime]:
        """Our clock."""
        return self.following.now


@dataclass(slots=True)
class Tracked:
    """A file that is not copied in its present state."""

    record: FileRecord
    look: Look | None = None
    """The first look that showed the file as it is now."""
    look_due_s: float = 0.0
    """When to look next, monotonic."""
    copy_due_s: float = 0.0
    """When to copy next, monotonic."""
    failures: int = 0
    busy: bool = False
    """A look or a copy is under way."""

    @property
    def is_movie(self) -> bool:
        """Whether it is a movie."""
        return self.record.role == FileRole.MOVIE

    @property
    def is_living(self) -> bool:
        """Whether programs rewrite it all session."""
        return self.record.role == FileRole.LIVING


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a file's copy goes."""

    base: PurePosixPath
    """An existing folder with its access rights."""
    target: PurePosixPath
    sample: SampleRecord | None
    """None: quarantine."""


@dataclass(slots=True)
class Session:
    """The state of one window."""

    transfer: Transfer
    lease: Lease
    wake: threading.Event
    known: dict[tuple[str, str], FileRecord] = field(default_factory=dict)
    """The newest version of each file on the shares, by share and path."""
    tracked: dict[int, Tracked] = field(default_factory=dict)
    exposures: dict[int, ExposureRecord] = field(default_factory=dict)
    """Those of tracked files."""
    undecided: dict[int, ExposureRecord] = field(default_factory=dict)
    unverified: dict[int, FileRecord] = field(default_factory=dict)
    unsettled: dict[int, FileRecord] = field(default_factory=dict)
    """Files of which nobody knows whether their copies got their final names, by id."""
    frames_expected: dict[int, int] = field(default_factory=dict)
    """What metadata says, by exposure."""
    siblings: dict[str, list[int]] = field(default_factory=dict)
    """Frames of the latest complete movies, by sample, oldest first."""
    doubtful: dict[int, ChangedFile] = field(default_factory=dict)
    """Copied files of which a scan said that they changed, by id."""
    reread: list[FileRecord] = field(default_factory=list)
    """Copied metadata whose facts are wanted again."""
    late_movies: list[int] = field(default_factory=list)
    """Copied files that turned out to be movies, by id."""
    to_hand_over: bool = False
    """Whether a movie, its metadata or a gain was copied since the caller's hook was last asked to run."""
    copied: int = 0
    copied_bytes: int = 0
    movies: int = 0
    verified: int = 0
    copies_in_flight: int = 0
    paused_until_s: float = 0.0
    """No copying before, because the target is full; monotonic."""
    _samples: dict[str, SampleRecord] = field(default_factory=dict)
    _ready: set[PurePosixPath] = field(default_factory=set)
    _raised: set[str] = field(default_factory=set)
    """Keys of the alarms that earlier windows left open."""
    _alarms: dict[str, tuple[str | None, float]] = field(default_factory=dict)

    @contextmanager
    def transition(self) -> Iterator[Connection]:
        """Begin a transaction under the lease. Raises `LeaseLostError`."""
        with self.transfer.engine.begin() as connection:
            leases.fence(connection, self.lease)
            yield connection

    def now(self) -> datetime:
        """Our clock."""
        return self.transfer.now()

    def clock(self) -> float:
        """Our monotonic clock, s."""
        return self.transfer.clock()

    @property
    def microscope(self) -> str:
        """Its name."""
        return self.transfer.microscope.name

    def load(self) -> None:
        """Read what the ledger knows of files on the shares and of copies that are not verified."""
        with self.transfer.engine.begin() as connection:
            found = list(files.files_at_work(connection, self.microscope))
            waiting = exposures.undecided(connection, self.microscope)
            self.siblings = files.frame_counts(connection, self.microscope)
            self.unsettled = {record.id: record for record in copy_names.intended_names(connection, self.microscope)}
            unfinished = [record for record in found if record.state in UNCOPIED]
            owners = exposures.exposures_by_id(connection, {record.exposure_id for record in unfinished})
            self._raised = {one.key for one in events.open_alarms(connection, microscope=self.microscope)}
        self.exposures |= owners
        self.undecided |= {one.id: one for one in waiting}
        for record in found:
            self.remember(record)

    def remember(self, record: FileRecord) -> None:
        """Take over a row as the ledger has it now."""
        if record.state == "copied":
            self.unverified[record.id] = record
        else:
            self.unverified.pop(record.id, None)
        key = (record.share, record.path)
        newest = self.known.get(key)
        if record.gone_at is None and (newest is None or newest.version <= record.version):
            self.known[key] = record  # of one that is gone only the copy is to be verified still
        if record.state not in UNCOPIED:
            self.tracked.pop(record.id, None)
        elif record.id in self.tracked:
            self.tracked[record.id].record = record
        else:
            self.tracked[record.id] = Tracked(record)

    def forget(self, record: FileRecord) -> None:
        """Drop a file that is not on the share any more."""
        self.tracked.pop(record.id, None)
        key = (record.share, record.path)
        if key in self.known and self.known[key].id == record.id:
            del self.known[key]

    def follow_exposures(self, records: Sequence[FileRecord]) -> None:
        """Learn the owners of files that are worked on again: a later file follows its exposure."""
        missing = {record.exposure_id for record in records} - self.exposures.keys()
        if missing:
            with self.transfer.engine.connect() as connection:
                self.exposures |= exposures.exposures_by_id(connection, missing)

    def set_state(self, connection: Connection, changes: list[StateChange]) -> None:
        """Change states in the ledger, and here."""
        files.change_states(connection, changes, at=self.now())
        for change in changes:
            tracked = self.tracked[change.id]
            tracked.record = replace(
                tracked.record,
                state=change.state,
                problem=change.problem,
                frame_count=tracked.record.frame_count if change.frame_count is None else change.frame_count,
            )
            self.known[tracked.record.share, tracked.record.path] = tracked.record

    def sample(self, sample_id: str) -> SampleRecord | None:
        """Return a sample; what the elogbook changes meanwhile reaches the next window."""
        if sample_id not in self._samples:
            with self.transfer.engine.connect() as connection:
                found = samples.find_sample(connection, sample_id)
            if found is None:
                return None
            self._samples[sample_id] = found
        return self._samples[sample_id]

    def folder_is_ready(self, folder: PurePosixPath) -> bool:
        """Whether a folder was made, with its rights, by who prepares samples."""
        if folder not in self._ready and Path(folder).is_dir():
            self._ready.add(folder)
        return folder in self._ready

    def destination(self, record: FileRecord) -> Destination | None:
        """Return where a file goes, None while its owner is not decided. Raises `UnsafeNameError`."""
        owner = self.exposures.get(record.exposure_id)
        if owner is None or owner.decision is None:
            return None
        relative = safe_relative_path(record.path)
        if owner.sample_id is None:
            base = quarantine_root(self.transfer.following.storage_root, self.microscope)
            raw = SampleLayout(root=base).raw
            return Destination(base=raw, target=raw / versioned(relative, record.version), sample=None)
        found = self.sample(owner.sample_id)
        if found is None:
            return None
        raw = self.transfer.raw_folder_of(found)
        return Destination(base=raw, target=raw / versioned(relative, record.version), sample=found)

    def has_alarm(self, key: str) -> bool:
        """Whether an alarm of this microscope is open."""
        said, _ = self._alarms.get(key, (None, 0.0))
        return said is not None or (key not in self._alarms and f"{key}:{self.microscope}" in self._raised)

    def alarm(self, key: str, message: str | None, *, severity: Severity = "warning") -> None:
        """Raise an alarm of this microscope, or clear it when there is nothing to say; repeated at its own pace."""
        now_s = self.clock()
        said, said_s = self._alarms.get(key, ("", float("-inf")))
        if said == message and (message is None or now_s - said_s < ALARM_EVERY_S):
            return
        self._alarms[key] = (message, now_s)
        full_key = f"{key}:{self.microscope}"
        if message is None and said == "" and full_key not in self._raised:
            return
        with self.transfer.engine.begin() as connection:
            if message is None:
                events.clear_alarm(connection, full_key, at=self.now())
                return
            subject = Subject(microscope=self.microscope)
            events.raise_alarm(connection, full_key, severity=severity, message=message, at=self.now(), subject=subject)
