"""How long a publication waits for the tables of its sample: at 50,000 movies, for one more, and for one done again.

Starts its own PostgreSQL. The rows of one movie are multiplied; its tables are written anew once, then movies are
added one by one, as publications do: each in its own transaction, durably. Processor time counts this process; the wall
clock also counts disk and database, and means something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import sqlalchemy as sa
from pages import fill

from cryodaq.app.exporting.keeping import ExportedBranch, keep_exports
from cryodaq.database import open_engine
from cryodaq.launch.ledger_alone import embedded_ledger
from cryodaq.ledger import tables as t
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie

SAMPLE = "a" * 24


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return (wall, processor) time, ms."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3


def _tell(title: str, times: Sequence[tuple[float, float]]) -> None:
    walls, cpus = sorted(wall for wall, _ in times), [cpu for _, cpu in times]
    p95 = walls[min(len(walls) - 1, round(0.95 * len(walls)))]
    print(
        f"{title:34s} wall median {statistics.median(walls):7.1f} ms, p95 {p95:7.1f} ms   "
        f"CPU mean {statistics.fmean(cpus):7.1f} ms   ({len(times)} times)",
        flush=True,
    )


def _synced(folder: Path, *, times: int = 100) -> list[tuple[float, float]]:
    """Time what the disk itself takes for one durable line."""
    with (folder / "line").open("ab", buffering=0) as handle:

        def write() -> None:
            handle.write(b"x" * 500)
            os.fdatasync(handle.fileno())

        return [_timed(write) for _ in range(times)]


def _measure(url: str, storage: Path, *, movies: int, more: int) -> None:
    engine = open_engine(url)
    seed = LedgerSeeder(engine=engine, storage=storage, now=datetime.now(UTC))
    movie = seed.add_movie(seed.add_sample(SAMPLE), "FoilHole_1_Data_2_3_20261122_100000")
    seed.add_measurements(movie)
    with engine.begin() as connection:
        said = {"source": "a.xml", "acquired_at": "2026-11-22T10:00:00+01:00", "applied_defocus_ang": 12_000.0}
        connection.execute(sa.update(t.movie).values(metadata=said, beam_shift_group=""))
    seed.publish_pictures(movie, preview=b"p", thumbnail=b"t")
    fill(seed, movie, movies=movies, files=0)
    branch = ExportedBranch(
        branch_id=movie.branch_id, layout=movie.layout, sample_folder=PurePosixPath(movie.layout.root)
    )

    def keep(movie_id: int) -> None:
        with engine.begin() as connection:
            keep_exports(engine, connection, branch, movie_id=movie_id, has_motion=True)

    _tell(f"tables of {movies} movies anew", [_timed(lambda: keep(movie.id))])
    rows = sum(1 for _ in (Path(movie.layout.root) / "micrographs.csv").open()) - 1
    new = [_another(seed, movie, number).id for number in range(more)]
    keep(new[0])
    _tell("one more", [_timed(lambda number=number: keep(number)) for number in new[1:]])  # type: ignore[misc]  # binds
    _tell("the disk's own durable line", _synced(storage))
    with engine.begin() as connection:
        connection.execute(
            sa.update(t.stage_result)
            .where(t.stage_result.c.movie_id.in_(new[:3]), t.stage_result.c.stage == "pick")
            .values(result=sa.func.jsonb_set(t.stage_result.c.result, sa.text("'{count}'"), sa.text("'7'::jsonb")))
        )
    _tell("one done again", [_timed(lambda number=number: keep(number)) for number in new[:3]])  # type: ignore[misc]
    print(f"{rows} rows before, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    engine.dispose()


def _another(seed: LedgerSeeder, movie: SeededMovie, number: int) -> SeededMovie:
    made = seed.add_movie(movie.sample, f"FoilHole_9_Data_2_3_20261122_{number:06d}")
    seed.add_measurements(made)
    with seed.engine.begin() as connection:
        connection.execute(sa.update(t.movie).where(t.movie.c.id == made.id).values(beam_shift_group=""))
    return made


def main() -> None:
    """Run the benchmark."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--movies", type=int, default=50_000)
    cli.add_argument("--more", type=int, default=200, help="movies that are added one by one")
    chosen = cli.parse_args()
    with tempfile.TemporaryDirectory() as home, embedded_ledger(Path(home)) as url:
        _measure(url, Path(home) / "storage", movies=chosen.movies, more=chosen.more)


if __name__ == "__main__":
    main()
