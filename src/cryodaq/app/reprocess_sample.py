"""Process a sample once more with other parameters: as a branch beside the current one, below live priority.

A branch is compared with the current one, then made current, or deleted. Nothing of another branch is touched:
products lie in a folder of their own, exports never mix.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq import __version__
from cryodaq.app.preprocess_movie import alignment_of, ctf_of, picks_of
from cryodaq.app.publish_results import tell_elogbook
from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.layout import SampleLayout
from cryodaq.domain.names import LIVE_BRANCH, run_id
from cryodaq.domain.parameters import InstrumentDefaults, read_operator_settings, resolve_parameters, to_mapping
from cryodaq.errors import LedgerError, ParameterError
from cryodaq.ledger import branches, results, samples
from cryodaq.ledger.branches import BranchState, MovieAgain
from cryodaq.ledger.events import record_event
from cryodaq.ledger.given_up import decide_branch_anew
from cryodaq.ledger.samples import SampleRecord
from cryodaq.publish.metrics import run_params

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)
TOLD_AT_ONCE = 200
"""Movies told to the elogbook's outbox in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reprocessing:
    """What reprocessing needs."""

    engine: Engine
    calibrated_pixel_size_ang: Callable[[str, float | None], float | None]
    """The facility's calibration by detector and magnification."""
    now: Callable[[], datetime]


def begin_reprocessing(
    parts: Reprocessing, sample_id: str, *, params: Mapping[str, ParameterValue], asked_by: str
) -> str:
    """Make a branch with these parameters and have every movie that ended processed in it; return its name.

    Movies whose frames contradict their gain reference get another one first, for the current branch as well.

    Raises
    ------
    LedgerError
        There is no such sample, it was never processed, or it has no published movie.
    ParameterError
        A value is missing or impossible for a movie; nothing is begun.
    """
    at = parts.now()
    with parts.engine.begin() as connection:
        sample, settings = _changed_settings(connection, sample_id, params)
        movies = branches.movies_to_process_again(connection, sample.id)
        if not movies:
            raise LedgerError("no movie of this sample was processed yet; change its parameters from now on instead")
        name = _add_branch(connection, sample, settings, at=at)
        made = samples.find_branch(connection, sample.id, name)
        assert made is not None  # noqa: S101  # just made
        runs = [_run(parts, one, settings, branch=name) for one in movies]
        branches.queue_again(connection, made.id, dag_id=sample.dag_id, runs=runs, at=at)
        decide_branch_anew(connection, made.id)
        samples.touch_sample(connection, sample.id, at=at)
        facts = {"branch": name, "movies": len(runs), "by": asked_by}
        record_event(connection, "reprocessing_begun", at=at, subject=sample.subject, facts=facts)
    log.info("reprocessing begun", extra={"sample": sample_id, "branch": name, "movies": len(runs)})
    return name


def process_from_now_on(
    parts: Reprocessing, sample_id: str, *, params: Mapping[str, ParameterValue], asked_by: str
) -> str:
    """Make a branch with these parameters and make it current: movies from now on are processed with them.

    Movies that were handed over keep their results in the branch that they were processed in.
    Raises `LedgerError` and `ParameterError`.
    """
    at = parts.now()
    with parts.engine.begin() as connection:
        sample, settings = _changed_settings(connection, sample_id, params)
        name = _add_branch(connection, sample, settings, at=at)
        branches.set_current(connection, sample, name, asked_by=asked_by, at=at)
    return name


def _changed_settings(
    connection: Connection, sample_id: str, params: Mapping[str, ParameterValue]
) -> tuple[SampleRecord, dict[str, object]]:
    sample = samples.find_sample(connection, sample_id)
    current = None if sample is None else samples.live_branch(connection, sample.id)
    if sample is None or current is None:
        message = f"sample {sample_id} was never prepared for processing; it must be current once"
        raise LedgerError(message)
    read_operator_settings(params)
    settings: dict[str, object] = {**current.settings, "operator": dict(params)}
    if settings == dict(current.settings):
        raise LedgerError("these are the parameters that the sample has; nothing would change")
    return sample, settings


def _add_branch(connection: Connection, sample: SampleRecord, settings: Mapping[str, object], *, at: datetime) -> str:
    known = {one.name for one in branches.branch_states(connection, sample.id)}
    name = next(name for number in range(1, 10_000) if (name := f"r{number}") not in known)
    current = samples.live_branch(connection, sample.id)
    samples.save_branch(
        connection,
        sample.id,
        name=name,
        settings=settings,
        template_hash=current.template_hash if current else "",
        software_version=__version__,
        at=at,
    )
    for folder in SampleLayout(root=PurePosixPath(sample.folder)).branch(name).folders:
        Path(folder).mkdir(parents=True, exist_ok=True)
    return name


def _run(
    parts: Reprocessing, movie: MovieAgain, settings: Mapping[str, object], *, branch: str
) -> tuple[int, str, dict[str, object]]:
    metadata = None if movie.metadata is None else AcquisitionMetadata(**movie.metadata)  # type: ignore[arg-type]  # by asdict
    instrument, operator = settings.get("instrument"), settings.get("operator")
    if not isinstance(instrument, Mapping) or not isinstance(operator, Mapping):
        raise ParameterError("the sample's stored settings cannot be read; make the sample current again")
    calibrated = parts.calibrated_pixel_size_ang(
        str(settings.get("detector", "")), metadata.magnification if metadata else None
    )
    defaults = replace(InstrumentDefaults(**instrument), calibrated_pixel_size_ang=calibrated)
    parameters, _ = resolve_parameters(read_operator_settings(operator), metadata, defaults)
    run = run_id(movie.run_name, version=movie.version, branch=branch, moves=movie.moves)
    return movie.id, run, to_mapping(parameters)


def make_current(parts: Reprocessing, sample_id: str, name: str, *, asked_by: str) -> int:
    """Let pages show a branch and new movies be processed in it; tell the elogbook its results.

    Returns how many movies the elogbook is told of. The same again goes on after an interruption. Movies that wait
    for a gain reference of their own may come later.

    Raises `LedgerError` when there is no such branch or movies of it are still to be processed.
    """
    at = parts.now()
    with parts.engine.begin() as connection:
        sample, state = _find(connection, sample_id, name)
        ahead = state.waiting - state.undecided + state.in_flight
        if ahead:
            message = f"{ahead} movies of {name} are still to be processed; wait for them"
            raise LedgerError(message)
        branches.set_current(connection, sample, name, asked_by=asked_by, at=at)
        numbers = branches.published_in(connection, state.id)
    for first in range(0, len(numbers), TOLD_AT_ONCE):
        with parts.engine.begin() as connection:
            for movie_id in numbers[first : first + TOLD_AT_ONCE]:
                _tell(connection, sample, movie_id, state.id, at=at)
    return len(numbers)


def _tell(connection: Connection, sample: SampleRecord, movie_id: int, branch_id: int, *, at: datetime) -> None:
    movie = results.movie_to_process(connection, movie_id, branch_id)
    earlier = results.latest_results(connection, movie_id, branch_id)
    published = earlier.get("publish", {})
    files, preview = published.get("files"), published.get("preview")
    if movie is None or not isinstance(files, list) or not isinstance(preview, str):
        return
    shown = str(PurePosixPath(preview).relative_to(sample.experiment_folder))
    params = run_params(alignment_of(earlier), ctf_of(earlier), pick=picks_of(earlier), preview=shown)
    tell_elogbook(connection, movie, params=params, files=files, at=at)


def delete_branch(parts: Reprocessing, sample_id: str, name: str, *, asked_by: str) -> None:
    """Delete a branch with everything that was made in it; movies that still waited are not processed in it.

    Raises `LedgerError` for the current branch, the first one, and while the scheduler works on its movies.
    """
    with parts.engine.begin() as connection:
        sample, state = _find(connection, sample_id, name)
        if state.is_current or name == LIVE_BRANCH:
            message = f"{name} is the {'current' if state.is_current else 'first'} branch and stays"
            raise LedgerError(message)
        if state.in_flight:
            message = f"{state.in_flight} movies of {name} are being processed now; wait until they have ended"
            raise LedgerError(message)
        branches.forget_branch(connection, sample, state, asked_by=asked_by, at=parts.now())
    folder = Path(SampleLayout(root=PurePosixPath(sample.folder)).branch(name).root)
    if folder.is_dir():
        shutil.rmtree(folder)
    log.info("a branch was deleted", extra={"sample": sample_id, "branch": name, "folder": str(folder)})


def _find(connection: Connection, sample_id: str, name: str) -> tuple[SampleRecord, BranchState]:
    sample = samples.find_sample(connection, sample_id)
    states = [] if sample is None else branches.branch_states(connection, sample.id)
    state = next((one for one in states if one.name == name), None)
    if sample is None or state is None:
        message = f"sample {sample_id} has no branch {name}"
        raise LedgerError(message)
    return sample, state
