"""What was filed with the wrong sample goes to the right one, whole, whatever crashes in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import sqlalchemy as sa
from tests.integration.custody.conftest import (
    GRID1,
    GRID2,
    NOON,
    OTHER,
    Crash,
    Custody,
    InThreadWorker,
    Points,
)

from cryodaq.app.moving_copies import Refiling
from cryodaq.app.preprocess_movie import Engines, Processing, run_stage
from cryodaq.app.reassign_exposures import (
    Wish,
    preview_reassignment,
    reassign_exposures,
    resume_reassignments,
)
from cryodaq.errors import LedgerError, TransferError
from cryodaq.formats.star import read_star
from cryodaq.ledger import samples
from cryodaq.ledger.readers import Person
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ledger.triggers import waiting_movies

FOLDER = Wish(to_sample=GRID2, asked_by="operator", folder="session")


def parts(custody: Custody, points: Points | None = None) -> Refiling:
    return Refiling(
        engine=custody.engine,
        microscope="tem1",
        storage_root=PurePosixPath(custody.storage),
        now=custody.clock,
        prepare=lambda _: None,
        grant_access=lambda _sample, _paths: (),
        open_worker=points.open_worker if points else InThreadWorker,
    )


def two_samples(custody: Custody, *, second_experiment: str = "20261122-CS01") -> None:
    grid1 = custody.add_sample(GRID1, "grid1")
    custody.add_sample(GRID2, "grid2", experiment=second_experiment)
    custody.add_published(grid1, "m1")
    custody.seeder.add_file(grid1, "m1", role="metadata")
    custody.seeder.add_movie(grid1, "m2")
    custody.write_copies(grid1)
    with custody.engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into ledger.measurement (branch_id, movie_id, particle_count)"
            " select branch_id, movie_id, 212 from ledger.trigger on conflict do nothing"
        )


def star_rows(custody: Custody, sample_id: str) -> list[str]:
    star = Path(custody.samples[sample_id].folder) / "micrographs_ctf.star"
    if not star.exists():
        return []
    names = read_star(star)["micrographs"].get("rlnMicrographName", [])
    return [str(name) for name in names]


def test_files_results_exports_and_runs_go_together(custody: Custody) -> None:
    two_samples(custody)
    before = custody.files_below(custody.samples[GRID1])
    expected = preview_reassignment(parts(custody), FOLDER)
    assert (expected.exposures, expected.files, expected.movies) == (2, 3, 2)
    done = reassign_exposures(parts(custody), FOLDER)
    assert (done.exposures, done.files, done.movies, done.with_results) == (2, 3, 2, 1)
    grid1, grid2 = custody.samples[GRID1], custody.samples[GRID2]
    assert custody.files_below(grid1) == {}
    assert custody.files_below(grid2) == before
    assert star_rows(custody, GRID2) == ["aligned/m1_DW.mrc"]
    assert star_rows(custody, GRID1) == []
    published, waiting = custody.rows("movie")
    assert (published["sample_id"], published["state"], published["moves"]) == (GRID2, "published", 1)
    assert (waiting["sample_id"], waiting["state"]) == (GRID2, "registered")
    assert all(row["target"].startswith(grid2.folder) and Path(row["target"]).exists() for row in custody.rows("file"))
    assert {row["decision"] for row in custody.rows("exposure")} == {"operator"}
    (trigger,) = custody.rows("trigger")  # the run of m2 that was under way is taken back
    assert (trigger["dag_id"], trigger["run_id"]) == (grid2.dag_id, "m1~m1")
    with custody.engine.connect() as connection:
        measured = connection.exec_driver_sql("select movie_id, branch_id from ledger.measurement").all()
    assert [tuple(row) for row in measured] == [(published["id"], trigger["branch_id"])]
    results = {row["stage"]: row["result"] for row in custody.rows("stage_result")}
    assert results["align"]["micrograph"] == f"{grid2.folder}/aligned/m1.mrc"
    assert results["publish"]["files"][0]["path"] == f"{GRID2}/aligned/m1.mrc"
    (plan,) = custody.rows("reassignment")
    assert (plan["state"], plan["asked_by"], plan["facts"]["movies"]) == ("done", "operator", 2)
    assert {row["sample_id"] for row in custody.rows("event") if row["kind"] == "exposures_reassigned"} == {
        GRID1,
        GRID2,
    }


def test_the_elogbook_gives_the_run_to_the_other_sample(custody: Custody) -> None:
    two_samples(custody)
    reassign_exposures(parts(custody), FOLDER)
    custody.deliver()
    run = custody.logbook.recorded_run("20261122-CS01", "m1")
    assert run is not None
    assert run.sample_name == "grid2"
    assert f"{GRID2}/raw/session/m1.tiff" in run.files
    assert run.params["preview"] == f"{GRID2}/previews/m1.jpg"
    unsent = [row for row in custody.rows("delivery") if row["delivered_at"] is None]
    assert unsent == []


def test_between_experiments_the_run_is_made_anew_and_the_old_one_says_where_it_went(custody: Custody) -> None:
    two_samples(custody, second_experiment="20261122-CS02")
    taken = custody.add_sample(OTHER, "other", experiment="20261122-CS02")
    custody.add_published(taken, "m9")
    with custody.engine.begin() as connection:  # another file of that name was there first
        connection.exec_driver_sql("update ledger.movie set run_name = 'm1' where run_name = 'm9'")
        connection.exec_driver_sql("update ledger.exposure set acquisition_folder = 'x' where key like '%%m9'")
    reassign_exposures(parts(custody), FOLDER)
    custody.deliver()
    old = custody.logbook.recorded_run("20261122-CS01", "m1")
    new = custody.logbook.recorded_run("20261122-CS02", "m1~2")
    assert old is not None
    assert new is not None
    assert old.params == {"reassigned_to_experiment": "20261122-CS02", "reassigned_to_run": "m1~2"}
    assert new.sample_name == "grid2"
    grid2 = custody.samples[GRID2]
    assert (Path(grid2.folder) / "aligned" / "m1~2.mrc").read_text() == "m1.mrc of m1"
    assert star_rows(custody, GRID2) == ["aligned/m1~2_DW.mrc"]


def test_other_parameters_mean_processing_anew(custody: Custody) -> None:
    two_samples(custody)
    with custody.engine.begin() as connection:
        settings = {"operator": {"apix": 2.0}, "instrument": None, "detector": None}
        samples.save_branch(
            connection,
            GRID2,
            name="live",
            settings=settings,
            template_hash="0",
            software_version="0",
            at=NOON,
        )
    done = reassign_exposures(parts(custody), FOLDER)
    assert (done.movies, done.with_results) == (2, 0)
    assert custody.rows("trigger") == []
    assert custody.rows("stage_result") == []
    with custody.engine.begin() as connection:
        assert [movie.moves for movie in waiting_movies(connection, "tem1")] == [1, 1]


def reassign_and_end(custody: Custody, wish: Wish, *, ends_at: int) -> bool:
    """Reassign in a process that ends at a point, then let the next pass go on. Return whether it came that far."""
    points = Points(ends_at=ends_at)
    stop = custody.ending(points)
    try:
        reassign_exposures(parts(custody, points), wish)
    except Crash:
        stop()
        resume_reassignments(parts(custody))
        if {row["sample_id"] for row in custody.rows("exposure")} != {wish.to_sample}:
            reassign_exposures(parts(custody), wish)  # it ended before the plan was written: it is said again
        return True
    stop()
    return False


@pytest.mark.parametrize(("second_experiment", "every"), [("20261122-CS01", 1), ("20261122-CS02", 5)])
def test_a_crash_at_any_step_is_carried_on(custody: Custody, second_experiment: str, every: int) -> None:
    """Reassign to and fro; each time the process ends at another point and the next pass goes on."""
    two_samples(custody, second_experiment=second_experiment)
    content = sorted(custody.files_below(custody.samples[GRID1]).values())
    home, away, number = GRID1, GRID2, 1
    while reassign_and_end(custody, replace(FOLDER, to_sample=away), ends_at=number):
        assert custody.files_below(custody.samples[home]) == {}, number
        assert sorted(custody.files_below(custody.samples[away]).values()) == content, number
        assert {row["state"] for row in custody.rows("reassignment")} == {"done"}
        assert all(Path(row["target"]).is_relative_to(custody.samples[away].folder) for row in custody.rows("file"))
        published, waiting = custody.rows("movie")
        assert (published["state"], waiting["state"]) == ("published", "registered"), number
        assert len(star_rows(custody, away)) == 1
        home, away, number = away, home, number + every
    assert number > 12, "too few points were tried"


def test_the_gain_reference_of_results_is_there_before_they_are_told(custody: Custody) -> None:
    two_samples(custody)
    gains = {
        number: Path(custody.samples[number].folder) / "raw" / "GainRefs" / "gain.mrc" for number in (GRID1, GRID2)
    }
    gains[GRID1].parent.mkdir(parents=True, exist_ok=True)
    gains[GRID1].write_bytes(b"a gain reference")
    with custody.engine.begin() as connection:
        said = {"place": str(gains[GRID1]), "sample": GRID1, "at": custody.now}
        connection.execute(
            sa.text(
                "with made as (insert into ledger.gain_reference"
                " (microscope, root, path, size_bytes, mtime_ns, seen_at)"
                " values ('tem1', '/gains', 'gain.mrc', 16, 1, :at) returning id)"
                " insert into ledger.gain_copy (gain_id, sample_id, target, wanted_at)"
                " select id, :sample, :place, :at from made"
            ),
            said,
        )
        connection.execute(sa.text("update ledger.movie set gain_target = :place where state = 'published'"), said)
    reassign_exposures(parts(custody), FOLDER)
    assert [gain.read_bytes() for gain in gains.values()] == [b"a gain reference"] * 2
    assert custody.rows("movie")[0]["gain_target"] == str(gains[GRID2])
    assert [row["target"] for row in custody.rows("gain_copy")] == [str(gain) for gain in gains.values()]


def test_a_stage_that_is_under_way_leaves_nothing_behind(custody: Custody) -> None:
    two_samples(custody)
    movie = custody.rows("movie")[1]
    trigger = next(row for row in custody.rows("trigger") if row["movie_id"] == movie["id"])

    class SlowAlignment:
        name = "slow"

        def align(self, movie: Path, *, folder: Path, **_: Any) -> Any:
            from cryodaq.domain.results import AlignmentResult, MotionStatistics

            reassign_exposures(parts(custody), FOLDER)
            for name in ("a", "b", "c"):
                (folder / name).write_text(str(movie))
            return AlignmentResult(
                micrograph=str(folder / "a"),
                micrograph_dose_weighted=str(folder / "b"),
                unaligned_sum=str(folder / "c"),
                pixel_size_ang=1.0,
                frame_count=1,
                shape_yx=(1, 1),
                motion=MotionStatistics(displacement_px_xy=((0.0, 0.0),), total_ang=0.0, early_ang=0.0, late_ang=0.0),
                hot_pixels=0,
                mean_counts_per_px_frame=1.0,
                gain_applied=False,
                seconds=1.0,
                engine="slow",
            )

    engines = Engines(motion_correction=SlowAlignment(), ctf_estimation=None, particle_picking=None)  # type: ignore[arg-type]  # not used
    processing = Processing(engine=custody.engine, engines=engines, now=custody.clock)
    with pytest.raises(LedgerError, match="another sample"):
        run_stage(processing, "align", movie_id=movie["id"], branch_id=trigger["branch_id"])
    left = [path for path in custody.files_below(custody.samples[GRID1]) if not path.startswith("logs/")]
    assert left == []
    assert custody.rows("movie")[1]["state"] == "registered"
    with pytest.raises(LedgerError, match="never handed over"):
        run_stage(processing, "align", movie_id=movie["id"], branch_id=trigger["branch_id"])


def test_readers_of_the_new_sample_are_set_before_a_file_is_there(custody: Custody) -> None:
    two_samples(custody)
    granted: list[Path] = []

    def grant(sample: SampleRecord, paths: Sequence[Path]) -> Sequence[Person]:
        assert sample.id == GRID2
        assert not any(path.is_relative_to(custody.samples[GRID2].folder) for path in paths)
        granted.extend(path for path in paths if path.exists())
        return ()

    reassign_exposures(replace(parts(custody), grant_access=grant), FOLDER)
    assert len(granted) == len(custody.files_below(custody.samples[GRID2]))


def test_since_a_time_and_only_what_one_sample_owns(custody: Custody) -> None:
    two_samples(custody)
    other = custody.add_sample(OTHER, "other")
    custody.seeder.now = NOON + timedelta(hours=1)
    custody.seeder.add_movie(other, "m3")
    custody.write_copies(other)
    late = Wish(to_sample=GRID2, asked_by="operator", since=NOON + timedelta(minutes=30))
    with pytest.raises(LedgerError, match=r"several samples own.*grid1.*other"):
        reassign_exposures(parts(custody), FOLDER)
    assert reassign_exposures(parts(custody), late).from_sample.id == OTHER
    with pytest.raises(LedgerError, match="nothing of another sample"):
        reassign_exposures(parts(custody), late)
    with pytest.raises(LedgerError, match="--folder"):
        reassign_exposures(parts(custody), Wish(to_sample=GRID2, asked_by="operator"))


def test_a_place_that_another_file_has_is_refused_before_anything_moves(custody: Custody) -> None:
    two_samples(custody)
    with custody.engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into ledger.exposure (microscope, share, key, acquisition_folder, sample_id, seen_from, seen_until)"
            " values ('tem2', '/other', 'k', 'f', %(sample)s, now(), now())",
            {"sample": GRID2},
        )
        connection.exec_driver_sql(
            "insert into ledger.file (microscope, share, path, version, role, exposure_id, state, size_bytes, mtime_ns,"
            " target, seen_at, changed_at) select 'tem2', '/other', 'session/m1.tiff', 1, 'movie', max(id), 'copied',"
            " 1, 1, %(target)s, now(), now() from ledger.exposure",
            {"target": f"{custody.samples[GRID2].folder}/raw/session/m1.tiff"},
        )
    with pytest.raises(LedgerError, match="another file already"):
        reassign_exposures(parts(custody), FOLDER)
    assert custody.rows("reassignment") == []


def test_a_copy_that_is_gone_is_said_and_the_plan_stays_open(custody: Custody) -> None:
    two_samples(custody)
    missing = Path(custody.rows("file")[0]["target"])
    content = missing.read_text()
    missing.unlink()
    with pytest.raises(TransferError, match="cannot be moved"):
        reassign_exposures(parts(custody), FOLDER)
    assert [row["state"] for row in custody.rows("reassignment")] == ["planned"]
    assert [row["key"].partition(":")[0] for row in custody.rows("alarm")] == ["reassign"]
    missing.write_text(content)
    assert [done.movies for done in resume_reassignments(parts(custody))] == [2]
    assert all(row["cleared_at"] for row in custody.rows("alarm"))
