"""One movie: pictures, numbers, history, logs; what people say of it, and running it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response

from cryodaq.errors import LedgerError
from cryodaq.ledger import gallery
from cryodaq.ledger.events import last_event_id
from cryodaq.ledger.gallery import MovieHistory
from cryodaq.ledger.judgements import Judgement, find_judgement, process_again, save_judgement
from cryodaq.ledger.samples import SampleRecord, find_sample
from cryodaq.web.acquisition_facts import facts_of
from cryodaq.web.drawings import curves, picks, read_json
from cryodaq.web.operators import RefusedError, require_post
from cryodaq.web.plots import track
from cryodaq.web.rendering import render
from cryodaq.web.sample_pages import readable_sample
from cryodaq.web.visitors import LoggedIn, NotThereError, Visitor, ledger_of, web_settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

router = APIRouter()

LOG_BYTES = 200_000
"""So much of a log's end is sent."""
_PICTURE_HEADERS = {"cache-control": "private, max-age=86400, immutable"}
"""A picture's address carries the number of its publication, so it never changes."""
_TYPES = {"jpg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happened to a movie."""

    at: datetime
    words: str


@router.get("/movies/{movie_id}", response_class=HTMLResponse)
def show_movie(request: Request, movie_id: int, who: LoggedIn) -> HTMLResponse:
    """Show one movie: its pictures, numbers, files, attempts, and why it waits."""
    engine = ledger_of(request)
    with engine.connect() as connection:
        since = last_event_id(connection)
        history, sample = _readable(connection, movie_id, who, branch=request.query_params.get("branch", ""))
        before, after = gallery.neighbours(connection, history.row)
        said = find_judgement(connection, movie_id)
    measured = history.row.measured
    products = _products(history, sample)
    fits = read_json(products["curves"]) if "curves" in products else None
    values: dict[str, object] = {
        "sample": sample,
        "history": history,
        "movie": history.row,
        "products": products,
        "other_branch": _other(request, sample),
        "curves": curves(fits, "aligned"),
        "picks": picks(read_json(products["pick_overlay"])) if "pick_overlay" in products else None,
        "track": track(measured.displacement_px_xy, pixel_size_ang=measured.pixel_size_ang or 1.0),
        "acquisition": facts_of(history.metadata),
        "steps": steps(history),
        "said": said,
        "may_post": _may_post(who, history.row.experiment),
        "before": before,
        "after": after,
        "run_url": RunUrl(web_settings(request).airflow_url),
    }
    return render(request, "movie.html", visitor=who, topic=f"movie:{movie_id}", since=since, values=values)


def _readable(
    connection: Connection, movie_id: int, who: Visitor, *, branch: str = ""
) -> tuple[MovieHistory, SampleRecord]:
    """Return a movie in a branch, or in its sample's current one. Raises `NotThereError`."""
    sample = _sample_of(connection, movie_id)
    history = None
    if sample is not None and who.may_read(sample.experiment):
        name = branch[:100] or sample.current_branch
        history = gallery.movie_history(connection, movie_id, branch_name=name)
    if history is None or sample is None:
        raise NotThereError("movie")
    return history, sample


def _sample_of(connection: Connection, movie_id: int) -> SampleRecord | None:
    sample_id = gallery.sample_of_movie(connection, _checked(movie_id))
    return None if sample_id is None else find_sample(connection, sample_id)


def _other(request: Request, sample: SampleRecord) -> str:
    """Return the branch that the address names, where it is not the current one."""
    wanted = request.query_params.get("branch", "")[:100]
    return "" if wanted == sample.current_branch else wanted


def _products(history: MovieHistory, sample: SampleRecord) -> Mapping[str, Path]:
    """Return the products that exist where they should."""
    pictures = history.row.pictures
    named = {} if pictures is None else {name: Path(path) for name, path in pictures.others.items()}
    return {name: path for name, path in named.items() if _lies_below(path, Path(sample.folder))}


def _may_post(who: Visitor, experiment: str) -> bool:
    return "post" in who.access.privileges(who.session, experiment)


def steps(history: MovieHistory) -> list[Step]:
    """Return what happened to a movie, oldest first."""
    row = history.row
    found: list[tuple[datetime | None, str]] = [
        (row.seen_at, "first seen on the microscope"),
        (row.registered_at, "registered for processing"),
        (row.published_at, "published"),
    ]
    for file in history.files:
        if file.role == "movie":
            version = f" (version {file.version})" if file.version > 1 else ""
            found += [
                (file.copied_at, f"copied{version}"),
                (file.verified_at, f"copy verified{version}"),
                (file.removed_at, f"removed from the microscope{version}"),
            ]
    found += [(run.sent_at, f"handed over as {run.run_id}") for run in history.runs]
    for attempt in history.attempts:
        name = attempt.stage if attempt.attempt == 1 else f"{attempt.stage}, attempt {attempt.attempt},"
        found += [(attempt.started_at, f"{name} began"), (attempt.ended_at, f"{name} {attempt.state}")]
    return sorted((Step(at=at, words=words) for at, words in found if at is not None), key=lambda step: step.at)


@router.get("/movies/{movie_id}/{picture}.{suffix}", response_class=FileResponse)
def show_picture(
    request: Request,
    movie_id: int,
    picture: Literal["preview", "thumbnail", "micrograph", "spectrum", "spectrum_unaligned"],
    suffix: Literal["jpg", "png"],
    who: LoggedIn,
) -> FileResponse:
    """Send a movie's picture; where it lies is the ledger's knowledge, never the browser's."""
    engine = ledger_of(request)
    with engine.connect() as connection:
        sample = _sample_of(connection, movie_id)
        if sample is None or not who.may_read(sample.experiment):
            raise NotThereError("picture")
        branch = request.query_params.get("branch", "")[:100] or sample.current_branch
        movie = gallery.find_movie(connection, movie_id, branch_name=branch)
    if movie is None or movie.pictures is None:
        raise NotThereError("picture")
    usual = {"preview": movie.pictures.preview, "thumbnail": movie.pictures.thumbnail}
    found = {**movie.pictures.others, **usual}.get(picture)
    path = Path(found or "")
    if found is None or path.suffix != f".{suffix}" or not _lies_below(path, Path(sample.folder)):
        raise NotThereError("picture")
    return FileResponse(path, media_type=_TYPES[suffix], headers=_PICTURE_HEADERS)


@router.get("/previews/{experiment}/{sample_id}/{path:path}", response_class=FileResponse)
def show_linked_preview(request: Request, experiment: str, sample_id: str, path: str, who: LoggedIn) -> FileResponse:
    """Send the picture that the elogbook's runs name; the elogbook leads here."""
    engine = ledger_of(request)
    with engine.connect() as connection:
        sample = readable_sample(connection, sample_id, who)
    folder = Path(sample.folder)
    picture = folder / path
    kind = _TYPES.get(picture.suffix.removeprefix("."))
    if kind is None or sample.experiment != experiment or picture.parent.name != "previews":
        raise NotThereError("picture")
    if not _lies_below(picture, folder):
        raise NotThereError("picture")
    return FileResponse(picture, media_type=kind, headers={"cache-control": "private, no-cache"})


@router.get("/movies/{movie_id}/log/{branch}/{stage}/{attempt}", response_class=PlainTextResponse)
def show_log(
    request: Request,
    movie_id: int,
    branch: str,
    stage: str,
    attempt: int,
    who: LoggedIn,
) -> PlainTextResponse:
    """Send the end of what a stage said; later attempts write on in the same file."""
    engine = ledger_of(request)
    with engine.connect() as connection:
        history, sample = _readable(connection, movie_id, who)
    for entry in history.attempts:
        if (entry.branch, entry.stage, entry.attempt) == (branch, stage, attempt) and entry.log:
            path = Path(entry.log)
            if _lies_below(path, Path(sample.folder)):
                return PlainTextResponse(_end_of(path))
    raise NotThereError("log")


def _end_of(path: Path) -> str:
    with path.open("rb") as handle:
        size_bytes = handle.seek(0, 2)
        handle.seek(max(0, size_bytes - LOG_BYTES))
        text = handle.read(LOG_BYTES).decode(errors="replace")
    return f"[the last {LOG_BYTES} of {size_bytes} bytes]\n{text}" if size_bytes > LOG_BYTES else text


@router.post("/movies/{movie_id}/judgement")
def judge(
    request: Request,
    movie_id: int,
    who: LoggedIn,
    verdict: Annotated[Literal["", "in", "out"], Form()] = "",
    rating: Annotated[Literal["", "1", "2", "3", "4", "5"], Form()] = "",
    comment: Annotated[str, Form(max_length=4000)] = "",
) -> Response:
    """Record what a person says of a movie."""
    engine = ledger_of(request)
    said = Judgement(
        verdict=verdict or None,
        rating=int(rating) if rating else None,
        comment=comment.replace("\0", "").strip(),
        judged_by=who.person.user,
        judged_at=web_settings(request).clock(),
    )
    with engine.begin() as connection:
        history, _ = _readable(connection, movie_id, who)
        require_post(who, history.row.experiment)
        save_judgement(connection, movie_id, said)
    return RedirectResponse(f"/movies/{movie_id}", status_code=303)


@router.post("/movies/{movie_id}/again")
def run_again(request: Request, movie_id: int, who: LoggedIn) -> Response:
    """Have a movie processed once more."""
    engine = ledger_of(request)
    at = web_settings(request).clock()
    try:
        with engine.begin() as connection:
            history, sample = _readable(connection, movie_id, who)
            require_post(who, history.row.experiment)
            process_again(connection, movie_id, branch_name=sample.current_branch, asked_by=who.person.user, at=at)
    except LedgerError as error:
        message = f"Nothing was changed: {error}."
        raise RefusedError(message) from error
    return RedirectResponse(f"/movies/{movie_id}", status_code=303)


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
