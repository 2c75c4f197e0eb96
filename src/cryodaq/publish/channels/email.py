"""Messages by e-mail, over SMTP."""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Literal

from cryodaq.domain.notifications import Message
from cryodaq.errors import NotificationError
from cryodaq.publish.channels.pictures import picture_of

log = logging.getLogger(__name__)
TIMEOUT_S = 20.0
PERMANENT = 500
"""From here on a mail server's refusals are for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """The site's mail server."""

    host: str
    port: int
    encryption: Literal["none", "starttls", "tls"]
    sender: str
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"SmtpServer(host={self.host!r}, port={self.port}, user={self.user!r})"


class EmailNotifier:
    """A `Notifier` that writes to some addresses."""

    def __init__(self, server: SmtpServer, recipients: Sequence[str]) -> None:
        self._server, self._recipients = server, list(recipients)

    def send(self, message: Message) -> None:
        """Send one e-mail; its Message-ID is the message's id. Raises `NotificationError`."""
        try:
            with self._connection() as smtp:
                if self._server.user is not None:
                    smtp.login(self._server.user, self._server.password or "")
                smtp.send_message(self._written(message), to_addrs=self._recipients)
        except (smtplib.SMTPException, OSError) as error:
            where = f"{self._server.host}:{self._server.port}"
            text = f"the mail server {where} did not take an e-mail: {type(error).__name__}: {error}"
            raise NotificationError(text) from error

    def _connection(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        address = (self._server.host, self._server.port)
        if self._server.encryption == "tls":
            return smtplib.SMTP_SSL(*address, timeout=TIMEOUT_S, context=context)
        smtp = smtplib.SMTP(*address, timeout=TIMEOUT_S)
        if self._server.encryption == "starttls":
            smtp.starttls(context=context)
        return smtp

    def _written(self, message: Message) -> EmailMessage:
        written = EmailMessage()
        written["Subject"] = "".join(character for character in message.title if character.isprintable())
        written["From"] = self._server.sender
        written["To"] = ", ".join(self._recipients)
        written["Date"] = message.at
        written["Message-ID"] = f"<{message.id}@cryodaq.{self._server.sender.rpartition('@')[2]}>"
        written["Auto-Submitted"] = "auto-generated"
        written.set_content(f"{message.text}\n\n{message.at.isoformat(timespec='seconds')}\n")
        picture = picture_of(message)
        if picture is not None:
            written.add_attachment(picture.content, maintype="image", subtype="jpeg", filename=picture.name)
        return written


class AddressedEmail:
    """A `Notifier` that writes to the addresses that a message names."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server

    def send(self, message: Message) -> None:
        """Send one e-mail; addresses that the mail server knows to be wrong get none. Raises `NotificationError`."""
        try:
            EmailNotifier(self._server, message.recipients).send(message)
        except NotificationError as error:
            refused = error.__cause__
            if not isinstance(refused, smtplib.SMTPRecipientsRefused):
                raise
            if any(code < PERMANENT for code, _ in refused.recipients.values()):
                raise
            log.warning("the mail server takes nothing for an address", extra={"recipients": list(refused.recipients)})
