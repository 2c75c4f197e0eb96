"""What those who run the site look up: who changed what, and the microscopes themselves."""

from __future__ import annotations

import pytest
from tests.integration.web.conftest import Enter

from cryodaq.domain.experiment import ParameterValue
from cryodaq.elogbook import accounts
from cryodaq.testing.operated_facility import EARLIER, EXPERIMENT, OperatedFacility
from cryodaq.web.instrument_pages import read_params


@pytest.fixture
def facility(facility: OperatedFacility) -> OperatedFacility:
    with facility.engine.begin() as connection:
        accounts.grant_site_role(connection, "uid:otto", role="SiteAdmin")
        accounts.grant_site_role(connection, "uid:pi1", role="DAQOperators")
    return facility


def test_a_change_stands_with_who_when_from_where_before_and_after(enter: Enter, facility: OperatedFacility) -> None:
    otto = enter("otto")
    otto.post("/instruments/TEM1", data={"description": "the <b>new</b> one", "new_key": "cs", "new_value": "2.7"})
    page = otto.get("/audit").text
    assert "the &lt;b&gt;new&lt;/b&gt; one" in page
    assert "PUT /" in page
    assert "127.0.0.1" in page
    assert "changed: instruments" in page
    with facility.engine.begin() as connection:
        accounts.set_password(connection, "uwe", password="a long enough password")
    changed = otto.get("/audit", params={"table": "account"}).text
    assert "<code>password_hash</code>: never shown" in changed
    assert "argon2" not in changed
    only = otto.get("/audit", params={"table": "instrument", "user": "otto"}).text
    assert "changed: instruments" in only
    assert "switches<br>" not in only
    assert "No change is like that" in otto.get("/audit", params={"user": "nobody<script>"}).text


def test_the_audit_of_an_experiment_is_for_those_who_manage_it(enter: Enter) -> None:
    page = enter("otto").get(f"/experiments/{EXPERIMENT}/audit").text
    assert "added: samples and their parameters" in page
    assert EARLIER not in page
    assert enter("uwe").get(f"/experiments/{EXPERIMENT}/audit").status_code == 403
    assert enter("student1").get(f"/experiments/{EXPERIMENT}/audit").status_code == 404
    assert enter("uwe").get("/audit").status_code == 403


def test_instruments_are_shown_to_staff_and_changed_by_whom_the_elogbook_lets(enter: Enter) -> None:
    pi1, otto = enter("pi1"), enter("otto")
    page = pi1.get("/instruments").text
    assert "in the facility file" in page
    assert "2.70\u00a0mm" in page
    assert "Change" not in page
    assert pi1.post("/instruments/TEM1", data={"description": "mine"}).status_code == 409
    assert otto.post("/instruments/TEM1", data={"description": "x" * 2000}).status_code == 303
    assert otto.post("/instruments/TEM9", data={"description": ""}).status_code == 404
    assert enter("uwe").get("/instruments").status_code == 404


def test_a_number_stays_a_number_and_what_is_emptied_goes() -> None:
    before: dict[str, ParameterValue] = {"cs": 2.7, "tags": "a b", "keV": 300, "elog": "x"}
    sent = {"k:cs": "2,5", "k:tags": "", "k:keV": "soon", "new_key": "colour", "new_value": "blue"}
    assert read_params(sent, before) == {"cs": 2.5, "keV": "soon", "elog": "x", "colour": "blue"}
