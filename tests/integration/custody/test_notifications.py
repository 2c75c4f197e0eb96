"""Alarms leave the building: each once when it begins and once when it ends, through a real SMTP server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from tests.integration.custody.conftest import NOON, Crash, Custody
from tests.integration.custody.mail_server import Mailbox, mail_server

from cryodaq.app.compare_clocks import tell_clock_of_node, tell_clock_of_transfer
from cryodaq.app.notify_people import Channel, Notifying, notify, send_at_once
from cryodaq.app.tell_failing_task import telling_failure
from cryodaq.app.watch_facility import Watcher, Watching
from cryodaq.database import open_engine
from cryodaq.domain.notifications import Message, MessageKind
from cryodaq.errors import LeaseLostError, NotificationError
from cryodaq.ledger import notifications
from cryodaq.ledger.events import Severity, Subject, clear_alarm, raise_alarm
from cryodaq.ledger.observations import Observation, record_observation
from cryodaq.publish.channels.email import EmailNotifier, SmtpServer
from cryodaq.publish.channels.webhook import FORMS, MatrixNotifier, WebhookNotifier

HOLD = timedelta(minutes=1)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


def email(mailbox: Mailbox, **about: object) -> EmailNotifier:
    server = SmtpServer(host="127.0.0.1", port=mailbox.port, encryption="none", sender="cryodaq@example.org")
    return EmailNotifier(replace(server, **about), ["staff@example.org", "night@example.org"])  # type: ignore[arg-type]  # test helper


def staff(notifier: EmailNotifier | WebhookNotifier, *, name: str = "staff", **about: object) -> Channel:
    channel = Channel(
        name=name, notifier=notifier, least_severity="warning", microscopes=frozenset({"tem1"}), says_alive=True
    )
    return replace(channel, **about)  # type: ignore[arg-type]  # test helper


def telling(custody: Custody, *channels: Channel, alive_at: time | None = None) -> Notifying:
    return Notifying(
        engine=custody.engine,
        channels=channels,
        site="EM Basel",
        zone=ZoneInfo("Europe/Berlin"),
        hold=HOLD,
        alive_at=alive_at,
        now=custody.clock,
    )


def alarm(custody: Custody, text: str | None, *, key: str = "share:tem1", severity: Severity = "error") -> None:
    with custody.engine.begin() as connection:
        if text is None:
            clear_alarm(connection, key, at=custody.now)
        else:
            subject = Subject(microscope=key.partition(":")[2])
            raise_alarm(connection, key, severity=severity, message=text, at=custody.now, subject=subject)


def after(custody: Custody, notifying: Notifying, minutes: float) -> int:
    custody.now += timedelta(minutes=minutes)
    return notify(notifying)


def test_one_mail_when_it_begins_and_one_when_it_is_over(custody: Custody, mailbox: Mailbox) -> None:
    notifying = telling(custody, staff(email(mailbox)))
    alarm(custody, "tem1: /mnt/tem1 is not mounted\nSubject: forged")
    assert after(custody, notifying, 0.5) == 0  # it may pass
    assert after(custody, notifying, 1) == 1
    assert after(custody, notifying, 60) == 0
    alarm(custody, None)
    assert after(custody, notifying, 0.5) == 0
    assert after(custody, notifying, 1) == 1
    raised, over = mailbox.mails
    assert raised["Subject"] == "[EM Basel] ERROR: tem1: /mnt/tem1 is not mounted Subject: forged"
    assert over["Subject"].startswith("[EM Basel] over: tem1")
    assert mailbox.recipients[0] == ["staff@example.org", "night@example.org"]
    assert raised["Message-ID"] == "<incident-1-raised@cryodaq.example.org>"


def test_an_alarm_that_flutters_is_one_incident(custody: Custody, mailbox: Mailbox) -> None:
    notifying = telling(custody, staff(email(mailbox)))
    for _ in range(10):
        alarm(custody, "stalls")
        after(custody, notifying, 2)
        alarm(custody, None)
        after(custody, notifying, 0.5)
    assert len(mailbox.mails) == 1
    after(custody, notifying, 2)
    assert [mail["Subject"].split("] ")[1][:5] for mail in mailbox.mails] == ["ERROR", "over:"]


def test_who_is_on_call_hears_of_their_microscope_and_of_what_is_severe(custody: Custody, mailbox: Mailbox) -> None:
    day = staff(email(mailbox), name="day", microscopes=frozenset({"tem2"}))
    night = staff(email(mailbox), name="night", least_severity="error")
    notifying = telling(custody, day, night)
    alarm(custody, "for tem1", key="a:tem1", severity="warning")
    alarm(custody, "for tem2", key="b:tem2", severity="warning")
    alarm(custody, "bad for tem1", key="c:tem1", severity="error")
    alarm(custody, "only said", key="d:tem1", severity="notice")
    assert after(custody, notifying, 2) == 2
    with custody.engine.connect() as connection:
        sent = connection.execute(sa.text("select channel, message->>'text' from ledger.outgoing order by 1")).all()
    assert [tuple(row) for row in sent] == [("day", "for tem2"), ("night", "bad for tem1")]


def test_silence_holds_for_its_hours_and_tells_what_still_stands(custody: Custody, mailbox: Mailbox) -> None:
    notifying = telling(custody, staff(email(mailbox)))
    with custody.engine.begin() as connection:
        until = custody.now + timedelta(hours=2)
        notifications.add_silence(connection, "share:", until=until, asked_by="operator", at=custody.now)
    alarm(custody, "not mounted")
    alarm(custody, "passes", key="share:tem1b")
    assert after(custody, notifying, 5) == 0
    alarm(custody, None, key="share:tem1b")
    assert after(custody, notifying, 60) == 0
    assert after(custody, notifying, 60) == 1
    assert "not mounted" in mailbox.mails[0]["Subject"]


def test_a_message_that_is_not_taken_is_kept_and_comes_once(custody: Custody, mailbox: Mailbox) -> None:
    notifying = telling(custody, staff(email(mailbox)))
    mailbox.refuses = True
    alarm(custody, "not mounted")
    assert after(custody, notifying, 2) == 0
    assert [row["key"] for row in custody.rows("alarm")] == ["share:tem1", "notify:staff"]
    mailbox.refuses = False
    assert after(custody, notifying, 0.01) == 0  # not at once
    assert after(custody, notifying, 0.5) == 1
    assert [row["cleared_at"] is None for row in custody.rows("alarm")] == [True, False]


def test_a_crash_after_sending_sends_the_same_id_again(custody: Custody, mailbox: Mailbox) -> None:
    """Nobody can send and record in one step: e-mail programs know the second by its Message-ID."""
    real = email(mailbox)

    class EndsAfterSending(EmailNotifier):
        def send(self, message: Message) -> None:
            real.send(message)
            raise Crash

    alarm(custody, "not mounted")
    ending = EndsAfterSending(SmtpServer(host="", port=1, encryption="none", sender="x@y"), [])
    with pytest.raises(Crash):
        after(custody, telling(custody, staff(ending)), 2)
    assert after(custody, telling(custody, staff(real)), 1) == 1
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 1
    assert after(custody, telling(custody, staff(real)), 60) == 0


def test_once_a_day_somebody_says_that_it_watches(custody: Custody, mailbox: Mailbox) -> None:
    alarm(custody, "tem1 stalls", severity="warning")
    notifying = telling(
        custody,
        staff(email(mailbox), least_severity="error"),
        staff(email(mailbox), name="quiet", least_severity="error", says_alive=False),
        alive_at=time(14, 0),
    )
    assert after(custody, notifying, 30) == 0  # NOON is 13:00 in Basel
    assert after(custody, notifying, 31) == 1
    assert after(custody, notifying, 60) == 0
    assert "1 alarms stand: tem1 stalls" in mailbox.mails[0].get_content()
    assert after(custody, notifying, 24 * 60) == 1


def test_a_server_that_asks_who_we_are_is_told(custody: Custody) -> None:
    with mail_server(user="cryodaq", password="secret") as found:  # the test's own
        notifying = telling(custody, staff(email(found, user="cryodaq", password="secret")))
        send_at_once(notifying, notifying.channels[0], "a test", kind=MessageKind.TEST, severity="notice")
        assert found.mails[0]["Subject"] == "[EM Basel] test: a test"
        with pytest.raises(NotificationError) as caught:
            email(found, user="cryodaq", password="geheim").send(message())
    assert "geheim" not in str(caught.value)
    with pytest.raises(NotificationError, match="did not take"):
        email(found).send(message())


def message(**about: object) -> Message:
    made = Message(
        id="incident-7-raised",
        kind=MessageKind.RAISED,
        severity="error",
        text="TEM1 <fills> & stops",
        at=NOON,
        site="EM",
        microscope="tem1",
        key="filling:tem1",
    )
    return replace(made, **about)  # type: ignore[arg-type]  # test helper


@pytest.mark.parametrize("form", sorted(FORMS))
def test_webhooks_speak_the_forms_of_chats(form: str) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    url = "https://hooks.example/T0/secret"
    WebhookNotifier(url, FORMS[form], transport=httpx.MockTransport(answer)).send(message())
    body = json.loads(seen[0].content)
    assert str(seen[0].url) == url
    if form == "slack":
        assert body == {"text": "[EM] ERROR: TEM1 &lt;fills&gt; &amp; stops"}
    elif form == "teams":
        card = body["attachments"][0]["content"]
        assert (card["type"], card["body"][0]["color"]) == ("AdaptiveCard", "Attention")
    else:
        assert (body["key"], body["microscope"], body["kind"]) == ("filling:tem1", "tem1", "raised")


def test_matrix_is_given_the_id_by_which_it_knows_a_message() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"event_id": "$1"})

    notifier = MatrixNotifier("https://m.example", "!abc:m.example", token="t0k", transport=httpx.MockTransport(answer))
    notifier.send(message())
    path = "/_matrix/client/v3/rooms/!abc:m.example/send/m.room.message/incident-7-raised"
    assert (seen[0].method, seen[0].url.path) == ("PUT", path)
    assert seen[0].headers["Authorization"] == "Bearer t0k"


@pytest.mark.parametrize("status", [302, 404, 500, None])
def test_what_a_chat_refuses_is_said_without_its_address(status: int | None) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if status is None:
            raise httpx.ConnectError(str(request.url))
        return httpx.Response(status, text="no such hook")

    notifier = WebhookNotifier("https://hooks.example/secret", FORMS["slack"], transport=httpx.MockTransport(answer))
    with pytest.raises(NotificationError) as caught:
        notifier.send(message())
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def watcher(
    custody: Custody,
    channel: Channel,
    *,
    engine: Engine | None = None,
    state_folder: Path | None = None,
    followed: bool = False,
    problem: Callable[[], str | None] = lambda: None,
) -> tuple[Watcher, list[float]]:
    """Return a watcher and its monotonic clock, which the test sets."""
    steady = [0.0]
    notifying = replace(telling(custody, channel), engine=engine or custody.engine)
    watching = Watching(
        notifying=notifying,
        filling_alarm_h={"tem1": 12.0},
        state_folders=[state_folder or Path.cwd()],
        microscopes=["tem1"] if followed else [],
        facility_problem=problem,
        clock=lambda: steady[0],
    )
    return Watcher(watching), steady


def keys(custody: Custody) -> list[str]:
    return [row["key"].partition(":")[0] for row in custody.rows("alarm") if row["cleared_at"] is None]


def test_a_share_that_fills_up_is_told_with_the_hours_left(custody: Custody, mailbox: Mailbox) -> None:
    custody.now = datetime.now(UTC)
    sample = custody.add_sample("6258a1f2c0ffee0123456701", "grid1")
    custody.seeder.now = custody.now
    custody.seeder.add_file(sample, "m1")  # 412 MB in the last hour

    def room(free_bytes: float) -> None:
        with custody.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "insert into ledger.share_state (microscope, share, free_bytes, total_bytes) values"
                    " ('tem1', '/share', :free, 8e12) on conflict (microscope, share) do update set free_bytes = :free"
                ),
                {"free": free_bytes},
            )

    look, _ = watcher(custody, staff(email(mailbox)))
    for free_bytes, told in ((412e6 * 13, False), (412e6 * 11, True), (412e6 * 14, True), (412e6 * 16, False)):
        room(free_bytes)
        look.look()
        assert ("filling" in keys(custody)) is told, free_bytes
    assert "is full in 14.0 h" in next(row["text"] for row in custody.rows("alarm") if row["key"].startswith("filling"))


@pytest.mark.parametrize(("off_s", "said"), [(3600, "3600 s ahead of"), (-3600, "3600 s behind")])
def test_a_node_with_its_clock_off_is_told_until_it_is_in_time(
    custody: Custody, monkeypatch: pytest.MonkeyPatch, off_s: float, said: str
) -> None:
    def look(*, off_s: float) -> None:
        with custody.engine.begin() as connection:
            at = datetime.now(UTC) + timedelta(seconds=off_s)
            tell_clock_of_transfer(connection, "tem1", at=at)
            tell_clock_of_node(connection, at=at)

    monkeypatch.setenv("CRYODAQ_NODE", "cryoem-daq04")
    look(off_s=off_s)
    assert {row["key"]: row["text"].partition(";")[0] for row in custody.rows("alarm")} == {
        "clocks-apart:tem1": f"tem1: the clock of cryoem-daq04 is {said} the database's",
        "clocks-apart:cryoem-daq04": f"the clock of cryoem-daq04 is {said} the database's",
    }
    monkeypatch.setenv("CRYODAQ_NODE", "cryoem-daq05")
    with custody.engine.begin() as connection:
        tell_clock_of_node(connection, at=datetime.now(UTC))
    assert keys(custody) == ["clocks-apart", "clocks-apart"]  # one node in time says nothing of another
    monkeypatch.setenv("CRYODAQ_NODE", "cryoem-daq04")
    look(off_s=0)
    assert keys(custody) == []


def test_a_facility_file_with_a_mistake_is_told_until_it_is_corrected(custody: Custody, mailbox: Mailbox) -> None:
    custody.now = datetime.now(UTC)
    problems: list[str | None] = [None, "facility.toml: microscopes[0].voltage_kw: unknown", "another", None]
    said = iter(problems)
    look, _ = watcher(custody, staff(email(mailbox)), problem=lambda: next(said))
    for problem in problems:
        look.look()
        told = [row["text"] for row in custody.rows("alarm") if row["key"] == "facility-file" and not row["cleared_at"]]
        assert told == ([] if problem is None else [problem])


def test_a_full_disk_of_logs_is_told_before_it_stops_anything(
    custody: Custody, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    custody.now = datetime.now(UTC)
    look, _ = watcher(custody, staff(email(mailbox)), state_folder=tmp_path)
    monkeypatch.setattr("cryodaq.app.watch_facility.LEAST_STATE_BYTES", 1 << 62)
    look.look()
    (told,) = [row["text"] for row in custody.rows("alarm") if row["key"].startswith("state-disk")]
    assert str(tmp_path) in told
    assert "make room" in told
    monkeypatch.setattr("cryodaq.app.watch_facility.LEAST_STATE_BYTES", 0)
    look.look()
    assert "state-disk" not in keys(custody)


def test_a_task_that_fails_as_nobody_foresaw_is_told_until_it_succeeds(custody: Custody) -> None:
    def transfer(error: Exception | None) -> None:
        with telling_failure(custody.engine, "tem1", "transfer", now=lambda: custody.now):
            if error is not None:
                raise error

    with pytest.raises(TypeError):
        transfer(TypeError("unexpected keyword\nand more"))
    (text,) = [row["text"] for row in custody.rows("alarm")]
    assert text.startswith("tem1: transfer failed and is tried again: TypeError: unexpected keyword; its log is in")
    transfer(None)
    assert keys(custody) == []
    with pytest.raises(LeaseLostError):
        transfer(LeaseLostError("tem1", epoch=3))
    assert keys(custody) == []  # the other process does the work


def test_a_microscope_that_nobody_follows_is_told_until_somebody_does(custody: Custody, mailbox: Mailbox) -> None:
    custody.now = datetime.now(UTC)
    look, steady = watcher(custody, staff(email(mailbox)), followed=True)

    def ask() -> None:
        idle = Observation(microscope="tem1", asked_at=custody.now, answered_at=custody.now, assignment=None)
        with custody.engine.begin() as connection:
            record_observation(connection, idle)

    def look_after(seconds: float) -> list[str]:
        custody.now += timedelta(seconds=seconds)
        steady[0] += seconds
        look.look()
        return [key for key in keys(custody) if key == "unfollowed"]

    ask()
    assert [look_after(60) for _ in range(3)] == [[], [], []]
    assert look_after(60) == ["unfollowed"]
    (text,) = [row["text"] for row in custody.rows("alarm") if row["key"] == "unfollowed:tem1"]
    assert "tem1: nobody has asked the elogbook or copied for 3 minutes" in text
    ask()
    assert look_after(10) == []
    for _ in range(30):  # a worker that is there, asking again and again
        ask()
        assert look_after(10) == []


def test_a_clock_that_jumps_is_told_for_an_hour(custody: Custody, mailbox: Mailbox) -> None:
    custody.now = datetime.now(UTC)
    look, steady = watcher(custody, staff(email(mailbox)))
    look.look()
    custody.now += timedelta(seconds=10)
    steady[0] += 10
    look.look()
    assert keys(custody) == ["clocks-apart"]  # the test's clock is not the database's
    custody.now += timedelta(seconds=3600)
    steady[0] += 10
    look.look()
    assert sorted(keys(custody)) == ["clock", "clocks-apart"]
    custody.now += timedelta(minutes=61)
    steady[0] += 61 * 60
    look.look()
    assert keys(custody) == ["clocks-apart"]


def test_a_ledger_that_is_away_is_told_without_it(custody: Custody, mailbox: Mailbox) -> None:
    away = open_engine("postgresql+psycopg://nobody@127.0.0.1:9/none")
    look, steady = watcher(custody, staff(email(mailbox)), engine=away)
    for _ in range(4):
        look.look()
        custody.now += timedelta(seconds=40)
        steady[0] += 40
    assert [mail["Subject"][:45] for mail in mailbox.mails] == ["[EM Basel] ERROR: the ledger does not answer "[:45]]
