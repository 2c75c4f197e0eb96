"""A logbook in memory, and the stage on which tests play its operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cryodaq.domain.experiment import (
    Assignment,
    Collaborator,
    CurrentState,
    Instrument,
    ParameterValue,
    RegisteredFile,
    Sample,
)
from cryodaq.errors import LogbookAccessError, LogbookError, LogbookUnreachableError


@dataclass(slots=True, kw_only=True)
class RecordedRun:
    """What a logbook holds of a run."""

    sample_name: str | None
    begun_at: datetime
    ended_at: datetime | None = None
    params: dict[str, ParameterValue] = field(default_factory=dict)
    files: dict[str, RegisteredFile] = field(default_factory=dict)


class LogbookStage(Protocol):
    """What an operator does in a logbook, and what can be seen in it afterwards."""

    def add_instrument(self, instrument: str) -> None:
        """Register a microscope with one station."""
        ...

    def add_experiment(self, experiment: str, *, instrument: str) -> None:
        """Register an experiment."""
        ...

    def add_sample(self, experiment: str, name: str, *, params: Mapping[str, ParameterValue]) -> str:
        """Register a sample and return its id."""
        ...

    def add_collaborator(self, experiment: str, player: str) -> None:
        """Let `uid:<user>` or a group read an experiment."""
        ...

    def switch(self, experiment: str, *, instrument: str) -> None:
        """Make an experiment active."""
        ...

    def standby(self, instrument: str) -> None:
        """Make no experiment active."""
        ...

    def make_current(self, experiment: str, sample: str) -> None:
        """Make a sample current."""
        ...

    def stop_current(self, experiment: str, sample: str) -> None:
        """Make no sample current."""
        ...

    def recorded_run(self, experiment: str, run: str) -> RecordedRun | None:
        """Return what is recorded of a run."""
        ...

    def recorded_notes(self, experiment: str) -> list[str]:
        """Return what programs wrote into an experiment's log."""
        ...

    def take_access_away(self) -> None:
        """Refuse the account of the logbook under test from now on."""
        ...

    def go_down(self) -> None:
        """Answer nothing from now on."""
        ...


class FakeLogbook:
    """A `Logbook` and its `LogbookStage` in one object."""

    def __init__(self) -> None:
        self.is_down = False
        self.access_is_refused = False
        self.now = datetime(2026, 1, 1, 8, tzinfo=UTC)
        self.runs: dict[tuple[str, str], RecordedRun] = {}
        self.notes: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {}
        self._instruments: dict[str, Instrument] = {}
        self._samples: dict[str, list[Sample]] = {}
        self._collaborators: dict[str, list[Collaborator]] = {}
        self._switched: dict[tuple[str, int], tuple[str | None, datetime]] = {}
        self._current: dict[str, str] = {}
        self._started: dict[str, datetime] = {}
        self._ids = 0

    # what an operator does

    def add_instrument(self, instrument: str) -> None:
        """Register a microscope."""
        self._instruments[instrument] = Instrument(id=instrument, params={"num_stations": 1})

    def add_experiment(self, experiment: str, *, instrument: str) -> None:
        """Register an experiment of a known instrument."""
        self._samples[experiment] = []
        self._collaborators[experiment] = []
        self._started[experiment] = self.now
        if instrument not in self._instruments:
            message = f"there is no instrument {instrument}"
            raise LogbookError(message)

    def add_sample(self, experiment: str, name: str, *, params: Mapping[str, ParameterValue]) -> str:
        """Register a sample and return its id."""
        self._ids += 1
        sample = Sample(id=f"{self._ids:024x}", name=name, params=dict(params))
        self._samples[experiment].insert(0, sample)
        return sample.id

    def add_collaborator(self, experiment: str, player: str) -> None:
        """Let somebody read an experiment."""
        person = Collaborator(uid=player, is_group=not player.startswith("uid:"), roles=("LogBook/Reader",))
        self._collaborators[experiment].append(person)

    def set_collaborator(self, experiment: str, person: Collaborator) -> None:
        """Let somebody with a number read an experiment, or change the entry."""
        self.remove_collaborator(experiment, person.uid)
        self._collaborators[experiment].append(person)

    def remove_collaborator(self, experiment: str, uid: str) -> None:
        """Let somebody read an experiment no longer."""
        self._collaborators[experiment] = [one for one in self._collaborators[experiment] if one.uid != uid]

    def switch(self, experiment: str, *, instrument: str) -> None:
        """Make an experiment active."""
        self._set_active(instrument, experiment)

    def standby(self, instrument: str) -> None:
        """Make no experiment active."""
        self._set_active(instrument, None)

    def _set_active(self, instrument: str, experiment: str | None) -> None:
        self.now += timedelta(seconds=1)
        self._switched[instrument.casefold(), 0] = (experiment, self.now)

    def make_current(self, experiment: str, sample: str) -> None:
        """Make a sample current, by its name."""
        self._current[experiment] = sample

    def stop_current(self, experiment: str, sample: str) -> None:
        """Make no sample current."""
        if self._current.get(experiment) == sample:
            del self._current[experiment]

    def recorded_run(self, experiment: str, run: str) -> RecordedRun | None:
        """Return what is recorded of a run."""
        return self.runs.get((experiment, run))

    def take_access_away(self) -> None:
        """Refuse everything from now on."""
        self.access_is_refused = True

    def go_down(self) -> None:
        """Answer nothing until `is_down` is false again."""
        self.is_down = True

    # what programs ask

    def current_state(self, instrument: str, *, station: int) -> CurrentState:
        """Return what is current on a microscope."""
        self._answer()
        experiment, switched_at = self._switched.get((instrument.casefold(), station), (None, None))
        if switched_at is None:
            return CurrentState(assignment=Assignment.NOTHING)
        if experiment is None:
            return CurrentState(assignment=Assignment.STANDBY, switched_at=switched_at)
        name = self._current.get(experiment)
        sample = next((found for found in self._samples[experiment] if found.name == name), None)
        return CurrentState(
            assignment=Assignment.NO_SAMPLE if sample is None else Assignment.SAMPLE,
            experiment=experiment,
            sample=sample,
            switched_at=switched_at,
            experiment_started_at=self._started[experiment],
        )

    def instruments(self) -> Sequence[Instrument]:
        """Return all microscopes."""
        self._answer()
        return list(self._instruments.values())

    def samples(self, experiment: str) -> Sequence[Sample]:
        """Return the samples of an experiment, newest first."""
        self._answer(experiment)
        return list(self._samples[experiment])

    def collaborators(self, experiment: str) -> Sequence[Collaborator]:
        """Return who may read an experiment."""
        self._answer(experiment)
        return list(self._collaborators[experiment])

    def start_run(self, experiment: str, run: str, *, sample_name: str, begun_at: datetime) -> None:
        """Make the run of a movie; an existing one is left as it is."""
        self._answer(experiment)
        if (experiment, run) in self.runs:
            return
        self._check_sample(experiment, sample_name)
        self.runs[experiment, run] = RecordedRun(sample_name=sample_name, begun_at=begun_at)

    def change_sample(self, experiment: str, run: str, *, sample_name: str) -> None:
        """Give a run to another sample."""
        self._run(experiment, run)
        self._check_sample(experiment, sample_name)
        self.runs[experiment, run].sample_name = sample_name

    def add_run_params(self, experiment: str, run: str, *, params: Mapping[str, ParameterValue]) -> None:
        """Merge values into a run's params."""
        self._run(experiment, run).params.update(params)

    def end_run(self, experiment: str, run: str, *, ended_at: datetime) -> None:
        """Close a run."""
        self._run(experiment, run).ended_at = ended_at

    def add_note(self, experiment: str, text: str, *, tags: Sequence[str], once: str) -> None:
        """Write into an experiment's log, once."""
        self._answer(experiment)
        self.notes.setdefault(experiment, {}).setdefault(once, (text, tuple(tags)))

    def recorded_notes(self, experiment: str) -> list[str]:
        """Return what programs wrote into an experiment's log."""
        return [text for text, _ in self.notes.get(experiment, {}).values()]

    def register_files(self, experiment: str, run: str, *, files: Sequence[RegisteredFile]) -> None:
        """Register files of a run."""
        self._run(experiment, run).files.update({file.path: file for file in files})

    def _check_sample(self, experiment: str, name: str) -> None:
        if name not in {sample.name for sample in self._samples[experiment]}:
            message = f"Sample {name} does not exist"
            raise LogbookError(message)

    def _run(self, experiment: str, run: str) -> RecordedRun:
        self._answer(experiment)
        found = self.runs.get((experiment, run))
        if found is None:
            message = f"there is no run {run} in {experiment}"
            raise LogbookError(message)
        return found

    def _answer(self, experiment: str | None = None) -> None:
        """Answer as a logbook in this state does, before the question itself counts."""
        if self.is_down:
            raise LogbookUnreachableError("the elogbook does not answer")
        if self.access_is_refused:
            raise LogbookAccessError("the elogbook does not let this account do it")
        if experiment is not None and experiment not in self._samples:
            message = f"there is no experiment {experiment}"
            raise LogbookError(message)
