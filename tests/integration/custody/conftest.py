"""A ledger with samples whose copies and products really lie on a storage, and a worker that runs in this thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from cryodaq.database import open_engine
from cryodaq.errors import CryodaqError
from cryodaq.ledger import deliveries
from cryodaq.ledger import tables as t
from cryodaq.ledger.results import STAGES
from cryodaq.ledger.samples import NewSample
from cryodaq.testing.fake_logbook import FakeLogbook
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie
from cryodaq.transfer.copy import hash_of
from cryodaq.transfer.worker import Reply, Worker
from cryodaq.transfer.workers import ShareWorker

GRID1, GRID2, OTHER = "6258a1f2c0ffee0123456701", "6258a1f2c0ffee0123456702", "6258a1f2c0ffee0123456703"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Crash(BaseException):
    """The process ends here."""


class InThreadWorker(ShareWorker):
    """The worker's own code behind the same messages, run at once."""

    def __init__(self, root: PurePosixPath, *, sentinel: str | None = None, **_: object) -> None:
        super().__init__(root, sentinel=sentinel)
        self._worker = Worker(root=Path(root), sentinel=sentinel, excludes=[])

    def start(self) -> None:
        pass

    def request(self, what: str, **arguments: object) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        plain = json.loads(json.dumps(arguments))
        try:
            future.set_result(getattr(self._worker, what)(Reply(0, lambda _: None), **plain) | {"parts": []})
        except CryodaqError as error:
            future.set_exception(error)
        return future

    def close(self, *, wait_s: float = 2.0) -> bool:
        return wait_s > 0


@dataclass
class Points:
    """Numbered places at which the process can end: before and after each commit and each piece of I/O."""

    ends_at: int | None = None
    passed: int = 0

    def pass_one(self) -> None:
        self.passed += 1
        if self.passed == self.ends_at:
            raise Crash

    def open_worker(self, root: PurePosixPath, **about: object) -> ShareWorker:
        points = self

        class Ending(InThreadWorker):
            def request(self, what: str, **arguments: object) -> Future[dict[str, Any]]:
                if what == "move":
                    return self._one_by_one(arguments["moves"])  # type: ignore[arg-type]  # JSON
                points.pass_one()
                answer = super().request(what, **arguments)
                points.pass_one()
                return answer

            def _one_by_one(self, moves: list[object]) -> Future[dict[str, Any]]:
                together: Future[dict[str, Any]] = Future()
                moved = []
                for number, move in enumerate(moves):
                    if number % 8 == 0:  # one move is like the next
                        points.pass_one()
                    moved += super().request("move", moves=[move]).result()["moved"]
                points.pass_one()
                together.set_result({"moved": moved, "parts": []})
                return together

        return Ending(root, **about)  # type: ignore[arg-type]  # passed on


@dataclass
class Custody:
    """What a test plays with."""

    engine: Engine
    storage: Path
    logbook: FakeLogbook
    seeder: LedgerSeeder
    now: datetime = NOON
    samples: dict[str, NewSample] = field(default_factory=dict)

    def clock(self) -> datetime:
        return self.now

    def add_sample(self, sample_id: str, name: str, *, experiment: str = "20261122-CS01") -> NewSample:
        made = self.seeder.add_sample(sample_id, name=name, experiment=experiment)
        self.samples[sample_id] = made
        return made

    def add_published(self, sample: NewSample, run: str) -> SeededMovie:
        """A movie with everything: copy, products, results, and a run in the elogbook."""
        movie = self.seeder.add_movie(sample, run)
        self.seeder.add_measurements(movie)
        for place in movie.layout.products(run, stages=STAGES):
            if place == movie.layout.motion(run):
                continue  # RELION reads a TIFF's rows in another order: it has none
            Path(place).write_text(f"{Path(place).name} of {run}")
        root = Path(sample.experiment_folder)
        micrograph = Path(movie.layout.micrograph(run))
        said = {
            "preview": str(movie.layout.preview(run)),
            "thumbnail": str(movie.layout.thumbnail(run)),
            "micrographs_star": str(movie.layout.micrographs_star),
            "files": [
                {
                    "path": str(micrograph.relative_to(root)),
                    "size_bytes": 1,
                    "checksum": "xxh3_128:00",
                    "created_at": NOON.isoformat(),
                    "modified_at": NOON.isoformat(),
                }
            ],
        }
        self.seeder.add_result(movie, "publish", result=said)
        with self.engine.begin() as connection:
            values = {"state": "published", "published_at": NOON, "triggered_at": NOON}
            connection.execute(t.movie.update().where(t.movie.c.id == movie.id).values(**values))
        self.write_copies(sample)
        self._tell(movie)
        return movie

    def _tell(self, movie: SeededMovie) -> None:
        """Have the elogbook told of the run as announcing does."""
        experiment, run = movie.sample.experiment, movie.run_name
        with self.engine.begin() as connection:
            payload = {"sample_name": movie.sample.name, "begun_at": NOON.isoformat()}
            key = f"movie-{movie.id}:start_run"
            deliveries.enqueue(
                connection, experiment, run_name=run, call="start_run", payload=payload, key=key, at=NOON
            )
            connection.execute(t.delivery.update().where(t.delivery.c.key == key).values(delivered_at=NOON))
        self.logbook.start_run(experiment, run, sample_name=movie.sample.name, begun_at=NOON)

    def write_copies(self, sample: NewSample) -> None:
        """Make the files that the ledger's rows of a sample speak of, with their hashes."""
        query = (
            select(t.file.c.id, t.file.c.target, t.file.c.path)
            .join(t.exposure, t.file.c.exposure_id == t.exposure.c.id)
            .where(t.exposure.c.sample_id == sample.id)
        )
        with self.engine.begin() as connection:
            for row in connection.execute(query).all():
                target = Path(row.target)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(f"frames of {row.path}")
                facts = {"xxh3_128": hash_of(target), "size_bytes": target.stat().st_size}
                connection.execute(t.file.update().where(t.file.c.id == row.id).values(**facts))

    def files_below(self, sample: NewSample) -> dict[str, str]:
        """Return the content of each file in a sample's folders, by its path; tables and manifest lie beside them."""
        root = Path(sample.folder)
        return {
            str(path.relative_to(root)): path.read_text()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.parent != root
        }

    def rows(self, table: str) -> list[Mapping[str, Any]]:
        found = t.metadata.tables[f"ledger.{table}"]
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(select(found).order_by(found.c.id))]

    def ending(self, points: Points) -> Callable[[], None]:
        """Let the process end at numbered commits; returns how to stop that."""

        def on_commit(_connection: object) -> None:
            points.pass_one()

        event.listen(self.engine, "commit", on_commit)
        return lambda: event.remove(self.engine, "commit", on_commit)

    def deliver(self) -> None:
        from cryodaq.app.deliver_results import deliver_due

        self.now += timedelta(seconds=1)
        deliver_due(self.engine, self.logbook, clock=self.clock)


@pytest.fixture
def custody(database_url: str, tmp_path: Path) -> Iterator[Custody]:
    engine = open_engine(database_url)
    logbook = FakeLogbook()
    logbook.add_instrument("TEM1")
    for experiment in ("20261122-CS01", "20261122-CS02"):
        logbook.add_experiment(experiment, instrument="TEM1")
        for name in ("grid1", "grid2", "other"):
            logbook.add_sample(experiment, name, params={})
    storage = tmp_path / "storage"
    seeder = LedgerSeeder(engine=engine, storage=storage, now=NOON)
    yield Custody(engine=engine, storage=storage, logbook=logbook, seeder=seeder)
    engine.dispose()
