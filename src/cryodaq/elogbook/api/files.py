"""Routes of the catalogue of files."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from cryodaq.elogbook.api.bodies import RequiredJson
from cryodaq.elogbook.api.gate import Answer, Entry, get_or_post, in_turn, streamed, success, value
from cryodaq.elogbook.api.shapes import FILES, json_body
from cryodaq.elogbook.book import files
from cryodaq.elogbook.book.run_numbers import read_run_number
from cryodaq.elogbook.refusals import NotFoundError

router = APIRouter(tags=["files"])


@router.post("/lgbk/{experiment}/ws/register_file", openapi_extra=json_body(FILES))
@in_turn
def register_file(gate: Entry, experiment: str, body: RequiredJson) -> Answer:
    with gate.experiment(experiment, needs="post", unlocked=True) as (work, _):
        if isinstance(body, list):
            return Answer(files.register_several(work, experiment, body))
        files.register(work, experiment, body)
    return success()


@router.get("/lgbk/{experiment}/ws/files")
def list_files(gate: Entry, experiment: str, sampleName: str | None = None) -> Response:  # noqa: N803  # contract
    with gate.experiment(experiment, needs="read"):
        pass
    return streamed(files.pages(gate.open_unasked, experiment, sample_name=sampleName))


@router.get("/lgbk/{experiment}/ws/ext_preview/{path:path}", status_code=302, response_class=RedirectResponse)
def show_preview(gate: Entry, experiment: str, path: str) -> RedirectResponse:
    """Lead to the picture that a run's param `preview` names, on the pages beside this elogbook."""
    with gate.experiment(experiment, needs="read") as (work, _):
        pages = work.settings.after_login_url
    if not urlsplit(pages).netloc:
        raise NotFoundError("No pages with pictures belong to this elogbook")
    wanted = path.replace("<experiment_name>", experiment)
    return RedirectResponse(urljoin(pages, f"/previews/{quote(experiment, safe='')}/{quote(wanted)}"), 302)


@router.get("/lgbk/{experiment}/ws/dm_locations")
def dm_locations(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(files.locations(work))


@router.get("/lgbk/{experiment}/ws/file_counts_by_extension")
def file_counts(gate: Entry, experiment: str) -> Answer:
    with gate.open_experiment(experiment) as (work, _):
        return value(files.counts_by_extension(work, experiment))


@get_or_post(router, "/lgbk/{experiment}/ws/file_available_at_location")
def file_available_at_location(gate: Entry, experiment: str, location: str, run_num: str, file_path: str) -> Answer:
    with gate.experiment(experiment, needs="post", changes=True) as (work, _):
        run = read_run_number(run_num, verbatim=False)
        files.note_available(work, experiment, location=location, path=file_path, run=run)
    return success()


@router.get("/lgbk/{experiment}/ws/{run_num:path}/files")
def files_of_run(gate: Entry, experiment: str, run_num: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(files.of_run(work, experiment, read_run_number(run_num)))
