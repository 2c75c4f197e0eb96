"""Routes of samples. Names may come with slashes in the address; they then name no sample."""

from __future__ import annotations

from fastapi import APIRouter

from cryodaq.elogbook.api.bodies import RequiredJson
from cryodaq.elogbook.api.gate import Answer, Entry, get_or_post, success, value
from cryodaq.elogbook.api.shapes import SAMPLE, json_body
from cryodaq.elogbook.book import experiments, runs, samples
from cryodaq.elogbook.book.run_numbers import RunNumber
from cryodaq.elogbook.refusals import BadRequestError

router = APIRouter(tags=["samples"])


@router.get("/lgbk/{experiment}/ws/samples")
@router.get("/lgbk/{experiment}/ws/samples/", include_in_schema=False)
def list_samples(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, found):
        return value(samples.listing(work, found))


@router.post("/lgbk/{experiment}/ws/samples/", openapi_extra=json_body(SAMPLE))
def create_sample(gate: Entry, experiment: str, body: RequiredJson) -> Answer:
    with gate.experiment(experiment, needs="post", unlocked=True) as (work, found):
        sample_id = samples.create(work, found, body)
        if body.get("create_associated_run"):
            label = RunNumber(label=str(body["name"]))
            runs.start(
                work,
                experiment,
                label=label,
                run_type="DATA",
                begun_at=work.now,
                sample_id=sample_id,
                params={},
            )
    return success()


@router.put("/lgbk/{experiment}/ws/samples/{sample_id:path}", openapi_extra=json_body(SAMPLE))
def update_sample(gate: Entry, experiment: str, sample_id: str, body: RequiredJson) -> Answer:
    with gate.experiment(experiment, needs="post", unlocked=True) as (work, found):
        samples.update(work, found, sample_id, body)
    return success()


@router.get("/lgbk/{experiment}/ws/samples/{sample_name:path}")
def get_sample(gate: Entry, experiment: str, sample_name: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, found):
        return value(samples.by_name(work, found, sample_name))


@router.delete("/lgbk/{experiment}/ws/samples/{sample_name:path}")
def delete_sample(gate: Entry, experiment: str, sample_name: str) -> Answer:
    with gate.experiment(experiment, needs="edit") as (work, _):
        samples.delete(work, experiments.hold(work, experiment), sample_name)
    return value(None, errormsg="")


@router.get("/lgbk/{experiment}/ws/current_sample_name")
def current_sample_name(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, found):
        return value(samples.current_name(work, found))


@get_or_post(router, "/lgbk/{experiment}/ws/clone_sample")
def clone_sample(gate: Entry, experiment: str, existing_sample_name: str, new_sample_name: str) -> Answer:
    with gate.experiment(experiment, needs="post", changes=True, unlocked=True) as (work, found):
        samples.clone(work, found, existing_sample_name, new=new_sample_name)
    return success()


@get_or_post(router, "/lgbk/{experiment}/ws/make_sample_current")
def make_sample_current(gate: Entry, experiment: str, sample_name: str | None = None) -> Answer:
    with gate.experiment(experiment, needs="post", changes=True, unlocked=True) as (work, _):
        samples.make_current(work, experiments.hold(work, experiment), _given(sample_name))
    return success()


@get_or_post(router, "/lgbk/{experiment}/ws/stop_current_sample")
def stop_current_sample(gate: Entry, experiment: str, sample_name: str | None = None) -> Answer:
    with gate.experiment(experiment, needs="post", changes=True, unlocked=True) as (work, _):
        samples.stop_current(work, experiments.hold(work, experiment), _given(sample_name))
    return success()


def _given(sample_name: str | None) -> str:
    if not sample_name:
        raise BadRequestError("We need a sample_name as a parameter")
    return sample_name


@router.get("/lgbk/{experiment}/ws/sample_activations")
def sample_activations(gate: Entry, experiment: str) -> Answer:
    """List when which sample was current, newest first. This call is ours."""
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(samples.activation_history(work, experiment))
