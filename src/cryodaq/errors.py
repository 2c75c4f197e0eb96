"""Every error that cryodaq raises on purpose, as one tree.

    CryodaqError
    ├── ConfigError               the facility file is wrong
    ├── UnsafeNameError           a name that cannot be used safely
    ├── ParameterError            imaging parameters are missing or contradict each other
    ├── FormatError               a file is not what its name says, or is damaged
    │   └── TruncatedFileError    it ends too early
    ├── ImagingError              the picture cannot be computed from this input
    │   └── WrongGainError        the gain reference is not this camera's
    ├── EngineError               an external program failed
    ├── LogbookError              the elogbook refused
    │   ├── AccountError          an account cannot be made or changed as asked
    │   ├── LogbookAccessError    it does not let us
    │   └── LogbookUnreachableError   (retryable) no answer
    ├── DirectoryError            (retryable) the site's directory of people does not answer
    ├── SchedulerError            the scheduler refused
    │   ├── RunConflictError      a run of that name exists for another movie
    │   ├── DagNotParsedError     (retryable) it does not know the sample's DAG yet
    │   └── SchedulerUnreachableError (retryable)
    ├── TransferError
    │   ├── ShareMissingError     (retryable) the share is not mounted
    │   ├── ShareStalledError     (retryable) the share does not answer
    │   ├── WorkerEndedError      (retryable) nobody knows how far its worker came
    │   ├── SourceUnstableError   (retryable) the camera still writes the file
    │   ├── SourceVanishedError   the file is not on the share any more
    │   ├── CopyMismatchError     (retryable) the copy differs from the source
    │   ├── TargetExistsError     another file has the final name
    │   ├── RemovalOpenError      (retryable) a file waits under its aside name
    │   └── TargetFullError       (retryable)
    ├── NotificationError         (retryable) a message to people could not be sent
    ├── StoreError                folders, links or rights on the large file system
    ├── ExportError               a project for another program cannot be made in this folder
    ├── LedgerError
    │   ├── LeaseLostError        another process owns this microscope now
    │   └── SchemaVersionError    the database is newer than this program
    └── LaunchError               the embedded system could not be started

A class exists because a caller acts on it differently. `retryable` says whether the scheduler should try
again; orchestration maps it to retries in one place.
"""

from __future__ import annotations

from pathlib import PurePath


class CryodaqError(Exception):
    """Base of all errors raised on purpose."""

    retryable = False


class ConfigError(CryodaqError):
    """The facility file is wrong; the message says where and what to write instead."""


class UnsafeNameError(CryodaqError):
    """A name from a microscope, a logbook or a browser cannot be used as given."""

    def __init__(self, name: str, *, why: str) -> None:
        super().__init__(f"{name!r} cannot be used: {why}")
        self.name, self.why = name, why


class ParameterError(CryodaqError):
    """Imaging parameters are missing or contradict each other."""


class FormatError(CryodaqError):
    """A file is not what its name says, or is damaged."""

    def __init__(self, path: PurePath, *, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = path, problem


class TruncatedFileError(FormatError):
    """A file ends before its format says it should."""

    def __init__(self, path: PurePath, *, problem: str) -> None:
        super().__init__(path, problem=f"{problem}; if nobody writes it any more, copy it again")


class ImagingError(CryodaqError):
    """The picture cannot be computed from this input; the message says what to change."""


class WrongGainError(ImagingError):
    """The frames show a pattern that the gain reference does not remove: it is another camera's, or out of date."""

    def __init__(self, problem: str, *, picture: bytes | None = None) -> None:
        super().__init__(problem)
        self.picture = picture
        """The pattern as a PNG, for people."""


class EngineError(CryodaqError):
    """An external program failed."""

    def __init__(self, program: str, *, problem: str, last_lines: str = "") -> None:
        super().__init__(f"{program}: {problem}" + (f"\n{last_lines}" if last_lines else ""))
        self.program, self.problem, self.last_lines = program, problem, last_lines


class LogbookError(CryodaqError):
    """The elogbook refused a request; its own words are in the message."""


class AccountError(LogbookError):
    """An account of the embedded elogbook cannot be made or changed as asked."""


class LogbookAccessError(LogbookError):
    """The elogbook does not let this account do it."""


class LogbookUnreachableError(LogbookError):
    """The elogbook gave no answer; what was known last still holds."""

    retryable = True


class SchedulerError(CryodaqError):
    """The scheduler refused a request."""


class RunConflictError(SchedulerError):
    """A run of that name exists, and belongs to another movie."""

    def __init__(self, run_id: str, *, expected_movie: object, found_movie: object) -> None:
        super().__init__(
            f"run {run_id} was to process movie {expected_movie} but already stands for movie {found_movie}; "
            "neither was changed"
        )
        self.run_id, self.expected_movie, self.found_movie = run_id, expected_movie, found_movie


class DagNotParsedError(SchedulerError):
    """The scheduler does not know the sample's DAG yet, or could not read its file; triggers wait."""

    retryable = True

    def __init__(self, dag_id: str, *, problem: str | None = None) -> None:
        super().__init__(f"{dag_id} cannot take runs yet: " + (problem or "its file was not read so far"))
        self.dag_id, self.problem = dag_id, problem


class SchedulerUnreachableError(SchedulerError):
    """The scheduler gave no answer; the trigger waits."""

    retryable = True


class TransferError(CryodaqError):
    """A file could not be brought to the data centre."""


class ShareMissingError(TransferError):
    """The share's sentinel is not there, so an empty folder would look like an empty session."""

    retryable = True

    def __init__(self, share: PurePath, *, why: str) -> None:
        super().__init__(f"{share} is not mounted: {why}; mount the share")
        self.share, self.why = share, why


class ShareStalledError(TransferError):
    """The share did not answer in time; its worker was given up."""

    retryable = True

    def __init__(self, share: PurePath, *, waited_s: float) -> None:
        super().__init__(f"{share} did not answer for {waited_s:.0f} s; check the camera server and the network")
        self.share, self.waited_s = share, waited_s


class WorkerEndedError(TransferError):
    """The worker of a share ended before it answered; what it was asked for may be done, half done or not begun."""

    retryable = True

    def __init__(self, share: PurePath) -> None:
        super().__init__(f"the worker of {share} ended before it answered; what it did is looked at again")
        self.share = share


class SourceUnstableError(TransferError):
    """The camera still writes the file; the next scan will see it again."""

    retryable = True

    def __init__(self, path: PurePath, *, change: str) -> None:
        super().__init__(f"{path} changed while it was read ({change}); it is left for the next scan")
        self.path, self.change = path, change


class SourceVanishedError(TransferError):
    """The file is not on the share any more."""

    def __init__(self, path: PurePath) -> None:
        super().__init__(f"{path} is not on the share any more")
        self.path = path


class CopyMismatchError(TransferError):
    """The copy, read again from storage, is not the source."""

    retryable = True

    def __init__(self, path: PurePath, *, expected: str, found: str) -> None:
        super().__init__(f"{path} reads back as {found}, not {expected}; it is copied again")
        self.path, self.expected, self.found = path, expected, found


class TargetExistsError(TransferError):
    """Another file already has the final name; nothing is ever replaced."""

    def __init__(self, path: PurePath) -> None:
        super().__init__(f"{path} already exists and is another file; nothing was replaced")
        self.path = path


class TargetFullError(TransferError):
    """The large file system has no room left."""

    retryable = True

    def __init__(self, path: PurePath, *, free_bytes: int) -> None:
        super().__init__(f"{path} has {free_bytes / 1e9:.1f} GB free; copying waits until there is room")
        self.path, self.free_bytes = path, free_bytes


class RemovalOpenError(TransferError):
    """A file was renamed aside and could neither be removed nor get its name back; a later run does one of the two."""

    retryable = True

    def __init__(self, path: PurePath, *, why: str) -> None:
        super().__init__(f"{path} is neither removed nor back under its name yet: {why}; the next run settles it")
        self.path, self.why = path, why


class DirectoryError(CryodaqError):
    """The site's directory of people does not answer, or makes no sense; nobody was changed."""

    retryable = True


class NotificationError(CryodaqError):
    """A message to people could not be sent; it is kept and tried again."""

    retryable = True


class StoreError(CryodaqError):
    """Folders, links or access rights on the large file system cannot be made; the message says which."""


class ExportError(CryodaqError):
    """A sample cannot be given to another program as asked; the message says what stands in the way."""


class LedgerError(CryodaqError):
    """The ledger cannot take a fact."""


class LeaseLostError(LedgerError):
    """Another process owns this microscope now; this one must stop at once."""

    def __init__(self, microscope: str, *, epoch: int) -> None:
        super().__init__(f"the lease of {microscope} with epoch {epoch} was taken by another process")
        self.microscope, self.epoch = microscope, epoch


class SchemaVersionError(LedgerError):
    """The database was made by a newer cryodaq."""

    def __init__(self, *, where: str, found: str, known: str) -> None:
        super().__init__(f"{where} has schema {found}, this program knows up to {known}; install the newer cryodaq")
        self.where, self.found, self.known = where, found, known


class LaunchError(CryodaqError):
    """The embedded system could not be started; the message says what to do."""
