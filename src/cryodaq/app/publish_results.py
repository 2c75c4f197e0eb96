"""Publish one movie's results: pictures, tables, the elogbook's run, and the mark in the ledger.

Pictures and checksums come first; then one transaction marks the movie, brings its lines into the sample's tables and
fills the elogbook's outbox. After a crash at any point a second publication ends in the same state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cryodaq.app.exporting.keeping import ExportedBranch, keep_exports
from cryodaq.app.exporting.movie_files import write_ctf_text, write_motion
from cryodaq.app.watch_gain import watch_gain
from cryodaq.domain.layout import BranchLayout
from cryodaq.domain.parameters import from_mapping
from cryodaq.domain.results import AlignmentResult, CtfResult, PickResult
from cryodaq.errors import LedgerError
from cryodaq.formats.coordinates import read_coordinates, read_scores
from cryodaq.formats.mrc import read_micrograph
from cryodaq.ledger import deliveries, exports, results
from cryodaq.ledger.results import MovieToProcess
from cryodaq.publish.metrics import run_params
from cryodaq.publish.preview import (
    MICROGRAPH_PX,
    TILE_PX,
    PanelContent,
    draw_micrograph,
    draw_panel,
    draw_thumbnail,
    write_jpeg,
)
from cryodaq.publish.viewer import motion_track, pick_overlay, read_patch_tracks, write_json

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_HASHED_AT_ONCE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResults:
    """What the stages before publication found out; `pick` is None where picking is switched off."""

    align: AlignmentResult
    ctf: CtfResult
    pick: PickResult | None
    problem: str | None = None
    """What the movie lacks though it is published."""


def publish_movie(
    engine: Engine,
    movie: MovieToProcess,
    *,
    layout: BranchLayout,
    found: StageResults,
    clock: Callable[[], datetime],
) -> dict[str, object]:
    """Publish a movie in its branch and return the record of it: paths, and the time.

    Only the current branch marks the movie and tells the elogbook; other branches get pictures and their own
    tables. Doing it twice changes nothing twice.

    Raises
    ------
    FormatError
        A product that an earlier stage wrote cannot be read.
    LedgerError
        The movie was given to another sample meanwhile; nothing of this publication stays.
    """
    pictures = _draw(movie, layout, found)
    drawn = _write_facts(movie, layout, found)
    preview = pictures["preview"]
    products = [found.align.micrograph, found.align.micrograph_dose_weighted, str(preview)]
    products += [found.pick.coordinates] if found.pick is not None else []
    experiment_folder = PurePosixPath(movie.sample_folder).parent
    files = [_registered_file(Path(product), root=experiment_folder) for product in products]
    params = run_params(
        found.align, found.ctf, pick=found.pick, preview=str(PurePosixPath(preview).relative_to(experiment_folder))
    )
    write_ctf_text(movie, layout=layout, align=found.align, ctf=found.ctf)
    has_motion = write_motion(movie, layout=layout, align=found.align)
    branch = ExportedBranch(branch_id=movie.branch_id, layout=layout, sample_folder=PurePosixPath(movie.sample_folder))
    at = clock()
    try:
        with engine.begin() as connection:
            results.check_wanted(connection, movie)
            keep_exports(engine, connection, branch, movie_id=movie.movie_id, has_motion=has_motion)
            if movie.is_current:
                exports.mark_published(connection, movie, at=at, problem=found.problem)
                tell_elogbook(connection, movie, params=params, files=files, at=at)
    except LedgerError:
        texts = (layout.ctf_text(movie.product_name), layout.motion(movie.product_name))
        for made in (*pictures.values(), *drawn.values(), *map(Path, texts)):
            made.unlink(missing_ok=True)
        raise
    if movie.is_current:
        watch_gain(engine, movie, layout=layout, at=at)
    return {
        **{name: str(path) for name, path in {**pictures, **drawn}.items()},
        "micrographs_star": str(layout.micrographs_star),
        "files": files,
        "published_at": at.isoformat(),
    }


def _draw(movie: MovieToProcess, layout: BranchLayout, found: StageResults) -> dict[str, Path]:
    from cryodaq.imaging.preview import shrink, stretch_contrast

    micrograph, _ = read_micrograph(Path(found.align.micrograph_dose_weighted))
    reduced = shrink(micrograph, size_px=MICROGRAPH_PX)
    stretched = stretch_contrast(reduced, size_px=TILE_PX)
    panel = draw_panel(
        PanelContent(
            run_name=movie.product_name,
            micrograph=stretched,
            reduction=micrograph.shape[1] / stretched.shape[1],
            align=found.align,
            ctf=found.ctf,
            pick=found.pick,
            picks_xy=() if found.pick is None else read_coordinates(Path(found.pick.coordinates)),
            spectrum=Path(found.ctf.spectrum),
            spectrum_unaligned=None if found.ctf.spectrum_unaligned is None else Path(found.ctf.spectrum_unaligned),
        )
    )
    run = movie.product_name
    paths = {
        "preview": Path(layout.preview(run)),
        "thumbnail": Path(layout.thumbnail(run)),
        "micrograph_picture": Path(layout.micrograph_picture(run)),
    }
    paths["preview"].parent.mkdir(parents=True, exist_ok=True)
    write_jpeg(paths["preview"], panel)
    write_jpeg(paths["thumbnail"], draw_thumbnail(stretched), quality=80)
    write_jpeg(paths["micrograph_picture"], draw_micrograph(stretch_contrast(reduced, size_px=MICROGRAPH_PX)))
    return paths


def _write_facts(movie: MovieToProcess, layout: BranchLayout, found: StageResults) -> dict[str, Path]:
    """Write what pages draw: the motion, and the particles where they were picked."""
    tracks = found.align.patch_tracks
    pixel_size_ang = from_mapping(movie.parameters).pixel_size_ang.value
    motion = Path(layout.motion_track(movie.product_name))
    patches = [] if tracks is None or not Path(tracks).is_file() else read_patch_tracks(Path(tracks))
    write_json(motion, motion_track(found.align, patches, movie_pixel_size_ang=pixel_size_ang))
    if found.pick is None:
        return {"motion_track": motion}
    coordinates = Path(found.pick.coordinates)
    overlay = Path(layout.pick_overlay(movie.product_name))
    picks = pick_overlay(
        found.pick,
        coordinates_px_xy=read_coordinates(coordinates),
        scores=read_scores(coordinates),
        align=found.align,
    )
    write_json(overlay, picks)
    return {"motion_track": motion, "pick_overlay": overlay}


def _registered_file(path: Path, *, root: PurePosixPath) -> dict[str, object]:
    import xxhash

    digest = xxhash.xxh3_128()
    with path.open("rb") as handle:
        while block := handle.read(_HASHED_AT_ONCE):
            digest.update(block)
    facts = path.stat()
    modified_at = datetime.fromtimestamp(facts.st_mtime, tz=UTC).isoformat()
    return {
        "path": str(PurePosixPath(path).relative_to(root)),
        "size_bytes": facts.st_size,
        "checksum": f"xxh3_128:{digest.hexdigest()}",
        "created_at": modified_at,
        "modified_at": modified_at,
    }


def tell_elogbook(
    connection: Connection,
    movie: MovieToProcess,
    *,
    params: Mapping[str, object],
    files: Sequence[Mapping[str, object]],
    at: datetime,
) -> None:
    """Fill the outbox. The keys carry the content's digest: the same again is not sent, a new result is."""
    for call, payload, key in (
        ("add_run_params", {"params": dict(params)}, _digest(params)),
        ("register_files", {"files": list(files)}, _digest(_without_times(files))),
        ("end_run", {"ended_at": at.isoformat()}, "once"),
    ):
        deliveries.enqueue(
            connection,
            movie.experiment,
            run_name=movie.run_name,
            call=call,
            payload=payload,
            key=f"movie-{movie.movie_id}:{call}:{key}",
            at=at,
        )


def _without_times(files: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    return [{key: value for key, value in entry.items() if not key.endswith("_at")} for entry in files]


def _digest(content: Any) -> str:  # Any: plain JSON
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
