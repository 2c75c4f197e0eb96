"""A stage that fails: one sentence beside the movie and in its log, nothing left behind, nothing else stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from tests.integration.app.conftest import Bench

from cryodaq.app.prepare_sample import prepare_sample
from cryodaq.app.preprocess_movie import Engines, Processing, run_stage
from cryodaq.app.trigger_preprocessing import admit_movies
from cryodaq.domain.layout import SampleLayout
from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import AlignmentResult
from cryodaq.engines.native import NativeCtfEstimation, NativeParticlePicking
from cryodaq.errors import ImagingError
from cryodaq.ledger import tables


class Failing:
    """An aligner that fails as it is told to, after it has written something."""

    name = "failing"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def align(self, movie: Path, *, gain: Path | None, parameters: ImagingParameters, folder: Path) -> AlignmentResult:
        """Fail."""
        (folder / "half.mrc").write_bytes(b"half")
        raise self._error


def run_align(bench: Bench, error: Exception) -> tuple[int, Path]:
    """Have a movie's alignment fail; return the movie and the stage's log."""
    bench.without_gain()
    bench.add_sample()
    prepare_sample(bench.preparation, bench.sample)
    movie = bench.add_movie("a_00001")
    bench.wait(11)
    assert admit_movies(bench.admission) == 1
    with bench.engine.begin() as connection:
        branch = connection.execute(select(tables.trigger.c.branch_id)).scalar_one()
    engines = Engines(
        motion_correction=Failing(error),
        ctf_estimation=NativeCtfEstimation(),
        particle_picking=NativeParticlePicking(),
    )
    with pytest.raises(type(error)):
        run_stage(
            Processing(engine=bench.engine, engines=engines, now=bench.clock), "align", movie_id=movie, branch_id=branch
        )
    layout = SampleLayout(root=Path(bench.sample.folder)).branch("live")
    return movie, Path(layout.log("a_00001", "align"))


def test_what_was_foreseen_is_one_sentence_at_the_movie_and_in_its_log(bench: Bench) -> None:
    movie, log = run_align(bench, ImagingError("the gain reference has another shape; give the right one"))
    assert bench.movie(movie).state == "failed"
    assert bench.movie(movie).problem == "align: the gain reference has another shape; give the right one"
    (line,) = log.read_text().splitlines()
    assert line.endswith("failed: the gain reference has another shape; give the right one")
    assert not list(Path(bench.sample.folder).rglob("half.mrc"))


def test_what_nobody_foresaw_leaves_its_traceback_in_the_log(bench: Bench) -> None:
    movie, log = run_align(bench, ZeroDivisionError("by nothing"))
    assert bench.movie(movie).problem == "align: ZeroDivisionError: by nothing"
    assert "Traceback" in log.read_text()
