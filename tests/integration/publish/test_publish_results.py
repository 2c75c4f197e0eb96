"""A movie's results go out once, whole, whatever happens in between."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import starfile
import tifffile
import xxhash
from PIL import Image
from sqlalchemy import Engine, func, select

from cryodaq.app.publish_results import StageResults, publish_movie
from cryodaq.formats.mrc import write_micrograph
from cryodaq.formats.star import write_star
from cryodaq.ledger import deliveries
from cryodaq.ledger import tables as t
from cryodaq.ledger.results import MovieToProcess, movie_to_process
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie, example_fit

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
A = "a" * 24


def processed(
    seed: LedgerSeeder, name: str, *, particles: int | None = 2, fitted: bool = True
) -> tuple[SeededMovie, StageResults]:
    """Return a movie with the products and results of alignment, CTF and picking."""
    sample = seed.add_sample(A)
    movie = seed.add_movie(sample, name)
    align, ctf, pick = seed.add_measurements(movie, particles=particles, fit=example_fit(fitted=fitted))
    picture = np.random.default_rng(len(name)).normal(0, 1, (96, 128)).astype(np.float32)
    write_micrograph(Path(align.micrograph), picture, pixel_size_ang=1.06)
    write_micrograph(Path(align.micrograph_dose_weighted), picture, pixel_size_ang=1.06)
    Image.new("L", (64, 64), 80).save(ctf.spectrum)
    if pick is not None:
        write_star(Path(pick.coordinates), {"": {"rlnCoordinateX": [10.0, 60.0], "rlnCoordinateY": [20.0, 30.0]}})
    return movie, StageResults(align=align, ctf=ctf, pick=pick)


def target(engine: Engine, movie: SeededMovie) -> MovieToProcess:
    """Return the movie as the stages get it."""
    with engine.connect() as connection:
        found = movie_to_process(connection, movie.id, movie.branch_id)
    assert found is not None
    return found


def publish(engine: Engine, movie: SeededMovie, found: StageResults, *, at: datetime = NOW) -> dict[str, object]:
    """Publish a movie."""
    aim = target(engine, movie)
    Path(aim.source).parent.mkdir(exist_ok=True)
    tifffile.imwrite(aim.source, np.zeros((2, 64, 96), np.uint8))
    return publish_movie(engine, aim, layout=movie.layout, found=found, clock=lambda: at)


def star_names(movie: SeededMovie) -> list[str]:
    """Return the micrographs of the sample's STAR file."""
    table = starfile.read(movie.layout.micrographs_star, always_dict=True)["micrographs"]
    return list(table["rlnMicrographName"])


def test_a_published_movie_has_pictures_a_row_and_a_run(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1")
    record = publish(engine, movie, found)
    with Image.open(str(record["preview"])) as preview, Image.open(str(record["thumbnail"])) as thumbnail:
        assert preview.size == (1206, 1206)
        assert thumbnail.size == (128, 96)
    assert star_names(movie) == ["aligned/m1_DW.mrc"]
    with engine.connect() as connection:
        row = connection.execute(select(t.movie).where(t.movie.c.id == movie.id)).one()
        sent = deliveries.due(connection, NOW)
    assert (row.state, row.published_at, row.problem) == ("published", NOW, None)
    assert [entry.call for entry in sent] == ["add_run_params", "register_files", "end_run"]
    params, files = sent[0].payload["params"], sent[1].payload["files"]
    assert params["preview"] == f"{A}/previews/m1.jpg"
    assert params["aligned_resolution"] == 3.6
    assert params["unaligned_resolution"] == 6.2
    by_path = {entry["path"]: entry["checksum"] for entry in files}
    digest = xxhash.xxh3_128(Path(found.align.micrograph).read_bytes()).hexdigest()
    assert by_path[f"{A}/aligned/m1.mrc"] == f"xxh3_128:{digest}"
    assert set(by_path) == {
        f"{A}/{part}" for part in ("aligned/m1.mrc", "aligned/m1_DW.mrc", "previews/m1.jpg", "particles/m1.star")
    }


def test_a_published_movie_has_what_pages_draw(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1")
    record = publish(engine, movie, found)
    with Image.open(str(record["micrograph_picture"])) as picture:
        assert picture.size == (128, 96)
    motion = json.loads(Path(str(record["motion_track"])).read_text())
    expected = [[x * 1.06, y * 1.06] for x, y in found.align.motion.displacement_px_xy]
    assert np.allclose(motion["displacement_ang_xy"], expected, atol=1e-3)
    picks = json.loads(Path(str(record["pick_overlay"])).read_text())
    assert picks["coordinates_px_xy"] == [[10.0, 20.0], [60.0, 30.0]]
    assert picks["scores"] is None
    for name in ("micrograph_picture", "motion_track", "pick_overlay"):
        assert Path(str(record[name])).is_relative_to(movie.layout.previews)


def test_publishing_twice_changes_nothing_twice(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1")
    publish(engine, movie, found)
    publish(engine, movie, found, at=NOW + timedelta(hours=1))
    with engine.connect() as connection:
        row = connection.execute(select(t.movie).where(t.movie.c.id == movie.id)).one()
        events = connection.execute(
            select(func.count()).select_from(t.event).where(t.event.c.kind == "movie_published")
        ).scalar_one()
        assert deliveries.undelivered(connection) == 3
    assert row.published_at == NOW
    assert events == 1
    assert star_names(movie) == ["aligned/m1_DW.mrc"]


def test_a_better_result_is_told_to_the_elogbook_again(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1")
    publish(engine, movie, found)
    better = StageResults(align=found.align, ctf=found.ctf, pick=None)
    publish(engine, movie, better)
    with engine.connect() as connection:
        calls = [entry.call for entry in deliveries.due(connection, NOW)]
    assert sorted(calls) == ["add_run_params"] * 2 + ["end_run"] + ["register_files"] * 2


def test_concurrent_publishers_leave_every_row(seed: LedgerSeeder, engine: Engine) -> None:
    made = [processed(seed, f"m{index:02d}") for index in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: publish(engine, *pair), made))
    assert sorted(star_names(made[0][0])) == [f"aligned/m{index:02d}_DW.mrc" for index in range(8)]
    leftovers = [path for path in Path(made[0][0].layout.root).iterdir() if path.name.endswith(".part")]
    assert leftovers == []


def test_a_torn_star_file_is_whole_after_the_next_publication(seed: LedgerSeeder, engine: Engine) -> None:
    first, found = processed(seed, "m1")
    publish(engine, first, found)
    star = Path(first.layout.micrographs_star)
    star.write_text(star.read_text()[:-20])
    (star.parent / ".micrographs_ctf.star.part").write_text("torn")
    second, found = processed(seed, "m2")
    publish(engine, second, found)
    assert star_names(second) == ["aligned/m1_DW.mrc", "aligned/m2_DW.mrc"]


def test_a_micrograph_without_a_ctf_is_published_but_not_exported(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1", fitted=False, particles=None)
    assert "pick_overlay" not in publish(engine, movie, found)
    assert star_names(movie) == []
    with engine.connect() as connection:
        (params, *_) = deliveries.due(connection, NOW)
        state = connection.execute(select(t.movie.c.state).where(t.movie.c.id == movie.id)).scalar_one()
    assert params.payload["params"]["aligned_ctf_fitted"] is False
    assert state == "published"


def test_a_later_version_replaces_the_first_ones_row(seed: LedgerSeeder, engine: Engine) -> None:
    movie, found = processed(seed, "m1")
    publish(engine, movie, found)
    again = seed.add_movie(movie.sample, "m1", version=2)
    seed.add_measurements(again)
    publish(engine, again, found)
    assert len(star_names(movie)) == 1
