"""Published movies with known micrographs, picks and CTF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Engine, update

from cryodaq.app.publish_results import StageResults, publish_movie
from cryodaq.database import open_engine
from cryodaq.formats.coordinates import write_coordinates
from cryodaq.formats.mrc import write_micrograph
from cryodaq.ledger import tables as t
from cryodaq.ledger.results import movie_to_process
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie, example_fit

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SHAPE = (192, 256)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The ledger."""
    made = open_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def seed(engine: Engine, tmp_path: Path) -> LedgerSeeder:
    """Writes what the stages leave."""
    return LedgerSeeder(engine=engine, storage=tmp_path, now=NOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedMovie:
    """A movie whose truth is known."""

    movie: SeededMovie
    picks_xy: tuple[tuple[int, int], ...]
    defocus_ang: float


def spots(picks_xy: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
    """Return a micrograph with one sharp spot a pick, each brighter than the one before."""
    y, x = np.indices(SHAPE)
    made = np.random.default_rng(7).normal(0, 0.1, SHAPE)
    for number, (at_x, at_y) in enumerate(picks_xy, start=1):
        made += (4 + number) * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 4)
    return made.astype(np.float32)


@pytest.fixture
def publish_spots(seed: LedgerSeeder, engine: Engine) -> Callable[..., PublishedMovie]:
    """Publishes a movie whose micrograph has a spot at each pick."""

    def publish(
        name: str,
        *,
        picks_xy: tuple[tuple[int, int], ...] = ((40, 60), (200, 130)),
        defocus_ang: float = 15_000.0,
        beam_shift_xy: tuple[float, float] | None = None,
    ) -> PublishedMovie:
        movie = seed.add_movie(seed.add_sample("a" * 24), name)
        fit = replace(example_fit(defocus_ang=defocus_ang), phase_shift_deg=12.0)
        align, ctf, pick = seed.add_measurements(movie, particles=len(picks_xy), fit=fit)
        assert pick is not None
        for product in (align.micrograph, align.micrograph_dose_weighted):
            write_micrograph(Path(product), spots(picks_xy), pixel_size_ang=1.06)
        Image.new("L", (64, 64), 80).save(ctf.spectrum)
        write_coordinates(Path(pick.coordinates), picks_xy)
        source = Path(movie.sample.folder) / "raw/session" / f"{name}.tiff"
        source.parent.mkdir(exist_ok=True)
        tifffile.imwrite(source, np.zeros((2, *SHAPE), np.uint8))
        said = {} if beam_shift_xy is None else {"beam_shift_xy": list(beam_shift_xy)}
        with engine.begin() as connection:
            connection.execute(update(t.movie).where(t.movie.c.id == movie.id).values(metadata=said))
            target = movie_to_process(connection, movie.id, movie.branch_id)
        assert target is not None
        found = StageResults(align=align, ctf=ctf, pick=pick)
        result = publish_movie(engine, target, layout=movie.layout, found=found, clock=lambda: NOW)
        seed.add_result(movie, "publish", result=result)
        return PublishedMovie(movie=movie, picks_xy=picks_xy, defocus_ang=defocus_ang)

    return publish
