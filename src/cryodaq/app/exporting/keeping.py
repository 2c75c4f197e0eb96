"""Keep a branch's tables current: a publication appends a movie's lines, or writes them in the place of what stood
there of it. Only what concerns all lines (a newer version of a movie, motion for no longer all) makes them anew.

The ledger says how many bytes of each file count, in the transaction of the publication. A crash can leave more bytes
behind, which the next publication cuts off. Before files are made anew the record is taken away, in a transaction of
its own: after a crash in between they are made anew again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.exporting.beam_shift_groups import with_beam_shift_groups
from cryodaq.app.exporting.described import described
from cryodaq.domain.layout import BranchLayout
from cryodaq.ledger import exports
from cryodaq.ledger.exports import ExportSource, ExportState
from cryodaq.publish import growing, sample_tables
from cryodaq.publish.sample_tables import ExportedMovie
from cryodaq.publish.star import Optics, optics_groups

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedBranch:
    """Whose tables are kept."""

    branch_id: int
    layout: BranchLayout
    sample_folder: PurePosixPath


def keep_exports(
    engine: Engine, connection: Connection, branch: ExportedBranch, *, movie_id: int, has_motion: bool
) -> None:
    """Bring a movie's lines into its branch's tables.

    Parameters
    ----------
    engine
        For the one transaction beside the publication's own.
    connection
        The publication's transaction: the files and the record of them become true together.
    has_motion
        Whether the movie has a motion STAR that RELION can use.
    """
    exports.lock_exports(connection, branch.branch_id)
    source = exports.export_source(connection, branch.branch_id, movie_id)
    if source is None:
        return
    (source,) = with_beam_shift_groups(connection, [replace(source, has_motion=has_motion)])
    state = exports.export_state_of(connection, branch.branch_id)
    if state is not None and state.files:
        if _stands_already(branch, state, source):
            return
        bring = _append if source.digest is None else _replace
        grown = bring(engine, branch, state, source) if source.version == 1 else None
        if grown is not None:
            exports.save_export_state(connection, branch.branch_id, grown)
            exports.save_export_rows(connection, branch.branch_id, [_record(branch, source)])
            return
        _forget(engine, branch)
    _make_anew(connection, branch, state, source)


def write_exports_anew(
    engine: Engine, connection: Connection, branch: ExportedBranch, *, has_motion: Mapping[int, bool]
) -> None:
    """Write a branch's tables from the ledger, because movies left it or came to it; without movies they go.

    Parameters
    ----------
    has_motion
        Whether RELION can use the motion STAR of movies that came, by their ids.
    """
    exports.lock_exports(connection, branch.branch_id)
    state = exports.export_state_of(connection, branch.branch_id)
    _forget(engine, branch)
    found = exports.exported_sources(connection, branch.branch_id)
    everyone = [replace(one, has_motion=has_motion.get(one.movie_id, one.has_motion)) for one in found]
    if everyone:
        _write_all(connection, branch, state, everyone)
        return
    for name in state.files if state is not None else ():
        Path(branch.layout.root / name).unlink(missing_ok=True)


def _stands_already(branch: ExportedBranch, state: ExportState, source: ExportSource) -> bool:
    """Whether the files are whole and say this of the movie."""
    if source.digest != _record(branch, source)[1]:
        return False
    paths = {name: Path(branch.layout.root / name) for name in state.files}
    return all(path.is_file() and path.stat().st_size >= state.files[name]["bytes"] for name, path in paths.items())


def _forget(engine: Engine, branch: ExportedBranch) -> None:
    """Take the record of the files away, in a transaction of its own, before they are written anew."""
    with engine.begin() as apart:
        exports.forget_export_state(apart, branch.branch_id)


def _append(engine: Engine, branch: ExportedBranch, state: ExportState, source: ExportSource) -> ExportState | None:
    """Append a movie's lines and return the new state; None where the files have to be made anew."""
    movie = _described(branch, source)
    if state.with_motion and not source.has_motion:
        return None
    known = known_optics(state)
    before, after = optics_groups([], known=known), optics_groups([movie.aligned.optics], known=known)
    old = _heads(movie, before, with_motion=state.with_motion)
    if _digests(old) != _digests_of(state):
        return None
    heads = _heads(movie, after, with_motion=state.with_motion)
    added = _lines(branch, movie, after, with_motion=state.with_motion)
    if heads != old:
        _forget(engine, branch)

    def grow(name: str) -> int | None:
        path, length_bytes, line = Path(branch.layout.root / name), int(state.files[name]["bytes"]), added.get(name, "")
        if heads[name] == old[name]:
            return growing.append(path, line, length_bytes=length_bytes) if line else length_bytes
        old_head_bytes = len(old[name].encode())
        return growing.with_other_head(
            path, heads[name], line, old_head_bytes=old_head_bytes, length_bytes=length_bytes
        )

    with ThreadPoolExecutor(len(heads)) as pool:  # the disk is waited for once, not once a file
        lengths = dict(zip(heads, pool.map(grow, heads), strict=True))
    if None in lengths.values():
        return None
    optics = [*state.optics, *(asdict(one) for one, number in after.items() if number > len(known))]
    digests = _digests(heads)
    return replace(
        state, optics=optics, files={name: {"bytes": lengths[name], "head": digests[name]} for name in heads}
    )


def _replace(engine: Engine, branch: ExportedBranch, state: ExportState, source: ExportSource) -> ExportState | None:
    """Write what is new of a movie in the place of its old lines; None where the files have to be made anew."""
    movie = _described(branch, source)
    groups = optics_groups([], known=known_optics(state))
    if (state.with_motion and not source.has_motion) or movie.aligned.optics not in groups:
        return None
    if _digests(_heads(movie, groups, with_motion=state.with_motion)) != _digests_of(state):
        return None
    said = _lines(branch, movie, groups, with_motion=state.with_motion)
    begins = sample_tables.beginnings(movie, root=branch.sample_folder)
    _forget(engine, branch)
    lengths = {
        name: growing.with_other_line(
            Path(branch.layout.root / name), begins[name], said.get(name, ""), length_bytes=int(kept["bytes"])
        )
        for name, kept in state.files.items()
    }
    if None in lengths.values():
        return None
    return replace(state, files={name: {**kept, "bytes": lengths[name]} for name, kept in state.files.items()})


def known_optics(state: ExportState | None) -> list[Optics | None]:
    """Return the optics groups that a branch's tables have, in the order of their numbers."""
    stored = state.optics if state is not None else ()
    return [None if one is None else Optics(**one) for one in stored]


def _make_anew(connection: Connection, branch: ExportedBranch, state: ExportState | None, source: ExportSource) -> None:
    """Write all files of a branch from the ledger; `source` is the movie that is being published."""
    others = [one for one in exports.exported_sources(connection, branch.branch_id) if one.movie_id != source.movie_id]
    _write_all(connection, branch, state, sorted([*others, source], key=lambda one: one.movie_id))


def _write_all(
    connection: Connection, branch: ExportedBranch, state: ExportState | None, everyone: Sequence[ExportSource]
) -> None:
    everyone = with_beam_shift_groups(connection, everyone)
    movies = [_described(branch, one) for one in everyone]
    used = {movie.aligned.optics for movie in movies}
    numbers = optics_groups([movie.aligned.optics for movie in movies], known=known_optics(state))
    groups = {one: number for one, number in numbers.items() if one in used}
    with_motion = all(one.has_motion for one in everyone)
    heads = _heads(movies[0], groups, with_motion=with_motion)
    texts = {name: [head] for name, head in heads.items()}
    for movie in movies:
        for name, line in _lines(branch, movie, groups, with_motion=with_motion).items():
            texts[name].append(line)
    digests = _digests(heads)
    files = {
        name: {"bytes": growing.write_anew(Path(branch.layout.root / name), parts), "head": digests[name]}
        for name, parts in texts.items()
    }
    by_number = {number: one for one, number in groups.items()}
    highest = max(numbers.values())
    optics = [asdict(by_number[number]) if number in by_number else None for number in range(1, highest + 1)]
    exports.save_export_state(
        connection, branch.branch_id, ExportState(optics=optics, with_motion=with_motion, files=files)
    )
    exports.save_export_rows(connection, branch.branch_id, [_record(branch, one) for one in everyone])


def _described(branch: ExportedBranch, source: ExportSource) -> ExportedMovie:
    return described(source, layout=branch.layout, sample_folder=branch.sample_folder)


def _heads(movie: ExportedMovie, groups: Mapping[Optics, int], *, with_motion: bool) -> dict[str, str]:
    return sample_tables.heads(groups, with_motion=with_motion, fact_names=list(movie.facts))


def _lines(
    branch: ExportedBranch, movie: ExportedMovie, groups: Mapping[Optics, int], *, with_motion: bool
) -> dict[str, str]:
    group = groups[movie.aligned.optics]
    return sample_tables.lines(movie, group=group, root=branch.sample_folder, with_motion=with_motion)


def _record(branch: ExportedBranch, source: ExportSource) -> tuple[int, str, bool]:
    """Return (movie id, digest of what its lines say whatever its group's number, whether it has motion)."""
    movie = _described(branch, source)
    said = json.dumps(asdict(movie), sort_keys=True, default=str)
    return source.movie_id, hashlib.sha256(said.encode()).hexdigest()[:16], source.has_motion


def _digests_of(state: ExportState) -> dict[str, str]:
    return {name: str(kept["head"]) for name, kept in state.files.items()}


def _digests(heads: Mapping[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(head.encode()).hexdigest()[:16] for name, head in heads.items()}
