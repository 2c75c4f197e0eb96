"""The embedded elogbook on a free port of this machine, for tests that speak real HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
import uvicorn

from cryodaq.database import open_engine
from cryodaq.domain.experiment import ParameterValue, RegisteredFile
from cryodaq.elogbook import accounts
from cryodaq.elogbook.app import create_app, utc_now
from cryodaq.elogbook.settings import ElogbookSettings
from cryodaq.errors import LogbookError
from cryodaq.testing.fake_logbook import RecordedRun

START_TIMEOUT_S = 20.0


@contextmanager
def running_elogbook(settings: ElogbookSettings, *, clock: Callable[[], datetime] = utc_now) -> Iterator[str]:
    """Serve a migrated database and yield the base URL.

    Parameters
    ----------
    clock
        What the elogbook takes for the time, with an offset.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings, clock=clock), log_config=None, access_log=False, proxy_headers=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="elogbook", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                message = "the elogbook did not start"
                raise RuntimeError(message)
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        listener.close()


OPERATOR = "operator"
PROGRAM = "cryodaq"


class EmbeddedStage:
    """The `LogbookStage` of a running embedded elogbook: an operator who uses its API."""

    def __init__(self, base: str, *, database_url: str, stop: Callable[[], None]) -> None:
        """Make the accounts `operator` (LabPersonnel) and `cryodaq` (Editor), each with its name as token."""
        self.base = base
        self._engine = open_engine(database_url)
        self._stop = stop
        self._client = httpx.Client(base_url=base, auth=(OPERATOR, OPERATOR), timeout=10)
        with self._engine.begin() as connection:
            for uid, role in ((OPERATOR, "LabPersonnel"), (PROGRAM, "Editor")):
                accounts.add_user(connection, uid, full_name=uid.title())
                accounts.store_token(connection, uid, name="test", secret=uid)
                accounts.grant_site_role(connection, f"uid:{uid}", role=role)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._engine.dispose()

    def _send(self, method: str, path: str, **request: Any) -> Any:  # Any: httpx's arguments, a JSON value
        answer = self._client.request(method, path, **request)
        found = answer.json() if answer.status_code == httpx.codes.OK else {}
        if found.get("success") is not True:
            message = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
            raise LogbookError(message)
        return found.get("value")

    def add_instrument(self, instrument: str) -> None:
        """Register a microscope with one station."""
        document = {"_id": instrument, "description": "", "params": {"num_stations": 1}}
        self._send("POST", "/lgbk/ws/instruments/", json=document)

    def add_experiment(self, experiment: str, *, instrument: str) -> None:
        """Register an experiment."""
        document = {
            "instrument": instrument,
            "start_time": "2026-01-01T08:00:00.000Z",
            "end_time": "2026-01-08T08:00:00.000Z",
            "leader_account": "leader",
            "contact_info": "Leader (leader@example.org)",
        }
        query = {"experiment_name": experiment}
        self._send("POST", "/lgbk/ws/register_new_experiment", params=query, json=document)

    def add_sample(self, experiment: str, name: str, *, params: Mapping[str, ParameterValue]) -> str:
        """Register a sample and return its id."""
        document = {"name": name, "description": "", "params": dict(params)}
        self._send("POST", f"/lgbk/{experiment}/ws/samples/", json=document)
        samples = self._send("GET", f"/lgbk/{experiment}/ws/samples")
        return next(str(sample["_id"]) for sample in samples if sample["name"] == name)

    def add_collaborator(self, experiment: str, player: str) -> None:
        """Let `uid:<user>` or a group read an experiment."""
        self._send("POST", f"/lgbk/{experiment}/ws/add_collaborator", params={"uid": player})

    def switch(self, experiment: str, *, instrument: str) -> None:
        """Make an experiment active."""
        document = {"experiment_name": experiment, "instrument": instrument, "station": 0}
        self._send("POST", "/lgbk/ws/switch_experiment", json=document)

    def standby(self, instrument: str) -> None:
        """Make no experiment active."""
        self._send("POST", "/lgbk/ws/instrument_standby", json={"instrument": instrument, "station": 0})

    def make_current(self, experiment: str, sample: str) -> None:
        """Make a sample current."""
        self._send("POST", f"/lgbk/{experiment}/ws/make_sample_current", params={"sample_name": sample})

    def stop_current(self, experiment: str, sample: str) -> None:
        """Make no sample current."""
        self._send("POST", f"/lgbk/{experiment}/ws/stop_current_sample", params={"sample_name": sample})

    def recorded_run(self, experiment: str, run: str) -> RecordedRun | None:
        """Return what is recorded of a run."""
        for found in self._send("GET", f"/lgbk/{experiment}/ws/runs"):
            if found["num"] == run:
                return RecordedRun(
                    sample_name=found["sample"]["name"],
                    begun_at=datetime.fromisoformat(found["begin_time"]),
                    ended_at=None if found["end_time"] is None else datetime.fromisoformat(found["end_time"]),
                    params=found["params"],
                    files=self._recorded_files(experiment, run),
                )
        return None

    def _recorded_files(self, experiment: str, run: str) -> dict[str, RegisteredFile]:
        catalogue = self._send("GET", f"/lgbk/{experiment}/ws/files")
        return {
            found["path"]: RegisteredFile(
                path=found["path"],
                size_bytes=found["size"],
                checksum=found["checksum"],
                created_at=datetime.fromisoformat(found["create_timestamp"]),
                modified_at=datetime.fromisoformat(found["modify_timestamp"]),
            )
            for found in catalogue
            if found["run_num"] == run
        }

    def recorded_notes(self, experiment: str) -> list[str]:
        """Return what programs wrote into an experiment's log."""
        entries = self._send("GET", f"/lgbk/{experiment}/ws/elog")
        return [entry["content"] for entry in entries if entry["author"] == PROGRAM]

    def take_access_away(self) -> None:
        """Disable the program's account."""
        with self._engine.begin() as connection:
            accounts.disable_user(connection, PROGRAM)

    def go_down(self) -> None:
        """Stop the server."""
        self._stop()
