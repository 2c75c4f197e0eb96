"""Experiments and samples as the pipeline knows them: registered when first seen current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import branch, experiment, sample, trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """One sample that was current at least once."""

    id: str
    experiment: str
    instrument: str
    microscope: str
    name: str
    experiment_folder: str
    folder: str
    params: Mapping[str, object]
    imaging_method: str
    preprocess: bool
    dag_id: str
    dag_state: str
    dag_problem: str | None
    first_current_at: datetime
    last_active_at: datetime
    problem: str | None
    current_branch: str
    """New movies are processed in it, and pages show it."""

    @property
    def subject(self) -> Subject:
        """What its events are about."""
        return Subject(microscope=self.microscope, experiment=self.experiment, sample_id=self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSample:
    """What is known of a sample when it becomes current."""

    id: str
    experiment: str
    instrument: str
    microscope: str
    name: str
    experiment_folder: str
    folder: str
    params: Mapping[str, object]
    imaging_method: str
    preprocess: bool
    dag_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One set of parameters of a sample."""

    id: int
    sample_id: str
    name: str
    settings: Mapping[str, object]
    template_hash: str
    software_version: str


_columns = (sample, experiment.c.instrument, experiment.c.folder.label("experiment_folder"))
_joined = sample.join(experiment, sample.c.experiment == experiment.c.name)


def _record(row: Row[tuple[object, ...]]) -> SampleRecord:
    values = row._mapping  # noqa: SLF001  # SQLAlchemy's public name for a row as a mapping
    return SampleRecord(**{name: values[name] for name in SampleRecord.__dataclass_fields__})


def register_sample(connection: Connection, new: NewSample, *, at: datetime) -> bool:
    """Register an experiment and sample, or refresh what the elogbook says of them. Return whether it is new."""
    known = find_sample(connection, new.id)
    values = {"name": new.name, "params": dict(new.params), "imaging_method": new.imaging_method}
    if known is not None:
        changed = {k: v for k, v in {**values, "preprocess": new.preprocess}.items() if getattr(known, k) != v}
        connection.execute(update(sample).where(sample.c.id == new.id).values(last_active_at=at, **changed))
        if changed:
            record_event(connection, "sample_changed", at=at, subject=known.subject, facts={"fields": sorted(changed)})
        return False
    connection.execute(
        insert(experiment)
        .values(
            name=new.experiment,
            instrument=new.instrument,
            microscope=new.microscope,
            folder=new.experiment_folder,
            first_current_at=at,
        )
        .on_conflict_do_nothing()
    )
    connection.execute(
        sample.insert().values(
            id=new.id,
            experiment=new.experiment,
            microscope=new.microscope,
            folder=new.folder,
            dag_id=new.dag_id,
            preprocess=new.preprocess,
            first_current_at=at,
            last_active_at=at,
            **values,
        )
    )
    subject = Subject(microscope=new.microscope, experiment=new.experiment, sample_id=new.id)
    record_event(connection, "sample_registered", at=at, subject=subject, facts={"name": new.name})
    return True


def find_sample(connection: Connection, sample_id: str) -> SampleRecord | None:
    """Return one sample, or None."""
    row = connection.execute(select(*_columns).select_from(_joined).where(sample.c.id == sample_id)).first()
    return None if row is None else _record(row)


def samples_of_microscope(connection: Connection, microscope: str) -> list[SampleRecord]:
    """Return the samples that a microscope has worked on, the one active last first."""
    query = select(*_columns).select_from(_joined).where(sample.c.microscope == microscope)
    return [_record(row) for row in connection.execute(query.order_by(sample.c.last_active_at.desc()))]


def set_dag_state(connection: Connection, sample_id: str, state: str, *, problem: str | None, at: datetime) -> None:
    """Record whether the sample's DAG file is absent, written, parsed, broken or retired."""
    known = find_sample(connection, sample_id)
    if known is None or (known.dag_state, known.dag_problem) == (state, problem):
        return
    connection.execute(update(sample).where(sample.c.id == sample_id).values(dag_state=state, dag_problem=problem))
    record_event(connection, "dag_state", at=at, subject=known.subject, facts={"state": state, "problem": problem})


def set_problem(connection: Connection, sample_id: str, problem: str | None, *, at: datetime) -> None:
    """Record why the sample's movies are not processed, or that nothing is in the way any more."""
    known = find_sample(connection, sample_id)
    if known is None or known.problem == problem:
        return
    connection.execute(update(sample).where(sample.c.id == sample_id).values(problem=problem))
    record_event(connection, "sample_problem", at=at, subject=known.subject, facts={"problem": problem})


def touch_sample(connection: Connection, sample_id: str, *, at: datetime) -> None:
    """Record that the sample is in use, so that its DAG is not retired."""
    connection.execute(update(sample).where(sample.c.id == sample_id).values(last_active_at=at))


def live_branch(connection: Connection, sample_id: str) -> Branch | None:
    """Return the branch that new movies are processed in, or None before the first."""
    name = connection.execute(select(sample.c.current_branch).where(sample.c.id == sample_id)).scalar_one_or_none()
    return None if name is None else find_branch(connection, sample_id, name)


def find_branch(connection: Connection, sample_id: str, name: str) -> Branch | None:
    """Return one branch of a sample, or None."""
    row = connection.execute(select(branch).where(branch.c.sample_id == sample_id, branch.c.name == name)).first()
    if row is None:
        return None
    return Branch(
        id=row.id,
        sample_id=row.sample_id,
        name=row.name,
        settings=row.settings,
        template_hash=row.template_hash,
        software_version=row.software_version,
    )


def save_branch(
    connection: Connection,
    sample_id: str,
    *,
    name: str,
    settings: Mapping[str, object],
    template_hash: str,
    software_version: str,
    at: datetime,
) -> None:
    """Make a branch, or change one whose first movie was not triggered yet."""
    values = {
        "settings": dict(settings),
        "template_hash": template_hash,
        "software_version": software_version,
    }
    connection.execute(
        insert(branch)
        .values(sample_id=sample_id, name=name, created_at=at, **values)
        .on_conflict_do_update(constraint="uq_branch_name", set_=values)
    )


def has_triggers(connection: Connection, branch_id: int) -> bool:
    """Whether any movie was handed over in a branch, which freezes its settings."""
    return bool(connection.execute(select(exists().where(trigger.c.branch_id == branch_id))).scalar_one())


def folder_of_experiment(connection: Connection, experiment_name: str) -> str | None:
    """Return an experiment's folder, or None when it was never current."""
    query = select(experiment.c.folder).where(experiment.c.name == experiment_name)
    return connection.execute(query).scalar_one_or_none()
