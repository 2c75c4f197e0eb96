"""Movies that wait for a person: what is said about them, and that a correction in the elogbook sets them free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.integration.app.conftest import EXPERIMENT, PARAMS, SAMPLE_ID, Bench

from cryodaq.app.prepare_sample import prepare_sample, refresh_parameters
from cryodaq.app.trigger_preprocessing import admit_movies, admit_new_movies
from cryodaq.domain.experiment import Sample
from cryodaq.ledger import gains, tables
from cryodaq.ledger.triggers import waiting_movies
from cryodaq.scheduler.in_process import InProcessScheduler
from cryodaq.testing.fake_logbook import FakeLogbook

WITHOUT = {key: value for key, value in PARAMS.items() if key not in {"apix", "fmdose"}}


class CorrectedLogbook(FakeLogbook):
    """Its operator has completed the sample meanwhile."""

    def samples(self, experiment: str) -> Sequence[Sample]:
        """Return another sample, and the corrected one."""
        assert experiment == EXPERIMENT
        other = Sample(id="0" * 24, name="another", params={**PARAMS, "apix": 9.0})
        return [other, Sample(id=SAMPLE_ID, name="grid1", params={**PARAMS, "apix": 1.1})]


@pytest.fixture
def incomplete(bench: Bench) -> Bench:
    """A sample of which nothing says the pixel size, with one movie that brought its own and was handed over."""
    bench.without_gain()
    bench.add_sample(params={**WITHOUT, "apix": 0, "fmdose": ""})
    prepare_sample(bench.preparation, bench.sample)
    complete = bench.add_movie("own_00001")
    with bench.engine.begin() as connection:
        said = {"source": "own.mdoc", "pixel_size_ang": 1.1, "dose_per_frame_e_ang2": 2.0, "frame_count": 6}
        connection.execute(tables.movie.update().where(tables.movie.c.id == complete).values(metadata=said))
    assert admit_movies(bench.admission) == 1
    return bench


def pixel_sizes(bench: Bench) -> list[float]:
    with bench.engine.begin() as connection:
        query = select(tables.trigger.c.parameters).order_by(tables.trigger.c.id)
        return [found["pixel_size_ang"]["value"] for found in connection.execute(query).scalars()]


def test_what_nobody_had_said_can_be_filled_in_after_processing_began(incomplete: Bench) -> None:
    movie = incomplete.add_movie("bare_00002")
    incomplete.wait(11)
    assert admit_movies(incomplete.admission) == 0
    incomplete.add_sample(params={**WITHOUT, "apix": 1.1, "fmdose": "2.0"})
    prepare_sample(incomplete.preparation, incomplete.sample)
    assert admit_movies(incomplete.admission) == 1
    assert incomplete.movie(movie).problem is None
    assert pixel_sizes(incomplete) == [1.1, 1.1]
    assert incomplete.alarms() == []


def test_what_waits_for_a_person_is_not_looked_at_with_every_new_movie(incomplete: Bench) -> None:
    incomplete.add_movie("bare_00002")
    incomplete.wait(11)
    assert admit_movies(incomplete.admission) == 0
    incomplete.add_sample(params={**WITHOUT, "apix": 1.1, "fmdose": "2.0"})
    prepare_sample(incomplete.preparation, incomplete.sample)
    assert admit_new_movies(incomplete.admission) == 0
    assert admit_movies(incomplete.admission) == 1


def test_a_value_that_was_filled_in_is_frozen_like_any_other(incomplete: Bench) -> None:
    for apix in (1.1, 0.55):
        incomplete.add_sample(params={**WITHOUT, "apix": apix, "fmdose": 2.0})
        prepare_sample(incomplete.preparation, incomplete.sample)
    incomplete.add_movie("bare_00002")
    incomplete.wait(11)
    admit_movies(incomplete.admission)
    assert pixel_sizes(incomplete) == [1.1, 1.1]
    assert any("apix 1.1 to 0.55" in text for text in incomplete.alarms())


def test_a_sample_that_is_not_current_any_more_can_still_be_corrected(bench: Bench) -> None:
    bench.without_gain()
    bench.add_sample(params=WITHOUT)
    prepare_sample(bench.preparation, bench.sample)
    bench.add_movie()
    bench.wait(11)
    assert admit_movies(bench.admission) == 0
    logbook = CorrectedLogbook()
    refresh_parameters(replace(bench.preparation, logbook=logbook), bench.sample)
    assert admit_movies(bench.admission) == 1
    assert pixel_sizes(bench) == [1.1]


def test_movies_that_wait_for_a_person_are_one_alarm_until_they_go(bench: Bench) -> None:
    bench.without_gain()
    bench.add_sample(params=WITHOUT)
    prepare_sample(bench.preparation, bench.sample)
    bench.add_movie("bare_00001")
    bench.add_movie("bare_00002")
    bench.wait(11)
    admit_movies(bench.admission)
    assert bench.alarms() == [], "what takes moments is no alarm"
    bench.wait(60)
    admit_movies(bench.admission)
    admit_movies(bench.admission)
    (text,) = bench.alarms()
    assert text.startswith(f"{EXPERIMENT}, sample grid1: 2 movies are not processed yet: ")
    assert "elogbook key apix" in text
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    assert admit_movies(bench.admission) == 2
    assert bench.alarms() == []


def test_movies_that_wait_stand_in_nobodys_way(bench: Bench) -> None:
    bench.without_gain()
    bench.add_sample(params=WITHOUT)
    prepare_sample(bench.preparation, bench.sample)
    for number in range(4):
        bench.add_movie(f"bare_{number:05}")
    bench.wait(11)
    admit_movies(bench.admission)
    new = bench.add_movie("new_00009")
    with bench.engine.begin() as connection:
        found = [movie.id for movie in waiting_movies(connection, "tem1", limit=2)]
    assert len(found) == 3
    assert new in found


def test_movies_that_waited_for_a_gain_count_as_new_once_it_is_copied(bench: Bench) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    bench.add_gain("right.mrc", hours_before_movie=2)
    movie = bench.add_movie()
    bench.wait(11)
    assert admit_new_movies(bench.admission) == 0
    assert bench.movie(movie).state == "waiting"
    with bench.engine.begin() as connection:
        (wanted,) = gains.wanted_gains(connection, "tem1", "/gains")
        gains.record_gain_copy(connection, wanted, target=wanted.target, xxh3_128="0" * 32, at=bench.now)
    assert bench.movie(movie).state == "registered"
    assert bench.movie(movie).problem is None
    assert admit_new_movies(bench.admission) == 1


def test_a_gain_that_cannot_be_copied_is_named_and_forgotten_once_it_is_gone(bench: Bench) -> None:
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    bench.add_gain("right.mrc", hours_before_movie=2)
    bench.add_gain("wrong.mrc", hours_before_movie=1)
    movie = bench.add_movie()
    bench.wait(11)
    admit_movies(bench.admission)
    assert bench.movie(movie).problem == "waits until its gain reference wrong.mrc is copied"
    with bench.engine.begin() as connection:
        (wanted,) = gains.wanted_gains(connection, "tem1", "/gains")
        gains.record_gain_problem(connection, wanted, problem="wrong.mrc is not on the share any more")
    admit_movies(bench.admission)
    assert "copied: wrong.mrc is not on the share any more" in bench.movie(movie).problem
    with bench.engine.begin() as connection:
        query = select(tables.gain_reference).where(tables.gain_reference.c.path == "right.mrc")
        right = connection.execute(query).one()
        present = [(right.path, right.size_bytes, right.mtime_ns)]
        gains.forget_gone(connection, "tem1", "/gains", present=present)
    admit_movies(bench.admission)
    (target,) = bench.copy_wanted_gains()
    assert target.endswith("/GainRefs/right.mrc")
    assert admit_movies(bench.admission) == 1
    with bench.engine.begin() as connection:
        gains.forget_gone(connection, "tem1", "/gains", present=[])
        assert connection.execute(select(tables.gain_copy.c.target)).scalars().all() == [target]


@pytest.fixture
def ready(bench: Bench) -> Bench:
    """A prepared sample on a camera that needs no gain."""
    bench.without_gain()
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    return bench


def add_movie_with_mdoc(bench: Bench, name: str, mdoc: Path, text: str) -> int:
    mdoc.write_text(text)
    movie = bench.add_movie(name)
    bench.add_file(movie, role="metadata", target=mdoc)
    return movie


def test_damaged_and_contradicting_metadata_are_one_alarm_each_until_it_is_right_again(
    ready: Bench, tmp_path: Path
) -> None:
    for number in (1, 2):
        add_movie_with_mdoc(ready, f"a_{number}", tmp_path / f"a_{number}.mdoc", "[FrameSet = 0]\nPixelSpacing = x\n")
    admit_movies(ready.admission)
    (text,) = ready.alarms()
    assert "'x' is no number; a_2 is processed with the sample's parameters" in text
    add_movie_with_mdoc(ready, "a_3", tmp_path / "a_3.mdoc", "[FrameSet = 0]\nPixelSpacing = 2.0\n")
    admit_movies(ready.admission)
    (text,) = ready.alarms()
    assert "pixel size of the frames: operator says 1 Å, metadata says 2 Å" in text
    add_movie_with_mdoc(ready, "a_4", tmp_path / "a_4.mdoc", "[FrameSet = 0]\nPixelSpacing = 1.0\n")
    assert admit_movies(ready.admission) == 1
    assert ready.alarms() == []


def test_metadata_that_cannot_be_read_now_holds_its_movie_only(ready: Bench, tmp_path: Path) -> None:
    mdoc = tmp_path / "a_1.mdoc"
    movie = add_movie_with_mdoc(ready, "a_1", mdoc, "[FrameSet = 0]\nPixelSpacing = 1.0\n")
    mdoc.rename(tmp_path / "away")
    add_movie_with_mdoc(ready, "a_2", tmp_path / "a_2.mdoc", "[FrameSet = 0]\nPixelSpacing = 1.0\n")
    assert admit_movies(ready.admission) == 1
    assert "its metadata cannot be read" in ready.movie(movie).problem
    (tmp_path / "away").rename(mdoc)
    assert admit_movies(ready.admission) == 1


class TracingScheduler(InProcessScheduler):
    """Says why a file cannot be read as Airflow does."""

    def import_error(self, file_name: str) -> str | None:
        """Return a traceback."""
        return (
            'Traceback (most recent call last):\n  File "<frozen importlib._bootstrap>", line 241, in _call\n'
            f'  File "/dags/{file_name}", line 13\n    this is no python\n         ^^\nSyntaxError: invalid syntax\n'
        )


def test_a_broken_dag_file_is_one_sentence(bench: Bench) -> None:
    bench.add_sample()
    scheduler = TracingScheduler(lambda *_: None, dag_folder=bench.dag_folder / "elsewhere")
    assert not prepare_sample(replace(bench.preparation, scheduler=scheduler), bench.sample)
    (text,) = bench.alarms()
    assert text.endswith(f"{bench.sample.dag_id}.py cannot be read, line 13: SyntaxError: invalid syntax")
    assert "\n" not in text
