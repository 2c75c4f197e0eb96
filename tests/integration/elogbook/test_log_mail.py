"""Entries of an experiment's log by e-mail: to who asked, may read it, and only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from tests.integration.custody.mail_server import Mailbox, mail_server

from cryodaq.app.mail_entries import EntryMailing, log_mail_channel
from cryodaq.app.notify_people import Notifying, notify
from cryodaq.elogbook.settings import MailRules
from cryodaq.logbook.entry_mail import EntryMail
from cryodaq.logbook.transport import Credential
from cryodaq.publish.channels.email import AddressedEmail, SmtpServer

from .conftest import Site, register

EXPERIMENT = "20261122-CS01"
WS = f"/lgbk/{EXPERIMENT}/ws"
RULES = MailRules(address="{uid}@people.example.org", domains=frozenset({"example.org"}))


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    made = start_site(mail=RULES)
    register(made.as_program("operator1"), EXPERIMENT)
    return made


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


def call(site: Site, who: str, what: str, *, method: str = "POST", **params: str) -> Any:
    answer = site.as_program(who).request(method, f"{WS}/{what}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def write(site: Site, text: str, **fields: str) -> None:
    answer = site.as_program("operator1").post(f"{WS}/new_elog_entry", data={"log_text": text, **fields})
    assert answer.json()["success"] is True, answer.text


def mailing(site: Site, mailbox: Mailbox) -> Notifying:
    server = SmtpServer(host="127.0.0.1", port=mailbox.port, encryption="none", sender="cryodaq@example.org")
    source = EntryMail(site.base, credential=Credential(user="airflow", secret="x"))
    site.opened.callback(source.close)
    engine = site.engine()
    now = lambda: datetime.now(UTC)  # noqa: E731  # one clock for both
    entries = EntryMailing(
        engine=engine, entries_since=source.since, site="EM Basel", web_url="https://daq.example.org", now=now
    )
    return Notifying(
        engine=engine,
        channels=[log_mail_channel(AddressedEmail(server))],
        site="EM Basel",
        zone=ZoneInfo("Europe/Berlin"),
        hold=timedelta(minutes=1),
        alive_at=None,
        now=now,
        log_entries=entries.queue,
    )


def to(mailbox: Mailbox) -> list[str]:
    return sorted(address for recipients in mailbox.recipients for address in recipients)


def test_who_asked_gets_each_new_entry_once_until_no_more_is_wanted(site: Site, mailbox: Mailbox) -> None:
    telling = mailing(site, mailbox)
    write(site, "before anybody asked")
    assert call(site, "student1", "elog_email_subscribe") == {"success": True}
    assert call(site, "student1", "elog_email_subscribe", method="GET") == {"success": True}
    call(site, "pi1", "elog_email_subscribe")
    listed = call(site, "pi1", "elog_email_subscriptions", method="GET")["value"]
    assert [(one["_id"], one["subscriber"], one["email_address"]) for one in listed] == [
        ("student1", "student1", "student1@people.example.org"),
        ("pi1", "pi1", "pi1@people.example.org"),
    ]
    assert datetime.fromisoformat(listed[0]["subscribed_time"]).tzinfo is not None
    write(site, "Ice is thin\nin squares 3 to 9", log_title="Ice on grid1")
    for _ in range(3):
        notify(telling)
    assert to(mailbox) == ["pi1@people.example.org", "student1@people.example.org"]
    mail = mailbox.mails[0]
    assert isinstance(mail, EmailMessage)
    assert mail["Subject"] == f"[EM Basel] log: {EXPERIMENT}: Ice on grid1"
    body = mail.get_content().replace("\r\n", "\n")
    assert "Ice is thin\nin squares 3 to 9" in body
    assert "Written by operator1" in body
    assert f"https://daq.example.org/experiments/{EXPERIMENT}/log" in body
    call(site, "student1", "elog_email_unsubscribe")
    call(site, "student1", "elog_email_unsubscribe")
    write(site, "only for one")
    notify(telling)
    assert to(mailbox)[:2] == ["pi1@people.example.org"] * 2
    assert len(mailbox.mails) == 3


def test_who_may_not_read_any_more_gets_nothing(site: Site, mailbox: Mailbox) -> None:
    telling = mailing(site, mailbox)
    call(site, "operator1", "add_collaborator", uid="uid:reader1")
    call(site, "reader1", "elog_email_subscribe")
    call(site, "operator1", "remove_collaborator", uid="uid:reader1")
    write(site, "secret")
    notify(telling)
    assert mailbox.mails == []
    stranger = site.as_program("reader1")
    for what in ("elog_email_subscribe", "elog_email_subscriptions", "elog_email_unsubscribe"):
        assert stranger.get(f"{WS}/{what}").status_code == 403
    assert stranger.get("/lgbk/ws/elog_mail", params={"since": "2026-01-01T00:00:00Z"}).status_code == 403


def test_an_entry_goes_to_addresses_that_it_names_where_the_site_allows_it(site: Site, mailbox: Mailbox) -> None:
    telling = mailing(site, mailbox)
    named = "bo@example.org evil@elsewhere.test x,y@example.org a@example.org>b bo@example.org Cy@EXAMPLE.org"
    write(site, "Vacuum is bad", log_emails=named)
    notify(telling)
    assert to(mailbox) == ["Cy@EXAMPLE.org", "bo@example.org"]


def test_entries_wait_while_the_mail_server_takes_nothing(site: Site, mailbox: Mailbox) -> None:
    telling = mailing(site, mailbox)
    call(site, "pi1", "elog_email_subscribe")
    write(site, "patience")
    mailbox.refuses = True
    notify(telling)
    assert mailbox.mails == []
    mailbox.refuses = False
    later = Notifying(
        **{
            **{name: getattr(telling, name) for name in telling.__dataclass_fields__},
            "now": lambda: datetime.now(UTC) + timedelta(minutes=5),
        }
    )
    notify(later)
    assert to(mailbox) == ["pi1@people.example.org"]


def test_an_address_that_does_not_exist_is_given_up(site: Site, mailbox: Mailbox) -> None:
    telling = mailing(site, mailbox)
    mailbox.unknown = "nobody@example.org"
    write(site, "hello", log_emails="nobody@example.org bo@example.org")
    notify(telling)
    assert to(mailbox) == ["bo@example.org"]
    assert notify(telling) == 0


def test_a_site_that_sends_no_mail_says_so(start_site: Callable[..., Site]) -> None:
    site = start_site()
    register(site.as_program("operator1"), EXPERIMENT)
    answer = call(site, "pi1", "elog_email_subscribe")
    assert answer["success"] is False
    assert "sends no entries by e-mail" in answer["errormsg"]
    assert call(site, "pi1", "elog_email_subscriptions", method="GET") == {"success": True, "value": []}


def test_a_browser_cannot_be_led_to_subscribe(site: Site) -> None:
    with httpx.Client(base_url=site.base, auth=("pi1", "x")) as other:
        answer = other.post(f"{WS}/elog_email_subscribe", headers={"Origin": "https://evil.test"})
    assert answer.status_code == 403
