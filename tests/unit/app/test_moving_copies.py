"""Which copies go along when a sample gives its files away."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from cryodaq.app.moving_copies import moves_into
from cryodaq.ledger.files import FileRecord

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
COPIED = FileRecord(
    id=7,
    share="/share",
    path="one/session.log",
    version=1,
    role="living",
    exposure_id=3,
    state="copied",
    size_bytes=14,
    mtime_ns=1,
    inode=2,
    frame_count=None,
    xxh3_128="00",
    target="/storage/old/raw/one/session.log",
    problem=None,
    seen_at=AT,
    changed_at=AT,
    copied_at=AT,
)


@pytest.mark.parametrize("state", ["copied", "seen", "complete", "copying", "held"])
def test_a_living_files_copy_goes_along_while_its_next_state_is_waited_for(state: str) -> None:
    (move,) = moves_into(PurePosixPath("/storage/new"), [replace(COPIED, state=state)]).values()
    assert (move.source, move.target) == (
        PurePosixPath(COPIED.target),
        PurePosixPath("/storage/new/raw/one/session.log"),
    )
    assert move.xxh3_128 is None  # the newest state wins


@pytest.mark.parametrize("role", ["living", "movie"])
def test_what_was_never_copied_has_nothing_to_move(role: str) -> None:
    waiting = replace(COPIED, role=role, state="complete", copied_at=None, target="/storage/old/raw/intended")
    assert moves_into(PurePosixPath("/storage/new"), [waiting]) == {}
