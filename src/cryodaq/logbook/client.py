"""The elogbook over HTTP, as the rest of cryodaq knows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from urllib.parse import quote

import httpx

from cryodaq.domain.experiment import (
    Assignment,
    Collaborator,
    CurrentState,
    Instrument,
    ParameterValue,
    RegisteredFile,
    Sample,
)
from cryodaq.errors import LogbookAccessError, LogbookError
from cryodaq.logbook import reading
from cryodaq.logbook.quirks import EMBEDDED, Quirks
from cryodaq.logbook.transport import Credential, Reply, Transport, check, value_of

FILES_PER_CALL = 500


class LogbookClient:
    """A `Logbook` behind HTTP; safe to use from several threads."""

    def __init__(
        self,
        url: str,
        *,
        credential: Credential | None = None,
        quirks: Quirks = EMBEDDED,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is sent.

        Parameters
        ----------
        url
            Where `/lgbk` begins, with the prefix if there is one (`https://host/cryoem-data`).
        transport
            Replaces the network in tests.
        """
        self._quirks = quirks
        self._transport = Transport(
            url,
            credential=credential,
            server_error_is_outage=quirks.server_error_is_outage,
            transport=transport,
        )

    def __enter__(self) -> LogbookClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def current_state(self, instrument: str, *, station: int) -> CurrentState:
        """Return what is current on a microscope; `instrument` is compared case-insensitively."""
        entry = self._active(instrument, station)
        if entry is None:
            return CurrentState(assignment=Assignment.NOTHING)
        switched_at = reading.moment(entry, "switch_time")
        if entry.get("is_standby") is True or entry.get("name") is None:
            return CurrentState(assignment=Assignment.STANDBY, switched_at=switched_at)
        experiment = reading.text(entry, "name")
        sample = None
        if entry.get("current_sample") is not None:
            sample = reading.current_sample(self._sample_entries(experiment))
        return CurrentState(
            assignment=Assignment.NO_SAMPLE if sample is None else Assignment.SAMPLE,
            experiment=experiment,
            sample=sample,
            switched_at=switched_at,
            experiment_started_at=reading.moment(entry, "start_time"),
        )

    def _active(self, instrument: str, station: int) -> reading.Json | None:
        found = value_of(self._transport.ask("GET", "/lgbk/ws/activeexperiments"))
        wanted = instrument.casefold()
        for entry in reading.objects(found, what="the active experiments"):
            if reading.text(entry, "instrument").casefold() != wanted:
                continue
            if reading.integer(entry.get("station", 0), what="station") == station:
                return entry
        return None

    def instruments(self) -> Sequence[Instrument]:
        """Return all microscopes."""
        found = value_of(self._transport.ask("GET", "/lgbk/ws/instruments"))
        return [reading.instrument(entry) for entry in reading.objects(found, what="the instruments")]

    def samples(self, experiment: str) -> Sequence[Sample]:
        """Return the samples of an experiment, newest first."""
        return [reading.sample(entry) for entry in self._sample_entries(experiment)]

    def _sample_entries(self, experiment: str) -> list[reading.Json]:
        found = value_of(self._transport.ask("GET", experiment_path(experiment, "samples")))
        return reading.objects(found, what="the samples")

    def collaborators(self, experiment: str) -> Sequence[Collaborator]:
        """Return who may read an experiment."""
        found = value_of(self._transport.ask("GET", experiment_path(experiment, "collaborators")))
        return [reading.collaborator(entry) for entry in reading.objects(found, what="the collaborators")]

    def start_run(self, experiment: str, run: str, *, sample_name: str, begun_at: datetime) -> None:
        """Make the run of a movie; an existing run of that name is left as it is."""
        query = {"run_num": run, "start_time": _with_fraction(begun_at)}
        if sample_name:
            query["sample"] = sample_name
        reply = self._transport.ask("POST", experiment_path(experiment, "start_run", room="run_control"), query=query)
        if reply.status == 409 or (reply.status == 500 and self._exists(experiment, run)):
            return
        value_of(reply)

    def _exists(self, experiment: str, run: str) -> bool:
        """Whether a run is there: an explgbk answers a duplicate with the same 500 as a crash."""
        reply = self._transport.ask("GET", experiment_path(experiment, "runs", run))
        try:
            return value_of(reply) is not None
        except LogbookAccessError:
            raise
        except LogbookError:
            return False

    def change_sample(self, experiment: str, run: str, *, sample_name: str) -> None:
        """Give a run to another sample of its experiment; the account needs the privilege `edit`."""
        query = {"run_num": run, "sample_name": sample_name}
        value_of(self._transport.ask("POST", experiment_path(experiment, "change_sample_for_run"), query=query))

    def add_run_params(self, experiment: str, run: str, *, params: Mapping[str, ParameterValue]) -> None:
        """Merge values into a run's params; what is not a finite number is sent as null."""
        body = {key: _finite(value) for key, value in params.items()}
        path = experiment_path(experiment, "add_run_params", room="run_control")
        value_of(self._transport.ask("POST", path, query={"run_num": run}, body=body))

    def end_run(self, experiment: str, run: str, *, ended_at: datetime) -> None:
        """Close a run (an explgbk closes another one, so there the run stays open)."""
        if not self._quirks.runs_can_be_ended:
            return
        query = {"run_num": run, "end_time": _with_fraction(ended_at)}
        value_of(self._transport.ask("POST", experiment_path(experiment, "end_run", room="run_control"), query=query))

    def add_note(self, experiment: str, text: str, *, tags: Sequence[str], once: str) -> None:
        """Write into an experiment's log, once: an explgbk is asked first for an entry with that tag."""
        fields = {"log_text": text, "log_tags": " ".join(tags)}
        if self._quirks.notes_have_keys:
            fields["once"] = once
        else:
            query = {"search_text": f"t:{once}"}
            if value_of(self._transport.ask("GET", experiment_path(experiment, "search_elog"), query=query)):
                return
            fields["log_tags"] = " ".join([*tags, once])
        value_of(self._transport.ask("POST", experiment_path(experiment, "new_elog_entry"), form=fields))

    def register_files(self, experiment: str, run: str, *, files: Sequence[RegisteredFile]) -> None:
        """Register files of a run; a file that is already there is replaced."""
        documents = [self._document(run, file) for file in files]
        for first in range(0, len(documents), FILES_PER_CALL):
            batch = documents[first : first + FILES_PER_CALL]
            reply = self._transport.ask("POST", experiment_path(experiment, "register_file"), body=batch)
            _check_each(reply, [file.path for file in files[first : first + FILES_PER_CALL]])

    def _document(self, run: str, file: RegisteredFile) -> dict[str, object]:
        write = _in_seconds if self._quirks.file_times_in_seconds else _with_fraction
        return {
            "path": file.path,
            "run_num": self._run_in_body(run),
            "size": file.size_bytes,
            "checksum": file.checksum,
            "create_timestamp": write(file.created_at),
            "modify_timestamp": write(file.modified_at),
        }

    def _run_in_body(self, run: str) -> str | int:
        """Return the run number as a body must say it to mean the run that a query means."""
        if not self._quirks.converts_run_numbers:
            return run
        try:
            return int(run)
        except ValueError:
            return run


def experiment_path(experiment: str, *rest: str, room: str = "lgbk") -> str:
    """Return the address of a call about an experiment.

    Raises `LogbookError` for dots alone, which would lead out of the experiment.
    """
    parts = (experiment, *rest)
    if any(part in {"", ".", ".."} for part in parts):
        message = f"{experiment!r} {rest!r} cannot be an address in the elogbook"
        raise LogbookError(message)
    return f"/{room}/{_quoted(experiment)}/ws/{'/'.join(map(_quoted, rest))}"


def _quoted(part: str) -> str:
    try:
        return quote(part, safe="")
    except UnicodeError as error:
        message = f"{part!r} cannot be sent to the elogbook"
        raise LogbookError(message) from error


def _with_fraction(moment: datetime) -> str:
    """Write a time with the fraction that start_run and end_run of an explgbk need."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def _in_seconds(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _finite(value: ParameterValue) -> ParameterValue:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_each(reply: Reply, paths: Sequence[str]) -> None:
    """Raise `LogbookError` unless every file of a call was registered; the answer is a bare list."""
    check(reply)
    answers = reading.objects(reply.json(), what="the answer to register_file")
    if len(answers) != len(paths):
        message = f"the elogbook answered for {len(answers)} of {len(paths)} files"
        raise LogbookError(message)
    for path, answer in zip(paths, answers, strict=True):
        if answer.get("success") is not True:
            message = f"the elogbook refused the file {path}: {str(answer.get('errormsg'))[:300]}"
            raise LogbookError(message)
