"""Files that a site may choose to keep: made when asked for, gone when they have served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from sqlalchemy import select
from tests.integration.app.conftest import PARAMS, Bench

from cryodaq.app.prepare_sample import prepare_sample
from cryodaq.app.preprocess_movie import Processing, run_stage
from cryodaq.app.trigger_preprocessing import admit_movies
from cryodaq.domain.layout import SampleLayout
from cryodaq.domain.products import AlignmentProducts
from cryodaq.engines.native_alignment import NativeMotionCorrection
from cryodaq.ledger import tables
from cryodaq.wiring.engines import engines_named

RUN = "a_00001"


def process(bench: Bench, folder: Path, products: AlignmentProducts, *, diameter_ang: float = 40.0) -> set[str]:
    """Run all stages of a small movie; return the names of the pictures that are left."""
    counts = np.random.default_rng(1).poisson(1.0, (6, 256, 288)).astype(np.uint8)
    tifffile.imwrite(folder / "movie.tif", counts)
    bench.without_gain()
    bench.add_sample(params=PARAMS | {"particle_size": diameter_ang})
    prepare_sample(bench.preparation, bench.sample)
    movie = bench.add_movie(RUN, copy_of=folder / "movie.tif")
    bench.wait(11)
    assert admit_movies(bench.admission) == 1
    with bench.engine.begin() as connection:
        branch = connection.execute(select(tables.trigger.c.branch_id)).scalar_one()
    processing = Processing(
        engine=bench.engine,
        engines=engines_named("native", native=NativeMotionCorrection(products=products)),
        now=bench.clock,
        keep_unaligned_sum=products.unaligned_sum,
    )
    for stage in ("align", "ctf", "pick", "publish"):
        run_stage(processing, stage, movie_id=movie, branch_id=branch)
    layout = SampleLayout(root=Path(bench.sample.folder)).branch("live")
    return {path.name for folder in (layout.aligned, layout.summed) for path in Path(folder).glob("*.mrc")}


@pytest.mark.parametrize("kept", [False, True])
def test_the_unaligned_sum_goes_when_it_has_served_unless_it_is_kept(bench: Bench, tmp_path: Path, kept: bool) -> None:
    left = process(bench, tmp_path, AlignmentProducts(unaligned_sum=kept))
    assert left == {f"{RUN}.mrc", f"{RUN}_DW.mrc"} | ({f"{RUN}_sum.mrc"} if kept else set())


def test_halves_and_spectra_lie_beside_the_micrograph(bench: Bench, tmp_path: Path) -> None:
    left = process(bench, tmp_path, AlignmentProducts(halves=True, power_spectrum=True, half_precision=True))
    assert left == {f"{RUN}{ending}.mrc" for ending in ("", "_DW", "_EVN", "_ODD", "_PS")}


def test_a_movie_in_which_particles_cannot_be_picked_is_published_and_says_so(bench: Bench, tmp_path: Path) -> None:
    process(bench, tmp_path, AlignmentProducts(), diameter_ang=400.0)
    with bench.engine.begin() as connection:
        movie = connection.execute(select(tables.movie)).one()
    assert movie.state == "published"
    assert movie.problem == (
        "It has no particles: a particle of 400 Å is 400 pixels wide in a micrograph of 288 x 256; "
        "correct the diameter or the pixel size"
    )
    layout = SampleLayout(root=Path(bench.sample.folder)).branch("live")
    assert Path(layout.preview(RUN)).is_file()
    assert not Path(layout.coordinates(RUN)).exists()
