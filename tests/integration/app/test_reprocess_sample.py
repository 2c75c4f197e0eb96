"""A sample processed once more: beside the current branch, behind live movies, then current or gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from cryodaq.app.reprocess_sample import (
    Reprocessing,
    begin_reprocessing,
    delete_branch,
    make_current,
    process_from_now_on,
)
from cryodaq.database import open_engine
from cryodaq.domain.failures import Cause
from cryodaq.errors import LedgerError, ParameterError
from cryodaq.ledger import branches, exports, gallery, results, samples, triggers
from cryodaq.ledger import tables as t
from cryodaq.ledger.branches import BranchState
from cryodaq.ledger.samples import save_branch
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie, example_fit

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
A = "a" * 24
PARAMS = {"apix": 1.06, "kev": 300.0, "cs": 2.7, "fmdose": 1.25, "total_frames": "40"}
INSTRUMENT = {"voltage_kv": None, "cs_mm": None, "amplitude_contrast": 0.1}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def seed(engine: Engine, tmp_path: Path) -> LedgerSeeder:
    return LedgerSeeder(engine=engine, storage=tmp_path, now=NOW)


@pytest.fixture
def parts(engine: Engine) -> Reprocessing:
    return Reprocessing(engine=engine, calibrated_pixel_size_ang=lambda *_: None, now=lambda: NOW)


@pytest.fixture
def movies(seed: LedgerSeeder, engine: Engine) -> list[SeededMovie]:
    """Two published movies, and one that failed."""
    sample = seed.add_sample(A)
    with engine.begin() as connection:
        save_branch(
            connection,
            A,
            name="live",
            settings={"operator": PARAMS, "instrument": INSTRUMENT, "detector": ""},
            template_hash="0",
            software_version="0",
            at=NOW,
        )
    made = [seed.add_movie(sample, name) for name in ("m1", "m2")]
    for movie in made:
        seed.add_measurements(movie, fit=example_fit(resolution_ang=4.0))
        seed.publish_pictures(movie, preview=b"p", thumbnail=b"t")
    third = seed.add_movie(sample, "m3", state="failed")
    with engine.begin() as connection:
        connection.execute(t.sample.update().values(dag_state="parsed"))
        connection.execute(t.trigger.update().values(settled_at=NOW, outcome="published"))
        failed = t.trigger.c.movie_id == third.id
        connection.execute(t.trigger.update().where(failed).values(outcome="failed"))
    return made


def states(engine: Engine) -> dict[str, BranchState]:
    with engine.connect() as connection:
        return {state.name: state for state in branches.branch_states(connection, A)}


def finish(engine: Engine, seed: LedgerSeeder, movies: list[SeededMovie], name: str) -> None:
    """Let the scheduler process a branch's movies."""
    with engine.connect() as connection:
        branch = samples.find_branch(connection, A, name)
    assert branch is not None
    for movie in movies:
        layout = replace(movie.layout, root=movie.layout.root / "branches" / name)
        again = replace(movie, branch_id=branch.id, layout=layout)
        seed.add_measurements(again, fit=example_fit(resolution_ang=3.5))
        files: list[object] = [{"path": "x.mrc", "size_bytes": 1, "checksum": "c", "created_at": "", "modified_at": ""}]
        preview = Path(layout.preview(movie.run_name))
        seed.add_result(again, "publish", result={"preview": str(preview), "thumbnail": "t", "files": files})
    with engine.begin() as connection:
        mine = t.trigger.c.branch_id == branch.id
        connection.execute(t.trigger.update().where(mine).values(sent_at=NOW, settled_at=NOW, outcome="published"))


def test_every_movie_waits_in_the_branch_with_its_own_run_and_the_new_parameters(
    parts: Reprocessing, movies: list[SeededMovie], engine: Engine
) -> None:
    assert begin_reprocessing(parts, A, params={**PARAMS, "apix": 0.53}, asked_by="olga") == "r1"
    found = states(engine)
    assert (found["live"].is_current, found["r1"].is_current) == (True, False)
    assert (found["r1"].movies, found["r1"].waiting, found["r1"].in_flight) == (3, 3, 0)
    with engine.connect() as connection:
        rows = connection.execute(select(t.trigger).where(t.trigger.c.branch_id == found["r1"].id)).all()
        movie_states = connection.execute(select(t.movie.c.state).order_by(t.movie.c.id)).scalars().all()
    assert sorted(row.run_id for row in rows) == ["m1~b-r1", "m2~b-r1", "m3~b-r1"]
    assert {row.parameters["pixel_size_ang"]["value"] for row in rows} == {0.53}
    assert movie_states == ["published", "published", "failed"]
    assert begin_reprocessing(parts, A, params={**PARAMS, "apix": 0.9}, asked_by="olga") == "r2"


def test_what_is_collected_now_goes_first(
    parts: Reprocessing, movies: list[SeededMovie], seed: LedgerSeeder, engine: Engine
) -> None:
    begin_reprocessing(parts, A, params={**PARAMS, "apix": 0.53}, asked_by="olga")
    live = seed.add_movie(movies[0].sample, "m9", state="queued")
    with engine.begin() as connection:
        connection.execute(t.trigger.update().where(t.trigger.c.movie_id == live.id).values(sent_at=None))
    sent = []
    for _ in range(4):
        with engine.begin() as connection:
            due = triggers.next_trigger(connection, "tem1", at=NOW)
            assert due is not None
            triggers.mark_sent(connection, due, at=NOW)
            sent.append(due.run_id)
    assert sent == ["m9", "m3~b-r1", "m2~b-r1", "m1~b-r1"]


def test_both_branches_are_compared_movie_by_movie(
    parts: Reprocessing, movies: list[SeededMovie], seed: LedgerSeeder, engine: Engine
) -> None:
    begin_reprocessing(parts, A, params={**PARAMS, "apix": 0.53}, asked_by="olga")
    finish(engine, seed, movies[:1], "r1")
    found = states(engine)
    with engine.connect() as connection:
        rows = {one.key: one for one in branches.compare(connection, found["live"].id, found["r1"].id)}
    fit = rows["fit_resolution_ang"]
    assert (fit.movies, fit.median_first, fit.median_second, fit.smaller) == (1, 4.0, 3.5, 1)


def test_a_finished_branch_becomes_current_and_the_elogbook_hears_of_its_results(
    parts: Reprocessing, movies: list[SeededMovie], seed: LedgerSeeder, engine: Engine
) -> None:
    begin_reprocessing(parts, A, params={**PARAMS, "apix": 0.53}, asked_by="olga")
    with pytest.raises(LedgerError, match="3 movies of r1 are still to be processed"):
        make_current(parts, A, "r1", asked_by="olga")
    finish(engine, seed, movies, "r1")
    assert make_current(parts, A, "r1", asked_by="olga") == 3
    with engine.connect() as connection:
        live = samples.live_branch(connection, A)
        calls = connection.execute(
            select(t.delivery.c.run_name, t.delivery.c.call, t.delivery.c.payload).order_by(t.delivery.c.id)
        ).all()
        movie = results.movie_to_process(connection, movies[0].id, states(engine)["r1"].id)
        earlier = results.movie_to_process(connection, movies[0].id, states(engine)["live"].id)
    assert live is not None
    assert live.name == "r1"
    assert movie is not None
    assert earlier is not None
    assert (movie.is_current, earlier.is_current) == (True, False)
    told = [call.payload["params"] for call in calls if call.call == "add_run_params"]
    assert len(told) == 2
    assert any("branches/r1" in str(value) for value in told[0].values())
    make_current(parts, A, "r1", asked_by="olga")
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(t.delivery)).scalar_one() == len(calls)


def test_from_now_on_leaves_what_is_processed_alone(
    parts: Reprocessing, movies: list[SeededMovie], engine: Engine
) -> None:
    assert process_from_now_on(parts, A, params={**PARAMS, "apix": 0.53}, asked_by="olga") == "r1"
    found = states(engine)
    assert (found["r1"].is_current, found["r1"].movies, found["live"].movies) == (True, 0, 3)
    with engine.connect() as connection:
        live = samples.live_branch(connection, A)
    assert live is not None
    assert live.settings["operator"] == {**PARAMS, "apix": 0.53}
    assert live.settings["instrument"] == INSTRUMENT


def test_a_deleted_branch_leaves_nothing_and_nothing_else_is_touched(
    parts: Reprocessing, movies: list[SeededMovie], seed: LedgerSeeder, engine: Engine
) -> None:
    begin_reprocessing(parts, A, params={**PARAMS, "apix": 0.53}, asked_by="olga")
    finish(engine, seed, movies[:1], "r1")
    folder = Path(movies[0].sample.folder) / "branches" / "r1"
    (folder / "aligned" / "m1.mrc").write_bytes(b"x")
    kept = Path(movies[0].layout.preview("m1"))
    delete_branch(parts, A, "r1", asked_by="olga")
    assert set(states(engine)) == {"live"}
    assert not folder.exists()
    assert kept.exists()
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(t.stage_result)).scalar_one() == 8


def test_what_cannot_be_deleted_stays(parts: Reprocessing, movies: list[SeededMovie], engine: Engine) -> None:
    begin_reprocessing(parts, A, params={**PARAMS, "apix": 0.53}, asked_by="olga")
    with engine.begin() as connection:
        connection.execute(t.trigger.update().where(t.trigger.c.settled_at.is_(None)).values(sent_at=NOW))
    for name, words in (("live", "is the current branch"), ("r1", "are being processed now"), ("r9", "no branch r9")):
        with pytest.raises(LedgerError, match=words):
            delete_branch(parts, A, name, asked_by="olga")
    assert set(states(engine)) == {"live", "r1"}


@pytest.mark.parametrize("params", [{**PARAMS, "apix": 500.0}, {**PARAMS, "apix": "wide"}, {"kev": 300.0}])
def test_impossible_parameters_begin_nothing(
    parts: Reprocessing, movies: list[SeededMovie], engine: Engine, params: dict[str, str | float]
) -> None:
    with pytest.raises(ParameterError):
        begin_reprocessing(parts, A, params=params, asked_by="olga")  # type: ignore[arg-type]  # as people write
    assert set(states(engine)) == {"live"}


def test_the_same_parameters_and_unknown_samples_are_refused(parts: Reprocessing, movies: list[SeededMovie]) -> None:
    with pytest.raises(LedgerError, match="nothing would change"):
        begin_reprocessing(parts, A, params=PARAMS, asked_by="olga")  # type: ignore[arg-type]  # as people write
    with pytest.raises(LedgerError, match="never prepared"):
        process_from_now_on(parts, "f" * 24, params=PARAMS, asked_by="olga")  # type: ignore[arg-type]  # as people write


def test_a_refused_run_of_a_branch_does_not_fail_the_published_movie(
    parts: Reprocessing, movies: list[SeededMovie], engine: Engine
) -> None:
    begin_reprocessing(parts, A, params={**PARAMS, "apix": 0.53}, asked_by="olga")
    with engine.begin() as connection:
        while (due := triggers.next_trigger(connection, "tem1", at=NOW)) is not None:
            triggers.refuse_trigger(connection, due, "no", at=NOW)
    assert states(engine)["r1"].failed == 3
    with engine.connect() as connection:
        found = connection.execute(select(t.movie.c.state).order_by(t.movie.c.id)).scalars().all()
    assert found == ["published", "published", "failed"]


def test_what_failed_is_processed_once_more_and_fails_again_with_the_branch(
    parts: Reprocessing, movies: list[SeededMovie], engine: Engine, seed: LedgerSeeder
) -> None:
    with engine.begin() as connection:
        row = connection.execute(select(t.movie).where(t.movie.c.state == "failed")).one()
        live = samples.find_branch(connection, A, "live")
        assert live is not None
        target = results.movie_to_process(connection, row.id, live.id)
        assert target is not None
        attempt = results.begin_attempt(connection, target, "align", log="", at=NOW)
        results.fail(
            connection, target, attempt, stage="align", problem="a frame is missing", cause=Cause.LASTING, at=NOW
        )
    begin_reprocessing(parts, A, params={**PARAMS, "total_frames": "39"}, asked_by="olga")
    assert states(engine)["r1"].movies == 3
    with engine.begin() as connection:
        made = samples.find_branch(connection, A, "r1")
        assert made is not None
        target = results.movie_to_process(connection, row.id, made.id)
        assert target is not None
        attempt = results.begin_attempt(connection, target, "publish", log="", at=NOW)
        result = {"preview": "p", "thumbnail": "t"}
        results.succeed(connection, target, attempt, stage="publish", result=result, at=NOW)
        exports.mark_published(connection, target, at=NOW)
        shown = {name: gallery.find_movie(connection, row.id, branch_name=name) for name in ("live", "r1")}
    assert [one.state if one else None for one in shown.values()] == ["failed", "published"]
    assert shown["live"] is not None
    assert shown["live"].problem == "align: a frame is missing"
    delete_branch(parts, A, "r1", asked_by="olga")
    with engine.connect() as connection:
        after = connection.execute(select(t.movie.c.state, t.movie.c.problem).where(t.movie.c.id == row.id)).one()
    assert tuple(after) == ("failed", "align: a frame is missing")
