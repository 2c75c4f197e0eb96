"""Tell collaborators how their experiment goes: of its first micrograph, every few hours, and when all is done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryodaq.app.notify_people import Channel
from cryodaq.domain.digest import digest_text, is_due
from cryodaq.domain.notifications import Message, MessageKind
from cryodaq.errors import LogbookError, NotificationError
from cryodaq.ledger import digests, notifications
from cryodaq.ports import CollaboratorChannel, Logbook

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)
CHANNEL = "collaborators"
OF_LATE = timedelta(days=3)
"""Nobody is told of what was published earlier: it was there before there were digests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """What telling collaborators needs."""

    every: timedelta
    site: str
    web_url: str | None
    """Where browsers find the pages."""
    now: Callable[[], datetime]

    def queue(self, connection: Connection) -> int:
        """Put the digests that are due into the outbox; return how many."""
        at = self.now()
        news_of_late = digests.news_of_experiments(connection, since=at - max(OF_LATE, 2 * self.every))
        due = [news for news in news_of_late if is_due(news, every=self.every, now=at)]
        for news in due:
            page = None if self.web_url is None else f"{self.web_url.rstrip('/')}/samples/{news.sample_id}"
            message = Message(
                id=f"digest-{news.experiment}-{at:%Y%m%dT%H%M%S}",
                kind=MessageKind.DIGEST,
                severity="notice",
                text=digest_text(news, page=page),
                at=at,
                site=self.site,
                experiment=news.experiment,
                picture=news.picture,
            )
            notifications.enqueue(connection, CHANNEL, message, at=at)
            digests.note_digest(connection, news, at=at)
        return len(due)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollaboratorNews:
    """A `Notifier` whose readers are those whom the elogbook names, at the moment of sending."""

    engine: Engine
    logbook: Logbook
    channel: CollaboratorChannel

    def send(self, message: Message) -> None:
        """Send a digest. Raises `NotificationError`, also while the elogbook does not say who may read it."""
        experiment = message.experiment
        if experiment is None:
            return
        try:
            named = self.logbook.collaborators(experiment)
        except LogbookError as error:
            text = f"the elogbook does not say who collaborates in {experiment}: {error}"
            raise NotificationError(text) from error
        people = sorted(one.uid.removeprefix("uid:") for one in named if not one.is_group)
        with self.engine.connect() as connection:
            gone = sorted(set(digests.invited(connection, experiment)) - set(people))
        self.channel.send(message, people, gone=gone)
        with self.engine.begin() as connection:
            digests.note_invited(connection, experiment, people)


def collaborators_channel(engine: Engine, logbook: Logbook, channel: CollaboratorChannel) -> Channel:
    """Return the channel that ends at the collaborators; it takes digests alone."""
    return Channel(
        name=CHANNEL,
        notifier=CollaboratorNews(engine=engine, logbook=logbook, channel=channel),
        least_severity="error",
        microscopes=frozenset(),
        says_alive=False,
        takes_alarms=False,
    )
