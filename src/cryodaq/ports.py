"""Protocols of what has two implementations: the outside thing and its fake or its alternative."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryodaq.domain.experiment import (
    Collaborator,
    CurrentState,
    Instrument,
    ParameterValue,
    RegisteredFile,
    Sample,
)
from cryodaq.domain.failures import RunState
from cryodaq.domain.notifications import Message
from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import AlignmentResult, CtfResult, PickResult


class AssignmentSource(Protocol):
    """Says what is current on a microscope; raises what `Logbook` raises."""

    def current_state(self, instrument: str, *, station: int) -> CurrentState:
        """Return what is current on a microscope; `instrument` is compared case-insensitively."""
        ...

    def instruments(self) -> Sequence[Instrument]:
        """Return all microscopes."""
        ...


class Logbook(AssignmentSource, Protocol):
    """An explgbk-compatible elogbook. Every writing call may be sent twice with the same result.

    Every method raises `LogbookUnreachableError` without an answer, `LogbookAccessError` when the account
    may not, and `LogbookError` when the answer is a refusal or makes no sense.
    """

    def samples(self, experiment: str) -> Sequence[Sample]:
        """Return the samples of an experiment, newest first."""
        ...

    def collaborators(self, experiment: str) -> Sequence[Collaborator]:
        """Return who may read an experiment."""
        ...

    def start_run(self, experiment: str, run: str, *, sample_name: str, begun_at: datetime) -> None:
        """Make the run of a movie; an existing run of that name is left as it is."""
        ...

    def change_sample(self, experiment: str, run: str, *, sample_name: str) -> None:
        """Give a run to another sample of its experiment."""
        ...

    def add_run_params(self, experiment: str, run: str, *, params: Mapping[str, ParameterValue]) -> None:
        """Merge values into a run's params."""
        ...

    def end_run(self, experiment: str, run: str, *, ended_at: datetime) -> None:
        """Close a run (an explgbk closes another one; its client leaves the run open instead)."""
        ...

    def add_note(self, experiment: str, text: str, *, tags: Sequence[str], once: str) -> None:
        """Write into an experiment's log; what has the same `once` (letters, digits, `-`) is written once."""
        ...

    def register_files(self, experiment: str, run: str, *, files: Sequence[RegisteredFile]) -> None:
        """Register files of a run; a file that is already there is replaced."""
        ...


class Scheduler(Protocol):
    """Orders the work on movies. Raises `SchedulerUnreachableError` without an answer."""

    def trigger(self, dag_id: str, run_id: str, *, conf: Mapping[str, object]) -> None:
        """Start a run; the same run again is accepted.

        Raises `RunConflictError` when the run exists for another movie, `SchedulerError` when it refuses.
        """
        ...

    def is_parsed(self, dag_id: str) -> bool:
        """Whether the scheduler knows the sample's DAG and would accept a run."""
        ...

    def refresh(self) -> None:
        """Ask the scheduler to look at the DAG folder now."""
        ...

    def import_error(self, file_name: str) -> str | None:
        """Return why the DAG file of that name could not be read, or None."""
        ...

    def run_states(self, dag_id: str, run_ids: Collection[str]) -> Mapping[str, RunState]:
        """Return how far runs of a DAG are; a run that the scheduler does not know is left out."""
        ...


class MotionCorrection(Protocol):
    """Aligns the frames of a movie."""

    @property
    def name(self) -> str:
        """What results and settings call it."""
        ...

    def align(self, movie: Path, *, gain: Path | None, parameters: ImagingParameters, folder: Path) -> AlignmentResult:
        """Write the sums into `folder`. Raises `FormatError`, `ImagingError` or `EngineError`."""
        ...


class CtfEstimation(Protocol):
    """Fits the contrast transfer function of micrographs."""

    @property
    def name(self) -> str:
        """What results and settings call it."""
        ...

    def fit(
        self,
        micrograph: Path,
        *,
        unaligned_sum: Path | None,
        parameters: ImagingParameters,
        folder: Path,
    ) -> CtfResult:
        """Fit both sums; pictures of the spectra go into `folder`."""
        ...


class ParticlePicking(Protocol):
    """Finds particles in a micrograph."""

    @property
    def name(self) -> str:
        """What results and settings call it."""
        ...

    def pick(self, micrograph: Path, *, parameters: ImagingParameters, folder: Path) -> PickResult:
        """Write the coordinates' STAR file into `folder`."""
        ...


class Notifier(Protocol):
    """Brings messages to people outside. The same message again has the same id."""

    def send(self, message: Message) -> None:
        """Send one message. Raises `NotificationError` when it was not taken."""
        ...


class CollaboratorChannel(Protocol):
    """Brings an experiment's digests to its collaborators, and to nobody else."""

    def send(self, message: Message, people: Sequence[str], *, gone: Sequence[str]) -> None:
        """Send one message to people by their user names; who is `gone` hears nothing any more.

        Raises `NotificationError` when it was not taken.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryPerson:
    """Somebody in the site's directory."""

    uid: str
    full_name: str
    uid_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryGroup:
    """A POSIX group of the site's directory."""

    name: str
    gid_number: int
    members: frozenset[str]


class Directory(Protocol):
    """The site's directory of people. Every method raises `DirectoryError`."""

    def people(self) -> Sequence[DirectoryPerson]:
        """Return everybody who can have access to files."""
        ...

    def groups(self) -> Sequence[DirectoryGroup]:
        """Return all groups."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks for a page."""

    user: str
    full_name: str
    privileges: frozenset[str]
    """The site-wide privileges."""


class AccessControl(Protocol):
    """Says who somebody is and what they may see; the elogbook decides.

    Every method raises `LogbookUnreachableError` when the elogbook does not answer.
    """

    def log_in(self, user: str, password: str) -> str:
        """Begin a browser session and return its secret, the cookie's value.

        Raises `LogbookAccessError` with a sentence for the person who is refused.
        """
        ...

    def log_in_with_ticket(self, ticket: str) -> str:
        """Begin a browser session with a one-time ticket; raises `LogbookAccessError` when it is not valid."""
        ...

    def log_in_trusted(self, user: str) -> str:
        """Begin a browser session for somebody whom the site's single sign-on knows; raises `LogbookAccessError`."""
        ...

    def log_out(self, session: str) -> None:
        """End a browser session at once; an unknown one is accepted."""
        ...

    def identify(self, session: str) -> Person | None:
        """Return who owns a browser session, or None when there is no such session."""
        ...

    def privileges(self, session: str, experiment: str) -> frozenset[str]:
        """Return what the owner of a session may do with one experiment."""
        ...

    def readable(self, session: str, experiments: Collection[str]) -> frozenset[str]:
        """Return those of some experiments that the owner of a session may read."""
        ...
