"""Fills a ledger with what the stages would have left, for tests of pages, queries and publication."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from xxhash import xxh3_128

from cryodaq.domain.layout import BranchLayout, SampleLayout, quarantine_root
from cryodaq.domain.parameters import ImagingParameters, InstrumentDefaults, Source, Sourced, to_mapping
from cryodaq.domain.results import AlignmentResult, CtfFit, CtfResult, FitCurve, MotionStatistics, PickResult
from cryodaq.formats.fit_curves import write_fit_curves
from cryodaq.ledger import tables as t
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.measurements import note_measurement
from cryodaq.ledger.samples import NewSample, live_branch, register_sample, save_branch
from cryodaq.publish.viewer import write_json

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def example_parameters(*, pixel_size_ang: float = 1.06) -> ImagingParameters:
    """Return the parameters of an ordinary 300 kV session."""

    def said(value: float) -> Sourced:
        return Sourced(value=value, source=Source.OPERATOR)

    return ImagingParameters(
        pixel_size_ang=said(pixel_size_ang),
        voltage_kv=said(300.0),
        cs_mm=said(2.7),
        amplitude_contrast=said(0.1),
        dose_per_frame_e_ang2=said(1.25),
        particle_diameter_ang=said(160.0),
        frame_count=said(40),
    )


def example_fit(*, defocus_ang: float = 15_000.0, resolution_ang: float = 3.6, fitted: bool = True) -> CtfFit:
    """Return a fit with 200 Å of astigmatism."""
    return CtfFit(
        fitted=fitted,
        defocus_u_ang=defocus_ang + 100,
        defocus_v_ang=defocus_ang - 100,
        defocus_angle_deg=37.5,
        phase_shift_deg=0.0,
        score=0.31,
        fit_resolution_ang=resolution_ang,
    )


_UNKNOWN = InstrumentDefaults(voltage_kv=None, cs_mm=None, amplitude_contrast=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededMovie:
    """A movie in the ledger."""

    id: int
    branch_id: int
    run_name: str
    sample: NewSample
    layout: BranchLayout


@dataclass(slots=True)
class LedgerSeeder:
    """Writes rows with times that count on from `now`."""

    engine: Engine
    storage: Path
    now: datetime
    _count: int = field(default=0)

    def add_sample(
        self,
        sample_id: str,
        *,
        experiment: str = "20261122-CS01",
        name: str = "apoferritin",
        microscope: str = "tem1",
        params: Mapping[str, object] | None = None,
    ) -> NewSample:
        """Register a sample with its folders and its live branch."""
        folder = self.storage / "202611" / f"{experiment}_{microscope.upper()}"
        sample = NewSample(
            id=sample_id,
            experiment=experiment,
            instrument=microscope.upper(),
            microscope=microscope,
            name=name,
            experiment_folder=str(folder),
            folder=str(folder / sample_id),
            params=params or {"apix": "1.06", "kev": "300"},
            imaging_method="single-particle",
            preprocess=True,
            dag_id=f"{experiment}_{sample_id}",
        )
        for path in SampleLayout(root=PurePosixPath(sample.folder)).folders:
            Path(path).mkdir(parents=True, exist_ok=True)
        with self.engine.begin() as connection:
            register_sample(connection, sample, at=self.now)
            save_branch(
                connection,
                sample_id,
                name="live",
                settings={"operator": dict(sample.params), "instrument": asdict(_UNKNOWN), "detector": ""},
                template_hash="0",
                software_version="0",
                at=self.now,
            )
        return sample

    def layout_of(self, sample_id: str) -> BranchLayout:
        """Return where the live branch of a sample that was added has its products."""
        (folder,) = self.storage.glob(f"*/*/{sample_id}")
        return SampleLayout(root=PurePosixPath(folder)).branch("live")

    def poll(self, microscope: str, *, sample: NewSample | None = None, assignment: str | None = None) -> None:
        """Write what the elogbook said is current; a sample, or nothing of the kind `assignment`."""
        with self.engine.begin() as connection:
            connection.execute(
                t.current_state.insert().values(
                    microscope=microscope,
                    assignment=assignment or ("sample" if sample else "standby"),
                    experiment=sample.experiment if sample else None,
                    sample_id=sample.id if sample else None,
                    sample_name=sample.name if sample else None,
                    switched_at=self.now - timedelta(hours=2),
                    first_asked_at=self.now - timedelta(hours=2),
                    last_asked_at=self.now,
                )
            )

    def add_file(
        self,
        sample: NewSample,
        run_name: str,
        *,
        state: str = "verified",
        role: str = "movie",
        version: int = 1,
        problem: str | None = None,
    ) -> int:
        """Write a file as the transfer leaves it and return its id; `version` 2 belongs to version 1's exposure."""
        self._count += 1
        name = f"{run_name}.tiff" if role == "movie" else f"{run_name}.{role}"
        copied = self.now if state in {"copied", "verified", "removed"} else None
        with self.engine.begin() as connection:
            exposure_id = self._exposure(connection, sample, run_name)
            return int(
                connection.execute(
                    t.file.insert()
                    .values(
                        microscope=sample.microscope,
                        share="/share",
                        path=f"session/{name}",
                        version=version,
                        role=role,
                        exposure_id=exposure_id,
                        state=state,
                        size_bytes=412_334_112,
                        mtime_ns=self._count,
                        xxh3_128=f"{self._count:032x}",
                        target=f"{sample.folder}/raw/session/{name}",
                        problem=problem,
                        seen_at=self.now - timedelta(minutes=5) + timedelta(seconds=self._count),
                        changed_at=self.now,
                        copied_at=copied,
                        verified_at=self.now if state in {"verified", "removed"} else None,
                    )
                    .returning(t.file.c.id)
                ).scalar_one()
            )

    def quarantine(self, path: str, *, microscope: str = "tem1", content: bytes = b"a movie") -> Path:
        """Copy a movie of which nobody knows whose it is into quarantine; return where it lies."""
        root, name = quarantine_root(PurePosixPath(self.storage), microscope), PurePosixPath(path)
        target = Path(SampleLayout(root=root).raw_file(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        with self.engine.begin() as connection:
            exposure_id = connection.execute(
                t.exposure.insert()
                .values(
                    microscope=microscope,
                    share="/share",
                    key=str(name.with_suffix("")),
                    acquisition_folder=name.parts[0],
                    decision="quarantine",
                    seen_from=self.now,
                    seen_until=self.now,
                )
                .returning(t.exposure.c.id)
            ).scalar_one()
            connection.execute(
                t.file.insert().values(
                    microscope=microscope,
                    share="/share",
                    path=path,
                    version=1,
                    role="movie",
                    exposure_id=exposure_id,
                    state="verified",
                    size_bytes=len(content),
                    mtime_ns=1,
                    xxh3_128=xxh3_128(content).hexdigest(),
                    target=str(target),
                    seen_at=self.now,
                    changed_at=self.now,
                    copied_at=self.now,
                    verified_at=self.now,
                )
            )
        return target

    def add_movie(
        self,
        sample: NewSample,
        run_name: str,
        *,
        state: str = "processing",
        problem: str | None = None,
        version: int = 1,
        file_state: str = "verified",
    ) -> SeededMovie:
        """Write a copied movie that was handed to the scheduler."""
        file_id = self.add_file(sample, run_name, state=file_state, version=version)
        with self.engine.begin() as connection:
            branch = live_branch(connection, sample.id)
            assert branch is not None  # noqa: S101  # `add_sample` made it
            movie_id = connection.execute(
                t.movie.insert()
                .values(
                    sample_id=sample.id,
                    path=f"session/{run_name}.tiff",
                    version=version,
                    experiment=sample.experiment,
                    run_name=run_name,
                    file_id=file_id,
                    exposure_id=self._exposure(connection, sample, run_name),
                    state=state,
                    problem=problem,
                    registered_at=self.now,
                )
                .returning(t.movie.c.id)
            ).scalar_one()
            connection.execute(
                t.trigger.insert().values(
                    movie_id=movie_id,
                    branch_id=branch.id,
                    dag_id=sample.dag_id,
                    run_id=run_name if version == 1 else f"{run_name}~v{version}",
                    conf={},
                    parameters=to_mapping(example_parameters()),
                    created_at=self.now,
                    sent_at=self.now,
                    next_attempt_at=self.now,
                )
            )
        layout = SampleLayout(root=PurePosixPath(sample.folder)).branch("live")
        return SeededMovie(id=int(movie_id), branch_id=branch.id, run_name=run_name, sample=sample, layout=layout)

    def add_result(
        self,
        movie: SeededMovie,
        stage: str,
        *,
        result: dict[str, object] | None,
        problem: str | None = None,
        attempt: int = 1,
    ) -> None:
        """Write one attempt; without result and problem it still runs."""
        state = "failed" if problem else ("running" if result is None else "succeeded")
        with self.engine.begin() as connection:
            connection.execute(
                t.stage_result.insert().values(
                    movie_id=movie.id,
                    branch_id=movie.branch_id,
                    stage=stage,
                    attempt=attempt,
                    state=state,
                    started_at=self.now,
                    ended_at=None if state == "running" else self.now + timedelta(seconds=3),
                    result=result,
                    problem=problem,
                )
            )
            if result is not None and problem is None:
                note_measurement(connection, movie.id, movie.branch_id, stage=stage, result=result)
            record_event(connection, f"stage_{state}", at=self.now, subject=_subject(movie), facts={"stage": stage})

    def add_measurements(
        self, movie: SeededMovie, *, fit: CtfFit | None = None, drift_px: float = 0.5, particles: int | None = 212
    ) -> tuple[AlignmentResult, CtfResult, PickResult | None]:
        """Write the results of alignment, CTF and picking as the stages do."""
        align = example_alignment(movie, drift_px=drift_px)
        layout, run = movie.layout, movie.run_name
        ctf = CtfResult(
            aligned=fit or example_fit(),
            unaligned=example_fit(resolution_ang=6.2),
            spectrum=str(layout.spectrum(run)),
            spectrum_unaligned=str(layout.spectrum_unaligned(run)),
            curves=str(layout.fit_curves(run)),
            seconds=1.2,
            engine="native",
        )
        pick = None
        if particles is not None:
            pick = PickResult(
                coordinates=str(layout.coordinates(run)),
                count=particles,
                masked_fraction=0.02,
                diameter_ang=160.0,
                seconds=0.8,
                engine="native",
            )
        self.add_result(movie, "align", result=asdict(align))
        self.add_result(movie, "ctf", result=asdict(ctf))
        self.add_result(movie, "pick", result={"skipped": "off"} if pick is None else asdict(pick))
        return align, ctf, pick

    def publish_pictures(self, movie: SeededMovie, *, preview: bytes, thumbnail: bytes) -> None:
        """Write pictures and the publication's result, and mark the movie published."""
        layout, run = movie.layout, movie.run_name
        Path(layout.preview(run)).write_bytes(preview)
        Path(layout.thumbnail(run)).write_bytes(thumbnail)
        named = {
            "preview": layout.preview(run),
            "thumbnail": layout.thumbnail(run),
            "micrograph_picture": layout.micrograph_picture(run),
            "motion_track": layout.motion_track(run),
            "pick_overlay": layout.pick_overlay(run),
        }
        paths: dict[str, object] = {name: str(path) for name, path in named.items()}
        with self.engine.begin() as connection:
            connection.execute(
                t.movie.update().where(t.movie.c.id == movie.id).values(state="published", published_at=self.now)
            )
            record_event(connection, "movie_published", at=self.now, subject=_subject(movie))
        self.add_result(movie, "publish", result=paths)

    def write_products(self, movie: SeededMovie, *, picture: bytes, spectrum: bytes) -> None:
        """Write what pages draw: a large micrograph (JPEG), spectra (PNG), curves, and three particles."""
        layout, run = movie.layout, movie.run_name
        Path(layout.micrograph_picture(run)).write_bytes(picture)
        Path(layout.spectrum(run)).write_bytes(spectrum)
        Path(layout.spectrum_unaligned(run)).write_bytes(spectrum)
        frequency = tuple(0.02 + 0.001 * k for k in range(300))
        wave = tuple(0.5 + 0.5 * math.sin(2500 * s * s) for s in frequency)
        curve = FitCurve(
            frequency_per_ang=frequency,
            experimental=tuple(value * math.exp(-4 * s) for s, value in zip(frequency, wave, strict=True)),
            fitted=wave,
            correlation=tuple(1 - 3 * s * s for s in frequency),
        )
        write_fit_curves(
            Path(layout.fit_curves(run)), aligned=(example_fit(), curve), unaligned=(example_fit(fitted=False), None)
        )
        overlay = {
            "pixel_size_ang": 1.06,
            "shape_yx": [512, 512],
            "diameter_ang": 60.0,
            "masked_fraction": 0.02,
            "coordinates_px_xy": [[100.0, 100.0], [256.0, 300.0], [400.0, 120.0]],
            "scores": None,
        }
        write_json(Path(layout.pick_overlay(run)), overlay)

    def _exposure(self, connection: Connection, sample: NewSample, run_name: str) -> int:
        from sqlalchemy import select

        found = connection.execute(
            select(t.exposure.c.id).where(
                t.exposure.c.microscope == sample.microscope, t.exposure.c.key == f"session/{run_name}"
            )
        ).scalar_one_or_none()
        if found is not None:
            return int(found)
        return int(
            connection.execute(
                t.exposure.insert()
                .values(
                    microscope=sample.microscope,
                    share="/share",
                    key=f"session/{run_name}",
                    acquisition_folder="session",
                    sample_id=sample.id,
                    decision="current",
                    seen_from=self.now,
                    seen_until=self.now,
                )
                .returning(t.exposure.c.id)
            ).scalar_one()
        )


def example_alignment(movie: SeededMovie, *, drift_px: float = 0.5) -> AlignmentResult:
    """Return an alignment with a straight drift of 40 frames whose steps are `drift_px` long."""
    layout, run = movie.layout, movie.run_name
    total = 39 * drift_px * 1.06
    return AlignmentResult(
        micrograph=str(layout.micrograph(run)),
        micrograph_dose_weighted=str(layout.micrograph_dose_weighted(run)),
        unaligned_sum=str(layout.unaligned_sum(run)),
        pixel_size_ang=1.06,
        frame_count=40,
        shape_yx=(512, 512),
        motion=MotionStatistics(
            displacement_px_xy=tuple((drift_px * k, 0.0) for k in range(40)),
            total_ang=total,
            early_ang=total * 3 / 39,
            late_ang=total * 36 / 39,
        ),
        hot_pixels=12,
        mean_counts_per_px_frame=0.83,
        relative_ice_thickness=0.3,
        gain_applied=True,
        seconds=4.5,
        engine="native",
    )


def _subject(movie: SeededMovie) -> Subject:
    return Subject(
        microscope=movie.sample.microscope,
        experiment=movie.sample.experiment,
        sample_id=movie.sample.id,
        movie_id=movie.id,
    )
