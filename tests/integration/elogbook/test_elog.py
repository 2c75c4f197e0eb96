"""The log: threads, tags, attachments, search."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from PIL import Image

from .conftest import Site

BOOK = "/lgbk/20261122-CS01/ws"
Entry = dict[str, Any]


@pytest.fixture
def operator(session_of_two_samples: Site) -> httpx.Client:
    return session_of_two_samples.as_program("operator1")


def post(client: httpx.Client, text: str, *, files: Any = None, **fields: str) -> Entry:
    answer = client.post(f"{BOOK}/new_elog_entry", data={"log_text": text, **fields}, files=files)
    assert answer.json()["success"] is True, answer.text
    return answer.json()["value"]


def texts(answer: httpx.Response) -> list[str]:
    assert answer.json()["success"] is True, answer.text
    return [entry["content"] for entry in answer.json()["value"]]


def test_answers_form_a_thread_and_are_found_by_what_they_say(operator: httpx.Client) -> None:
    operator.post("/run_control/20261122-CS01/ws/start_run", params={"run_num": "FoilHole_7"})
    first = post(operator, "Ice is too thick", log_title="Grid 1", log_tags="ice grid1", run_num="FoilHole_7")
    second = post(operator, "Use a 100 % thinner one", parent=first["_id"])
    third = post(operator, "Done", parent=second["_id"], run_num="current")
    post(operator, "Beam lost", log_tags="ice")
    assert (third["root"], third["parent"]) == (first["_id"], second["_id"])
    assert (first["title"], first["tags"], third["run_num"]) == ("Grid 1", ["ice", "grid1"], "FoilHole_7")
    thread = ["Ice is too thick", "Use a 100 % thinner one", "Done"]
    assert texts(operator.get(f"{BOOK}/elog/{third['_id']}/complete_elog_tree")) == thread
    assert operator.get(f"{BOOK}/get_elog_tags").json()["value"] == ["grid1", "ice"]
    for query, expected in (
        ({"search_text": "t:ice"}, ["Ice is too thick", "Beam lost"]),
        ({"search_text": "thick ICE"}, ["Ice is too thick"]),
        ({"search_text": "100 %"}, ["Use a 100 % thinner one"]),
        ({"search_text": "x:^(done|beam)"}, ["Done", "Beam lost"]),
        ({"run_num": "FoilHole_7"}, ["Ice is too thick", "Done"]),
        ({"_id": second["_id"]}, ["Use a 100 % thinner one"]),
        ({"start_date": "2000-01-01T00:00:00Z", "end_date": "2000-01-02T00:00:00Z"}, []),
    ):
        assert texts(operator.get(f"{BOOK}/search_elog", params=query)) == expected, query


def test_a_changed_entry_keeps_what_it_said_and_a_deleted_one_says_by_whom(operator: httpx.Client) -> None:
    entry = post(operator, "Focus 1.5 um")
    changed = operator.post(
        f"{BOOK}/modify_elog_entry", params={"_id": entry["_id"]}, data={"log_text": "Focus 1.2 um"}
    )
    now, before = operator.get(f"{BOOK}/elog").json()["value"]
    assert (now["content"], now["previous_version"]) == ("Focus 1.2 um", before["_id"])
    assert changed.json()["value"] == now
    assert (before["content"], before["parent"], before["deleted_by"]) == ("Focus 1.5 um", entry["_id"], "operator1")
    assert operator.delete(f"{BOOK}/delete_elog_entry", params={"_id": entry["_id"]}).json() == {"success": True}
    found = operator.get(f"{BOOK}/elog").json()["value"][0]
    assert (found["content"], found["deleted_by"]) == ("Focus 1.2 um", "operator1")
    again = operator.post(f"{BOOK}/modify_elog_entry", params={"_id": entry["_id"]}, data={"log_text": "Focus"})
    assert again.json()["success"] is False


def test_a_picture_is_shown_small_and_a_file_is_only_saved(operator: httpx.Client) -> None:
    picture = io.BytesIO()
    Image.new("L", (600, 300), 128).save(picture, "PNG")
    files = [
        ("files", ("atlas.png", picture.getvalue(), "image/png")),
        ("files", ("../notes.txt", b"defocus -1.5", "text/csv")),
    ]
    atlas, notes = post(operator, "Atlas", files=files)["attachments"]
    assert (atlas["name"], atlas["type"], notes["name"], notes["type"]) == (
        "atlas.png",
        "image/png",
        "notes.txt",
        "text/csv",
    )
    small = operator.get(f"{BOOK}/{atlas['preview_url']}")
    assert Image.open(io.BytesIO(small.content)).size == (128, 64)
    assert operator.get(f"{BOOK}/{atlas['url']}").content == picture.getvalue()
    saved = operator.get(f"{BOOK}/{notes['url']}")
    assert (saved.content, "preview_url" in notes) == (b"defocus -1.5", False)
    assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''notes.txt"
    assert saved.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in saved.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"<svg onload=alert(1)>", "image/svg+xml", 400),
        (b" \n<HTML><script>1</script>", "text/plain", 400),
        (b"\x7fELF\0\0", "application/octet-stream", 400),
        (b"hello", "image/png", 400),
        (b"x" * (6 * 1_048_576 + 1), "text/plain", 413),
    ],
)
def test_an_attachment_that_could_do_harm_is_refused_with_its_entry(
    operator: httpx.Client, content: bytes, kind: str, status: int
) -> None:
    answer = operator.post(f"{BOOK}/new_elog_entry", data={"log_text": "look"}, files=[("files", ("a", content, kind))])
    assert answer.status_code == status, answer.text
    assert operator.get(f"{BOOK}/elog").json()["value"] == []


def test_an_entry_needs_words_a_known_run_and_a_known_parent(operator: httpx.Client) -> None:
    blank = operator.post(f"{BOOK}/new_elog_entry", data={"log_text": " \n"})
    assert (blank.status_code, blank.text) == (400, "Cannot post an empty message")
    unknown = operator.post(f"{BOOK}/new_elog_entry", data={"log_text": "a", "run_num": "12"}).json()
    assert unknown["success"] is False
    assert operator.post(f"{BOOK}/new_elog_entry", data={"log_text": "a", "parent": "f" * 24}).status_code == 404
    assert operator.get(f"{BOOK}/search_elog", params={"search_text": "x:("}).status_code == 400


def test_an_automatic_entry_that_is_sent_again_is_written_once(operator: httpx.Client) -> None:
    first = post(operator, "Alarm: share is full", once="alarm-17", author="cryodaq")
    assert post(operator, "Alarm: share is full", once="alarm-17") == first
    assert first["author"] == "cryodaq"
    assert len(operator.get(f"{BOOK}/elog").json()["value"]) == 1


def test_an_entry_can_go_into_the_instruments_own_log_too(session_of_two_samples: Site, operator: httpx.Client) -> None:
    from .conftest import register

    register(operator, "20261122-CLOG")
    params = {"num_stations": 1, "elog": "20261122-CLOG nowhere"}
    operator.put("/lgbk/ws/instruments/TEM1", json={"params": params})
    assert operator.get(f"{BOOK}/get_instrument_elogs").json()["value"] == ["20261122-CLOG"]
    post(operator, "Pump failed", xpost_instrument_elog="on", files=[("files", ("log.txt", b"Torr", "text/plain"))])
    copied = operator.get("/lgbk/20261122-CLOG/ws/elog").json()["value"]
    assert [(entry["content"], entry["attachments"][0]["name"]) for entry in copied] == [("Pump failed", "log.txt")]


def test_who_may_only_read_writes_nothing(session_of_two_samples: Site, operator: httpx.Client) -> None:
    operator.post(f"{BOOK}/add_collaborator", params={"uid": "uid:reader1"})
    with session_of_two_samples.as_program("reader1") as reader:
        assert reader.get(f"{BOOK}/elog").status_code == 200
        assert reader.post(f"{BOOK}/new_elog_entry", data={"log_text": "a"}).status_code == 403
