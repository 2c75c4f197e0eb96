"""An experiment's log at the pages: threads, tags, search, files that can do no harm, and the rights to it."""

from __future__ import annotations

import io

from PIL import Image
from tests.integration.web.conftest import Enter

from cryodaq.testing.operated_facility import EARLIER, EXPERIMENT, OperatedFacility

LOG = f"/experiments/{EXPERIMENT}/log"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (40, 30), 128).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_entry_with_a_picture_is_answered_found_and_shown(enter: Enter, facility: OperatedFacility) -> None:
    olga = enter("olga")
    said = {"log_title": "Grid 4", "log_text": "ice is <b>thin</b>", "log_tags": "ice grid4"}
    files = {"files": ("square 1.png", png(), "image/png")}
    assert olga.post(LOG, data=said, files=files).status_code == 303
    text = olga.get(LOG).text
    assert "ice is &lt;b&gt;thin&lt;/b&gt;" in text
    entry = facility.desk().log(facility.session("olga"), EXPERIMENT)[-1]
    (attached,) = entry.attachments
    picture = olga.get(f"{LOG}/{entry.id}/{attached.id}?name=square%201.png")
    assert (picture.content, picture.headers["content-type"]) == (png(), "image/png")
    assert "sandbox" in picture.headers["content-security-policy"]
    assert olga.get(f"{LOG}/{entry.id}/{attached.id}?small=1").status_code == 200
    answer = {"log_text": "agreed", "parent": entry.id}
    assert olga.post(LOG, data=answer, files={"files": ("", b"")}).status_code == 303
    thread = olga.get(LOG).text
    assert thread.index("thin") < thread.index("agreed")
    assert thread.count('class="card thread"') < thread.count('class="entry"')
    assert "agreed" in olga.get(f"{LOG}?q=agreed").text
    assert "Nothing matches" in olga.get(f"{LOG}?q=t:nothing").text
    assert "Grid 4" in olga.get(f"{LOG}?q=t:ice").text


def test_what_is_refused_is_said_and_what_was_written_is_not_lost(enter: Enter, facility: OperatedFacility) -> None:
    olga = enter("olga")
    page = b"<!doctype html><script>alert(1)</script>"
    answer = olga.post(LOG, data={"log_text": "look at this"}, files={"files": ("x.html", page, "text/html")})
    assert answer.status_code == 422
    assert "Nothing was written" in answer.text
    assert "look at this</textarea>" in answer.text
    huge = olga.post(LOG, data={"log_text": "x"}, files={"files": ("x.txt", b"x" * 26_000_000, "text/plain")})
    assert huge.status_code == 413


def test_readers_read_and_others_see_nothing(enter: Enter, facility: OperatedFacility) -> None:
    uwe = enter("uwe")
    student = enter("student1")
    assert uwe.get(LOG).status_code == 200
    assert "Write an entry" not in uwe.get(LOG).text
    refused = uwe.post(LOG, data={"log_text": "me too"})
    assert refused.status_code == 422
    assert "me too" not in " ".join(e.content for e in facility.desk().log(facility.session("olga"), EXPERIMENT))
    for path in (LOG, f"{LOG}/a/b"):
        assert student.get(path).status_code == 404
    assert student.post(LOG, data={"log_text": "x"}).status_code == 404
    assert uwe.get(f"/experiments/{EARLIER}/log").status_code == 404


def test_who_reads_can_have_new_entries_sent_and_end_it(enter: Enter, facility: OperatedFacility) -> None:
    uwe = enter("uwe")
    assert "Send me new entries" in uwe.get(LOG).text
    assert uwe.post(f"{LOG}/mail", data={"wanted": "true"}).status_code == 303
    assert "End these e-mails" in uwe.get(LOG).text
    assert "Send me new entries" in enter("olga").get(LOG).text, "each for oneself"
    assert uwe.post(f"{LOG}/mail", data={"wanted": "false"}).status_code == 303
    assert "Send me new entries" in uwe.get(LOG).text
    assert uwe.post(f"{LOG}/mail", data={"wanted": "perhaps"}).status_code == 404
    assert enter("student1").post(f"{LOG}/mail", data={"wanted": "true"}).status_code == 404
