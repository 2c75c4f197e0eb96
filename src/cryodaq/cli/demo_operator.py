"""What an operator does before a session, through the elogbook's own API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cryodaq.errors import LogbookError

if TYPE_CHECKING:
    import httpx

    from cryodaq.simulator.plan import SessionPlan

LEADER, STUDENT = "pi1", "student1"
COLLABORATORS = {LEADER: ("Paula Investigator", 5003), STUDENT: ("Sam Student", 5004)}
"""People of the demo's experiment: full name and numeric id."""


class DemoOperator:
    """An operator at the elogbook, with a token instead of a browser."""

    def __init__(self, url: str, *, user: str, token: str) -> None:
        import httpx

        self._client = httpx.Client(base_url=url, auth=(user, token), timeout=30.0, trust_env=False)
        self._user = user

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _call(self, method: str, path: str, **options: Any) -> Any:  # Any: the contract's JSON
        answer = self._client.request(method, path, **options)
        return _value(answer, what=f"{method} {path}")

    def begin_session(self, instrument: str, experiment: str, *, sample_name: str, plan: SessionPlan) -> str:
        """Register what is missing, switch to the experiment and make a new sample current; return its id."""
        self._ensure_experiment(instrument, experiment)
        self._call(
            "POST",
            f"/lgbk/{quote(experiment)}/ws/samples/",
            json={"name": sample_name, "description": "simulated", "params": sample_params(plan)},
        )
        self._switch(instrument, experiment)
        self._call("POST", f"/lgbk/{quote(experiment)}/ws/make_sample_current", params={"sample_name": sample_name})
        return str(self._call("GET", f"/lgbk/{quote(experiment)}/ws/samples/{quote(sample_name)}")["_id"])

    def free_sample_name(self, experiment: str, stem: str) -> str:
        """Return `stem1`, or the next number that the experiment has no sample of."""
        answer = self._client.get(f"/lgbk/{quote(experiment)}/ws/samples")
        taken = {sample["name"] for sample in _value(answer, what="samples")} if answer.status_code == 200 else set()
        return next(name for number in range(1, 10_000) if (name := f"{stem}{number}") not in taken)

    def login_ticket(self) -> str:
        """Return a one-time ticket that logs a browser in."""
        return str(self._call("POST", "/session/tickets", json={"user": self._user})["ticket"])

    def _ensure_experiment(self, instrument: str, experiment: str) -> None:
        if self._client.get(f"/lgbk/{quote(experiment)}/ws/info").status_code == 200:
            return
        now = datetime.now(UTC)
        self._call(
            "POST",
            "/lgbk/ws/register_new_experiment",
            params={"experiment_name": experiment},
            json={
                "instrument": instrument,
                "start_time": f"{now:%Y-%m-%dT%H:%M:%S.000Z}",
                "end_time": f"{now + timedelta(days=7):%Y-%m-%dT%H:%M:%S.000Z}",
                "leader_account": LEADER,
                "contact_info": COLLABORATORS[LEADER][0],
                "description": "demonstration with a simulated microscope",
            },
        )
        self._call(
            "POST",
            f"/lgbk/{quote(experiment)}/ws/add_collaborator",
            params={"uid": f"uid:{STUDENT}", "role_fq_name": "LogBook/Reader"},
        )

    def _switch(self, instrument: str, experiment: str) -> None:
        active = self._call("GET", "/lgbk/ws/activeexperiments")
        if any(row.get("name") == experiment and row.get("instrument") == instrument for row in active):
            return
        body = {"experiment_name": experiment, "instrument": instrument, "station": 0}
        self._call("POST", "/lgbk/ws/switch_experiment", json=body)


def sample_params(plan: SessionPlan) -> dict[str, object]:
    """Return what an operator would enter for this session."""
    conditions = plan.conditions
    dose = plan.source.dose_per_frame_e_ang2 if plan.source else conditions.dose_per_frame_e_ang2
    pixel = plan.source.pixel_size_ang if plan.source else conditions.pixel_size_ang
    return {
        "imaging_method": "single-particle",
        "imaging_software": "EPU" if plan.software == "epu" else "SerialEM",
        "imaging_format": ".tif",
        "superres": "0.0",
        "apix": pixel,
        "fmdose": dose,
        "total_dose": dose * plan.frame_count,
        "frame_duration": 0.05,
        "exposure_time": 0.05 * plan.frame_count,
        "phase_plate": "0",
        "particle_size": plan.particle_diameter_ang,
        "preprocess/enable": "1.0",
        "preprocess/particle_pick/enable": "1.0",
        "total_frames": str(plan.frame_count),
        "magnification_x": "105000",
        "pixel_size": str(pixel),
        "objective_aperture": "100",
        "objective_aperture/size": 100.0,
        "energy_filter": "20",
        "energy_filter/slit_size": 20.0,
    }


def _value(answer: httpx.Response, *, what: str) -> Any:  # Any: the contract's JSON
    if answer.status_code != 200:
        message = f"{what}: the elogbook answered {answer.status_code}: {answer.text[:200]}"
        raise LogbookError(message)
    content = answer.json()
    if not content.get("success"):
        message = f"{what}: {content.get('errormsg') or content.get('message') or content}"
        raise LogbookError(message)
    return content.get("value")
