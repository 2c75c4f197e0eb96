"""What comes after copying, and beside it: gains, waiting for work, quarantine, removal, and stalled shares."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
import sqlalchemy as sa
from tests.integration.transfer.conftest import EXPERIMENT, Stage, movie_bytes, running, until

from cryodaq.app.assign_exposures import assign_exposures, quarantined
from cryodaq.app.clear_microscope import Clearing, clear_microscope, preview_clearing
from cryodaq.app.moving_copies import GrantAccess, Refiling
from cryodaq.app.transfer_movies import Transfer, wait_for_work
from cryodaq.domain.microscope import RetentionRule
from cryodaq.errors import LedgerError
from cryodaq.ledger import triggers
from cryodaq.ledger.readers import Person
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer import workers


def utc_now() -> datetime:
    return datetime.now(UTC)


def gain_bytes() -> bytes:
    return movie_bytes(1, seed=9)


def gain_rows(stage: Stage) -> list[tuple[int, str, datetime | None]]:
    with stage.engine.connect() as connection:
        rows = connection.execute(sa.text("select id, path, settled_at from ledger.gain_reference order by id"))
        return [(row.id, row.path, row.settled_at) for row in rows]


def test_gains_settle_and_wanted_ones_are_copied(stage: Stage) -> None:
    sample_id = stage.make_current("grid")
    (stage.gain_root / "notes.txt").write_text("no gain")
    (stage.gain_root / "K3_gain.tif").write_bytes(gain_bytes())
    with running(stage.transfer()):
        until(lambda: [row for row in gain_rows(stage) if row[2]], "not settled")
        ((gain_id, path, _),) = gain_rows(stage)
        assert path == "K3_gain.tif"
        target = stage.layout("grid").gain_references / "K3_gain.tif"
        with stage.engine.begin() as connection:
            triggers.want_gain(connection, gain_id, sample_id=sample_id, target=str(target), at=utc_now())
        until(Path(target).exists, "not copied")
        (stage.gain_root / "K3_gain.tif").write_bytes(movie_bytes(1, seed=10))  # tomorrow's gain has the same name
        until(lambda: len([row for row in gain_rows(stage) if row[2]]) == 2, "not settled")
        with stage.engine.begin() as connection:
            newest = gain_rows(stage)[-1][0]
            triggers.want_gain(connection, newest, sample_id=sample_id, target=str(target), at=utc_now())
        second = Path(target).with_stem("K3_gain.v2")
        until(second.exists, "the second gain is missing")
    assert Path(target).read_bytes() == gain_bytes()
    with stage.engine.connect() as connection:
        copies = connection.execute(sa.text("select target from ledger.gain_copy where copied_at is not null"))
        assert set(copies.scalars()) == {str(target), str(second)}


def test_a_growing_gain_is_not_settled(stage: Stage) -> None:
    stage.make_current("grid")
    path = stage.gain_root / "K3_gain.tif"
    path.write_bytes(gain_bytes()[:100])
    with running(stage.transfer()):
        until(lambda: gain_rows(stage), "not seen")
        time.sleep(1.0)
        assert [row[2] for row in gain_rows(stage)] == [None]
        path.write_bytes(gain_bytes())
        until(lambda: [row for row in gain_rows(stage) if row[2]], "not settled")
    assert len(gain_rows(stage)) == 1


def awaited(transfer: Transfer, **settings: float) -> str | None:
    current = wait_for_work(transfer, **settings)  # type: ignore[arg-type]  # test helper
    assert current is not None
    return current.sample_id


def test_waiting_for_work_returns_at_once_when_there_is_some(stage: Stage) -> None:
    sample_id = stage.make_current("grid")
    assert awaited(stage.transfer(), wait_s=3600) == sample_id


def test_waiting_ends_on_a_change_and_new_files_have_a_certain_owner(stage: Stage) -> None:
    stage.make_current("grid")
    stage.logbook.standby("TEM1")
    found: list[str | None] = []
    waiting = threading.Thread(target=lambda: found.append(awaited(stage.transfer(), wait_s=600)))
    waiting.start()
    stage.wait_for_scans()
    stage.logbook.switch(EXPERIMENT, instrument="TEM1")
    waiting.join(10)
    assert found == [stage.samples["grid"]]
    stage.write("grid_00001.tif", movie_bytes())  # collected before the next task has started
    with running(stage.transfer()):
        until(lambda: len(stage.movies("grid")) == 1, "not filed")
    # Where the machine is too busy to scan once more within the window's patience, the new folder decides.
    assert stage.decisions()["grid_00001"] in {"current", "folder"}


def test_waiting_ends_after_its_time(stage: Stage) -> None:
    stage.logbook.standby("TEM1")
    assert awaited(stage.transfer(), wait_s=5) is None


def quarantined_stage(stage: Stage) -> str:
    """Have one exposure collected in standby, and return the sample that it belongs to."""
    sample_id = stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.logbook.standby("TEM1")
        stage.polled()
        stage.polled()
        stage.wait_for_scans()
        stage.write("Night/grid_00001.tif", movie_bytes())
        stage.write("Night/grid_00001.tif.mdoc", b"[ZValue = 0]\n")
        until(lambda: list(stage.states().values()) == ["verified"] * 2, "not in quarantine")
    return sample_id


def test_quarantined_exposures_are_assigned_with_their_movies(stage: Stage) -> None:
    sample_id = quarantined_stage(stage)
    (folder,) = quarantined(stage.engine)
    assert (folder.acquisition_folder, folder.movies) == ("Night", 1)
    granted: list[tuple[str, bool]] = []

    def grant(sample: SampleRecord, paths: Sequence[Path]) -> Sequence[Person]:
        granted.extend((sample.id, stage.quarantine in path.parents and path.exists()) for path in paths)
        return ()

    done = assign_exposures(refiling(stage, grant), sample_id=sample_id, by="operator", acquisition_folder="Night")
    assert (done.exposures, done.files_moved, done.movies) == (1, 2, 1)
    assert granted == [(sample_id, True)] * 2  # before they were moved
    (movie,) = stage.movies("grid").values()
    assert Path(movie.target).read_bytes() == movie_bytes()
    assert movie.target == str(stage.raw("grid") / "Night/grid_00001.tif")
    assert not (stage.quarantine / "Night" / "grid_00001.tif").exists()
    assert quarantined(stage.engine) == []
    with pytest.raises(LedgerError, match="nothing waits"):
        assign_exposures(refiling(stage), sample_id=sample_id, by="operator")
    stage.logbook.switch(EXPERIMENT, instrument="TEM1")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("Night/grid_00001.tif.mdoc", b"[ZValue = 0]\n[ZValue = 1]\n")
        until((stage.raw("grid") / "Night/grid_00001.tif.v2.mdoc").exists, "later files do not follow")
        until(lambda: "unassigned" not in stage.alarms(), "the alarm stays")


def test_an_assignment_that_crashed_goes_on(stage: Stage) -> None:
    sample_id = quarantined_stage(stage)
    moved = stage.raw("grid") / "Night" / "grid_00001.tif"
    moved.parent.mkdir()
    (stage.quarantine / "Night" / "grid_00001.tif").rename(moved)  # and the ledger heard nothing of it
    assert assign_exposures(refiling(stage), sample_id=sample_id, by="operator").files_moved == 2
    assert set(stage.movies("grid")) == {"grid_00001@1"}


def test_a_sample_that_was_never_prepared_gets_its_folders_when_exposures_are_given_to_it(stage: Stage) -> None:
    sample_id = quarantined_stage(stage)
    shutil.rmtree(stage.raw("grid").parent)
    assert assign_exposures(refiling(stage), sample_id=sample_id, by="operator").files_moved == 2
    assert (stage.raw("grid") / "Night" / "grid_00001.tif").read_bytes() == movie_bytes()


def refiling(stage: Stage, grant: GrantAccess = lambda _sample, _paths: ()) -> Refiling:
    return Refiling(
        engine=stage.engine,
        microscope="tem1",
        storage_root=PurePosixPath(stage.storage),
        now=utc_now,
        prepare=lambda sample: stage.prepare(sample.name),
        grant_access=grant,
    )


def clearing(stage: Stage, **rule: object) -> Clearing:
    given = {"enabled": True, "older_than_h": 0.0, "larger_than_mb": 0.001, **rule}
    microscope = replace(stage.microscope, retention=RetentionRule(**given))  # type: ignore[arg-type]  # test helper
    return Clearing(engine=stage.engine, microscope=microscope, storage_root=PurePosixPath(stage.storage), now=utc_now)


@pytest.fixture
def collected(stage: Stage) -> Stage:
    """Two verified movies and a small file."""
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        for n in (1, 2):
            stage.write(f"grid_0000{n}.tif", movie_bytes(seed=n))
        stage.write("grid_00001.jpg", b"\xff\xd8\xff\xd9")
        until(lambda: list(stage.states().values()) == ["verified"] * 3, "not verified")
    return stage


def test_verified_movies_are_removed_and_small_files_stay(collected: Stage) -> None:
    stage = collected
    assert set(preview_clearing(clearing(stage, enabled=False)).removed) == {"grid_00001.tif", "grid_00002.tif"}
    assert clear_microscope(clearing(stage, enabled=False)).removed == ()
    assert clear_microscope(clearing(stage, older_than_h=1.0)).removed == ()
    done = clear_microscope(clearing(stage))
    assert set(done.removed) == {"grid_00001.tif", "grid_00002.tif"}
    assert sorted(path.name for path in stage.share.iterdir()) == [".online", "grid_00001.jpg"]
    assert (stage.raw("grid") / "grid_00001.tif").read_bytes() == movie_bytes(seed=1)
    with running(stage.transfer()):
        stage.wait_for_scans(3)
    assert sorted(stage.states().values()) == ["removed", "removed", "verified"]


def test_a_copy_that_reads_back_wrong_keeps_its_source_and_is_made_again(collected: Stage) -> None:
    stage = collected
    copy = stage.raw("grid") / "grid_00001.tif"
    with copy.open("r+b") as handle:
        handle.write(b"!!")
    done = clear_microscope(clearing(stage))
    assert done.removed == ("grid_00002.tif",)
    assert (stage.share / "grid_00001.tif").exists()
    assert "removal" in stage.alarms()
    with running(stage.transfer()):
        until(lambda: copy.exists() and copy.read_bytes() == movie_bytes(seed=1), "not copied again")
        until(lambda: stage.states()["grid_00001.tif@1"] == "verified", "not verified")
    assert len(stage.movies("grid")) == 2


def test_a_source_that_changed_is_not_removed(collected: Stage) -> None:
    stage = collected
    stage.write("grid_00001.tif", movie_bytes(seed=7))
    done = clear_microscope(clearing(stage))
    assert done.removed == ("grid_00002.tif",)
    assert [path for path, _ in done.kept] == ["grid_00001.tif"]
    assert (stage.share / "grid_00001.tif").read_bytes() == movie_bytes(seed=7)


def test_a_removal_that_crashed_is_settled_by_the_next_run(collected: Stage) -> None:
    stage = collected
    aside = ".cryodaq-aside-deadbeef-1"
    query = sa.text(
        "insert into ledger.removal (file_id, epoch, aside, intended_at)"
        " select id, 1, :aside, now() from ledger.file where path = 'grid_00001.tif'"
    )
    with stage.engine.begin() as connection:
        connection.execute(query, {"aside": aside})
    (stage.share / "grid_00001.tif").rename(stage.share / aside)
    clear_microscope(clearing(stage))
    assert not (stage.share / aside).exists()
    assert stage.states()["grid_00001.tif@1"] == "removed"


def test_a_stalled_share_is_given_up_said_and_tried_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.make_current("grid")
    stage.stall_s = 1.5
    started: list[int] = []
    start = workers.ShareWorker.start

    def remembered(worker: workers.ShareWorker) -> None:
        start(worker)
        if str(worker.root) == str(stage.share) and worker.pid is not None:
            started.append(worker.pid)

    monkeypatch.setattr(workers.ShareWorker, "start", remembered)
    with running(stage.transfer()):
        stage.wait_for_scans()
        os.kill(started[0], signal.SIGSTOP)
        until(lambda: "share" in stage.alarms(), "nobody was told")
        assert "did not answer" in stage.alarms()["share"].text
        until(lambda: "share" not in stage.alarms(), "it was not tried again")
        stage.write("grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
    assert len(started) == 2


def test_no_second_worker_is_started_while_an_abandoned_one_lives(stage: Stage) -> None:
    stage.make_current("grid")
    mark = workers.process_mark(os.getpid())  # some process that lives
    with stage.engine.begin() as connection:
        connection.execute(
            sa.text("insert into ledger.share_state (microscope, share, abandoned_worker) values ('tem1', :s, :m)"),
            {"s": str(stage.share), "m": mark},
        )
    with running(stage.transfer()):
        until(lambda: "share" in stage.alarms(), "nobody was told")
        time.sleep(0.5)
    assert "is stalled" in stage.alarms()["share"].text
    assert stage.scanned_at() is None
