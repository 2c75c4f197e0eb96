"""A running elogbook with the people of the recorded conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from cryodaq.database import open_engine
from cryodaq.elogbook import accounts
from cryodaq.elogbook.settings import ElogbookSettings, FileLocation
from cryodaq.testing.elogbook import running_elogbook

PEOPLE = {
    "operator1": ("Olive Operator", 5001),
    "airflow": ("Airflow Robot", 5002),
    "pi1": ("Paula Investigator", 5003),
    "student1": ("Sam Student", 5004),
    "reader1": ("Rae Reader", 5005),
    "admin": ("Ada Admin", 5006),
    "tem1opr": ("TEM1 operator account", 5010),
}
PASSWORD = "a long enough password"
LOCATIONS = (FileLocation(name="SLAC"), FileLocation(name="TAPE", all_experiments=False))
SAMPLE_PARAMS = {
    "imaging_method": "single-particle",
    "imaging_software": "EPU",
    "imaging_format": ".tif",
    "superres": "0.0",
    "apix": 0.82,
    "fmdose": 1.1,
    "total_dose": 55.0,
    "frame_duration": 0.05,
    "exposure_time": 2.5,
    "phase_plate": "0",
    "preprocess/enable": "1.0",
}


@dataclass(frozen=True)
class Site:
    """A running elogbook and its database; what is opened with it is closed with it."""

    base: str
    database_url: str
    opened: ExitStack = field(default_factory=ExitStack)

    def as_program(self, user: str) -> httpx.Client:
        return self.client(auth=(user, "x"))

    def anonymous(self) -> httpx.Client:
        return self.client()

    def client(self, **how: Any) -> httpx.Client:
        made = httpx.Client(base_url=self.base, timeout=10, **how)
        self.opened.callback(made.close)
        return made

    def engine(self) -> sa.Engine:
        made = open_engine(self.database_url)
        self.opened.callback(made.dispose)
        return made


def add_people(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        for uid, (full_name, number) in PEOPLE.items():
            accounts.add_user(connection, uid, full_name=full_name, uid_number=number)
            accounts.store_token(connection, uid, name="test", secret="x")
        for group, number, uids in (("cryo-users", 7001, {"student1", "pi1"}), ("cryo-daq", 7002, {"airflow"})):
            accounts.add_group(connection, group, gid_number=number)
            accounts.set_group_members(connection, group, uids=frozenset(uids))
        for uid, role in (("admin", "SiteAdmin"), ("operator1", "LabPersonnel"), ("airflow", "Writer")):
            accounts.grant_site_role(connection, f"uid:{uid}", role=role)
    engine.dispose()


@pytest.fixture
def start_site(database_url: str) -> Iterator[Callable[..., Site]]:
    """Starts an elogbook with the recorded people; keyword arguments go to its settings and server."""
    add_people(database_url)
    with ExitStack() as stack:

        def start(*, clock: Callable[..., object] | None = None, **settings: object) -> Site:
            whole = {"file_locations": LOCATIONS, **settings}
            chosen = ElogbookSettings(database_url=database_url, **whole)  # type: ignore[arg-type]
            extra = {} if clock is None else {"clock": clock}
            base = stack.enter_context(running_elogbook(chosen, **extra))  # type: ignore[arg-type]
            return Site(base, database_url, stack.enter_context(ExitStack()))

        yield start


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    return start_site()


@pytest.fixture
def session_of_two_samples(site: Site) -> Site:
    """TEM1 with the experiment 20261122-CS01 active and the samples grid1 and grid2, none current."""
    with site.as_program("operator1") as operator:
        register(operator, "20261122-CS01")
        for name in ("grid1", "grid2"):
            answer = operator.post(
                "/lgbk/20261122-CS01/ws/samples/", json={"name": name, "description": "", "params": SAMPLE_PARAMS}
            )
            assert answer.json() == {"success": True}
        switch = {"experiment_name": "20261122-CS01", "instrument": "TEM1", "station": 0}
        assert operator.post("/lgbk/ws/switch_experiment", json=switch).json() == {"success": True}
    return site


def register(operator: httpx.Client, name: str, *, instrument: str = "TEM1") -> None:
    known = {found["_id"] for found in operator.get("/lgbk/ws/instruments").json()["value"]}
    if instrument not in known:
        document = {"_id": instrument, "description": "Krios", "params": {"num_stations": 1, "operator_uid": "tem1opr"}}
        assert operator.post("/lgbk/ws/instruments/", json=document).status_code == 200
    answer = operator.post(
        "/lgbk/ws/register_new_experiment", params={"experiment_name": name}, json=experiment(instrument)
    )
    assert answer.json() == {"success": True}, answer.text


def experiment(instrument: str = "TEM1") -> dict[str, object]:
    return {
        "instrument": instrument,
        "start_time": "2026-11-22T08:00:00.000Z",
        "end_time": "2026-11-24T07:00:00.000Z",
        "leader_account": "pi1",
        "contact_info": "Paula Investigator (pi1@example.org)",
        "description": "ribosome",
        "posix_group": "cryo-users",
        "params": {},
    }
