"""What every Logbook must do; a subclass supplies the fixtures `logbook` and `stage`."""

# ruff: noqa: S101, ARG002  # a test suite, shipped; fixtures may be asked for what they do

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cryodaq.domain.experiment import Assignment, ParameterValue, RegisteredFile
from cryodaq.errors import LogbookAccessError, LogbookError, LogbookUnreachableError
from cryodaq.ports import Logbook
from cryodaq.testing.fake_logbook import LogbookStage

EXPERIMENT = "20260101-CT01"
OTHER = "20260101-CT02"
PARAMS: dict[str, ParameterValue] = {
    "imaging_method": "single-particle",
    "imaging_software": "EPU",
    "imaging_format": ".tif",
    "superres": "0.0",
    "apix": 0.82,
    "fmdose": 1.1,
    "total_dose": 55.0,
    "frame_duration": 0.05,
    "exposure_time": 2.5,
    "phase_plate": "0",
    "preprocess/enable": "1.0",
}
RUN = "FoilHole_1_Data_2_3_20260101_120000"
BEGUN = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ENDED = datetime(2026, 1, 1, 12, 1, tzinfo=UTC)


@pytest.fixture
def prepared(stage: LogbookStage) -> LogbookStage:
    """TEM1 with two experiments, of which none is active; the first has a sample."""
    stage.add_instrument("TEM1")
    for experiment in (EXPERIMENT, OTHER):
        stage.add_experiment(experiment, instrument="TEM1")
    stage.add_sample(EXPERIMENT, "grid1", params=PARAMS)
    return stage


def _file(path: str, *, size_bytes: int) -> RegisteredFile:
    return RegisteredFile(
        path=path, size_bytes=size_bytes, checksum="xxh3_128:00ff", created_at=BEGUN, modified_at=ENDED
    )


class LogbookContract:
    """Suite for one implementation. Import `prepared` beside it."""

    def test_a_microscope_that_was_never_switched_has_nothing(self, logbook: Logbook, prepared: LogbookStage) -> None:
        state = logbook.current_state("TEM1", station=0)
        assert (state.assignment, state.experiment, state.sample) == (Assignment.NOTHING, None, None)
        assert logbook.current_state("no such microscope", station=0).assignment is Assignment.NOTHING

    def test_what_an_operator_does_is_seen_at_the_next_question(self, logbook: Logbook, prepared: LogbookStage) -> None:
        prepared.switch(EXPERIMENT, instrument="TEM1")
        state = logbook.current_state("tem1", station=0)
        assert (state.assignment, state.experiment) == (Assignment.NO_SAMPLE, EXPERIMENT)
        prepared.make_current(EXPERIMENT, "grid1")
        state = logbook.current_state("tem1", station=0)
        assert state.assignment is Assignment.SAMPLE
        assert state.sample is not None
        assert (state.sample.name, state.sample.params["apix"]) == ("grid1", 0.82)
        prepared.stop_current(EXPERIMENT, "grid1")
        assert logbook.current_state("TEM1", station=0).assignment is Assignment.NO_SAMPLE
        prepared.standby("TEM1")
        state = logbook.current_state("TEM1", station=0)
        assert (state.assignment, state.experiment, state.sample) == (Assignment.STANDBY, None, None)

    def test_a_switch_takes_the_other_experiments_sample_along(self, logbook: Logbook, prepared: LogbookStage) -> None:
        prepared.switch(EXPERIMENT, instrument="TEM1")
        prepared.make_current(EXPERIMENT, "grid1")
        before = logbook.current_state("TEM1", station=0)
        prepared.switch(OTHER, instrument="TEM1")
        after = logbook.current_state("TEM1", station=0)
        assert (after.assignment, after.experiment) == (Assignment.NO_SAMPLE, OTHER)
        prepared.switch(EXPERIMENT, instrument="TEM1")
        again = logbook.current_state("TEM1", station=0)
        assert again.sample == before.sample
        assert before.switched_at is not None
        assert again.switched_at is not None
        assert again.switched_at > before.switched_at

    def test_another_station_is_another_place(self, logbook: Logbook, prepared: LogbookStage) -> None:
        prepared.switch(EXPERIMENT, instrument="TEM1")
        assert logbook.current_state("TEM1", station=1).assignment is Assignment.NOTHING

    def test_samples_come_newest_first_with_what_was_entered(self, logbook: Logbook, prepared: LogbookStage) -> None:
        second = prepared.add_sample(
            EXPERIMENT, "grid ä2", params={**PARAMS, "preprocess/align/motioncor2/patch": "5 5"}
        )
        found = logbook.samples(EXPERIMENT)
        assert [sample.name for sample in found] == ["grid ä2", "grid1"]
        assert found[0].id == second
        assert found[0].params["preprocess/align/motioncor2/patch"] == "5 5"
        assert found[0].params["superres"] == "0.0"
        assert logbook.samples(OTHER) == []

    def test_instruments_and_collaborators_are_listed(self, logbook: Logbook, prepared: LogbookStage) -> None:
        prepared.add_collaborator(EXPERIMENT, "uid:reader1")
        prepared.add_collaborator(EXPERIMENT, "visitors")
        assert [instrument.id for instrument in logbook.instruments()] == ["TEM1"]
        people = {person.uid: person for person in logbook.collaborators(EXPERIMENT)}
        assert not people["uid:reader1"].is_group
        assert people["visitors"].is_group
        assert people["visitors"].posix_id is None
        assert "LogBook/Reader" in people["uid:reader1"].roles

    def test_a_movies_run_is_recorded_once(self, logbook: Logbook, prepared: LogbookStage) -> None:
        for begun_at in (BEGUN, ENDED):
            logbook.start_run(EXPERIMENT, RUN, sample_name="grid1", begun_at=begun_at)
        for number in (1.5, 4.0):
            logbook.add_run_params(EXPERIMENT, RUN, params={"aligned_resolution": number, "preview": f"a{number}.jpg"})
        logbook.add_run_params(EXPERIMENT, RUN, params={"aligned_first1_drift": None})
        for size_bytes in (5, 7):
            logbook.register_files(EXPERIMENT, RUN, files=[_file("a/b.tif", size_bytes=size_bytes)])
        for _ in range(2):
            logbook.end_run(EXPERIMENT, RUN, ended_at=ENDED)
        found = prepared.recorded_run(EXPERIMENT, RUN)
        assert found is not None
        assert (found.sample_name, found.begun_at, found.ended_at) == ("grid1", BEGUN, ENDED)
        assert found.params["aligned_resolution"] == 4.0
        assert found.params["preview"] == "a4.0.jpg"
        assert found.params["aligned_first1_drift"] is None
        assert [(file.path, file.size_bytes, file.checksum) for file in found.files.values()] == [
            ("a/b.tif", 7, "xxh3_128:00ff")
        ]

    def test_a_run_goes_to_another_sample(self, logbook: Logbook, prepared: LogbookStage) -> None:
        prepared.add_sample(EXPERIMENT, "grid2", params=PARAMS)
        logbook.start_run(EXPERIMENT, RUN, sample_name="grid1", begun_at=BEGUN)
        for _ in range(2):
            logbook.change_sample(EXPERIMENT, RUN, sample_name="grid2")
        found = prepared.recorded_run(EXPERIMENT, RUN)
        assert found is not None
        assert (found.sample_name, found.begun_at) == ("grid2", BEGUN)
        with pytest.raises(LogbookError):
            logbook.change_sample(EXPERIMENT, RUN, sample_name="no such sample")

    @pytest.mark.parametrize("run", ["tilt[10.0]", "a b&c=d#e", "ä~2", "0%41+"])
    def test_strange_run_names_stay_apart(self, logbook: Logbook, prepared: LogbookStage, run: str) -> None:
        for name in (run, RUN):
            logbook.start_run(EXPERIMENT, name, sample_name="grid1", begun_at=BEGUN)
        logbook.add_run_params(EXPERIMENT, run, params={"only": "here"})
        logbook.register_files(EXPERIMENT, run, files=[_file("x.mrc", size_bytes=1)])
        logbook.end_run(EXPERIMENT, run, ended_at=ENDED)
        found, other = prepared.recorded_run(EXPERIMENT, run), prepared.recorded_run(EXPERIMENT, RUN)
        assert found is not None
        assert other is not None
        assert (found.params, list(found.files)) == ({"only": "here"}, ["x.mrc"])
        assert (other.params, other.files, other.ended_at) == ({}, {}, None)

    def test_a_note_that_is_sent_again_is_written_once(self, logbook: Logbook, prepared: LogbookStage) -> None:
        for once in ("alarm-1", "alarm-1", "alarm-2"):
            logbook.add_note(EXPERIMENT, f"Warning: <b>{once}</b> & more = Å", tags=["alarm"], once=once)
        assert prepared.recorded_notes(EXPERIMENT) == [
            "Warning: <b>alarm-1</b> & more = Å",
            "Warning: <b>alarm-2</b> & more = Å",
        ]

    def test_many_runs_are_open_at_once(self, logbook: Logbook, prepared: LogbookStage) -> None:
        names = [f"movie_{number:02d}" for number in range(12)]
        for name in names:
            logbook.start_run(EXPERIMENT, name, sample_name="grid1", begun_at=BEGUN)
        logbook.end_run(EXPERIMENT, names[3], ended_at=ENDED)
        runs = {name: prepared.recorded_run(EXPERIMENT, name) for name in names}
        assert [name for name, run in runs.items() if run is None or run.ended_at is not None] == [names[3]]

    def test_refusals_are_told_and_are_not_outages(self, logbook: Logbook, prepared: LogbookStage) -> None:
        attempts = (
            lambda: logbook.samples("20991231-CX99"),
            lambda: logbook.start_run(EXPERIMENT, RUN, sample_name="no such sample", begun_at=BEGUN),
            lambda: logbook.add_run_params(EXPERIMENT, "no such run", params={"a": 1}),
            lambda: logbook.end_run(EXPERIMENT, "no such run", ended_at=ENDED),
        )
        for attempt in attempts:
            with pytest.raises(LogbookError) as caught:
                attempt()
            assert not caught.value.retryable
        assert prepared.recorded_run(EXPERIMENT, RUN) is None

    def test_lost_access_is_told_apart(self, logbook: Logbook, prepared: LogbookStage) -> None:
        prepared.take_access_away()
        with pytest.raises(LogbookAccessError):
            logbook.current_state("TEM1", station=0)
        with pytest.raises(LogbookAccessError):
            logbook.start_run(EXPERIMENT, RUN, sample_name="grid1", begun_at=BEGUN)

    def test_an_outage_is_retryable(self, logbook: Logbook, prepared: LogbookStage) -> None:
        prepared.go_down()
        with pytest.raises(LogbookUnreachableError) as caught:
            logbook.current_state("TEM1", station=0)
        assert caught.value.retryable
        with pytest.raises(LogbookUnreachableError):
            logbook.register_files(EXPERIMENT, RUN, files=[_file("a", size_bytes=1)])
