"""Every answer of the elogbook is recorded; what cannot be used is said in one sentence and stops nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from tests.integration.transfer.conftest import EXPERIMENT, Stage

from cryodaq.app.follow_logbook import Current, Following, poll
from cryodaq.domain.experiment import Assignment, CurrentState, Sample
from cryodaq.errors import LeaseLostError
from cryodaq.ledger import leases, observations, samples
from cryodaq.ledger.leases import Lease
from cryodaq.ledger.observations import Observation, polls_since, record_observation
from cryodaq.ledger.samples import SampleRecord

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
A = "a" * 24


def lease(stage: Stage) -> Lease:
    with stage.engine.begin() as connection:
        return leases.acquire(connection, "tem1", holder="a test", at=NOON)


def following(stage: Stage, *, now: datetime = NOON) -> Following:
    return replace(stage.transfer().following, now=lambda: now)


def ask(stage: Stage, *, now: datetime = NOON) -> Current:
    return poll(following(stage, now=now), under=lease(stage))


def rows(stage: Stage) -> list[tuple[str, str | None]]:
    with stage.engine.connect() as connection:
        query = sa.text("select assignment, sample_id from ledger.current_state order by id")
        return [(row.assignment, row.sample_id) for row in connection.execute(query)]


def registered(stage: Stage, sample_id: str) -> SampleRecord:
    with stage.engine.connect() as connection:
        found = samples.find_sample(connection, sample_id)
    assert found is not None
    return found


def test_a_sample_is_registered_with_the_elogbooks_spelling_of_the_instrument(stage: Stage) -> None:
    sample_id = stage.make_current("grid", imaging_method="tomography", **{"preprocess/enable": "no"})
    assert ask(stage).sample_id == sample_id
    found = registered(stage, sample_id)
    assert found.folder == str(stage.storage / "202601" / f"{EXPERIMENT}_TEM1" / sample_id)
    assert found.dag_id == f"{EXPERIMENT}_{sample_id}"
    assert (found.imaging_method, found.preprocess) == ("tomography", False)


def test_equal_answers_are_one_row_and_a_change_is_another(stage: Stage) -> None:
    sample_id = stage.make_current("grid")
    for second in range(3):
        ask(stage, now=NOON + timedelta(seconds=second))
    stage.logbook.standby("TEM1")
    ask(stage, now=NOON + timedelta(seconds=3))
    stage.logbook.is_down = True
    last = ask(stage, now=NOON + timedelta(seconds=4))
    assert rows(stage) == [("sample", sample_id), ("standby", None), ("unreachable", None)]
    assert (last.answered, last.sample_id) == (False, None)


@pytest.mark.parametrize("answers", [True, False])
def test_who_lost_the_lease_while_it_asked_records_nothing(stage: Stage, *, answers: bool) -> None:
    """A process that slept between the answer and its note of it would date an old answer as a new one."""
    stage.make_current("grid")
    stage.logbook.is_down = not answers
    slept, before = lease(stage), following(stage)
    lease(stage)
    with pytest.raises(LeaseLostError):
        poll(before, under=slept)
    assert rows(stage) == []


def test_a_badly_named_experiment_is_said_and_nothing_is_assigned(stage: Stage) -> None:
    stage.logbook.add_experiment("my experiment", instrument="TEM1")
    stage.logbook.add_sample("my experiment", "grid", params={})
    stage.logbook.switch("my experiment", instrument="TEM1")
    stage.logbook.make_current("my experiment", "grid")
    assert ask(stage).sample_id is None
    assert "'my experiment' cannot be used: experiments are named by the pattern" in stage.alarms()["assignment"].text
    stage.logbook.switch(EXPERIMENT, instrument="TEM1")
    stage.make_current("grid")
    assert ask(stage).sample_id is not None
    assert "assignment" not in stage.alarms()


def test_a_sample_without_a_name_is_said_and_nothing_is_assigned(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    state = CurrentState(
        assignment=Assignment.SAMPLE, experiment=EXPERIMENT, sample=Sample(id=A, name=" "), switched_at=NOON
    )
    monkeypatch.setattr(stage.logbook, "current_state", lambda *_, **__: state)
    assert ask(stage).sample_id is None
    assert "has no name; name it in the elogbook" in stage.alarms()["assignment"].text


def test_unreadable_parameters_are_the_samples_problem_and_go_when_they_are_corrected(stage: Stage) -> None:
    sample_id = stage.make_current("grid", apix="one")
    assert ask(stage).sample_id == sample_id
    assert "apix is 'one'" in (registered(stage, sample_id).problem or "")
    stage.logbook._samples[EXPERIMENT][0] = replace(stage.logbook._samples[EXPERIMENT][0], params={"apix": "1.0"})
    ask(stage)
    assert registered(stage, sample_id).problem is None


def test_an_old_experiment_is_a_notice_and_no_stop(stage: Stage) -> None:
    sample_id = stage.make_current("grid")
    assert ask(stage, now=NOON + timedelta(days=61)).sample_id == sample_id
    assert stage.alarms()["age"].severity == "notice"


def observe(stage: Stage, second: float, sample: str | None, *, switched: float = 0, answered: bool = True) -> None:
    moment = NOON + timedelta(seconds=second)
    with stage.engine.begin() as connection:
        record_observation(
            connection,
            Observation(
                microscope="tem1",
                asked_at=moment,
                answered_at=moment,
                assignment=(Assignment.SAMPLE if sample else Assignment.STANDBY) if answered else None,
                sample_id=sample,
                switched_at=NOON + timedelta(seconds=switched) if answered else None,
            ),
        )


def polls(stage: Stage, since: float) -> list[tuple[float, bool, str | None]]:
    with stage.engine.connect() as connection:
        found = polls_since(connection, "tem1", NOON + timedelta(seconds=since))
    return [((one.asked_at - NOON).total_seconds(), one.answered, one.sample_id) for one in found]


def test_intervals_come_back_as_their_first_and_last_poll(stage: Stage) -> None:
    for second in (0, 4, 8):
        observe(stage, second, A)
    observe(stage, 12, None)
    assert polls(stage, 5) == [(0, True, A), (8, True, A), (12, True, None)]
    assert polls(stage, 12) == [(12, True, None)]


def test_the_last_answer_before_an_outage_is_part_of_what_is_asked_for(stage: Stage) -> None:
    observe(stage, 0, A)
    for second in (4, 8):
        observe(stage, second, None, answered=False)
    assert polls(stage, 6) == [(0, True, A), (4, False, None), (8, False, None)]


def test_a_switch_there_and_back_while_nobody_asked_is_not_taken_for_the_same(stage: Stage) -> None:
    observe(stage, 0, A, switched=0)
    observe(stage, 3600, A, switched=1800)
    assert polls(stage, 10) == [(0, True, A), (1800, True, None), (3600, True, A)]


def test_before_the_first_poll_nothing_is_known(stage: Stage) -> None:
    observe(stage, 10, A)
    assert polls(stage, 5) == [(10, True, A)]
    with stage.engine.connect() as connection:
        assert observations.first_asked_at(connection, "tem1") == NOON + timedelta(seconds=10)
        assert observations.last_answer(connection, "tem2") is None
