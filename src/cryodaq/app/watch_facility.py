"""Watch what no transfer can tell of: the ledger itself, clocks, and shares that fill up; and have people told."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.app.compare_clocks import CLOCK_TOLERANCE_S, node_name, tell_clock_of_node
from cryodaq.app.notify_people import Notifying, notify, send_at_once
from cryodaq.domain.notifications import MessageKind
from cryodaq.domain.wording import say_size
from cryodaq.errors import NotificationError
from cryodaq.ledger import events, notifications, observations
from cryodaq.ledger.events import Severity, Subject
from cryodaq.ledger.notifications import ShareRoom

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger(__name__)
RATE_OVER = timedelta(hours=1)
"""The present rate is that of the last hour."""
ENOUGH_AGAIN = 1.25
"""A share's alarm ends when it has so many times the hours at which it began."""
CLOCK_REMEMBERED = timedelta(hours=1)
"""How long people see that a clock jumped."""
LOOK_S = 10.0
UNFOLLOWED_S = 180.0
"""A microscope's task asks the elogbook every 5 s; a worker that is replaced is back in less."""
LEAST_STATE_BYTES = 1_000_000_000
"""Free for logs and backups; with less, tasks soon cannot write their logs and fail."""
FACILITY_FILE = "facility-file"
"""Key of the alarm about a facility file that is not the active one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What watching needs."""

    notifying: Notifying
    filling_alarm_h: Mapping[str, float]
    """Hours left at which people are told, by microscope."""
    state_folders: Sequence[Path]
    """Of logs, of backups and of the active facility file, which may be on several disks; absent ones are left out."""
    microscopes: Collection[str] = ()
    """That somebody must follow."""
    facility_problem: Callable[[], str | None] = lambda: None
    """What is wrong with the facility file as it is now, in a sentence; None while it is the active one."""
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class Watcher:
    """Looks again and again; what it remembers between two looks is lost with it, and that does no harm."""

    watching: Watching
    _last: tuple[datetime, float] | None = None
    _asked: dict[str, tuple[datetime | None, float]] = field(default_factory=dict)
    """By microscope: when the elogbook was asked last, and since when, on the steady clock, that is so."""
    _jumped_at: datetime | None = None
    _down_since: datetime | None = None
    _told_down: bool = False

    def look(self) -> None:
        """Look once, and send what is due."""
        from sqlalchemy.exc import InterfaceError, OperationalError

        notifying = self.watching.notifying
        jump_s = self._jump_s()
        try:
            with notifying.engine.begin() as connection:
                self._tell_clock(connection, jump_s)
                self._tell_rooms(connection)
                for microscope in self.watching.microscopes:
                    self._tell_unfollowed(connection, microscope)
                self._tell(connection, FACILITY_FILE, self.watching.facility_problem(), severity="warning")
                self._tell(connection, f"state-disk:{node_name()}", self._full_disk(), severity="error")
            notify(notifying)
        except (OperationalError, InterfaceError) as error:
            self._no_ledger(str(error.orig).strip().splitlines()[0])
        else:
            self._ledger_is_back()

    def _tell(self, connection: Connection, key: str, problem: str | None, *, severity: Severity) -> None:
        """Keep one alarm for as long as there is a problem."""
        at = self.watching.notifying.now()
        if problem is None:
            events.clear_alarm(connection, key, at=at)
        else:
            events.raise_alarm(connection, key, severity=severity, message=problem, at=at, subject=Subject())

    def _full_disk(self) -> str | None:
        return next((sentence for sentence, full in state_disks(self.watching.state_folders) if full), None)

    def _jump_s(self) -> float:
        """Return by how much the wall clock moved against the monotonic one since the last look, s."""
        now, steady_s = self.watching.notifying.now(), self.watching.clock()
        before, self._last = self._last, (now, steady_s)
        return 0.0 if before is None else (now - before[0]).total_seconds() - (steady_s - before[1])

    def _tell_clock(self, connection: Connection, jump_s: float) -> None:
        at, key = self.watching.notifying.now(), f"clock:{node_name()}"
        if abs(jump_s) > CLOCK_TOLERANCE_S:
            self._jumped_at = at
            message = (
                f"the clock of {node_name()} jumped by {jump_s:+.0f} s; exposures of that time may be in "
                "quarantine: look at the time service (chrony)"
            )
            events.raise_alarm(connection, key, severity="warning", message=message, at=at, subject=Subject())
        elif self._jumped_at is None or at - self._jumped_at > CLOCK_REMEMBERED:
            self._jumped_at = None
            events.clear_alarm(connection, key, at=at)
        tell_clock_of_node(connection, at=at)

    def _tell_unfollowed(self, connection: Connection, microscope: str) -> None:
        """Tell when nobody follows a microscope; all else that is wrong with it is told by whoever does."""
        at, steady_s = self.watching.notifying.now(), self.watching.clock()
        asked = observations.last_asked_at(connection, microscope)
        key = f"unfollowed:{microscope}"
        before, since_s = self._asked.setdefault(microscope, (asked, steady_s))
        if asked != before:
            self._asked[microscope] = (asked, steady_s)
            events.clear_alarm(connection, key, at=at)
            return
        if (still_s := steady_s - since_s) < UNFOLLOWED_S:
            return
        message = (
            f"{microscope}: nobody has asked the elogbook or copied for {still_s / 60:.0f} minutes; cryodaq doctor "
            f"says if no worker takes its tasks or Airflow stands still; else see whether {microscope}-daq is paused"
        )
        subject = Subject(microscope=microscope)
        events.raise_alarm(connection, key, severity="error", message=message, at=at, subject=subject)

    def _tell_rooms(self, connection: Connection) -> None:
        at = self.watching.notifying.now()
        for room in notifications.rooms_of_shares(connection, since=at - RATE_OVER):
            key = f"filling:{room.microscope}:{room.share}"
            limit_h = self.watching.filling_alarm_h.get(room.microscope)
            hours = hours_left(room)
            standing = events.is_raised(connection, key)
            if limit_h is None or hours is None or hours > limit_h * (ENOUGH_AGAIN if standing else 1.0):
                events.clear_alarm(connection, key, at=at)
                continue
            message = (
                f"{room.microscope.upper()}: {room.share} is full in {hours:.1f} h at the present rate "
                f"({say_size(room.new_bytes)} in the last hour, {say_size(room.free_bytes)} free)"
            )
            subject = Subject(microscope=room.microscope)
            events.raise_alarm(connection, key, severity="error", message=message, at=at, subject=subject)

    def _no_ledger(self, reason: str) -> None:
        """Tell people without the outbox, which is in the ledger, once it was away for long enough."""
        notifying = self.watching.notifying
        now = notifying.now()
        self._down_since = self._down_since or now
        log.error("the ledger does not answer", extra={"problem": reason})
        if self._told_down or now - self._down_since < notifying.hold:
            return
        text = f"the ledger does not answer since {self._down_since:%H:%M:%S %Z}: nothing is copied ({reason})"
        self._told_down = self._tell_everybody(text, kind=MessageKind.RAISED)

    def _ledger_is_back(self) -> None:
        if self._told_down:
            self._tell_everybody("the ledger answers again", kind=MessageKind.CLEARED)
        self._down_since, self._told_down = None, False

    def _tell_everybody(self, text: str, *, kind: MessageKind) -> bool:
        """Return whether at least one channel took it."""
        taken = False
        for channel in (one for one in self.watching.notifying.channels if one.takes_alarms):
            try:
                send_at_once(self.watching.notifying, channel, text, kind=kind, severity="error")
            except NotificationError as error:
                log.warning("a message was not taken", extra={"channel": channel.name, "problem": str(error)})
            else:
                taken = True
        return taken


def state_disks(folders: Sequence[Path]) -> list[tuple[str, bool]]:
    """Return of each disk what to tell of it, and whether it is too full."""
    by_disk = {folder.stat().st_dev: folder for folder in reversed(folders) if folder.is_dir()}
    found = []
    for folder in sorted(by_disk.values()):
        free = shutil.disk_usage(folder).free
        full = free < LEAST_STATE_BYTES
        sentence = f"{folder}: {say_size(free)} free"
        if full:
            sentence = (
                f"the disk of {folder} has {say_size(free)} free: logs and backups cannot be written, and tasks "
                "without a log fail; make room, such as by removing old files of its logs and backups"
            )
        found.append((sentence, full))
    return found


def hours_left(room: ShareRoom) -> float | None:
    """Return in how many hours a share is full at the rate of the last hour; None while nothing is written."""
    per_hour = room.new_bytes / (RATE_OVER / timedelta(hours=1))
    return None if per_hour <= 0 else room.free_bytes / per_hour
