"""Airflow by its REST interface (3.x, `/api/v2`), with a token that is renewed when it runs out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from cryodaq.domain.failures import RunState
from cryodaq.domain.home import DOORBELL_DAG
from cryodaq.errors import ConfigError, DagNotParsedError, SchedulerError, SchedulerUnreachableError
from cryodaq.scheduler import check_same_run

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10.0
PAGE = 100
"""Runs of one answer; Airflow gives no more."""

log = logging.getLogger(__name__)


class AirflowScheduler:
    """`ports.Scheduler` at an Airflow; safe to use from several threads.

    Parameters
    ----------
    base_url
        Such as `http://127.0.0.1:8082`.
    user
        Account that may trigger and read runs and have DAG files read again; making pools takes another one.
    password_file
        File with its password; read when a token is needed, so that it may be replaced while this runs.
    """

    def __init__(
        self,
        base_url: str,
        *,
        user: str,
        password_file: Path,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        import httpx

        self._client = httpx.Client(
            base_url=base_url, timeout=TIMEOUT_S, transport=transport, trust_env=False, follow_redirects=False
        )
        self._user, self._password_file = user, password_file
        self._token: str | None = None
        self._doorbell: str | None = None
        self._lock = threading.Lock()

    def trigger(self, dag_id: str, run_id: str, *, conf: Mapping[str, object]) -> None:
        """Start a run; the same run again is accepted.

        Raises
        ------
        RunConflictError
            A run of that id stands for another movie.
        DagNotParsedError
            Airflow does not know the DAG, or cannot read its file.
        SchedulerUnreachableError
            No answer, or Airflow is in trouble itself.
        SchedulerError
            Airflow refuses, for example because `conf` breaks the DAG's schema.
        """
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        answer = self._ask("POST", f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns", json=body)
        if answer.status_code == 409:
            check_same_run(run_id, wanted=conf, found=self._conf_of(dag_id, run_id))
            log.info("run exists already", extra={"dag": dag_id, "run": run_id})
        elif answer.status_code == 404 or (answer.status_code == 400 and not self.is_parsed(dag_id)):
            raise DagNotParsedError(dag_id, problem=self.import_error(f"{dag_id}.py"))
        else:
            _expect(answer, 200, f"run {run_id} of {dag_id}")

    def is_parsed(self, dag_id: str) -> bool:
        """Whether Airflow read the DAG's file without an error and would accept a run."""
        answer = self._ask("GET", f"/api/v2/dags/{quote(dag_id, safe='')}")
        if answer.status_code == 404:
            return False
        dag = _expect(answer, 200, dag_id)
        return not dag["is_stale"] and not dag["has_import_errors"]

    def refresh(self) -> None:
        """Ask Airflow to look at its DAG folder now.

        Before Airflow knows the maintenance DAG there is nothing to ring at, and nothing is done: it looks
        at the folder every few seconds anyway.
        """
        for _ in range(2):
            token = self._doorbell or self._find_doorbell()
            if token is None:
                log.info("the maintenance DAG is not known yet, so the folder is looked at in its own time")
                return
            answer = self._ask("PUT", f"/api/v2/parseDagFile/{quote(token, safe='')}")
            if answer.status_code in {200, 201, 204, 409}:  # 409: one is pending already
                self._doorbell = token
                return
            self._doorbell = None  # its file moved, or the secret that signs tokens changed
        _expect(answer, 201, "looking at the DAG folder")

    def import_error(self, file_name: str) -> str | None:
        """Return why the DAG file of that name could not be read, or None."""
        answer = self._ask("GET", "/api/v2/importErrors", params={"limit": 100, "filename": file_name})
        for error in _expect(answer, 200, "import errors")["import_errors"]:
            if Path(str(error["filename"])).name == file_name:
                return str(error["stack_trace"]).strip()
        return None

    def run_states(self, dag_id: str, run_ids: Collection[str]) -> Mapping[str, RunState]:
        """Return how far runs of a DAG are; a run that Airflow does not know is left out.

        Unfinished runs are read a hundred at a time, since those are usual; the rest are asked for one by one.
        """
        place = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"
        found: dict[str, RunState] = {}
        total, offset = 1, 0
        while offset < total and len(found) < len(run_ids):
            unfinished = {"state": ["queued", "running"], "limit": PAGE, "offset": offset, "order_by": "id"}
            answer = self._ask("GET", place, params=unfinished)
            if answer.status_code == 404:  # the DAG is not known, and so none of its runs
                return {}
            page = _expect(answer, 200, f"runs of {dag_id}")
            found |= {str(run["dag_run_id"]): RunState(run["state"]) for run in page["dag_runs"]}
            total, offset = int(page["total_entries"]), offset + PAGE
        known = {run_id: found[run_id] for run_id in run_ids if run_id in found}
        for run_id in set(run_ids) - known.keys():
            answer = self._ask("GET", f"{place}/{quote(run_id, safe='')}")
            if answer.status_code != 404:
                known[run_id] = RunState(str(_expect(answer, 200, f"run {run_id} of {dag_id}")["state"]))
        return known

    def ensure_pool(self, name: str, slots: int, *, description: str = "") -> None:
        """Make a pool, or give an existing one this number of slots."""
        place = f"/api/v2/pools/{quote(name, safe='')}"
        wanted = {"slots": slots, "description": description, "include_deferred": False}
        answer = self._ask("PATCH", place, json={"pool": name, **wanted})
        if answer.status_code == 404:
            answer = self._ask("POST", "/api/v2/pools", json={"name": name, **wanted})
            _expect(answer, 201, f"pool {name}")
        else:
            _expect(answer, 200, f"pool {name}")

    def health(self) -> Mapping[str, str]:
        """Return the state of each of Airflow's components by name: `healthy`, `unhealthy` or `unknown`."""
        parts = _expect(self._send("GET", "/api/v2/monitor/health"), 200, "Airflow's health")
        return {name: str(part.get("status") or "unknown") for name, part in parts.items()}

    def pool_use(self) -> Mapping[tuple[str, str], int]:
        """Return how many slots of each pool are open, running, queued and so on, by pool and state."""
        pools = _expect(self._ask("GET", "/api/v2/pools", params={"limit": PAGE}), 200, "pools")["pools"]
        states = ("slots", "open_slots", "running_slots", "queued_slots", "scheduled_slots")
        return {
            (str(pool["name"]), state.removesuffix("_slots") if state != "slots" else "all"): int(pool[state])
            for pool in pools
            for state in states
        }

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _conf_of(self, dag_id: str, run_id: str) -> Mapping[str, object]:
        place = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
        conf = _expect(self._ask("GET", place), 200, f"run {run_id} of {dag_id}").get("conf")
        return conf if isinstance(conf, Mapping) else {}

    def _find_doorbell(self) -> str | None:
        answer = self._ask("GET", "/api/v2/dags", params={"dag_id_pattern": DOORBELL_DAG, "limit": 1})
        dags = _expect(answer, 200, "the maintenance DAG")["dags"]
        return str(dags[0]["file_token"]) if dags else None

    def _ask(self, method: str, place: str, **content: Any) -> httpx.Response:  # Any: httpx's own keywords
        """Send a request with a token, renewed once when Airflow no longer takes it."""
        used = self._token or self._log_in(None)
        answer = self._send(method, place, headers={"Authorization": f"Bearer {used}"}, **content)
        if answer.status_code in {401, 403}:  # 401: ran out; 403: signed with a secret that is no longer Airflow's
            fresh = self._log_in(used)
            answer = self._send(method, place, headers={"Authorization": f"Bearer {fresh}"}, **content)
        return answer

    def _log_in(self, refused: str | None) -> str:
        with self._lock:
            if self._token is not None and self._token != refused:
                return self._token  # another thread was first
            try:
                password = self._password_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                message = f"Airflow's password in {self._password_file} cannot be read: {error.strerror}"
                raise ConfigError(message) from error
            answer = self._send("POST", "/auth/token", json={"username": self._user, "password": password})
            self._token = str(_expect(answer, 201, f"logging in as {self._user}")["access_token"])
            return self._token

    def _send(self, method: str, place: str, **content: Any) -> httpx.Response:  # Any: httpx's own keywords
        import httpx

        try:
            answer = self._client.request(method, place, **content)
        except httpx.TransportError as error:
            message = f"Airflow at {self._client.base_url} does not answer ({type(error).__name__})"
            raise SchedulerUnreachableError(message) from error
        if answer.status_code >= 500:
            message = f"Airflow at {self._client.base_url} is in trouble: status {answer.status_code}"
            raise SchedulerUnreachableError(message)
        return answer


def _expect(answer: httpx.Response, status: int, subject: str) -> dict[str, Any]:  # Any: JSON of Airflow
    """Return an answer's JSON object. Raises `SchedulerError` with Airflow's own words for another status."""
    try:
        content = answer.json()
    except ValueError:
        content = answer.text[:500]
    if answer.status_code != status or not isinstance(content, dict):
        words = content.get("detail", content) if isinstance(content, dict) else content
        message = f"Airflow refused ({answer.status_code}) {subject}: {words}"
        raise SchedulerError(message)
    return content
