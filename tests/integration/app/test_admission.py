"""From a copied movie to the scheduler: what it waits for, and that it goes exactly once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import tifffile
from sqlalchemy import select
from tests.fuzz import samples
from tests.integration.app.conftest import PARAMS, Bench

from cryodaq.app.bind_gain import fits, in_order_of_choice
from cryodaq.app.prepare_sample import prepare_sample
from cryodaq.app.reprocess_sample import Reprocessing, begin_reprocessing, make_current
from cryodaq.app.trigger_preprocessing import admit_movies, send_triggers
from cryodaq.domain.acquisition import completed
from cryodaq.formats.gain import read_gain
from cryodaq.formats.mdoc import read_frame_mdoc
from cryodaq.formats.metadata import read_metadata
from cryodaq.formats.mrc import write_micrograph
from cryodaq.ledger import results, tables
from cryodaq.ledger.judgements import process_again
from cryodaq.ledger.triggers import GainCandidate, refuse_gain

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def ready(bench: Bench) -> Bench:
    """A prepared sample on a camera that needs no gain."""
    bench.without_gain()
    bench.add_sample()
    assert prepare_sample(bench.preparation, bench.sample)
    return bench


def test_a_movie_waits_ten_seconds_for_its_metadata_then_goes_without(ready: Bench) -> None:
    movie = ready.add_movie()
    assert admit_movies(ready.admission) == 0
    assert ready.movie(movie).state == "registered"
    ready.wait(10.5)
    assert admit_movies(ready.admission) == 1
    assert ready.movie(movie).state == "queued"


def test_a_movie_with_its_metadata_goes_at_once_and_keeps_what_it_says(ready: Bench, shared_data: Path) -> None:
    xml = next((shared_data / "epu" / "session_epu3.9.1_k3").rglob("FoilHole_*_Data_*.xml"))
    movie = ready.add_movie()
    ready.add_file(movie, role="metadata", target=xml)
    admit_movies(ready.admission)
    assert ready.movie(movie).metadata["voltage_kv"] == pytest.approx(300.0)
    assert ready.movie(movie).state == "queued"


def test_a_time_without_a_zone_is_the_sites(ready: Bench, tmp_path: Path) -> None:
    (tmp_path / "a.mdoc").write_text("[FrameSet = 0]\nNumSubFrames = 6\nDateTime = 25-Jul-26  14:13:26\n")
    movie = ready.add_movie()
    ready.add_file(movie, role="metadata", target=tmp_path / "a.mdoc")
    admit_movies(replace(ready.admission, zone=ZoneInfo("Europe/Berlin")))
    assert ready.movie(movie).metadata["acquired_at"] == "2026-07-25T14:13:26+02:00"


def test_a_movies_own_header_is_its_last_witness(ready: Bench, shared_data: Path) -> None:
    movie = ready.add_movie()
    own = shared_data / "micrographs/falcon3_epu2.9/epu2.9_example.mrc"
    xml = next((shared_data / "epu" / "session_epu3.9.1_k3").rglob("FoilHole_*_Data_*.xml"))
    ready.add_file(movie, role="metadata", target=xml)
    ready.retarget(movie, own)
    admit_movies(ready.admission)
    said = ready.movie(movie).metadata
    assert (said["source"], said["camera"]) == (xml.name, "BioQuantum K3")
    assert said["pixel_size_ang"] == pytest.approx(1.0559, abs=1e-4)  # of the metadata file, not of the header
    assert said["said_by"] == {}
    (bare,) = read_frame_mdoc("Voltage = 300\n[FrameSet = 0]\nBinning = 1\n", source="a.tif.mdoc")
    both = completed(bare, read_metadata(own)[0])
    assert both is not None
    assert both.said_by["pixel_size_ang"] == own.name


def test_without_metadata_the_header_alone_speaks(ready: Bench, shared_data: Path) -> None:
    movie = ready.add_movie()
    ready.retarget(movie, shared_data / "micrographs/falcon3_epu2.9/epu2.9_example.mrc")
    ready.wait(10.5)
    admit_movies(ready.admission)
    said = ready.movie(movie).metadata
    assert (said["voltage_kv"], said["software"]) == (pytest.approx(300.0), "EPU 2.9.0.1519")
    assert any(
        "pixel size of the frames: operator says 1 Å" in text for text in ready.alarms()
    )  # the operator says 1.0 Å


def test_damaged_metadata_is_an_alarm_and_the_movie_goes_with_the_samples_parameters(
    ready: Bench, tmp_path: Path
) -> None:
    (tmp_path / "broken.xml").write_text("<MicroscopeImage><")
    movie = ready.add_movie()
    ready.add_file(movie, role="metadata", target=tmp_path / "broken.xml")
    admit_movies(ready.admission)
    assert ready.movie(movie).state == "queued"
    assert any("broken.xml" in text for text in ready.alarms())


def test_a_run_is_triggered_once_with_the_ledgers_ids(ready: Bench) -> None:
    movie = ready.add_movie()
    ready.wait(11)
    admit_movies(ready.admission)
    assert send_triggers(ready.admission) == 1
    assert send_triggers(ready.admission) == 0
    admit_movies(ready.admission)
    ready.scheduler.wait_until_idle(timeout_s=10)
    assert [(dag, run) for dag, run, _ in ready.runs] == [(ready.sample.dag_id, "FoilHole_1_Data_2_3_20261122_120000")]
    assert ready.runs[0][2]["movie_id"] == movie
    assert ready.movie(movie).state == "triggered"


def test_a_run_id_that_the_scheduler_knows_as_another_movies_is_left_to_that_one(ready: Bench) -> None:
    name = "FoilHole_1_Data_2_3_20261122_120000"
    movie = ready.add_movie(name)
    ready.wait(10.5)
    assert admit_movies(ready.admission) == 1
    ready.scheduler.trigger(ready.sample.dag_id, name, conf={"movie_id": movie + 1000, "branch_id": 1})
    assert send_triggers(ready.admission) == 1
    ready.scheduler.wait_until_idle(timeout_s=10)
    assert sorted((run, conf["movie_id"]) for _, run, conf in ready.runs) == [
        (name, movie + 1000),
        (f"{name}~r1", movie),
    ]
    assert ready.movie(movie).state == "triggered"


def test_a_run_that_begins_at_once_waits_for_no_later_trigger(ready: Bench) -> None:
    movies = [ready.add_movie(name) for name in ("a_00001", "a_00002")]
    ready.wait(10.5)
    assert admit_movies(ready.admission) == 2
    quick = QuickScheduler(ready)
    assert send_triggers(replace(ready.admission, scheduler=quick)) == 2  # type: ignore[arg-type]  # triggering is enough
    for run in quick.begun:
        run.join(timeout=20)
    with ready.engine.connect() as connection:
        settled = connection.execute(select(tables.trigger.c.outcome)).scalars().all()
    assert settled == ["published", "published"]
    assert {ready.movie(movie).state for movie in movies} == {"processing"}


@dataclass
class QuickScheduler:
    """Runs are begun before the scheduler answers, and are through before it takes the next one."""

    bench: Bench
    begun: list[threading.Thread] = field(default_factory=list)

    def trigger(self, _dag_id: str, _run_id: str, *, conf: Mapping[str, object]) -> None:
        for earlier in self.begun:
            earlier.join(timeout=20)
            assert not earlier.is_alive(), "the first task of a run waits for the note of later runs"
        self.begun.append(threading.Thread(target=begin_and_publish, args=(self.bench, conf)))
        self.begun[-1].start()


def begin_and_publish(bench: Bench, conf: Mapping[str, object]) -> None:
    """What a run writes into the ledger, as quickly as it can."""
    with bench.engine.connect() as connection:
        found = results.movie_to_process(connection, int(str(conf["movie_id"])), int(str(conf["branch_id"])))
    assert found is not None
    with bench.engine.begin() as connection:
        attempt = results.begin_attempt(connection, found, "publish", log="log", at=bench.now)
    with bench.engine.begin() as connection:
        results.succeed(connection, found, attempt, stage="publish", result={}, at=bench.now)


def test_a_missing_parameter_is_named_and_the_movie_goes_once_it_is_there(bench: Bench) -> None:
    bench.without_gain()
    bench.add_sample(params={"imaging_method": "single-particle", "fmdose": 1.5})
    prepare_sample(bench.preparation, bench.sample)
    movie = bench.add_movie()
    bench.wait(11)
    admit_movies(bench.admission)
    assert "apix" in bench.movie(movie).problem
    assert bench.movie(movie).state == "waiting"
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    assert admit_movies(bench.admission) == 1
    assert bench.movie(movie).problem is None


def test_parameters_changed_after_the_first_movie_are_an_alarm_and_not_used(ready: Bench) -> None:
    ready.add_movie()
    ready.wait(11)
    admit_movies(ready.admission)
    ready.add_sample(params={**PARAMS, "apix": 0.5})
    prepare_sample(ready.preparation, ready.sample)
    assert any("apix 1.0 to 0.5" in text for text in ready.alarms())
    later = ready.add_movie("FoilHole_1_Data_2_4_20261122_120100")
    ready.wait(11)
    admit_movies(ready.admission)
    with ready.engine.begin() as connection:
        query = select(tables.trigger.c.parameters).where(tables.trigger.c.movie_id == later)
        assert connection.execute(query).scalar_one()["pixel_size_ang"]["value"] == 1.0


def test_switched_off_preprocessing_copies_and_registers_only(bench: Bench) -> None:
    bench.add_sample(params={**PARAMS, "preprocess/enable": "0.0"}, preprocess=False)
    prepare_sample(bench.preparation, bench.sample)
    movie = bench.add_movie()
    admit_movies(bench.admission)
    assert bench.movie(movie).state == "kept"
    with bench.engine.begin() as connection:
        calls = connection.execute(select(tables.delivery.c.call).order_by(tables.delivery.c.id)).scalars().all()
    assert calls == ["start_run", "register_files"]
    assert not list(bench.dag_folder.glob("*.py"))


def test_a_method_without_a_pipeline_is_copied_only(bench: Bench) -> None:
    bench.add_sample(params={**PARAMS, "imaging_method": "FIB-SEMs"})
    prepare_sample(bench.preparation, bench.sample)
    movie = bench.add_movie()
    admit_movies(bench.admission)
    assert bench.movie(movie).state == "kept"
    assert "FIB-SEMs" in bench.movie(movie).problem


def test_a_movie_without_a_gain_waits_and_says_so(bench: Bench) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    movie = bench.add_movie()
    bench.wait(11)
    admit_movies(bench.admission)
    assert bench.movie(movie).state == "waiting"
    assert "gain" in bench.movie(movie).problem
    bench.add_gain("gain.mrc", hours_before_movie=1)
    admit_movies(bench.admission)
    (target,) = bench.copy_wanted_gains()
    assert admit_movies(bench.admission) == 1
    assert bench.movie(movie).gain_target == target
    assert target.endswith("/raw/GainRefs/gain.mrc")


def test_a_gain_that_is_not_settled_yet_is_waited_for(bench: Bench) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    bench.add_gain("old.mrc", hours_before_movie=5)
    young = bench.add_gain("new.mrc", hours_before_movie=0.01)
    with bench.engine.begin() as connection:
        statement = tables.gain_reference.update().where(tables.gain_reference.c.id == young)
        connection.execute(statement.values(settled_at=None))
    bench.add_movie()
    bench.wait(11)
    admit_movies(bench.admission)
    assert bench.copy_wanted_gains() == []


def test_a_broken_hand_edit_of_the_samples_file_is_shown_and_triggers_wait(ready: Bench) -> None:
    (ready.dag_folder / f"{ready.sample.dag_id}.py").write_text("this is no Python\n")
    assert not prepare_sample(ready.preparation, ready.sample)
    assert ready.sample.dag_state == "broken"
    assert any("takes no runs" in text for text in ready.alarms())
    ready.add_movie()
    ready.wait(11)
    assert admit_movies(ready.admission) == 1
    assert send_triggers(ready.admission) == 0


def test_a_collaborator_without_a_number_is_an_alarm_and_stops_nothing(bench: Bench) -> None:
    bench.without_gain()
    bench.logbook.add_collaborator("20261122-CS01", "uid:nobodyknows")
    bench.add_sample()
    assert prepare_sample(bench.preparation, bench.sample)
    assert any("nobodyknows" in text for text in bench.alarms())


def test_a_name_that_cannot_be_a_file_name_is_an_alarm_and_stops_nothing(bench: Bench) -> None:
    bench.add_sample(name="../../etc")
    prepare_sample(bench.preparation, bench.sample)
    assert any("../../etc" in text for text in bench.alarms())
    assert Path(bench.sample.folder, "raw").is_dir()


GAINS = [
    GainCandidate(name="b.mrc", mtime_ns=30, target=None, reference_id=2),
    GainCandidate(name="a.mrc", mtime_ns=10, target=None, reference_id=1),
]


@pytest.mark.parametrize(
    ("named", "movie_mtime_ns", "expected"),
    [
        (None, 40, ["b.mrc", "a.mrc"]),
        (None, 20, ["a.mrc"]),
        ("A.mrc", 40, ["a.mrc", "b.mrc"]),
        ("B.mrc", 20, ["b.mrc", "a.mrc"]),
        ("gone.mrc", 20, ["a.mrc"]),
        (None, 5, []),
    ],
)
def test_the_named_gain_comes_first_then_the_newest_that_is_older_than_the_movie(
    named: str | None, movie_mtime_ns: int, expected: list[str]
) -> None:
    found = in_order_of_choice(GAINS, named=named, movie_mtime_ns=movie_mtime_ns)
    assert [gain.name for gain in found] == expected


@pytest.mark.parametrize(
    ("gain", "fitting"),
    [((32, 48), True), ((48, 32), True), ((64, 96), True), ((16, 24), True), ((32, 32), False), ((31, 48), False)],
)
def test_a_gain_fits_when_turning_and_binning_lead_to_the_frames(gain: tuple[int, int], fitting: bool) -> None:
    assert fits(gain, (32, 48)) is fitting


def write_gain(target: str, shape: tuple[int, int]) -> None:
    """Let the copy of a gain reference be there."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    write_micrograph(Path(target), np.ones(shape, np.float32), pixel_size_ang=1.0)


def real_movie(bench: Bench, tmp_path: Path, name: str) -> int:
    """Record a movie of 32 x 48 pixels that can be read."""
    path = tmp_path / "movie.tiff"
    tifffile.imwrite(path, np.zeros((6, 32, 48), np.uint8), photometric="minisblack")
    return bench.add_movie(name, copy_of=path)


def test_a_gain_of_another_size_is_passed_over_for_an_older_one_that_fits(bench: Bench, tmp_path: Path) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    movie = real_movie(bench, tmp_path, "FoilHole_1_Data_2_3_20261122_120000")
    bench.add_gain("other_camera.mrc", hours_before_movie=1)
    bench.wait(11)
    admit_movies(bench.admission)
    (other,) = bench.copy_wanted_gains()
    write_gain(other, (64, 64))
    assert admit_movies(bench.admission) == 0
    assert "other_camera.mrc has 64 x 64 px, the movie 48 x 32" in bench.movie(movie).problem
    bench.add_gain("ours.mrc", hours_before_movie=5)
    admit_movies(bench.admission)
    (ours,) = set(bench.copy_wanted_gains()) - {other}
    write_gain(ours, (96, 64))
    assert admit_movies(bench.admission) == 1
    assert bench.movie(movie).gain_target == ours


def test_a_gain_of_another_voltage_is_passed_over_by_what_its_tags_say(bench: Bench, tmp_path: Path) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    movie = bench.add_movie()
    metadata = {"source": "a.xml", "camera": "BioQuantum K3", "voltage_kv": 200.0}
    with bench.engine.begin() as connection:
        connection.execute(tables.movie.update().where(tables.movie.c.id == movie).values(metadata=metadata))
    bench.add_gain("k3.dm4", hours_before_movie=1)
    bench.wait(11)
    admit_movies(bench.admission)
    (target,) = bench.copy_wanted_gains()
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_bytes(samples.dm(samples.dm_image()))
    assert admit_movies(bench.admission) == 0
    assert "k3.dm4 was taken at 300 kV, the movie at 200 kV" in bench.movie(movie).problem


def test_a_damaged_gain_is_waited_for_and_not_replaced_silently(bench: Bench, tmp_path: Path) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    movie = real_movie(bench, tmp_path, "FoilHole_1_Data_2_3_20261122_120000")
    bench.add_gain("old.mrc", hours_before_movie=5)
    bench.add_gain("new.mrc", hours_before_movie=1)
    bench.wait(11)
    admit_movies(bench.admission)
    (target,) = bench.copy_wanted_gains()
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_bytes(b"cut")
    assert admit_movies(bench.admission) == 0
    assert "cannot be read" in bench.movie(movie).problem


def test_a_new_gain_in_mid_session_changes_later_movies_only(bench: Bench, tmp_path: Path) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    first = real_movie(bench, tmp_path, "FoilHole_1_Data_2_3_20261122_120000")
    bench.add_gain("morning.mrc", hours_before_movie=5)
    bench.wait(11)
    admit_movies(bench.admission)
    (morning,) = bench.copy_wanted_gains()
    write_gain(morning, (32, 48))
    admit_movies(bench.admission)
    bench.add_gain("noon.mrc", hours_before_movie=-1)
    second = real_movie(bench, tmp_path, "FoilHole_2_Data_2_3_20261122_140000")
    bench.taken_later(second, hours=2)
    bench.wait(11)
    admit_movies(bench.admission)
    (noon,) = set(bench.copy_wanted_gains()) - {morning}
    write_gain(noon, (32, 48))
    admit_movies(bench.admission)
    assert (bench.movie(first).gain_target, bench.movie(second).gain_target) == (morning, noon)


def contradicted_movie(bench: Bench, tmp_path: Path) -> tuple[int, str]:
    """Return a movie that failed because its frames contradict its gain reference, and the reference."""
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    movie = real_movie(bench, tmp_path, "FoilHole_1_Data_2_3_20261122_120000")
    bench.add_gain("wrong.mrc", hours_before_movie=2)
    bench.wait(11)
    admit_movies(bench.admission)
    (wrong,) = bench.copy_wanted_gains()
    write_gain(wrong, (32, 48))
    assert admit_movies(bench.admission) == 1
    with bench.engine.begin() as connection:
        refuse_gain(connection, movie, wrong)
        refuse_gain(connection, movie, wrong)
        connection.execute(tables.movie.update().values(state="failed", problem="not its gain"))
        connection.execute(tables.trigger.update().values(sent_at=NOW, settled_at=NOW, outcome="failed", problem="x"))
    return movie, wrong


@pytest.mark.parametrize("older", [True, False])
def test_a_movie_whose_frames_contradict_its_gain_gets_another_one_when_it_is_run_again(
    bench: Bench, tmp_path: Path, older: bool
) -> None:
    movie, wrong = contradicted_movie(bench, tmp_path)
    with bench.engine.begin() as connection:
        process_again(connection, movie, branch_name="live", asked_by="anna", at=NOW)
    assert (bench.movie(movie).state, bench.movie(movie).gain_target) == ("registered", None)
    assert list(bench.movie(movie).refused_gains) == [wrong]
    assert admit_movies(bench.admission) == 0
    assert "none fits: wrong.mrc is not its own, as its frames show" in bench.movie(movie).problem
    bench.add_gain("right.mrc", hours_before_movie=3 if older else 1)
    admit_movies(bench.admission)
    (right,) = set(bench.copy_wanted_gains()) - {wrong}
    write_gain(right, (32, 48))
    assert admit_movies(bench.admission) == 1
    assert bench.movie(movie).gain_target == right
    with bench.engine.connect() as connection:
        (row,) = connection.execute(select(tables.trigger)).all()
    assert row.run_id == "FoilHole_1_Data_2_3_20261122_120000~r1"
    assert (row.reruns, row.sent_at, row.settled_at, row.outcome, row.problem) == (1, None, None, None, None)


@pytest.mark.parametrize("made_current", [False, True])
def test_a_sample_processed_again_gives_a_contradicted_movie_another_gain_in_every_branch(
    bench: Bench, tmp_path: Path, made_current: bool
) -> None:
    movie, wrong = contradicted_movie(bench, tmp_path)
    parts = Reprocessing(engine=bench.engine, calibrated_pixel_size_ang=lambda *_: None, now=lambda: NOW)
    sample_id = bench.sample.id
    begin_reprocessing(parts, sample_id, params={**PARAMS, "apix": 2.0}, asked_by="anna")
    assert admit_movies(bench.admission) == 0
    assert "none fits: wrong.mrc is not its own, as its frames show" in bench.movie(movie).problem
    assert send_triggers(bench.admission) == 0  # the new branch waits for the reference, too
    if made_current:
        make_current(parts, sample_id, "r1", asked_by="anna")
    bench.add_gain("right.mrc", hours_before_movie=3)
    admit_movies(bench.admission)
    (right,) = set(bench.copy_wanted_gains()) - {wrong}
    write_gain(right, (32, 48))
    assert admit_movies(bench.admission) == 1
    assert bench.movie(movie).gain_target == right
    assert send_triggers(bench.admission) == (1 if made_current else 2)
    bench.scheduler.wait_until_idle(timeout_s=10)
    name = "FoilHole_1_Data_2_3_20261122_120000"
    runs = [f"{name}~b-r1"] if made_current else [f"{name}~r1", f"{name}~b-r1"]
    assert sorted(run for _, run, _ in bench.runs) == sorted(runs)


def test_a_contradicted_movie_that_is_run_again_in_another_branch_waits_for_its_gain_there_too(
    bench: Bench, tmp_path: Path
) -> None:
    movie, wrong = contradicted_movie(bench, tmp_path)
    parts = Reprocessing(engine=bench.engine, calibrated_pixel_size_ang=lambda *_: None, now=lambda: NOW)
    begin_reprocessing(parts, bench.sample.id, params={**PARAMS, "apix": 2.0}, asked_by="anna")
    with bench.engine.begin() as connection:  # as if it had failed in both
        connection.execute(tables.movie.update().values(state="failed", problem="x", gain_target=wrong))
        connection.execute(tables.trigger.update().values(sent_at=NOW, settled_at=NOW, outcome="failed", problem="x"))
        process_again(connection, movie, branch_name="r1", asked_by="anna", at=NOW)
    assert (bench.movie(movie).state, bench.movie(movie).gain_target) == ("registered", None)
    assert send_triggers(bench.admission) == 0
    bench.add_gain("right.mrc", hours_before_movie=3)
    admit_movies(bench.admission)
    (right,) = set(bench.copy_wanted_gains()) - {wrong}
    write_gain(right, (32, 48))
    assert admit_movies(bench.admission) == 1
    assert send_triggers(bench.admission) == 2
    bench.scheduler.wait_until_idle(timeout_s=10)
    assert sorted(run.partition("~")[2] for _, run, _ in bench.runs) == ["b-r1~r1", "r1"]


DEFECTS = "CameraSizeX 48\nCameraSizeY 32\nBadColumns 5\n"


def bound_gain(bench: Bench, tmp_path: Path, *, defects: str = DEFECTS) -> str:
    """Return the gain reference of a movie of a prepared sample whose gain lies on the gain root."""
    movie = real_movie(bench, tmp_path, "FoilHole_1_Data_2_3_20261122_120000")
    (tmp_path / "a.mdoc").write_text("[FrameSet = 0]\nDefectFile = defects_1.txt\nNumSubFrames = 6\n")
    bench.add_file(movie, role="metadata", target=tmp_path / "a.mdoc")
    (tmp_path / "defects_1.txt").write_text(defects)
    bench.add_file(movie, role="other", target=tmp_path / "defects_1.txt")
    bench.add_gain("gain.mrc", hours_before_movie=1)
    admit_movies(bench.admission)
    (target,) = bench.copy_wanted_gains()
    write_gain(target, (32, 48))
    assert admit_movies(bench.admission) == 1
    return str(bench.movie(movie).gain_target)


def test_defects_that_the_metadata_names_are_taken_out_of_the_gain(bench: Bench, tmp_path: Path) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    target = bound_gain(bench, tmp_path)
    assert target.endswith("/raw/GainRefs/gain.without-defects_1.mrc")
    expected = np.ones((32, 48), np.float32)
    expected[:, 5] = 0
    assert np.array_equal(read_gain(Path(target)), expected)


def test_defects_of_another_camera_are_an_alarm_and_the_gain_stays_as_it_is(bench: Bench, tmp_path: Path) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    other = DEFECTS.replace("48", "50")
    assert bound_gain(bench, tmp_path, defects=other).endswith("/raw/GainRefs/gain.mrc")
    assert any("it is of a camera of 50 x 32 px" in text for text in bench.alarms())
