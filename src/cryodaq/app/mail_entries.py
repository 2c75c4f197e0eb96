"""Put entries of logs that people get by e-mail into the outbox, each once for each address."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from cryodaq.app.notify_people import Channel
from cryodaq.domain.log_mail import MailedEntry, entry_text
from cryodaq.domain.notifications import Message, MessageKind
from cryodaq.errors import LogbookError
from cryodaq.ledger import notifications
from cryodaq.ports import Notifier

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)
CHANNEL = "log-mail"
LOOKED_AT_AGAIN = timedelta(minutes=10)
"""Entries are known to the elogbook a little after the time that they carry; the outbox takes each once."""
AT_FIRST, AT_MOST = timedelta(hours=1), timedelta(days=3)
"""How far back the first look goes, and one after the watch was away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryMailing:
    """What sending entries needs."""

    engine: Engine
    entries_since: Callable[[datetime], Sequence[MailedEntry]]
    """Asks the elogbook."""
    site: str
    web_url: str | None
    """Where browsers find the pages."""
    now: Callable[[], datetime]

    def queue(self) -> int:
        """Put what is new into the outbox; return how many messages. While the elogbook is silent they wait there."""
        at = self.now()
        with self.engine.connect() as connection:
            newest = notifications.newest(connection, CHANNEL)
        since = at - AT_FIRST if newest is None else max(newest - LOOKED_AT_AGAIN, at - AT_MOST)
        try:
            entries = self.entries_since(since)
        except LogbookError as error:
            log.warning("the elogbook does not say which entries are to be sent", extra={"problem": str(error)})
            return 0
        with self.engine.begin() as connection:
            return sum(
                notifications.enqueue(connection, CHANNEL, self._message(entry, recipient), at=at)
                for entry in entries
                for recipient in entry.recipients
            )

    def _message(self, entry: MailedEntry, recipient: str) -> Message:
        page = self.web_url and f"{self.web_url.rstrip('/')}/experiments/{quote(entry.experiment, safe='')}/log"
        return Message(
            id=f"elog-{entry.id}-{recipient.replace('@', '-at-')}",
            kind=MessageKind.ENTRY,
            severity="notice",
            text=entry_text(entry, page=page),
            at=entry.written_at,
            site=self.site,
            experiment=entry.experiment,
            recipients=(recipient,),
        )


def log_mail_channel(notifier: Notifier) -> Channel:
    """Return the channel of the entries; it takes nothing else."""
    return Channel(
        name=CHANNEL,
        notifier=notifier,
        least_severity="error",
        microscopes=frozenset(),
        says_alive=False,
        takes_alarms=False,
    )
