"""An experiment's page: its people, and whether the files know them already."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from tests.integration.web.conftest import Enter

from cryodaq.domain.access import Grant
from cryodaq.elogbook import accounts
from cryodaq.ledger.readers import save_collaborators
from cryodaq.testing.operated_facility import EXPERIMENT, OperatedFacility

PAGE, PEOPLE = f"/experiments/{EXPERIMENT}", f"/experiments/{EXPERIMENT}/people"


def test_access_to_the_files_is_said_person_by_person(enter: Enter, facility: OperatedFacility) -> None:
    otto = enter("otto")
    assert "no numeric id is known" in otto.get(PAGE).text  # of uwe
    with facility.engine.begin() as connection:
        accounts.add_user(connection, "uwe", full_name="Uwe User", uid_number=5003)
    assert "soon: set while a sample is prepared" in otto.get(PAGE).text
    applied = [Grant(uid="uid:uwe", is_group=False, posix_id=5003), Grant(uid="uid:gone", is_group=False, posix_id=7)]
    with facility.engine.begin() as connection:
        save_collaborators(connection, EXPERIMENT, [asdict(one) for one in applied], at=datetime.now(UTC))
    page = otto.get(PAGE).text
    assert "can read the files" in page
    assert "not listed any more; taken away soon" in page


def test_a_manager_gives_and_takes_roles(enter: Enter, facility: OperatedFacility) -> None:
    otto = enter("otto")
    added = otto.post(PEOPLE, data={"action": "add", "player": "student1", "role": "Writer"})
    assert added.status_code == 303
    otto.post(PEOPLE, data={"action": "toggle", "player": "uid:student1", "role": "Editor"})
    found = {one.uid: one.roles for one in facility.desk().collaborators(facility.session("otto"), EXPERIMENT)}
    assert found["uid:student1"] == ("LogBook/Editor", "LogBook/Writer")
    otto.post(PEOPLE, data={"action": "remove", "player": "uid:student1"})
    assert "student1" not in otto.get(PAGE).text


def test_who_only_reads_changes_nobody_and_a_stranger_sees_nothing(enter: Enter) -> None:
    uwe = enter("uwe")
    page = uwe.get(PAGE)
    assert page.status_code == 200
    assert "Add an account" not in page.text
    assert uwe.post(PEOPLE, data={"action": "remove", "player": "uid:uwe"}).status_code == 409
    assert enter("student1").get(PAGE).status_code == 404


@pytest.mark.parametrize("player", ["", "<script>", "a b", "é" * 10, "x" * 200, "uid:../.."])
def test_a_strange_account_is_refused(enter: Enter, player: str) -> None:
    answer = enter("otto").post(PEOPLE, data={"action": "add", "player": player})
    assert answer.status_code in {404, 409}
