"""One movie's history, and its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse

from cryodaq.domain.names import LIVE_BRANCH
from cryodaq.ledger import gallery
from cryodaq.ledger.events import last_event_id
from cryodaq.ledger.samples import find_sample
from cryodaq.web.plots import track
from cryodaq.web.rendering import render
from cryodaq.web.visitors import NotThereError, Visitor, visitor, web_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

router = APIRouter()

_PICTURE_HEADERS = {"cache-control": "private, max-age=86400, immutable"}
"""A picture's address carries the number of its publication, so it never changes."""


@router.get("/movies/{movie_id}", response_class=HTMLResponse)
def show_movie(
    request: Request,
    movie_id: int,
    who: Visitor = Depends(visitor),  # noqa: B008  # FastAPI's way
) -> HTMLResponse:
    """Show one movie: its preview, numbers, files, attempts, and why it waits."""
    engine: Engine = request.app.state.engine
    with engine.connect() as connection:
        since = last_event_id(connection)
        history = gallery.movie_history(connection, _checked(movie_id), branch_name=LIVE_BRANCH)
        sample = None if history is None else find_sample(connection, history.row.sample_id)
        if history is None or sample is None or not who.may_read(history.row.experiment):
            raise NotThereError("movie")
        before, after = gallery.neighbours(connection, history.row)
    measured = history.row.measured
    values: dict[str, object] = {
        "sample": sample,
        "history": history,
        "movie": history.row,
        "track": track(measured.displacement_px_xy, pixel_size_ang=measured.pixel_size_ang or 1.0),
        "before": before,
        "after": after,
        "run_url": RunUrl(web_settings(request).airflow_url),
    }
    return render(request, "movie.html", visitor=who, topic=f"movie:{movie_id}", since=since, values=values)


@router.get("/movies/{movie_id}/{picture}.jpg", response_class=FileResponse)
def show_picture(
    request: Request,
    movie_id: int,
    picture: Literal["preview", "thumbnail"],
    who: Visitor = Depends(visitor),  # noqa: B008  # FastAPI's way
) -> FileResponse:
    """Send a movie's picture; where it lies is the ledger's knowledge, never the browser's."""
    engine: Engine = request.app.state.engine
    with engine.connect() as connection:
        movie = gallery.find_movie(connection, _checked(movie_id), branch_name=LIVE_BRANCH)
        if movie is None or movie.pictures is None or not who.may_read(movie.experiment):
            raise NotThereError("picture")
        sample = find_sample(connection, movie.sample_id)
    path = Path(movie.pictures.preview if picture == "preview" else movie.pictures.thumbnail)
    if sample is None or not _lies_below(path, Path(sample.folder)):
        raise NotThereError("picture")
    return FileResponse(path, media_type="image/jpeg", headers=_PICTURE_HEADERS)


class RunUrl:
    """Makes the address of a run's page in Airflow."""

    def __init__(self, airflow_url: str | None) -> None:
        self._base = airflow_url.rstrip("/") if airflow_url else None

    def __call__(self, dag_id: str, run_id: str) -> str | None:
        """Return the address, or None where the site has no such pages."""
        if self._base is None:
            return None
        return f"{self._base}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def _checked(movie_id: int) -> int:
    if not 0 < movie_id < 2**63:
        raise NotThereError("movie")
    return movie_id


def _lies_below(path: Path, folder: Path) -> bool:
    """Whether a file exists and lies in a folder, symbolic links followed."""
    try:
        return path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, RuntimeError):
        return False
