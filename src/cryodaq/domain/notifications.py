"""What people are told of alarms, and when: one message when something is wrong, one when it is right again.

An alarm that comes and goes is one incident: it is opened when the alarm has stood for a while, and closed when the
alarm has been gone for a while. A silenced incident is told of when the silence ends and it is still open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

SEVERITIES = ("notice", "warning", "error")
LONGEST_TITLE = 150


class MessageKind(StrEnum):
    """What a message is about."""

    RAISED = "raised"
    CLEARED = "cleared"
    ALIVE = "alive"
    DIGEST = "digest"
    ENTRY = "log"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to people outside."""

    id: str
    """The same message again has the same id, by which e-mail programs and Matrix know it."""
    kind: MessageKind
    severity: str
    text: str
    """One or more sentences; comes from alarms, so it may hold names that a microscope chose."""
    at: datetime
    site: str
    microscope: str | None = None
    key: str | None = None
    """Of the alarm."""
    experiment: str | None = None
    """Of a digest, whose readers are the experiment's collaborators."""
    picture: str | None = None
    """Absolute path of a JPEG that goes along."""
    recipients: tuple[str, ...] = ()
    """E-mail addresses, of an entry of a log; else the channel knows its readers."""

    @property
    def title(self) -> str:
        """One line that says the most important."""
        what = {"raised": self.severity.upper(), "cleared": "over"}.get(self.kind, self.kind.value)
        text = self.text.partition("\n")[0] if self.kind is MessageKind.ENTRY else self.text
        line = " ".join(f"[{self.site}] {what}: {text}".split())
        return line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 1]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingAlarm:
    """An alarm that is raised now."""

    key: str
    severity: str
    text: str
    microscope: str | None
    raised_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What people were told of, or will be once nobody silences it."""

    id: int
    key: str
    severity: str
    text: str
    microscope: str | None
    told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Developments:
    """What happened since the last look."""

    begun: tuple[StandingAlarm, ...]
    to_tell: tuple[Incident, ...]
    """Open incidents of which nobody was told yet and that are not silenced."""
    over: tuple[Incident, ...]


def developments(
    standing: Iterable[StandingAlarm],
    incidents: Iterable[Incident],
    *,
    cleared_at: Mapping[str, datetime],
    is_silenced: Callable[[str], bool],
    hold: timedelta,
    now: datetime,
) -> Developments:
    """Compare alarms with open incidents.

    Parameters
    ----------
    cleared_at
        When alarms of a key were cleared last.
    hold
        How long an alarm must have stood, or been gone, to count.
    """
    alarms = {alarm.key: alarm for alarm in standing}
    known = {incident.key: incident for incident in incidents}
    begun = [one for key, one in alarms.items() if key not in known and now - one.raised_at >= hold]
    over = [one for key, one in known.items() if key not in alarms and now - cleared_at.get(key, now - hold) >= hold]
    to_tell = [one for key, one in known.items() if key in alarms and not one.told and not is_silenced(key)]
    return Developments(begun=tuple(begun), to_tell=tuple(to_tell), over=tuple(over))


def reaches(severity: str, least: str) -> bool:
    """Whether something is severe enough."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)
