"""The entries of logs that people get by e-mail, as the embedded elogbook tells them to this program."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx

from cryodaq.domain.log_mail import MailedEntry
from cryodaq.logbook import reading
from cryodaq.logbook.transport import Credential, Transport, value_of


class EntryMail:
    """Asks for what is to be sent."""

    def __init__(
        self, url: str, *, credential: Credential | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Prepare a client of the elogbook at `url`; nothing is sent."""
        self._transport = Transport(url, credential=credential, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def since(self, moment: datetime) -> list[MailedEntry]:
        """Return the entries written since then that somebody gets. Raises `LogbookError`."""
        query = {"since": moment.astimezone(UTC).isoformat(timespec="milliseconds")}
        found = value_of(self._transport.ask("GET", "/lgbk/ws/elog_mail", query=query))
        return [_entry(document, asked=moment) for document in reading.objects(found, what="the entries to send")]


def _entry(document: reading.Json, *, asked: datetime) -> MailedEntry:
    recipients, files = document.get("recipients"), document.get("attachments")
    return MailedEntry(
        id=reading.text(document, "_id"),
        experiment=reading.text(document, "experiment"),
        author=reading.text(document, "author", default=""),
        written_at=reading.moment(document, "insert_time") or asked,
        title=reading.text(document, "title", default=""),
        content=reading.text(document, "content", default=""),
        sample=reading.text(document, "sample", default=""),
        files=tuple(
            reading.text(one, "name", default="file")
            for one in reading.objects(files if files is not None else [], what="the attachments")
        ),
        recipients=tuple(str(one) for one in recipients) if isinstance(recipients, list) else (),
    )
