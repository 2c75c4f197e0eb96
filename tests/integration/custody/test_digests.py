"""Collaborators hear of their experiment: what is new, with a picture, and nobody else does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from tests.integration.custody.conftest import Custody
from tests.integration.custody.mail_server import Mailbox, mail_server

from cryodaq.app.notify_people import Notifying, notify
from cryodaq.app.tell_collaborators import Digests, collaborators_channel
from cryodaq.ledger import tables as t
from cryodaq.ports import CollaboratorChannel
from cryodaq.publish.channels.collaborators import CollaboratorEmail, MatrixRooms
from cryodaq.publish.channels.email import SmtpServer

EXPERIMENT = "20261122-CS01"


@dataclass
class Homeserver:
    """As much of a Matrix homeserver as rooms, invitations and pictures need."""

    url: str = ""
    rooms: dict[str, str] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, object]] = field(default_factory=dict)
    pictures: list[bytes] = field(default_factory=list)
    down: bool = False

    def answer(self, method: str, path: str, content: bytes) -> tuple[int, dict[str, object]]:  # noqa: PLR0911  # calls
        if self.down:
            return 503, {"error": "down"}
        parts = unquote(path.partition("?")[0]).removeprefix("/_matrix/").split("/")
        match method, parts[2:] if parts[0] == "client" else parts:
            case "GET", ["account", "whoami"]:
                return 200, {"user_id": "@cryodaq:example.org"}
            case "GET", ["directory", "room", alias]:
                return (
                    (200, {"room_id": self.rooms[alias]}) if alias in self.rooms else (404, {"errcode": "M_NOT_FOUND"})
                )
            case "POST", ["createRoom"]:
                asked = json.loads(content)
                assert (asked["preset"], asked["visibility"]) == ("private_chat", "private")
                self.rooms[f"#{asked['room_alias_name']}:example.org"] = "!1:example.org"
                self.members |= dict.fromkeys(asked["invite"], "invite")
                return 200, {"room_id": "!1:example.org"}
            case "GET", ["rooms", "!1:example.org", "members"]:
                chunk = [{"state_key": who, "content": {"membership": how}} for who, how in self.members.items()]
                return 200, {"chunk": chunk}
            case "POST", ["rooms", "!1:example.org", "invite" | "kick" as call]:
                self.members[json.loads(content)["user_id"]] = {"invite": "invite", "kick": "leave"}[call]
                return 200, {}
            case "PUT", ["rooms", "!1:example.org", "send", "m.room.message", number]:
                self.said[number] = json.loads(content)
                return 200, {"event_id": "$1"}
            case "POST", ["media", "v3", "upload"]:
                self.pictures.append(content)
                return 200, {"content_uri": "mxc://example.org/1"}
        return 404, {"errcode": "M_UNRECOGNIZED"}


@pytest.fixture
def homeserver() -> Iterator[Homeserver]:
    found = Homeserver()

    class Answers(BaseHTTPRequestHandler):
        def _any(self) -> None:
            assert self.headers["Authorization"] == "Bearer sesame"
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = found.answer(self.command, self.path, content)
            said = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = _any  # noqa: N815  # names that http.server asks for

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


def telling(custody: Custody, channel: CollaboratorChannel) -> Notifying:
    digests = Digests(every=timedelta(hours=4), site="EM Basel", web_url="https://daq.example.org/", now=custody.clock)
    return Notifying(
        engine=custody.engine,
        channels=[collaborators_channel(custody.engine, custody.logbook, channel)],
        site="EM Basel",
        zone=ZoneInfo("Europe/Berlin"),
        hold=timedelta(minutes=1),
        alive_at=None,
        now=custody.clock,
        digest=digests.queue,
    )


def by_mail(custody: Custody, mailbox: Mailbox) -> Notifying:
    server = SmtpServer(host="127.0.0.1", port=mailbox.port, encryption="none", sender="cryodaq@example.org")
    return telling(custody, CollaboratorEmail(server, "{uid}@example.org"))


def let_in(custody: Custody, *players: str) -> None:
    for player in players:
        custody.logbook.add_collaborator(EXPERIMENT, player)


def publish(custody: Custody, run: str, *, sample: str = "s1") -> Path:
    """Publish a movie now; return its preview."""
    if sample not in custody.samples:
        custody.logbook.add_sample(EXPERIMENT, "apoferritin", params={})
        custody.add_sample(sample, "apoferritin")
    movie = custody.add_published(custody.samples[sample], run)
    with custody.engine.begin() as connection:
        connection.execute(t.movie.update().where(t.movie.c.id == movie.id).values(published_at=custody.now))
    return Path(movie.layout.preview(run))


def after(custody: Custody, notifying: Notifying, hours: float) -> int:
    custody.now += timedelta(hours=hours)
    return notify(notifying)


def test_the_first_micrograph_is_told_at_once_then_every_few_hours_then_the_end(
    custody: Custody, mailbox: Mailbox
) -> None:
    let_in(custody, "uid:ada", "em-group", "uid:ben", "uid:eve, all@example.org")
    notifying = by_mail(custody, mailbox)
    assert after(custody, notifying, 0.1) == 0
    preview = publish(custody, "m1")
    unfinished = custody.seeder.add_movie(custody.samples["s1"], "m0")
    assert after(custody, notifying, 0.01) == 1
    publish(custody, "m2")
    assert after(custody, notifying, 1) == 0
    assert after(custody, notifying, 3) == 1
    assert after(custody, notifying, 8) == 0
    publish(custody, "m3")
    with custody.engine.begin() as connection:
        connection.execute(t.movie.update().where(t.movie.c.id == unfinished.id).values(state="failed"))
    assert after(custody, notifying, 0.1) == 1  # four hours are long over
    publish(custody, "m4")
    assert after(custody, notifying, 0.1) == 0
    assert after(custody, notifying, 0.1) == 1  # all is done
    first, *_, last = mailbox.mails
    assert mailbox.recipients[0] == ["ada@example.org", "ben@example.org"]
    text = first.get_body().get_content()
    assert f"{EXPERIMENT}: 1 new micrograph." in text
    assert "apoferritin: 1 of 2 movies processed (1 new)" in text
    assert "medians: fit to" in text
    assert "https://daq.example.org/samples/s1" in text
    (picture,) = first.iter_attachments()
    assert picture.get_content_type() == "image/jpeg"
    assert picture.get_content() == preview.read_bytes()
    assert "4 of 5 movies processed (1 new), 1 could not be" in last.get_body().get_content()


def test_what_cannot_be_sent_waits_and_comes_once(custody: Custody, mailbox: Mailbox) -> None:
    let_in(custody, "uid:ada")
    notifying = by_mail(custody, mailbox)
    publish(custody, "m1")
    mailbox.refuses = True
    assert after(custody, notifying, 0.01) == 0
    with custody.engine.connect() as connection:
        alarm = connection.execute(sa.text("select text from ledger.alarm where cleared_at is null")).scalar_one()
    assert alarm.startswith("nobody is told through collaborators: ")
    mailbox.refuses = False
    assert after(custody, notifying, 0.1) == 1
    assert after(custody, notifying, 0.1) == 0
    assert len(mailbox.mails) == 1


def test_old_experiments_are_not_told_of_when_digests_begin(custody: Custody, mailbox: Mailbox) -> None:
    let_in(custody, "uid:ada")
    publish(custody, "m1")
    assert after(custody, by_mail(custody, mailbox), 24 * 30) == 0


def test_each_experiment_has_a_private_room_with_its_collaborators(custody: Custody, homeserver: Homeserver) -> None:
    let_in(custody, "uid:ada")
    notifying = telling(custody, MatrixRooms(homeserver.url, token="sesame", pattern="@{uid}:example.org"))
    preview = publish(custody, "m1")
    assert after(custody, notifying, 0.01) == 1
    assert homeserver.rooms == {"#cryodaq-20261122-cs01:example.org": "!1:example.org"}
    assert homeserver.members == {"@ada:example.org": "invite"}
    assert [one["msgtype"] for one in homeserver.said.values()] == ["m.text", "m.image"]
    assert homeserver.pictures == [preview.read_bytes()]
    custody.logbook.remove_collaborator(EXPERIMENT, "uid:ada")
    let_in(custody, "uid:ben")
    homeserver.members["@guest:example.org"] = "join"  # whom somebody else invited
    publish(custody, "m2")
    assert after(custody, notifying, 5) == 1
    assert homeserver.members == {
        "@ada:example.org": "leave",
        "@ben:example.org": "invite",
        "@guest:example.org": "join",
    }
    publish(custody, "m3")
    homeserver.down = True
    assert after(custody, notifying, 5) == 0
    homeserver.down = False
    assert after(custody, notifying, 0.2) == 1
    assert len(homeserver.said) == 6
