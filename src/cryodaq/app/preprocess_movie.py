"""Run one stage of one movie: each attempt in a folder of its own, its products renamed into place.

Airflow only says which stage of which movie is due; everything else comes from the ledger.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.compare_clocks import tell_clock_of_node
from cryodaq.app.publish_results import StageResults, publish_movie
from cryodaq.app.remember_gain import remember_gain_orientation, tell_wrong_gain, usual_gain_orientation
from cryodaq.app.watch_gain import remove_outdated_sums
from cryodaq.domain.failures import Cause
from cryodaq.domain.layout import BranchLayout, SampleLayout
from cryodaq.domain.parameters import ImagingParameters, from_mapping
from cryodaq.domain.results import AlignmentResult, CtfFit, CtfResult, MotionStatistics, PickResult
from cryodaq.errors import CryodaqError, LedgerError, WrongGainError
from cryodaq.ledger import results
from cryodaq.ledger.results import MovieToProcess
from cryodaq.ports import CtfEstimation, MotionCorrection, ParticlePicking

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)
FILE_MODE = 0o640


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The programs of the stages."""

    motion_correction: MotionCorrection
    ctf_estimation: CtfEstimation
    particle_picking: ParticlePicking


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInput:
    """What a stage works on."""

    movie: MovieToProcess
    parameters: ImagingParameters
    layout: BranchLayout
    earlier: Mapping[str, Mapping[str, object]]
    """Results of the stages before, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """What processing needs."""

    engine: Engine
    engines: Engines
    now: Callable[[], datetime]
    keep_unaligned_sum: bool = False
    """Whether the unaligned sum stays after the movie was published."""


def run_stage(processing: Processing, stage: str, *, movie_id: int, branch_id: int) -> dict[str, object]:
    """Run one stage and record its result.

    Raises
    ------
    LedgerError
        The movie was never handed over in that branch, or an earlier stage has no result.
    CryodaqError
        What the stage raised; it stands in the ledger beside the movie.
    """
    given = _gather(processing, movie_id, branch_id)
    log_file = given.layout.log(given.movie.product_name, stage)
    with processing.engine.begin() as connection:
        tell_clock_of_node(connection, at=processing.now())
        attempt = results.begin_attempt(connection, given.movie, stage, log=str(log_file), at=processing.now())
    folder = Path(given.layout.attempt(given.movie.product_name, stage, attempt.number))
    try:
        with _logging_to(Path(log_file)), _attempt_folder(folder, log_file=Path(log_file)):
            result = _STAGES[stage](processing, given, folder)
    except BaseException as error:  # whatever ends the attempt is recorded beside the movie, then goes on
        problem = str(error) if isinstance(error, CryodaqError) else f"{type(error).__name__}: {error}"
        with processing.engine.begin() as connection:
            results.fail(
                connection, given.movie, attempt, stage=stage, problem=problem, cause=_cause(error), at=processing.now()
            )
        raise
    try:
        with processing.engine.begin() as connection:
            results.succeed(connection, given.movie, attempt, stage=stage, result=result, at=processing.now())
    except LedgerError:
        _take_back(result, below=Path(given.layout.root))
        raise
    return dict(result)


def _cause(error: BaseException) -> Cause:
    """Say what may be hoped of trying again: a full or absent storage passes, a process that was ended was lost."""
    if isinstance(error, CryodaqError):
        return Cause.PASSING if error.retryable else Cause.LASTING
    if isinstance(error, OSError):
        return Cause.PASSING
    return Cause.UNFORESEEN if isinstance(error, Exception) else Cause.LOST


def _take_back(result: Mapping[str, object], *, below: Path) -> None:
    """Remove what was placed for a sample to which the movie does not belong any more."""
    shared = Path(str(result.get("micrographs_star")))
    for value in result.values():
        path = Path(value) if isinstance(value, str) and value.startswith("/") else None
        if path is not None and path.is_relative_to(below) and path != shared:
            path.unlink(missing_ok=True)


def _gather(processing: Processing, movie_id: int, branch_id: int) -> StageInput:
    with processing.engine.begin() as connection:
        movie = results.movie_to_process(connection, movie_id, branch_id)
        if movie is None:
            message = f"movie {movie_id} was never handed over in branch {branch_id}; start it from the sample's page"
            raise LedgerError(message)
        earlier = results.latest_results(connection, movie_id, branch_id)
    sample = SampleLayout(root=PurePosixPath(movie.sample_folder))
    return StageInput(
        movie=movie,
        parameters=from_mapping(movie.parameters),
        layout=sample.branch(movie.branch_name),
        earlier=earlier,
    )


@contextmanager
def _attempt_folder(folder: Path, *, log_file: Path) -> Iterator[None]:
    """Make the attempt's folder and remove it afterwards; what programs said goes to the end of the stage's log."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        with log_file.open("ab") as together:
            for said in sorted(folder.glob("*.log")):
                together.write(f"--- {said.name}\n".encode())
                together.write(said.read_bytes())
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("cryodaq")
    logger.addHandler(handler)
    try:
        yield
    except BaseException as error:  # whatever ends the attempt stands in its log, then goes on
        log.log(logging.ERROR, "failed: %s", error, exc_info=not isinstance(error, CryodaqError))
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()


def _place(made: str | Path, target: PurePosixPath) -> str:
    """Rename a product of this attempt into place; a product of an earlier attempt is replaced by its equal."""
    final = Path(target)
    final.parent.mkdir(parents=True, exist_ok=True)
    Path(made).chmod(FILE_MODE)  # whatever a program chose: with access lists this is what readers get at most
    Path(made).replace(final)
    return str(final)


def _align(processing: Processing, given: StageInput, folder: Path) -> dict[str, object]:
    run = given.movie.product_name
    usual = usual_gain_orientation(processing.engine, given.movie)
    try:
        made = processing.engines.motion_correction.align(
            Path(given.movie.source),
            gain=Path(given.movie.gain) if given.movie.gain else None,
            parameters=replace(given.parameters, usual_gain_orientation=usual),
            folder=folder,
        )
    except WrongGainError as error:
        tell_wrong_gain(processing.engine, given.movie, error, layout=given.layout, at=processing.now())
        raise
    placed = replace(
        made,
        micrograph=_place(made.micrograph, given.layout.micrograph(run)),
        micrograph_dose_weighted=_place(made.micrograph_dose_weighted, given.layout.micrograph_dose_weighted(run)),
        unaligned_sum=_place(made.unaligned_sum, given.layout.unaligned_sum(run)),
        patch_tracks=None if made.patch_tracks is None else _place(made.patch_tracks, given.layout.patch_tracks(run)),
        even_odd=(
            None
            if made.even_odd is None
            else (
                _place(made.even_odd[0], given.layout.even_half(run)),
                _place(made.even_odd[1], given.layout.odd_half(run)),
            )
        ),
        power_spectrum=(
            None if made.power_spectrum is None else _place(made.power_spectrum, given.layout.power_spectrum(run))
        ),
    )
    remember_gain_orientation(processing.engine, given.movie, placed, at=processing.now())
    log.info(
        "aligned %d frames, moved %.1f Å in all, %.1f s", placed.frame_count, placed.motion.total_ang, placed.seconds
    )
    return asdict(placed)


def _ctf(processing: Processing, given: StageInput, folder: Path) -> dict[str, object]:
    run, aligned = given.movie.product_name, alignment_of(given.earlier)
    unaligned_sum = Path(aligned.unaligned_sum)
    fitted = processing.engines.ctf_estimation.fit(
        Path(aligned.micrograph),
        # Gone once the movie was published, unless the site keeps it.
        unaligned_sum=unaligned_sum if unaligned_sum.is_file() else None,
        parameters=given.parameters.at_pixels_of(aligned.pixel_size_ang),
        folder=folder,
    )
    unaligned = fitted.spectrum_unaligned
    placed = replace(
        fitted,
        spectrum=_place(fitted.spectrum, given.layout.spectrum(run)),
        spectrum_unaligned=None if unaligned is None else _place(unaligned, given.layout.spectrum_unaligned(run)),
        curves=None if fitted.curves is None else _place(fitted.curves, given.layout.fit_curves(run)),
    )
    log.info("defocus %.0f Å, fit to %.1f Å", fitted.aligned.defocus_mean_ang, fitted.aligned.fit_resolution_ang)
    return asdict(placed)


def _pick(processing: Processing, given: StageInput, folder: Path) -> dict[str, object]:
    if not given.parameters.picking_enabled:
        return {"skipped": "preprocess/particle_pick/enable is off"}
    aligned = alignment_of(given.earlier)
    try:
        made = processing.engines.particle_picking.pick(
            Path(aligned.micrograph_dose_weighted),
            parameters=given.parameters.at_pixels_of(aligned.pixel_size_ang),
            folder=folder,
        )
    except CryodaqError as error:
        if error.retryable:
            raise
        # The micrograph and its CTF are good without: the movie is published, and says what it lacks.
        log.warning("no particles: %s", error)
        return {"skipped": str(error), "problem": f"It has no particles: {error}"}
    run = given.movie.product_name
    placed = replace(
        made,
        coordinates=_place(made.coordinates, given.layout.coordinates(run)),
        mask=None if made.mask is None else _place(made.mask, given.layout.pick_mask(run)),
    )
    log.info("picked %d particles", placed.count)
    return asdict(placed)


def _publish(processing: Processing, given: StageInput, _folder: Path) -> dict[str, object]:
    found = StageResults(
        align=alignment_of(given.earlier),
        ctf=ctf_of(given.earlier),
        pick=picks_of(given.earlier),
        problem=_told(given.earlier["pick"].get("problem")),
    )
    published = publish_movie(processing.engine, given.movie, layout=given.layout, found=found, clock=processing.now)
    if not processing.keep_unaligned_sum:
        remove_outdated_sums(processing.engine, given.movie, Path(found.align.unaligned_sum))
    return published


def _told(problem: object) -> str | None:
    return None if problem is None else str(problem)


_STAGES = {"align": _align, "ctf": _ctf, "pick": _pick, "publish": _publish}


def _stored(earlier: Mapping[str, Mapping[str, object]], stage: str) -> dict[str, object]:
    if stage not in earlier:
        message = f"{stage} has no result yet; run it first"
        raise LedgerError(message)
    return dict(earlier[stage])


def alignment_of(earlier: Mapping[str, Mapping[str, object]]) -> AlignmentResult:
    """Read the alignment's stored result. Raises `LedgerError` when there is none."""
    stored = _stored(earlier, "align")
    motion = MotionStatistics(**stored.pop("motion"))  # type: ignore[arg-type]  # written by asdict
    return AlignmentResult(**stored, motion=motion)  # type: ignore[arg-type]  # written by asdict


def ctf_of(earlier: Mapping[str, Mapping[str, object]]) -> CtfResult:
    """Read the CTF's stored result. Raises `LedgerError` when there is none."""
    stored = _stored(earlier, "ctf")
    fits = {name: CtfFit(**stored.pop(name)) if stored.get(name) else None for name in ("aligned", "unaligned")}  # type: ignore[arg-type]  # written by asdict
    return CtfResult(**{**stored, **fits})  # type: ignore[arg-type]  # written by asdict


def picks_of(earlier: Mapping[str, Mapping[str, object]]) -> PickResult | None:
    """Read the picking's stored result; None where the sample has picking off."""
    stored = _stored(earlier, "pick")
    return None if "skipped" in stored else PickResult(**stored)  # type: ignore[arg-type]  # written by asdict
