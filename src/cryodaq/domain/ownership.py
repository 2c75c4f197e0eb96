"""Which sample an exposure belongs to: the one that was current when our scan first saw any of its files.

Only our own clock counts. `polls` are the elogbook's answers with the times at which we asked; an exposure
first seen between two polls that agree belongs to what both say. Where they disagree, its acquisition folder
decides: when all that lies there has one owner among those asked about. A folder that is new has no owner yet;
there the next exposures are waited for, a minute at most. What begins to be current after nothing was takes a
new folder at once. Otherwise people decide (quarantine).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

FOLDER_PATIENCE = timedelta(seconds=60)
"""How long an exposure in a new folder waits for later ones that say whose the folder is."""


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
    BASELINE = "baseline"
    """It lay on the share before cryodaq worked there, or another system copied it."""


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
    None while the poll after the scan, or the owner of a new folder, is not known yet.
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
    owner = _by_folder(known, folder_owners)
    if owner is not None:
        return Ownership(sample_id=owner, decision=Decision.FOLDER)
    new_folder = before is not None and not folder_owners and said != {None}
    if new_folder and later[-1].asked_at - first_seen_until < FOLDER_PATIENCE:
        return None
    return Ownership(sample_id=None, decision=Decision.QUARANTINE)


def _by_folder(known: Sequence[Poll], folder_owners: frozenset[str]) -> str | None:
    """Return the sample that the acquisition folder speaks for, or None."""
    said = {poll.sample_id for poll in known if poll.sample_id is not None}
    begins = known[0].sample_id is None and known[-1].sample_id is not None and len(known) > 1
    if begins and len(said) == 1 and folder_owners <= said:
        return known[-1].sample_id
    return next(iter(folder_owners)) if len(folder_owners) == 1 and folder_owners <= said else None
