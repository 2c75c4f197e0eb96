"""Which files may be removed from a microscope: only those whose copy was proved, and whose time has come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.microscope import RetentionRule


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalCandidate:
    """A file on a share, as far as its removal is concerned."""

    path: str
    """Relative to the share's root."""
    role: FileRole
    size_bytes: int
    verified_at: datetime | None
    """When its copy was read again from storage and was equal; None: never."""
    session_proved_at: datetime | None = None
    """When the last copy of its session was verified; None: not all are, or its folder is no session's."""


def reason_to_keep(candidate: RemovalCandidate, rule: RetentionRule, *, now: datetime) -> str | None:
    """Return why a file stays on the microscope, or None when it may go.

    Patterns are compared with the whole path and with the name, capital letters or not.
    """
    if not rule.enabled:
        return "removal is not switched on for this microscope"
    if candidate.verified_at is None:
        return "its copy is not verified"
    if _session_may_go(candidate, rule, now=now):
        return None
    if candidate.role is FileRole.LIVING:
        return "programs still write to it"
    if candidate.size_bytes <= rule.larger_than_mb * 1e6:
        return f"it is not larger than {rule.larger_than_mb:g} MB"
    if not _matches(candidate.path, rule.patterns):
        return "no pattern names it"
    if now - candidate.verified_at < timedelta(hours=rule.older_than_h):
        return f"its copy was verified less than {rule.older_than_h:g} h ago"
    return None


def _session_may_go(candidate: RemovalCandidate, rule: RetentionRule, *, now: datetime) -> bool:
    """Whether its whole session is proved for so long that nothing of it needs to stay."""
    if rule.session_after_days is None or candidate.session_proved_at is None:
        return False
    return now - candidate.session_proved_at >= timedelta(days=rule.session_after_days)


def bytes_to_free(rule: RetentionRule, *, free_bytes: int, total_bytes: int, going_on: bool) -> float:
    """Return how much may be removed from a share now, by its water marks.

    Parameters
    ----------
    going_on
        Whether removal has begun and the lower mark was not reached since.
    """
    if rule.begin_above <= 0:
        return math.inf
    if total_bytes <= 0:
        return 0.0  # nobody knows yet how full it is
    used = 1.0 - free_bytes / total_bytes
    if used < rule.begin_above and not going_on:
        return 0.0
    return max(0.0, (used - rule.until_below) * total_bytes)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    whole = path.lower()
    name = whole.rpartition("/")[2]
    return any(fnmatchcase(text, pattern.lower()) for pattern in patterns for text in (whole, name))
