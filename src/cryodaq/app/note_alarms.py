"""Write alarms into the elogbook of the experiment that they concern, each once when it begins and once when over."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryodaq.app.notify_people import Channel
from cryodaq.domain.notifications import Message, MessageKind
from cryodaq.errors import LogbookAccessError, LogbookError, LogbookUnreachableError, NotificationError
from cryodaq.ledger import notifications
from cryodaq.ports import Logbook

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)
CHANNEL = "elogbook"
TAGS = ("cryodaq", "alarm")


@dataclass(frozen=True, slots=True, kw_only=True)
class ElogbookNotes:
    """A `Notifier` whose readers are the people of an experiment; what concerns no experiment is not for them."""

    engine: Engine
    logbook: Logbook

    def send(self, message: Message) -> None:
        """Write one entry. Raises `NotificationError` while the elogbook does not answer or lets nobody in."""
        if message.kind not in {MessageKind.RAISED, MessageKind.CLEARED}:
            return
        with self.engine.connect() as connection:
            experiment = notifications.experiment_concerned(connection, message.key, microscope=message.microscope)
        if experiment is None:
            return
        word = message.severity.capitalize() if message.kind is MessageKind.RAISED else "Over"
        try:
            self.logbook.add_note(experiment, f"{word}: {message.text}", tags=TAGS, once=message.id)
        except (LogbookUnreachableError, LogbookAccessError) as error:
            raise NotificationError(str(error)) from error
        except LogbookError as error:
            facts = {"experiment": experiment, "key": message.key, "problem": str(error)}
            log.warning("the elogbook refused an entry about an alarm", extra=facts)


def elogbook_channel(engine: Engine, logbook: Logbook, *, microscopes: Iterable[str]) -> Channel:
    """Return the channel that ends in the elogbook."""
    return Channel(
        name=CHANNEL,
        notifier=ElogbookNotes(engine=engine, logbook=logbook),
        least_severity="warning",
        microscopes=frozenset(microscopes),
        says_alive=False,
    )
