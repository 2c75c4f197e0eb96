"""What operators forget, and a storage that fills: people are told, and what must wait waits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from tests.integration.transfer.conftest import Stage, movie_bytes, running, until

from cryodaq.app.transfer_movies import Transfer
from cryodaq.app.trigger_preprocessing import Admission, send_triggers


@dataclass
class LaterClock:
    """Our clock, which a test can let go on."""

    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def test_a_new_folder_without_a_switch_and_a_switch_without_a_folder_are_said(stage: Stage) -> None:
    stage.make_current("first")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("A/grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("first")) == 1, "no movie")
        stage.wait_for_scans()
        assert "no-switch" not in stage.alarms()
        stage.write("B/grid_00002.tif", movie_bytes(seed=2))
        until(lambda: "no-switch" in stage.alarms(), "nobody was told")
        assert "the session folder B is new" in stage.alarms()["no-switch"].text
        assert "whose movies lie in A; did the operator forget to switch?" in stage.alarms()["no-switch"].text
        stage.make_current("second")
        until(lambda: "no-switch" not in stage.alarms(), "the alarm stays")
        stage.polled()
        stage.polled()
        stage.wait_for_scans()
        stage.write("B/grid_00003.tif", movie_bytes(seed=3))
        until(lambda: "no-folder" in stage.alarms(), "nobody was told")
        assert "its movies go on in B, a session folder of another sample" in stage.alarms()["no-folder"].text
        stage.write("C/grid_00004.tif", movie_bytes(seed=4))
        until(lambda: "no-folder" not in stage.alarms(), "the alarm stays")
    assert "no-switch" not in stage.alarms()


def with_silence(stage: Stage, clock: LaterClock, limit_s: float) -> Transfer:
    transfer = stage.transfer()
    microscope = replace(stage.microscope, no_movie_alarm_s=limit_s)
    return replace(transfer, following=replace(transfer.following, microscope=microscope, now=clock))


def test_a_microscope_that_stops_collecting_is_said_once_it_had_begun(stage: Stage) -> None:
    stage.make_current("grid")
    clock = LaterClock()
    with running(with_silence(stage, clock, 1800.0)):
        stage.wait_for_scans()
        clock.ahead += timedelta(hours=1)
        stage.wait_for_scans()
        assert "no-movie" not in stage.alarms()
        stage.write("A/grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
        clock.ahead += timedelta(minutes=31)
        until(lambda: "no-movie" in stage.alarms(), "nobody was told")
        assert stage.alarms()["no-movie"].text.endswith("no new movie of grid of 20260101-CS01 for over 30 minutes")
        stage.write("A/grid_00002.tif", movie_bytes(seed=2))
        until(lambda: "no-movie" not in stage.alarms(), "the alarm stays")


def test_the_silence_of_a_sample_ends_with_it_and_begins_anew_when_it_comes_back(stage: Stage) -> None:
    stage.make_current("grid")
    clock = LaterClock()
    with running(with_silence(stage, clock, 1800.0)):
        stage.wait_for_scans()
        stage.write("A/grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
        clock.ahead += timedelta(minutes=31)
        until(lambda: "no-movie" in stage.alarms(), "nobody was told")
        stage.make_current("second")
        until(lambda: "no-movie" not in stage.alarms(), "the alarm of the sample before stays")
        stage.make_current("grid")
        stage.polled()
        stage.polled()
        stage.wait_for_scans()
        assert "no-movie" not in stage.alarms()


class CountingScheduler:
    """Takes every run."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()

    def trigger(self, dag_id: str, run_id: str, *, conf: object) -> None:
        self.runs[run_id] += 1


def test_a_storage_that_fills_stops_processing_before_copying(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer(processing_floor_fraction=0.9999)):
        stage.wait_for_scans()
        stage.write("grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "copying stopped")
        until(lambda: "target-low-processing" in stage.alarms(), "nobody was told")
    assert "target-low" not in stage.alarms()
    scheduler = CountingScheduler()
    admission = Admission(
        engine=stage.engine,
        scheduler=scheduler,  # type: ignore[arg-type]  # only sending is tried
        microscope=stage.microscope,
        has_template=lambda _: True,
        calibrated_pixel_size_ang=lambda _, __: None,
        now=lambda: datetime.now(UTC),
    )
    queue_one(stage)
    assert send_triggers(admission) == 0
    with running(stage.transfer(processing_floor_fraction=0.0)):
        until(lambda: "target-low-processing" not in stage.alarms(), "the alarm stays")
    assert send_triggers(admission) == 1
    assert sum(scheduler.runs.values()) == 1


def queue_one(stage: Stage) -> None:
    """Put a copied movie into the outbox."""
    with stage.engine.begin() as connection:
        connection.execute(sa.text("update ledger.sample set dag_state = 'parsed'"))
        connection.execute(sa.text("update ledger.movie set state = 'queued'"))
        branch = connection.execute(
            sa.text(
                "insert into ledger.branch (sample_id, name, settings, template_hash, software_version, created_at)"
                " select sample_id, 'live', '{}', '', '', now() from ledger.movie returning id"
            )
        ).scalar_one()
        connection.execute(
            sa.text(
                "insert into ledger.trigger (movie_id, branch_id, dag_id, run_id, conf, parameters, created_at,"
                " next_attempt_at) select id, :branch, 'dag', run_name, '{}', '{}', now(), now() from ledger.movie"
            ),
            {"branch": branch},
        )
