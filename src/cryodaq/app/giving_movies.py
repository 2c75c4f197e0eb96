"""What becomes of movies that get another sample: names, results, products, triggers, and what the elogbook is told.

Results go along where both samples are processed alike, in their live branches. Other movies are handed over anew, with
the other sample's parameters; their old products go along and are replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from cryodaq.app.announce_movie import announce_movie
from cryodaq.app.moving_copies import Duplicate, Move
from cryodaq.app.preprocess_movie import alignment_of, ctf_of, picks_of
from cryodaq.app.publish_results import tell_elogbook
from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.layout import BranchLayout, SampleLayout
from cryodaq.domain.names import LIVE_BRANCH, product_name, run_id
from cryodaq.domain.parameters import read_operator_settings
from cryodaq.errors import ParameterError
from cryodaq.ledger import deliveries, reassignments, samples, triggers
from cryodaq.ledger.movies import lock_names, name_for
from cryodaq.ledger.reassignments import FiledMovie, Plan, StoredResult
from cryodaq.ledger.results import STAGES, latest_results, movie_to_process
from cryodaq.ledger.samples import Branch, SampleRecord
from cryodaq.publish.metrics import run_params

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Giving:
    """From whom to whom."""

    plan: Plan
    from_sample: SampleRecord
    to_sample: SampleRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the files must follow."""

    with_results: int
    moves: tuple[Move, ...]
    """Of products."""
    gains: tuple[Duplicate, ...]
    """Gain references of the results, which their exports name."""


def give_movies(connection: Connection, giving: Giving, movies: Sequence[FiledMovie], *, at: datetime) -> Given:
    """Change the rows of all movies and return where their products go; files are not touched."""
    lock_names(connection, giving.to_sample.experiment)
    before, after = (samples.live_branch(connection, one.id) for one in (giving.from_sample, giving.to_sample))
    current = {giving.from_sample.current_branch, giving.to_sample.current_branch}
    alike = current == {LIVE_BRANCH} and before is not None and after is not None and _processed_alike(before, after)
    moves: list[Move] = []
    gains: dict[PurePosixPath, Duplicate] = {}
    with_results = 0
    for movie in movies:
        renamed = _Renamed(giving=giving, movie=movie, run=_new_name(connection, giving, movie))
        keeps = alike and movie.state == "published"
        told = reassignments.forget_deliveries(connection, movie.id, plan_id=giving.plan.id)
        reassignments.forget_processing(connection, movie.id, except_branch=before.id if keeps and before else None)
        reassignments.give_movie(
            connection, movie.id, owner=renamed.owner, state="published" if keeps else "registered"
        )
        if keeps and before is not None and after is not None:
            gain = _give_results(connection, renamed, before=before, after=after, at=at)
            gains |= {} if gain is None else {gain.target: gain}
            with_results += 1
        _tell_elogbook(connection, renamed, told=told, results_of=after.id if keeps and after else None, at=at)
        moves += renamed.product_moves()
    return Given(with_results=with_results, moves=tuple(moves), gains=tuple(gains.values()))


def _processed_alike(before: Branch, after: Branch) -> bool:
    """Whether what operator and facility said leads to the same processing."""
    if (before.name, after.name) != (LIVE_BRANCH, LIVE_BRANCH):  # products of other branches do not go along
        return False
    if any(before.settings.get(key) != after.settings.get(key) for key in ("instrument", "detector")):
        return False
    try:
        said = [
            read_operator_settings(cast("Mapping[str, ParameterValue]", one.settings.get("operator") or {}))  # JSON
            for one in (before, after)
        ]
    except ParameterError:
        return False
    return said[0] == said[1]


def _new_name(connection: Connection, giving: Giving, movie: FiledMovie) -> tuple[str, int]:
    if giving.to_sample.experiment == movie.experiment:
        return movie.run_name, movie.version
    return name_for(connection, giving.to_sample, path=movie.path, version=movie.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Renamed:
    """One movie, and what it is called from now on."""

    giving: Giving
    movie: FiledMovie
    run: tuple[str, int]
    """Its new run name and version."""

    @property
    def owner(self) -> dict[str, object]:
        name, version = self.run
        to = self.giving.to_sample
        return {"sample_id": to.id, "experiment": to.experiment, "run_name": name, "version": version}

    def _products(self) -> list[tuple[PurePosixPath, PurePosixPath]]:
        name, version = self.run
        before = _live(self.giving.from_sample).products(
            product_name(self.movie.run_name, self.movie.version), stages=STAGES
        )
        after = _live(self.giving.to_sample).products(product_name(name, version), stages=STAGES)
        return list(zip(before, after, strict=True))

    def product_moves(self) -> list[Move]:
        base = PurePosixPath(self.giving.to_sample.folder)
        return [Move(source=old, base=base, target=new, xxh3_128=None) for old, new in self._products()]

    def rewrite(self, stored: StoredResult) -> StoredResult:
        """Return a stage's result with the new places of what it names."""
        places = {str(old): str(new) for old, new in self._products()}
        root = PurePosixPath(self.giving.from_sample.experiment_folder)
        new_root = PurePosixPath(self.giving.to_sample.experiment_folder)
        places |= {
            str(PurePosixPath(old).relative_to(root)): str(PurePosixPath(new).relative_to(new_root))
            for old, new in places.items()
        }
        before, after = self.giving.from_sample, self.giving.to_sample
        below = {f"{before.folder}/": f"{after.folder}/", f"{before.id}/": f"{after.id}/"}
        return replace(
            stored,
            result=None if stored.result is None else _rewritten(stored.result, places, below),
            log=None if stored.log is None else places.get(stored.log, stored.log),
        )


def _live(sample: SampleRecord) -> BranchLayout:
    return SampleLayout(root=PurePosixPath(sample.folder)).branch(LIVE_BRANCH)


def _rewritten(value: Any, places: Mapping[str, str], below: Mapping[str, str]) -> Any:  # Any: JSON
    """Replace paths in a JSON value: known places exactly, others by the folder in which they lie."""
    if isinstance(value, dict):
        return {key: _rewritten(one, places, below) for key, one in value.items()}
    if isinstance(value, list):
        return [_rewritten(one, places, below) for one in value]
    if not isinstance(value, str) or value in places:
        return places.get(value, value) if isinstance(value, str) else value
    for old, new in below.items():
        if value.startswith(old):
            return new + value.removeprefix(old)
    return value


def _give_results(
    connection: Connection, renamed: _Renamed, *, before: Branch, after: Branch, at: datetime
) -> Duplicate | None:
    """Give a movie's results to the other sample; return its gain reference, which is needed there."""
    name, version = renamed.run
    movie = renamed.movie
    run = run_id(name, version=version, branch=LIVE_BRANCH, moves=movie.moves + 1)
    reassignments.give_results(
        connection,
        movie.id,
        from_branch=before.id,
        to_branch=after.id,
        run=(renamed.giving.to_sample.dag_id, run),
        rewrite=renamed.rewrite,
    )
    return None if movie.gain_target is None else _give_gain(connection, renamed, movie.gain_target, at=at)


def _give_gain(connection: Connection, renamed: _Renamed, place: str, *, at: datetime) -> Duplicate | None:
    """Name the gain reference at its new place; one of the gain root is to be copied there."""
    before, after = renamed.giving.from_sample, renamed.giving.to_sample
    gain_id = reassignments.gain_of_copy(connection, before.id, place)
    if gain_id is None:
        relative = PurePosixPath(place).relative_to(before.folder) if place.startswith(f"{before.folder}/") else None
        reassignments.set_gain(connection, renamed.movie.id, str(after.folder / relative) if relative else place)
        return None
    layout = SampleLayout(root=PurePosixPath(after.folder))
    wanted = str(layout.gain_references / PurePosixPath(place).name)
    triggers.want_gain(connection, gain_id, sample_id=after.id, target=wanted, at=at)
    target = reassignments.place_of_gain(connection, gain_id, after.id) or wanted
    reassignments.set_gain(connection, renamed.movie.id, target)
    return Duplicate(source=PurePosixPath(place), base=layout.raw, target=PurePosixPath(target), number=gain_id)


def _tell_elogbook(
    connection: Connection, renamed: _Renamed, *, told: bool, results_of: int | None, at: datetime
) -> None:
    """Give the run to the other sample; in another experiment it is made anew, and the old one says where it went."""
    movie, to = renamed.movie, renamed.giving.to_sample
    name, _ = renamed.run
    if told and to.experiment != movie.experiment:
        moved = {"reassigned_to_experiment": to.experiment, "reassigned_to_run": name}
        _enqueue(connection, renamed, movie.experiment, run=movie.run_name, call="add_run_params", payload=moved, at=at)
    announce_movie(connection, triggers.find_movie(connection, movie.id), to, at=at)
    if told and to.experiment == movie.experiment:
        payload = {"sample_name": to.name}
        _enqueue(connection, renamed, to.experiment, run=name, call="change_sample", payload=payload, at=at)
    if results_of is None:
        return
    found, stored = movie_to_process(connection, movie.id, results_of), latest_results(connection, movie.id, results_of)
    if found is None or "publish" not in stored:
        return
    published: Mapping[str, Any] = stored["publish"]  # Any: JSON that `publish_movie` returned
    preview = str(PurePosixPath(published["preview"]).relative_to(to.experiment_folder))
    params = run_params(alignment_of(stored), ctf_of(stored), pick=picks_of(stored), preview=preview)
    tell_elogbook(connection, found, params=params, files=published["files"], at=at)


def _enqueue(
    connection: Connection,
    renamed: _Renamed,
    experiment: str,
    *,
    run: str,
    call: str,
    payload: Mapping[str, object],
    at: datetime,
) -> None:
    key = f"reassign-{renamed.giving.plan.id}:movie-{renamed.movie.id}:{call}"
    body = {"params": dict(payload)} if call == "add_run_params" else dict(payload)
    deliveries.enqueue(connection, experiment, run_name=run, call=call, payload=body, key=key, at=at)
