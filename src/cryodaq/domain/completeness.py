"""When a file on a microscope may be copied.

Closed by its format is necessary, not sufficient: a multi-page TIFF is validly closed after every page, and
an MRC that was allocated beforehand has its final size at once. So a file is complete when its format says
closed, it has the frames that are expected, and nothing about it changed between two looks on our own clock.
Times that the microscope wrote are compared for equality only: its clock may jump or be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from cryodaq.domain.file_roles import FileRole

QUIET_S = 2.0
"""Unchanged for so long: enough where the format says closed and the number of frames is as expected."""
SEALED_QUIET_S = 0.5
"""Unchanged for so long: enough for metadata that shows its own end, after which nothing can come (XML)."""
CAUTIOUS_QUIET_S = 10.0
"""Unchanged for so long where nothing says what the finished file looks like."""
HELD_AFTER_S = 60.0
"""A file that its format calls unfinished and that did not change for so long is held and shown to people."""
TAKEN_AS_THEY_ARE = frozenset({FileRole.PREVIEW, FileRole.HOLE_PICTURE, FileRole.ATLAS, FileRole.OTHER})
"""Nothing is computed from files of these roles: what their format calls unfinished is copied, once it rests."""
SIBLINGS_THAT_AGREE = 3
"""So many latest movies must have had the same number of frames before it is expected of the next."""


class CompletenessState(StrEnum):
    """How far the camera is with a file."""

    GROWING = "growing"
    SETTLING = "settling"
    SHORT = "short"
    """Held: nothing changes any more, and frames or its end are missing."""
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a file through an open handle."""

    size_bytes: int
    mtime_ns: int
    """As the share reports it; compared for equality only."""
    closed: bool | None
    """Whether the format says that the file is finished; None where it cannot say."""
    frame_count: int | None
    taken_at_s: float
    """Our monotonic clock."""
    sealed: bool = False
    """Whether what was read cannot be the beginning of a longer file of its format."""

    def shows_the_same_file_as(self, other: Look) -> bool:
        """Whether nothing but the time of looking differs."""
        mine = (self.size_bytes, self.mtime_ns, self.closed, self.frame_count)
        return mine == (other.size_bytes, other.mtime_ns, other.closed, other.frame_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the looks say about a file, and why, for the person who asks."""

    state: CompletenessState
    why: str
    until_s: float | None = None
    """When to look again (our monotonic clock); None where only a change of the file matters."""
    frames_found: int | None = None
    frames_expected: int | None = None

    @property
    def complete(self) -> bool:
        """Whether the file may be copied."""
        return self.state is CompletenessState.COMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """A person's word that a short movie is all that there will be, as it was when they looked."""

    size_bytes: int
    mtime_ns: int
    frame_count: int
    accepted_by: str


def as_accepted(verdict: Verdict, latest: Look, acceptance: Acceptance | None) -> Verdict:
    """Return the verdict about a short movie that a person accepted: complete, as long as it is the same file.

    A file that its format calls unfinished cannot be accepted: nobody could read it.
    """
    if verdict.state is not CompletenessState.SHORT or acceptance is None or latest.closed is not True:
        return verdict
    same = (acceptance.size_bytes, acceptance.mtime_ns, acceptance.frame_count)
    if same != (latest.size_bytes, latest.mtime_ns, latest.frame_count):
        return verdict
    return replace(
        verdict, state=CompletenessState.COMPLETE, why=f"{verdict.why}; {acceptance.accepted_by} accepted it"
    )


def unchanged_since(previous: Look | None, latest: Look) -> Look:
    """Return the look to keep for the next comparison: the first that showed the file as it is now.

    Handing the result back to `judge` as `previous` makes the quiet time add up over any number of looks.
    """
    if previous is None or previous.taken_at_s > latest.taken_at_s:
        return latest
    return previous if previous.shows_the_same_file_as(latest) else latest


def expected_frames(*, metadata: int | None, parameters: int | None, siblings: Sequence[int] = ()) -> int | None:
    """Return how many frames a movie must have, from the best witness.

    Parameters
    ----------
    metadata
        What the exposure's own metadata says.
    parameters
        What the operator said in the sample's parameters.
    siblings
        Frames of the sample's complete movies, oldest first; believed where the latest three agree.
    """
    for witness in (metadata, parameters):
        if witness is not None and witness > 0:
            return witness
    latest = siblings[-SIBLINGS_THAT_AGREE:]
    if len(latest) == SIBLINGS_THAT_AGREE and len(set(latest)) == 1:
        return latest[0]
    return None


def judge(previous: Look | None, latest: Look, *, role: FileRole, expected_frames: int | None, now_s: float) -> Verdict:
    """Decide whether a file is complete.

    Parameters
    ----------
    previous
        The first look that showed the file as it is now (see `unchanged_since`), or any earlier look.
    latest
        The look just taken.
    role
        Living files are rewritten all session and are complete at any time; frames count for movies only.
    now_s
        Our monotonic clock, the same as in the looks.
    """
    found = latest.frame_count if role is FileRole.MOVIE else None
    wanted = expected_frames if role is FileRole.MOVIE else None
    frames_as_expected = role is not FileRole.MOVIE or (wanted is not None and found == wanted)
    quiet_s = QUIET_S if latest.closed is True and frames_as_expected else CAUTIOUS_QUIET_S
    if latest.closed is True and latest.sealed and role is FileRole.METADATA:
        quiet_s = SEALED_QUIET_S
    until_s: float | None = None
    if latest.size_bytes == 0:
        state, why = CompletenessState.GROWING, "the file is empty"
    elif role is FileRole.LIVING:
        state, why = CompletenessState.COMPLETE, "a living file: its newest state is copied"
    elif latest.closed is False:
        state, why = _unfinished(previous, latest, role=role, now_s=now_s)
    else:
        state, why, until_s = _settled(previous, latest, quiet_s=quiet_s, now_s=now_s)
    if state is CompletenessState.COMPLETE and found is not None and wanted is not None and found != wanted:
        why = f"it has {found} frames where {wanted} are expected"
        state = CompletenessState.SHORT if found < wanted else CompletenessState.COMPLETE
    return Verdict(state=state, why=why, until_s=until_s, frames_found=found, frames_expected=wanted)


def _unfinished(previous: Look | None, latest: Look, *, role: FileRole, now_s: float) -> tuple[CompletenessState, str]:
    """Tell a file that is being written from one that was left torn, or that only looks so to us."""
    state, _, _ = _settled(previous, latest, quiet_s=HELD_AFTER_S, now_s=now_s)
    if state is CompletenessState.COMPLETE:
        why = f"its format says that it is not finished, and nothing was written for {HELD_AFTER_S:g} s"
        return (state if role in TAKEN_AS_THEY_ARE else CompletenessState.SHORT), why
    return CompletenessState.GROWING, "its format says that it is not finished"


def _settled(
    previous: Look | None, latest: Look, *, quiet_s: float, now_s: float
) -> tuple[CompletenessState, str, float | None]:
    """Say whether nothing changed for `quiet_s` between two looks, why, and when to look again."""
    if previous is None or previous.taken_at_s > min(latest.taken_at_s, now_s):
        # A look from the future comes from the clock before a restart: it proves nothing.
        return CompletenessState.SETTLING, "seen once", latest.taken_at_s + quiet_s
    if not previous.shows_the_same_file_as(latest):
        return CompletenessState.GROWING, "it changed since the last look", latest.taken_at_s + quiet_s
    if latest.taken_at_s - previous.taken_at_s < quiet_s:
        why = f"unchanged for less than {quiet_s:g} s"
        return CompletenessState.SETTLING, why, previous.taken_at_s + quiet_s
    return CompletenessState.COMPLETE, f"unchanged for {quiet_s:g} s", None
