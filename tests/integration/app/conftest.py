"""A sample on a ledger with a movie that was copied, and everything that processing it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from sqlalchemy import Engine

from cryodaq.app.prepare_sample import Preparation
from cryodaq.app.reconcile_access import AccessKeeping
from cryodaq.app.sample_dag import packaged_templates, template_for
from cryodaq.app.trigger_preprocessing import Admission
from cryodaq.database import open_engine
from cryodaq.domain.layout import SampleLayout, experiment_layout
from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.names import dag_id
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.ledger import samples, tables
from cryodaq.ledger.samples import NewSample, SampleRecord
from cryodaq.scheduler.in_process import InProcessScheduler
from cryodaq.store.access import Readers
from cryodaq.testing.fake_logbook import FakeLogbook

EXPERIMENT, SAMPLE_ID = "20261122-CS01", "6258a1f2c0ffee0123456789"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PARAMS: dict[str, Any] = {"imaging_method": "single-particle", "apix": 1.0, "fmdose": 1.5, "total_frames": "6"}
TEM1 = Microscope(
    name="tem1",
    instrument="TEM1",
    station=0,
    shares=(Share(root=PurePosixPath("/share")),),
    gain_root=PurePosixPath("/gains"),
    detector="K3",
    defaults=InstrumentDefaults(voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1),
    retention=RetentionRule(),
    queue="tem1",
)


@dataclass
class Bench:
    """The pipeline's parts around one sample, with a clock that a test moves."""

    engine: Engine
    logbook: FakeLogbook
    storage: Path
    dag_folder: Path
    microscope: Microscope = TEM1
    now: datetime = NOON
    in_flight_limit: int = 100
    runs: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler: InProcessScheduler = InProcessScheduler(
            lambda dag, run, conf: self.runs.append((dag, run, dict(conf))), dag_folder=self.dag_folder
        )

    def clock(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def admission(self) -> Admission:
        return Admission(
            engine=self.engine,
            scheduler=self.scheduler,
            microscope=self.microscope,
            has_template=lambda method: self.template_for(method) is not None,
            calibrated_pixel_size_ang=lambda _detector, _magnification: None,
            now=self.clock,
            in_flight_limit=self.in_flight_limit,
        )

    @property
    def preparation(self) -> Preparation:
        return Preparation(
            engine=self.engine,
            logbook=self.logbook,
            scheduler=self.scheduler,
            microscope=self.microscope,
            template_for=self.template_for,
            dag_folder=self.dag_folder,
            access=AccessKeeping(
                engine=self.engine,
                logbook=self.logbook,
                storage_root=self.storage,
                always=Readers(),
                now=self.clock,
            ),
            now=self.clock,
            sleep=lambda _: None,
        )

    @staticmethod
    def template_for(method: str) -> Path | None:
        return template_for(method, folders=[packaged_templates()])

    def add_sample(self, *, params: dict[str, Any] = PARAMS, preprocess: bool = True, name: str = "grid1") -> None:
        layout = experiment_layout(PurePosixPath(self.storage), EXPERIMENT, instrument="TEM1")
        new = NewSample(
            id=SAMPLE_ID,
            experiment=EXPERIMENT,
            instrument="TEM1",
            microscope="tem1",
            name=name,
            experiment_folder=str(layout.root),
            folder=str(layout.sample(SAMPLE_ID).root),
            params=params,
            imaging_method=str(params.get("imaging_method", "single-particle")),
            preprocess=preprocess,
            dag_id=dag_id(EXPERIMENT, SAMPLE_ID),
        )
        with self.engine.begin() as connection:
            samples.register_sample(connection, new, at=self.now)

    @property
    def sample(self) -> SampleRecord:
        with self.engine.begin() as connection:
            found = samples.find_sample(connection, SAMPLE_ID)
        assert found is not None
        return found

    def add_movie(self, name: str = "FoilHole_1_Data_2_3_20261122_120000", *, copy_of: Path | None = None) -> int:
        """Record a copied movie of the sample; return its id."""
        target = Path(SampleLayout(root=PurePosixPath(self.sample.folder)).raw) / f"{name}_fractions.tiff"
        if copy_of is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(copy_of.read_bytes())
        common = {"microscope": "tem1", "share": "/share"}
        with self.engine.begin() as connection:
            exposure = connection.execute(
                tables.exposure.insert()
                .values(
                    **common,
                    key=name,
                    acquisition_folder=".",
                    sample_id=SAMPLE_ID,
                    decision="current",
                    seen_from=self.now,
                    seen_until=self.now,
                    decided_at=self.now,
                )
                .returning(tables.exposure.c.id)
            ).scalar_one()
            file = self._add_file(connection, exposure, role="movie", path=target.name, target=target)
            return int(
                connection.execute(
                    tables.movie.insert()
                    .values(
                        sample_id=SAMPLE_ID,
                        path=target.name,
                        version=1,
                        experiment=EXPERIMENT,
                        run_name=name,
                        file_id=file,
                        exposure_id=exposure,
                        state="registered",
                        registered_at=self.now,
                    )
                    .returning(tables.movie.c.id)
                ).scalar_one()
            )

    def retarget(self, movie_id: int, target: Path) -> None:
        """Let a movie's copy be a file that is there."""
        link = Path(SampleLayout(root=PurePosixPath(self.sample.folder)).raw) / target.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        with self.engine.begin() as connection:
            file_id = connection.execute(tables.movie.select().where(tables.movie.c.id == movie_id)).one().file_id
            connection.execute(tables.file.update().where(tables.file.c.id == file_id).values(target=str(link)))

    def taken_later(self, movie_id: int, *, hours: float) -> None:
        """Let a movie be newer by the microscope's clock."""
        with self.engine.begin() as connection:
            file_id = connection.execute(tables.movie.select().where(tables.movie.c.id == movie_id)).one().file_id
            mtime_ns = int((NOON + timedelta(hours=hours)).timestamp() * 1e9)
            connection.execute(tables.file.update().where(tables.file.c.id == file_id).values(mtime_ns=mtime_ns))

    def add_file(self, movie_id: int, *, role: str, target: Path) -> None:
        """Record another copied file of a movie's exposure."""
        with self.engine.begin() as connection:
            exposure = connection.execute(tables.movie.select().where(tables.movie.c.id == movie_id)).one().exposure_id
            self._add_file(connection, exposure, role=role, path=target.name, target=target)

    def _add_file(self, connection: Any, exposure: int, *, role: str, path: str, target: Path) -> int:
        values = {"microscope": "tem1", "share": "/share", "path": path, "version": 1, "role": role}
        values |= {"exposure_id": exposure, "state": "copied", "size_bytes": 100, "target": str(target)}
        values |= {"mtime_ns": int(NOON.timestamp() * 1e9), "xxh3_128": "0" * 32, "seen_at": self.now}
        values |= {"changed_at": self.now, "copied_at": self.now}
        statement = tables.file.insert().values(**values).returning(tables.file.c.id)
        return int(connection.execute(statement).scalar_one())

    def add_gain(self, name: str, *, hours_before_movie: float) -> int:
        """Record a gain reference that lies on the gain root."""
        mtime_ns = int((NOON - timedelta(hours=hours_before_movie)).timestamp() * 1e9)
        values = {"microscope": "tem1", "root": "/gains", "path": name, "size_bytes": 1, "mtime_ns": mtime_ns}
        with self.engine.begin() as connection:
            statement = tables.gain_reference.insert().values(**values, seen_at=self.now, settled_at=self.now)
            return int(connection.execute(statement.returning(tables.gain_reference.c.id)).scalar_one())

    def copy_wanted_gains(self) -> list[str]:
        """Do what the transfer does with the gains that movies want; return their targets."""
        with self.engine.begin() as connection:
            statement = tables.gain_copy.update().values(copied_at=self.now)
            return list(connection.execute(statement.returning(tables.gain_copy.c.target)).scalars())

    def movie(self, movie_id: int) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(tables.movie.select().where(tables.movie.c.id == movie_id)).one()

    def without_gain(self) -> None:
        """Make the camera one that needs no gain reference."""
        self.microscope = replace(self.microscope, needs_gain=False)

    def alarms(self) -> list[str]:
        from cryodaq.ledger.events import open_alarms

        with self.engine.begin() as connection:
            return [alarm.text for alarm in open_alarms(connection)]


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Iterator[Bench]:
    engine = open_engine(database_url)
    logbook = FakeLogbook()
    logbook.add_instrument("TEM1")
    logbook.add_experiment(EXPERIMENT, instrument="TEM1")
    yield Bench(engine=engine, logbook=logbook, storage=tmp_path / "storage", dag_folder=tmp_path / "dags")
    engine.dispose()
