"""Which sample an exposure belongs to: the one that was current when our scan first saw any of its files.

Only our own clock counts. `polls` are the elogbook's answers with the times at which we asked; an exposure
first seen between two polls that agree belongs to what both say. Where they disagree, its acquisition folder
decides when all that lies there already has one owner among the two; otherwise people decide (quarantine).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Decision(StrEnum):
    """How an owner was found."""

    CURRENT = "current"
    """The polls before and after the first sight agree."""
    FOLDER = "folder"
    """The polls disagree, the acquisition folder has one owner."""
    LAST_KNOWN = "last_known"
    """The elogbook does not answer; the sample last known goes on."""
    QUARANTINE = "quarantine"
    """Nothing decides; people do."""
    OPERATOR = "operator"
    """A person assigned it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One answer of the elogbook, or the lack of one."""

    asked_at: datetime
    """When the question was sent, our clock."""
    answered: bool
    sample_id: str | None
    """The current sample, None when there is none (standby, no sample, a bad name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The decision about one exposure."""

    sample_id: str | None
    decision: Decision


def decide_owner(
    first_seen_from: datetime,
    *,
    first_seen_until: datetime,
    polls: Sequence[Poll],
    folder_owners: frozenset[str],
) -> Ownership | None:
    """Decide who owns an exposure.

    Parameters
    ----------
    first_seen_from, first_seen_until
        Begin of the scan before the one that found it, and end of the scan that found it: it appeared in between.
    polls
        In the order of `asked_at`.
    folder_owners
        Samples that already own exposures in the same acquisition folder.

    Returns
    -------
    None while the poll after the scan is not known yet.
    """
    before = next((poll for poll in reversed(polls) if poll.answered and poll.asked_at <= first_seen_from), None)
    later = [poll for poll in polls if poll.asked_at >= first_seen_until]
    if not later:
        return None
    after = next((poll for poll in later if poll.answered), None)
    between = [poll for poll in polls if poll.answered and first_seen_from < poll.asked_at < first_seen_until]
    known = [poll for poll in (before, *between, after) if poll is not None]
    if not known:
        return Ownership(sample_id=None, decision=Decision.QUARANTINE)
    said = {poll.sample_id for poll in known}
    if len(said) == 1 and before is not None:
        owner = said.pop()
        if owner is None:
            return Ownership(sample_id=None, decision=Decision.QUARANTINE)
        return Ownership(sample_id=owner, decision=Decision.CURRENT if after is not None else Decision.LAST_KNOWN)
    candidates = folder_owners & {sample for sample in said if sample is not None}
    if len(folder_owners) == 1 and candidates:
        return Ownership(sample_id=next(iter(candidates)), decision=Decision.FOLDER)
    return Ownership(sample_id=None, decision=Decision.QUARANTINE)
