"""A site with its own explgbk: one table of the facility file, and all pages, with rights from its roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cryodaq.app.follow_logbook import poll
from cryodaq.cli.serving import pages_settings
from cryodaq.config import activate
from cryodaq.domain.experiment import Assignment
from cryodaq.domain.home import Home
from cryodaq.elogbook.dialect import EXPLGBK
from cryodaq.ledger import leases
from cryodaq.logbook.foreign_access import ForeignAccess
from cryodaq.web.application import create_app
from cryodaq.wiring import System

from .conftest import SAMPLE_PARAMS, Site, register

MINE, RESTRICTED = "20261122-CS01", "20261122-CS02"
OURS = {"origin": "http://testserver"}


@dataclass
class ForeignSite:
    """An explgbk with two experiments, and a system that follows it."""

    explgbk: Site
    system: System


@pytest.fixture
def foreign(start_site: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForeignSite]:
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    (definitions / "samples.json").write_text('{"params": [{"param_name": "params.apix", "required": true}]}')
    site = start_site(dialect=EXPLGBK, definitions_folder=definitions)
    with site.as_program("operator1") as operator:
        register(operator, MINE)
        register(operator, RESTRICTED)
        operator.post(f"/lgbk/{RESTRICTED}/ws/add_collaborator", params={"uid": "uid:admin"})  # the program
        operator.post(f"/lgbk/{RESTRICTED}/ws/add_update_experiment_params", json={"is_restricted": "true"})
        operator.post(f"/lgbk/{MINE}/ws/add_collaborator", params={"uid": "uid:reader1"})
    token = tmp_path / "password"
    token.write_text("x")
    facility = tmp_path / "facility.toml"
    facility.write_text(
        f"""
        [elogbook]
        kind = "explgbk"
        url = "{site.base}/cryoem-data"
        user = "admin"
        token_file = "{token}"
        [storage]
        root = "{tmp_path / "storage"}"
        [[microscopes]]
        name = "tem1"
        instrument = "tem1"
        shares = [{{ root = "{tmp_path / "share"}" }}]
        """
    )
    (tmp_path / "home").mkdir()
    activate(facility, home=tmp_path / "home")
    monkeypatch.setenv("CRYODAQ_DATABASE_URL", site.database_url)
    system = System(Home(tmp_path / "home"))
    yield ForeignSite(site, system)
    system.logbook.close()
    system.access_control.close()
    system.engine.dispose()


def test_rights_on_pages_are_those_of_the_foreign_roles(foreign: ForeignSite) -> None:
    now = [0.0]
    access = foreign.system.access_control
    assert isinstance(access, ForeignAccess)
    access.clock = lambda: now[0]
    sessions = {uid: access.log_in(uid, "x") for uid in ("pi1", "reader1", "operator1", "student1")}
    rights = {uid: (access.privileges(s, MINE), access.privileges(s, RESTRICTED)) for uid, s in sessions.items()}
    assert rights["reader1"] == ({"read"}, set())
    assert rights["student1"] == ({"read", "post"}, {"read", "post"})  # by the group cryo-users
    assert "manage_groups" in rights["pi1"][0]
    assert "switch" in rights["operator1"][0]
    assert "read" not in rights["operator1"][1]  # restricted: site-wide roles do not count
    assert access.privileges(sessions["pi1"], "20990101-CNO1") == frozenset()
    person = access.identify(sessions["operator1"])
    assert person is not None
    assert (person.full_name, "switch" in person.privileges) == ("Olive Operator", True)
    with foreign.explgbk.as_program("operator1") as operator:
        operator.post(f"/lgbk/{MINE}/ws/remove_collaborator", params={"uid": "uid:reader1"})
    now[0] += 4
    assert access.privileges(sessions["reader1"], MINE) == frozenset()
    access.log_out(sessions["pi1"])
    assert access.identify(sessions["pi1"]) is None


def test_pages_work_with_the_foreign_password_and_lead_to_the_foreign_elogbook(foreign: ForeignSite) -> None:
    settings = pages_settings(foreign.system)
    assert settings.desk is None
    with TestClient(create_app(settings), follow_redirects=True) as browser:
        wrong = browser.post("/login", data={"user": "reader1", "password": "guess"}, headers=OURS)
        assert "The name or the password is wrong." in wrong.text
        board = browser.post("/login", data={"user": "reader1", "password": "x"}, headers=OURS)
        assert board.status_code == 200
        assert "Rae Reader" in board.text
        assert f"{foreign.explgbk.base}/cryoem-data" in board.text


def test_the_ledger_keeps_when_which_sample_was_current(foreign: ForeignSite) -> None:
    parts = foreign.system.transfer_parts("tem1").following
    with foreign.explgbk.as_program("operator1") as operator:
        for name in ("grid1", "grid2"):
            operator.post(
                f"/lgbk/{MINE}/ws/samples/", json={"name": name, "description": "", "params": SAMPLE_PARAMS}
            ).raise_for_status()
        switch = {"experiment_name": MINE, "instrument": "TEM1", "station": 0}
        operator.post("/lgbk/ws/switch_experiment", json=switch)
        states = []
        for name in ("grid1", "grid2"):
            operator.post(f"/lgbk/{MINE}/ws/make_sample_current", params={"sample_name": name})
            states.append(foreign.system.logbook.current_state("tem1", station=0))
            with parts.engine.begin() as connection:
                lease = leases.acquire(connection, "tem1", holder="a test", at=parts.now())
            poll(parts, under=lease)
    assert [state.assignment for state in states] == [Assignment.SAMPLE] * 2
    engine = foreign.explgbk.engine()
    with engine.connect() as connection:
        seen = connection.exec_driver_sql(
            "SELECT sample_id FROM ledger.current_state WHERE microscope = 'tem1' ORDER BY id"
        ).scalars()
        assert list(seen) == [state.sample.id for state in states if state.sample is not None]
