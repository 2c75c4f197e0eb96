"""Where alarms are told outside the building, as the facility file names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryodaq.errors import ConfigError

if TYPE_CHECKING:
    from cryodaq.app.notify_people import Channel
    from cryodaq.config import Facility
    from cryodaq.config.notifications import ChannelTable
    from cryodaq.ports import Notifier


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
    from cryodaq.publish.channels.email import EmailNotifier, SmtpServer
    from cryodaq.publish.channels.webhook import FORMS, MatrixNotifier, WebhookNotifier

    smtp = facility.notifications.smtp
    if channel.kind == "email" and smtp is not None:
        password = read_secret(smtp.password_file).get_secret_value() if smtp.password_file else None
        fields = smtp.model_dump(exclude={"password_file"})
        return EmailNotifier(SmtpServer(**fields, password=password), channel.to)
    if channel.token_file is not None:
        token = read_secret(channel.token_file).get_secret_value()
        return MatrixNotifier(channel.homeserver or "", channel.room or "", token=token)
    if channel.url_file is not None:
        return WebhookNotifier(read_secret(channel.url_file).get_secret_value(), FORMS[channel.kind])
    message = f"channel {channel.name} is incomplete"
    raise ConfigError(message)
