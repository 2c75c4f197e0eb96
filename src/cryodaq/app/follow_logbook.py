"""Follow the elogbook: ask what is current on a microscope, record every answer, say what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.transfer_window.background import Background
from cryodaq.domain.experiment import CurrentState, Sample
from cryodaq.domain.layout import experiment_layout
from cryodaq.domain.microscope import Microscope
from cryodaq.domain.names import check_experiment_name, check_sample_id, dag_id
from cryodaq.domain.parameters import read_operator_settings
from cryodaq.errors import LogbookError, ParameterError, UnsafeNameError
from cryodaq.ledger import events, leases, observations, samples
from cryodaq.ledger.events import Severity, Subject
from cryodaq.ledger.leases import Lease
from cryodaq.ledger.observations import Observation
from cryodaq.ledger.samples import NewSample, SampleRecord
from cryodaq.ports import AssignmentSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)
OLD_EXPERIMENT = timedelta(days=60)
"""An experiment that began longer ago is a notice, never a stop."""
PARAMETER_PROBLEM = "its parameters cannot be read: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What following the elogbook needs."""

    engine: Engine
    logbook: AssignmentSource
    microscope: Microscope
    experiment_pattern: str
    """The site's regular expression for experiments' names."""
    storage_root: PurePosixPath
    now: Callable[[], datetime]
    poll_s: float = 4.0
    """Between two questions, s."""
    background: Callable[..., Background] = Background
    """What does something over and over beside the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """What an answer means for the microscope's files."""

    asked_at: datetime
    answered: bool
    sample_id: str | None
    """The registered sample that new exposures belong to; None: nobody's. Without an answer the one last known."""
    state: CurrentState | None = None


def poll(following: Following, *, under: Lease) -> Current:
    """Ask once; record the answer, register the sample, raise and clear alarms.

    An answer counts from when it arrived. A process that sleeps before it makes a note of it would have it count from
    its waking on, beside what others asked meanwhile; so the note is made under the lease, as all others are.

    Raises
    ------
    LeaseLostError
        Somebody else follows the elogbook for this microscope now; nothing was recorded.
    """
    asked_at = following.now()
    microscope = following.microscope
    try:
        state = following.logbook.current_state(microscope.instrument, station=microscope.station)
        known = _known_sample(following, state)
        instrument = known.instrument if known is not None else _spelling(following, state)
    except LogbookError as error:
        return _no_answer(following, asked_at, error, under=under)
    answered_at = following.now()
    with following.engine.begin() as connection:
        leases.fence(connection, under)
        sample_id, problem = _usable_sample(connection, following, state, instrument=instrument, known=known)
        _alarm(connection, following, "assignment", problem, severity="error")
        _alarm(connection, following, "age", age := _old_age(following, state), severity="notice")
        over = {"elogbook": None, "assignment": problem, "age": age}
        keys = [f"{what}:{microscope.name}" for what, message in over.items() if message is None]
        events.clear_alarms(connection, keys, at=following.now())
        observations.record_observation(
            connection,
            Observation(
                microscope=microscope.name,
                asked_at=asked_at,
                answered_at=answered_at,
                assignment=state.assignment,
                experiment=state.experiment,
                sample_id=sample_id,
                sample_name=state.sample.name if state.sample else None,
                switched_at=state.switched_at,
                problem=problem,
            ),
        )
    return Current(asked_at=asked_at, answered=True, sample_id=sample_id, state=state)


def _known_sample(following: Following, state: CurrentState) -> SampleRecord | None:
    """Return what is on record of the current sample."""
    if state.sample is None:
        return None
    with following.engine.connect() as connection:
        return samples.find_sample(connection, state.sample.id)


def _spelling(following: Following, state: CurrentState) -> str:
    """Return the elogbook's spelling of the instrument, asked for when a sample is seen the first time."""
    if state.sample is None:
        return following.microscope.instrument
    wanted = following.microscope.instrument.casefold()
    spelled = (one.id for one in following.logbook.instruments() if one.id.casefold() == wanted)
    return next(spelled, following.microscope.instrument)


def _no_answer(following: Following, asked_at: datetime, error: LogbookError, *, under: Lease) -> Current:
    name = following.microscope.name
    log.warning("the elogbook gave no answer", extra={"microscope": name, "problem": str(error)})
    message = f"the elogbook does not say what is current on {name}: {error}"
    with following.engine.begin() as connection:
        leases.fence(connection, under)
        last = observations.last_answer(connection, name)
        sample_id = last.sample_id if last else None
        if last is not None and sample_id is not None:
            message += f"; copying goes on for {last.experiment}, sample {last.sample_name}"
        _alarm(connection, following, "elogbook", message)
        observations.record_observation(
            connection,
            Observation(
                microscope=name,
                asked_at=asked_at,
                answered_at=following.now(),
                assignment=None,
                problem=str(error),
            ),
        )
    return Current(asked_at=asked_at, answered=False, sample_id=sample_id)


def _usable_sample(
    connection: Connection, following: Following, state: CurrentState, *, instrument: str, known: SampleRecord | None
) -> tuple[str | None, str | None]:
    """Return the current sample's id once it is registered, or why what the elogbook says cannot be used."""
    if state.experiment is None:
        return None, None
    try:
        check_experiment_name(state.experiment, following.experiment_pattern)
        if state.sample is None:
            return None, None
        register(
            connection,
            following,
            state.experiment,
            sample=state.sample,
            instrument=instrument,
            started_at=state.experiment_started_at,
            known=known,
        )
    except UnsafeNameError as error:
        return None, f"{following.microscope.name}: {error}; until then its files wait in quarantine"
    return state.sample.id, None


def register(
    connection: Connection,
    following: Following,
    experiment: str,
    *,
    sample: Sample,
    instrument: str,
    started_at: datetime | None,
    known: SampleRecord | None,
) -> None:
    """Register a sample, or refresh what the elogbook says of it, beside what is `known`. Raises `UnsafeNameError`."""
    if not sample.name.strip():
        raise UnsafeNameError(
            sample.name, why=f"the current sample of {experiment} has no name; name it in the elogbook"
        )
    layout = experiment_layout(following.storage_root, experiment, instrument=instrument, started_at=started_at)
    check_sample_id(sample.id)
    method, preprocess = (known.imaging_method, known.preprocess) if known else ("single-particle", True)
    problem: str | None = None
    try:
        settings = read_operator_settings(sample.params)
        method, preprocess = settings.imaging_method, settings.preprocessing_enabled
    except ParameterError as error:
        problem = f"{PARAMETER_PROBLEM}{error}"
    at = following.now()
    samples.register_sample(
        connection,
        NewSample(
            id=sample.id,
            experiment=experiment,
            instrument=instrument,
            microscope=following.microscope.name,
            name=sample.name,
            experiment_folder=str(layout.root),
            folder=str(layout.sample(sample.id).root),
            params=dict(sample.params),
            imaging_method=method,
            preprocess=preprocess,
            dag_id=dag_id(experiment, sample.id),
        ),
        at=at,
    )
    if problem is not None or (known and (known.problem or "").startswith(PARAMETER_PROBLEM)):
        samples.set_problem(connection, sample.id, problem, at=at)


def _old_age(following: Following, state: CurrentState) -> str | None:
    started = state.experiment_started_at
    if started is None or state.experiment is None or following.now() - started < OLD_EXPERIMENT:
        return None
    days = (following.now() - started).days
    return f"{state.experiment} on {following.microscope.name} began {days} days ago; is it still the right one?"


def _alarm(
    connection: Connection,
    following: Following,
    what: str,
    message: str | None,
    *,
    severity: Severity = "warning",
) -> None:
    """Raise an alarm of following when there is something to say."""
    key, name = f"{what}:{following.microscope.name}", following.microscope.name
    if message is not None:
        subject = Subject(microscope=name)
        events.raise_alarm(connection, key, severity=severity, message=message, at=following.now(), subject=subject)


class Follower:
    """Asks over and over from a thread of its own, so that a stalled elogbook stops no copying."""

    def __init__(self, following: Following, *, under: Lease, wake: Callable[[], None] = lambda: None) -> None:
        self._following = following
        self._under = under
        self._wake = wake
        self._latest: Current | None = None
        self._background = following.background(self._poll, every_s=following.poll_s, name="elogbook")

    @property
    def latest(self) -> Current | None:
        """The last poll, None before the first. Raises what stopped the asking, such as a lost lease or database."""
        self._background.check()
        return self._latest

    def ask_now(self) -> None:
        """Ask again at once instead of at the next turn."""
        self._background.now()

    def start(self) -> None:
        """Begin asking."""
        self._background.start()

    def end(self) -> None:
        """Stop asking; a question that hangs is left behind."""
        self._background.end()

    def _poll(self) -> None:
        self._latest = poll(self._following, under=self._under)
        self._wake()


@contextmanager
def followed(following: Following, *, under: Lease, wake: Callable[[], None] = lambda: None) -> Iterator[Follower]:
    """Follow the elogbook while the block runs, for whom holds the lease."""
    follower = Follower(following, under=under, wake=wake)
    follower.start()
    try:
        yield follower
    finally:
        follower.end()
