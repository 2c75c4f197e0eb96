"""Where alarms are told outside the building, as the facility file names it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cryodaq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from cryodaq.app.notify_people import Channel, Notifying
    from cryodaq.config import Facility
    from cryodaq.config.notifications import ChannelTable, CollaboratorsTable
    from cryodaq.domain.log_mail import MailedEntry
    from cryodaq.ports import CollaboratorChannel, Logbook, Notifier
    from cryodaq.publish.channels.email import SmtpServer


def notifying_of(
    facility: Facility,
    engine: Engine,
    logbook: Logbook,
    *,
    entries_since: Callable[[datetime], Sequence[MailedEntry]] | None,
    now: Callable[[], datetime],
) -> Notifying:
    """Return what telling people outside needs. Raises `ConfigError` when a secret cannot be read."""
    from cryodaq.app.mail_entries import EntryMailing, log_mail_channel
    from cryodaq.app.note_alarms import elogbook_channel
    from cryodaq.app.notify_people import Notifying
    from cryodaq.app.tell_collaborators import Digests, collaborators_channel
    from cryodaq.publish.channels.email import AddressedEmail

    table, site, digests, mailing = facility.notifications, facility.site, None, None
    channels = channels_of(facility)
    if facility.elogbook.alarms:
        microscopes = [one.name for one in facility.microscopes]
        channels.append(elogbook_channel(engine, logbook, microscopes=microscopes))
    if table.collaborators is not None:
        channels.append(collaborators_channel(engine, logbook, collaborators_of(facility, table.collaborators)))
        every = timedelta(hours=table.collaborators.every_h)
        digests = Digests(every=every, site=site.name, web_url=site.web_url, now=now)
    if table.log_entries is not None and entries_since is not None:
        channels.append(log_mail_channel(AddressedEmail(_mail_server(facility))))
        mailing = EntryMailing(
            engine=engine, entries_since=entries_since, site=site.name, web_url=site.web_url, now=now
        )
    return Notifying(
        engine=engine,
        channels=channels,
        site=site.name,
        zone=ZoneInfo(site.zone),
        hold=timedelta(seconds=table.hold_s),
        alive_at=table.alive_at,
        now=now,
        digest=None if digests is None else digests.queue,
        log_entries=None if mailing is None else mailing.queue,
    )


def channels_of(facility: Facility) -> list[Channel]:
    """Return the facility file's channels. Raises `ConfigError` when a secret cannot be read."""
    from cryodaq.app.notify_people import Channel

    return [
        Channel(
            name=one.name,
            notifier=notifier_of(facility, one),
            least_severity=one.least_severity,
            microscopes=frozenset(m.name for m in facility.microscopes if m.on_call is None or one.name in m.on_call),
            says_alive=one.says_alive,
        )
        for one in facility.notifications.channels
    ]


def notifier_of(facility: Facility, channel: ChannelTable) -> Notifier:
    """Return what brings messages to one channel. Raises `ConfigError` when its secret cannot be read."""
    from cryodaq.config import read_secret
    from cryodaq.publish.channels.email import EmailNotifier
    from cryodaq.publish.channels.webhook import FORMS, MatrixNotifier, WebhookNotifier

    if channel.kind == "email":
        return EmailNotifier(_mail_server(facility), channel.to)
    if channel.token_file is not None:
        token = read_secret(channel.token_file).get_secret_value()
        return MatrixNotifier(channel.homeserver or "", channel.room or "", token=token)
    if channel.url_file is not None:
        return WebhookNotifier(read_secret(channel.url_file).get_secret_value(), FORMS[channel.kind])
    message = f"channel {channel.name} is incomplete"
    raise ConfigError(message)


def collaborators_of(facility: Facility, table: CollaboratorsTable) -> CollaboratorChannel:
    """Return what brings digests to collaborators. Raises `ConfigError` when a secret cannot be read."""
    from cryodaq.config import read_secret
    from cryodaq.publish.channels.collaborators import CollaboratorEmail, MatrixRooms

    if table.token_file is not None and table.homeserver is not None:
        token = read_secret(table.token_file).get_secret_value()
        return MatrixRooms(table.homeserver, token=token, pattern=table.address)
    return CollaboratorEmail(_mail_server(facility), table.address)


def _mail_server(facility: Facility) -> SmtpServer:
    from cryodaq.config import read_secret
    from cryodaq.publish.channels.email import SmtpServer

    smtp = facility.notifications.smtp
    if smtp is None:
        raise ConfigError("e-mail needs [notifications.smtp]")
    password = read_secret(smtp.password_file).get_secret_value() if smtp.password_file else None
    return SmtpServer(**smtp.model_dump(exclude={"password_file"}), password=password)
