"""Operators decide at the pages; the elogbook says who may, and nothing is changed by half."""

from __future__ import annotations

import re
from dataclasses import asdict

import httpx
from sqlalchemy import update
from tests.integration.web.conftest import Enter

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.ledger import tables as t
from cryodaq.testing.operated_facility import EARLIER, EXPERIMENT, PARAMS, OperatedFacility

NEW = {
    "experiment": "new",
    "begins": "2026-11-23",
    "proposal": "CX07",
    "days": "3",
    "leader": "pi1",
    "sample_name": "ribosome",
    "accept": "yes",
    **{f"p:{key}": str(value) for key, value in PARAMS.items()},
}


def seen(client: httpx.Client, page: str = "/microscopes/tem1/new") -> str:
    """Return what the page's form says was active."""
    found = re.search(r'name="seen" value="([^"]*)"', client.get(page).text)
    assert found is not None
    return found[1]


def test_a_microscopes_computers_are_named_on_its_page(enter: Enter) -> None:
    text = enter("olga").get("/microscopes/tem1").text
    assert re.search(r"control .*tem1-control.* · camera .*tem1-camera", text)


def test_only_those_who_may_switch_see_the_pages_that_do(enter: Enter) -> None:
    uwe = enter("uwe")
    for path in ("/microscopes/tem1/switch", "/microscopes/tem1/new", "/microscopes/tem1/switch/confirm?action=stop"):
        answer = uwe.get(path)
        assert answer.status_code == 403
        assert "may not switch TEM1" in answer.text
    assert "/microscopes/tem1/switch" not in uwe.get("/microscopes/tem1").text
    assert uwe.post("/microscopes/tem1/switch", data={"action": "standby"}).status_code == 403
    assert uwe.post("/microscopes/tem1/new", data=NEW).status_code == 403
    assert enter("olga").get("/microscopes/tem9/switch").status_code == 404


def test_a_whole_session_begins_with_one_form(enter: Enter, facility: OperatedFacility) -> None:
    olga = enter("olga")
    answer = olga.post("/microscopes/tem1/new", data={**NEW, "seen": seen(olga), "person": ["student1", "uwe"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/microscopes/tem1")
    desk, session = facility.desk(), facility.session("olga")
    active = desk.active(session, "TEM1", station=0)
    assert (active.experiment, active.sample, active.switched_by) == ("20261123-CX07", "ribosome", "olga")
    (sample,) = desk.samples(session, "20261123-CX07")
    assert sample.params == dict(PARAMS)
    here = {person.uid for person in desk.collaborators(session, "20261123-CX07")}
    assert {"uid:pi1", "uid:student1", "uid:uwe"} <= here
    again = olga.post("/microscopes/tem1/new", data={**NEW, "seen": seen(olga), "person": "uwe"})
    assert again.status_code == 303


def test_doubts_must_be_looked_at_first(enter: Enter, facility: OperatedFacility) -> None:
    olga = enter("olga")
    doubtful = {key: value for key, value in NEW.items() if key != "accept"} | {"p:total_dose": "60"}
    answer = olga.post("/microscopes/tem1/new", data={**doubtful, "seen": seen(olga)})
    assert answer.status_code == 422
    assert "the total dose says 60" in answer.text
    assert 'value="ribosome"' in answer.text  # nothing that was written is lost
    assert facility.desk().active(facility.session("olga"), "TEM1", station=0).experiment == EXPERIMENT
    checks = olga.post("/microscopes/tem1/new/checks", data=doubtful)
    assert "the total dose says 60" in checks.text
    assert "/share is mounted" in checks.text


def test_parameters_unlike_the_last_exposure_must_be_looked_at(enter: Enter, facility: OperatedFacility) -> None:
    movie = facility.seed.add_movie(facility.sample, "m1")
    said = AcquisitionMetadata(source="m1.xml", pixel_size_ang=2 * PARAMS["apix"], voltage_kv=300.0)
    with facility.engine.begin() as connection:
        connection.execute(update(t.movie).where(t.movie.c.id == movie.id).values(metadata=asdict(said)))
    olga = enter("olga")
    sent = {key: value for key, value in NEW.items() if key != "accept"}
    assert "was taken otherwise: pixel size" in olga.post("/microscopes/tem1/new/checks", data=sent).text
    assert olga.post("/microscopes/tem1/new", data={**sent, "seen": seen(olga)}).status_code == 422
    assert olga.post("/microscopes/tem1/new", data={**NEW, "seen": seen(olga)}).status_code == 303


def test_a_wrong_field_is_marked_and_nothing_is_changed(enter: Enter, facility: OperatedFacility) -> None:
    olga = enter("olga")
    answer = olga.post(
        "/microscopes/tem1/new", data={**NEW, "seen": seen(olga), "p:apix": "<script>", "proposal": "../x"}
    )
    assert answer.status_code == 422
    assert "<script>" not in answer.text.replace("<script src", "")
    assert answer.text.count('aria-invalid="true"') == 2
    names = [one.name for one in facility.desk().experiments(facility.session("olga"), instrument="TEM1")]
    assert names == [EXPERIMENT, EARLIER]


def test_a_refused_step_says_what_was_done_before_and_the_form_can_be_sent_again(
    enter: Enter, facility: OperatedFacility
) -> None:
    olga = enter("olga")
    taken = {**NEW, "experiment": EXPERIMENT, "sample_name": "apoferritin", "p:apix": "1.0", "seen": seen(olga)}
    answer = olga.post("/microscopes/tem1/new", data={**taken, "person": "student1"})
    assert answer.status_code == 422
    assert "Sample apoferritin already exists" in answer.text
    assert "Done before: adding student1" in answer.text
    answer = olga.post("/microscopes/tem1/new", data={**taken, "sample_name": "apo 2", "person": "student1"})
    assert answer.status_code == 303
    assert facility.desk().active(facility.session("olga"), "TEM1", station=0).sample == "apo 2"


def test_of_two_operators_the_slower_one_changes_nothing(enter: Enter, facility: OperatedFacility) -> None:
    olga, otto = enter("olga"), enter("otto")
    page = f"/microscopes/tem1/switch/confirm?action=switch&experiment={EARLIER}"
    hers, his = seen(olga, page), seen(otto, "/microscopes/tem1/switch/confirm?action=standby")
    done = olga.post("/microscopes/tem1/switch", data={"action": "switch", "experiment": EARLIER, "seen": hers})
    assert done.status_code == 303
    late = otto.post("/microscopes/tem1/switch", data={"action": "standby", "seen": his})
    assert late.status_code == 409
    assert f"Meanwhile TEM1 was switched (by olga): active is {EARLIER}" in late.text
    assert facility.desk().active(facility.session("otto"), "TEM1", station=0).experiment == EARLIER
    history = olga.get("/microscopes/tem1/switch").text
    assert history.index(EARLIER) < history.rindex(EXPERIMENT)


def test_a_switch_says_before_what_will_happen(enter: Enter, facility: OperatedFacility) -> None:
    facility.seed.add_file(facility.sample, "m1", state="complete")
    facility.seed.add_movie(facility.sample, "m2", state="processing")
    olga = enter("olga")
    text = olga.get(f"/microscopes/tem1/switch/confirm?action=switch&experiment={EARLIER}").text
    assert "1\u00a0movie to copy and 1\u00a0movie to process of apoferritin are still to be finished" in text
    assert f"No sample is current in {EARLIER}" in text
    stop = olga.get("/microscopes/tem1/switch/confirm?action=stop&sample=apoferritin").text
    assert "movies that are collected all the same go to quarantine" in stop
    done = olga.post(
        "/microscopes/tem1/switch",
        data={
            "action": "stop",
            "sample": "apoferritin",
            "seen": seen(olga, "/microscopes/tem1/switch/confirm?action=stop"),
        },
    )
    assert done.status_code == 303
    assert facility.desk().active(facility.session("olga"), "TEM1", station=0).sample is None


def test_people_are_found_by_a_part_of_their_account(enter: Enter) -> None:
    olga = enter("olga")
    assert olga.get("/people?q=stud").json() == [{"uid": "student1", "full_name": "Sam Student"}]
    assert olga.get("/people?q=*").json() == []


def test_an_earlier_sample_that_one_may_not_read_cannot_be_copied(enter: Enter, facility: OperatedFacility) -> None:
    olga = enter("olga")
    assert 'name="p:apix" value="0.82"' in olga.get(f"/microscopes/tem1/new?copy={facility.sample.id}").text
    assert olga.get(f"/microscopes/tem1/new?copy={'b' * 24}").status_code == 404
