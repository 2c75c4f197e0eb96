"""Hand copied movies to the scheduler: once its metadata, gain and parameters are there, each exactly once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.announce_movie import announce_movie
from cryodaq.app.bind_gain import gain_is_bound
from cryodaq.domain.acquisition import AcquisitionMetadata, completed, with_zone
from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.microscope import Microscope
from cryodaq.domain.parameters import (
    Disagreement,
    ImagingParameters,
    InstrumentDefaults,
    read_operator_settings,
    resolve_parameters,
    to_mapping,
)
from cryodaq.errors import (
    DagNotParsedError,
    FormatError,
    ParameterError,
    RunConflictError,
    SchedulerError,
    SchedulerUnreachableError,
)
from cryodaq.formats.metadata import read_metadata
from cryodaq.ledger import events, samples, triggers
from cryodaq.ledger.events import Subject
from cryodaq.ledger.healing import name_another_run
from cryodaq.ledger.samples import Branch, SampleRecord
from cryodaq.ledger.triggers import DueTrigger, WaitingMovie
from cryodaq.ports import Scheduler

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)
METADATA_WAIT = timedelta(seconds=10)
"""A movie waits so long for its metadata, then goes with the sample's parameters."""
MOST_AT_ONCE = 50
"""Triggers that are sent in one go, while a transaction holds them."""
TELL_AFTER = timedelta(seconds=30)
"""What waits for longer is an alarm; gain references and DAG files come in less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What handing movies over needs."""

    engine: Engine
    scheduler: Scheduler
    microscope: Microscope
    has_template: Callable[[str], bool]
    """Whether an imaging method is processed at all."""
    calibrated_pixel_size_ang: Callable[[str, float | None], float | None]
    """The facility's calibration by detector and magnification."""
    now: Callable[[], datetime]
    zone: tzinfo | None = None
    """The site's, for times that acquisition programs write without any; None: they stay so."""
    in_flight_limit: int = 100
    """Movies of this microscope that the scheduler has at once; the others wait in the ledger, the newest first."""


def admit_movies(admission: Admission) -> int:
    """Decide about every waiting movie of the microscope; return how many were put into the outbox."""
    queued = _admit_all(admission, triggers.UNDECIDED)
    _tell_who_waits(admission)
    return queued


def admit_new_movies(admission: Admission) -> int:
    """Decide about movies that wait for nothing yet; hundreds may wait for a person, and are looked at less often."""
    return _admit_all(admission, ("registered",))


def _admit_all(admission: Admission, states: Collection[str]) -> int:
    with admission.engine.begin() as connection:
        waiting = triggers.waiting_movies(connection, admission.microscope.name, states=states)
    queued = 0
    for movie in waiting:
        with admission.engine.begin() as connection:
            queued += _admit(admission, connection, movie)
    return queued


def _tell_who_waits(admission: Admission) -> None:
    """Keep one alarm for each sample whose movies wait for a person: which values or which gain are missing."""
    at, prefix = admission.now(), f"waiting:{admission.microscope.name}:"
    with admission.engine.begin() as connection:
        found = triggers.waiting_samples(connection, admission.microscope.name, since=at - TELL_AFTER)
        said: dict[str, triggers.WaitingSample] = {}
        for one in found:
            said.setdefault(f"{prefix}{one.sample_id}", one)
        known = {alarm.key: alarm.text for alarm in events.open_alarms(connection) if alarm.key.startswith(prefix)}
        for key, one in said.items():
            movies = "1 movie is" if one.movies == 1 else f"{one.movies} movies are"
            message = f"{one.experiment}, sample {one.sample_name}: {movies} not processed yet: {one.problem}"
            if known.get(key) != message:
                subject = Subject(
                    microscope=admission.microscope.name, experiment=one.experiment, sample_id=one.sample_id
                )
                events.raise_alarm(connection, key, severity="warning", message=message, at=at, subject=subject)
        for key in known.keys() - said.keys():
            events.clear_alarm(connection, key, at=at)


def _admit(admission: Admission, connection: Connection, movie: WaitingMovie) -> bool:
    at = admission.now()
    sample = samples.find_sample(connection, movie.sample_id)
    if sample is None:
        return False
    announce_movie(connection, movie, sample, at=at)
    if not sample.preprocess:
        triggers.keep_unprocessed(connection, movie, "preprocess/enable is off: copied and registered only", at=at)
        return False
    if not admission.has_template(sample.imaging_method):
        reason = f"there is no pipeline for {sample.imaging_method}: copied and registered only"
        triggers.keep_unprocessed(connection, movie, reason, at=at)
        return False
    branch = samples.live_branch(connection, sample.id)
    if branch is None:
        triggers.keep_waiting(connection, movie, "waits until its sample is prepared", at=at)
        return False
    try:
        metadata, arrived = _metadata(connection, movie, zone=admission.zone, at=at)
        if not arrived and at - movie.registered_at < METADATA_WAIT:
            return False
        parameters = _parameters(admission, connection, sample, branch, metadata)
    except (ParameterError, OSError) as error:
        why = f"its metadata cannot be read: {error}" if isinstance(error, OSError) else str(error)
        triggers.keep_waiting(connection, movie, why, at=at)
        return False
    microscope = admission.microscope
    if microscope.needs_gain and not gain_is_bound(
        connection, movie, sample, metadata, defects=microscope.defects, at=at
    ):
        return False
    samples.touch_sample(connection, sample.id, at=at)
    triggers.queue_trigger(
        connection,
        movie,
        branch_of=branch,
        dag_id=sample.dag_id,
        parameters=to_mapping(parameters),
        at=at,
    )
    return True


def _metadata(
    connection: Connection, movie: WaitingMovie, *, zone: tzinfo | None, at: datetime
) -> tuple[AcquisitionMetadata | None, bool]:
    """Return what is known of the exposure, and whether its metadata arrived; damaged files raise an alarm."""
    if movie.metadata is not None:
        return AcquisitionMetadata(**movie.metadata), True  # type: ignore[arg-type]  # stored by asdict below
    found: AcquisitionMetadata | None = None
    paths = triggers.copied_metadata_files(connection, movie.exposure_id)
    key, damaged = f"metadata:{movie.sample_id}", False
    for path in paths:
        try:
            found = completed(found, _said_of(movie, read_metadata(Path(path))))
        except FormatError as error:
            damaged = True
            message = f"{error}; {movie.run_name} is processed with the sample's parameters"
            events.raise_alarm(connection, key, severity="warning", message=message, at=at, subject=movie.subject)
    if paths and not damaged:
        events.clear_alarm(connection, key, at=at)
    if paths or at - movie.registered_at >= METADATA_WAIT:
        found = completed(found, _said_by_itself(movie))
    if found is not None:
        found = found if zone is None else with_zone(found, zone)
        triggers.save_metadata(connection, movie.id, asdict(found))
    return found, bool(paths)


def _said_by_itself(movie: WaitingMovie) -> AcquisitionMetadata | None:
    """Return what the movie's own header says; processing it will tell what is wrong with it."""
    try:
        (said,) = read_metadata(Path(movie.target))
    except (FormatError, OSError):
        return None
    if said.pixel_size_ang == 1.0:
        said = replace(said, pixel_size_ang=None)  # what programs write that do not know it
    if said.dose_per_frame_e_ang2 is None and said.total_dose_e_ang2 and movie.frame_count:
        return replace(said, dose_per_frame_e_ang2=said.total_dose_e_ang2 / movie.frame_count)
    return said


def _said_of(movie: WaitingMovie, said: Sequence[AcquisitionMetadata]) -> AcquisitionMetadata | None:
    """Return what an mdoc of several movies says of this one; a file with one answer speaks of its exposure."""
    name = PurePosixPath(movie.path).name.lower()
    named = [entry for entry in said if entry.movie_file_name and entry.movie_file_name.lower() == name]
    return next(iter(named or (said if len(said) == 1 else [])), None)


def _parameters(
    admission: Admission,
    connection: Connection,
    sample: SampleRecord,
    branch: Branch,
    metadata: AcquisitionMetadata | None,
) -> ImagingParameters:
    operator = read_operator_settings(_mapping(branch.settings["operator"]))
    instrument = InstrumentDefaults(**_mapping(branch.settings["instrument"]))  # type: ignore[arg-type]  # by asdict
    calibrated = admission.calibrated_pixel_size_ang(
        admission.microscope.detector, metadata.magnification if metadata else None
    )
    parameters, disagreements = resolve_parameters(
        operator, metadata, replace(instrument, calibrated_pixel_size_ang=calibrated)
    )
    _warn(connection, sample, disagreements, at=admission.now())
    return parameters


def _mapping(value: object) -> Mapping[str, ParameterValue]:
    if not isinstance(value, Mapping):
        message = "the sample's stored settings cannot be read; make the sample current again"
        raise ParameterError(message)
    return value


def _warn(connection: Connection, sample: SampleRecord, disagreements: Sequence[Disagreement], *, at: datetime) -> None:
    """Keep the alarms about sources that contradict each other as the latest movie has it."""
    prefix = f"disagreement:{sample.id}:"
    for found in disagreements:
        message = f"{sample.experiment}, sample {sample.name}: {found.text}"
        key = f"{prefix}{found.field}"
        events.raise_alarm(connection, key, severity="warning", message=message, at=at, subject=sample.subject)
    events.clear_alarms_except(connection, prefix, keep=[f"{prefix}{one.field}" for one in disagreements], at=at)


def send_triggers(admission: Admission) -> int:
    """Send what is due to the scheduler; return how many runs it took. None while the storage is too full.

    Only so many movies are under way at once that the machines stay busy: what computing cannot keep up with waits
    here, where the newest movie goes first and no microscope can fill the scheduler's queue against another one.
    """
    with admission.engine.connect() as connection:
        if events.is_raised(connection, f"{events.PROCESSING_PAUSED}:{admission.microscope.name}"):
            return 0
        room = admission.in_flight_limit - triggers.in_flight(connection, admission.microscope.name)
    sent = 0
    for _ in range(max(0, min(room, MOST_AT_ONCE))):
        # One transaction each: a run begins at once, and its first task must not wait for the note of later ones.
        with admission.engine.begin() as connection:
            due = triggers.next_trigger(connection, admission.microscope.name, at=admission.now())
            if due is None:
                break
            try:
                sent += _send(admission, connection, due)
            except SchedulerUnreachableError as error:
                triggers.mark_unsent(connection, due, str(error), at=admission.now())
                break
    return sent


def _send(admission: Admission, connection: Connection, due: DueTrigger) -> bool:
    """Return whether the scheduler took the run. Raises `SchedulerUnreachableError`."""
    try:
        admission.scheduler.trigger(due.dag_id, due.run_id, conf=due.conf)
    except SchedulerUnreachableError:
        raise
    except RunConflictError as error:
        # The ledger was put back to an earlier backup, and the scheduler remembers runs of what came after it.
        new = name_another_run(connection, due.id, not_before=admission.now())
        log.warning("a run of that id is another movie's", extra={"run": due.run_id, "instead": new, "why": str(error)})
    except DagNotParsedError as error:
        triggers.mark_unsent(connection, due, str(error), at=admission.now())
        samples.set_dag_state(connection, due.sample_id, "absent", problem=str(error), at=admission.now())
    except SchedulerError as error:
        log.warning("a trigger was refused", extra={"run": due.run_id, "problem": str(error)})
        triggers.refuse_trigger(connection, due, str(error), at=admission.now())
    else:
        triggers.mark_sent(connection, due, at=admission.now())
        return True
    return False
