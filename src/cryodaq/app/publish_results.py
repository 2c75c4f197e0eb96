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
from cryodaq.domain.layout import BranchLayout
from cryodaq.domain.names import LIVE_BRANCH
from cryodaq.domain.results import AlignmentResult, CtfResult, PickResult
from cryodaq.formats.coordinates import read_coordinates
from cryodaq.formats.mrc import read_micrograph
from cryodaq.ledger import deliveries, exports
from cryodaq.ledger.results import MovieToProcess
from cryodaq.publish.metrics import run_params
from cryodaq.publish.preview import TILE_PX, PanelContent, draw_panel, draw_thumbnail, write_jpeg

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_HASHED_AT_ONCE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResults:
    """What the stages before publication found out; `pick` is None where picking is switched off."""

    align: AlignmentResult
    ctf: CtfResult
    pick: PickResult | None


def publish_movie(
    engine: Engine,
    movie: MovieToProcess,
    *,
    layout: BranchLayout,
    found: StageResults,
    clock: Callable[[], datetime],
) -> dict[str, object]:
    """Publish a movie in its branch and return the record of it: paths, and the time.

    Only the live branch marks the movie and tells the elogbook; other branches get pictures and their own
    tables. Doing it twice changes nothing twice.

    Raises
    ------
    FormatError
        A product that an earlier stage wrote cannot be read.
    """
    preview, thumbnail = _draw(movie, layout, found)
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
    with engine.begin() as connection:
        keep_exports(engine, connection, branch, movie_id=movie.movie_id, has_motion=has_motion)
        if movie.branch_name == LIVE_BRANCH:
            exports.mark_published(connection, movie, at=at)
            _tell_elogbook(connection, movie, params=params, files=files, at=at)
    return {
        "preview": str(preview),
        "thumbnail": str(thumbnail),
        "micrographs_star": str(layout.micrographs_star),
        "files": files,
        "published_at": at.isoformat(),
    }


def _draw(movie: MovieToProcess, layout: BranchLayout, found: StageResults) -> tuple[Path, Path]:
    from cryodaq.imaging.preview import stretch_contrast

    micrograph, _ = read_micrograph(Path(found.align.micrograph_dose_weighted))
    stretched = stretch_contrast(micrograph, size_px=TILE_PX)
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
    preview, thumbnail = Path(layout.preview(movie.product_name)), Path(layout.thumbnail(movie.product_name))
    preview.parent.mkdir(parents=True, exist_ok=True)
    write_jpeg(preview, panel)
    write_jpeg(thumbnail, draw_thumbnail(stretched), quality=80)
    return preview, thumbnail


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


def _tell_elogbook(
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
