"""A collaborator's uid really opens the files of an experiment, and loses that only when the elogbook says so."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from tests.integration.custody.conftest import GRID1, Custody

from cryodaq.app.reconcile_access import (
    AccessKeeping,
    check_access,
    keep_access,
    keep_access_of_others,
    mend_access,
    repair_access,
)
from cryodaq.domain.experiment import Collaborator
from cryodaq.errors import LogbookError, StoreError
from cryodaq.store.access import Readers

EXPERIMENT = "20261122-CS01"
ALICE, BOB, STAFF, STRANGER = 61_001, 61_002, 61_003, 61_009

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: opening a file as another user needs root")


def can_read(path: Path, uid: int, *, gid: int = STRANGER) -> bool:
    command = ["/bin/cat", str(path)]
    done = subprocess.run(command, user=uid, group=gid, extra_groups=(), capture_output=True, check=False)
    return done.returncode == 0


def keeping(custody: Custody) -> AccessKeeping:
    always = Readers(gids=frozenset({STAFF}))
    return AccessKeeping(
        engine=custody.engine, logbook=custody.logbook, storage_root=custody.storage, always=always, now=custody.clock
    )


@pytest.fixture
def movie(custody: Custody) -> Path:
    """A published movie's micrograph; alice and bob are collaborators, carol's number is not known."""
    sample = custody.add_sample(GRID1, "grid1")
    made = custody.add_published(sample, "m1")
    for part in (custody.storage, *custody.storage.parents):
        if str(part).startswith("/tmp/"):  # noqa: S108
            part.chmod(0o755)
    for uid, number in (("uid:alice", ALICE), ("uid:bob", BOB), ("uid:carol", None)):
        custody.logbook.set_collaborator(EXPERIMENT, Collaborator(uid=uid, is_group=False, posix_id=number))
    return Path(made.layout.micrograph("m1"))


def folder(custody: Custody) -> Path:
    return Path(custody.samples[GRID1].experiment_folder)


def test_collaborators_and_staff_open_files_and_strangers_do_not(custody: Custody, movie: Path) -> None:
    with pytest.raises(StoreError, match="uid:carol"):
        keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))
    later = movie.with_name("later.mrc")
    attempt = movie.parents[1] / ".attempts" / "m2_align_1"
    attempt.mkdir(parents=True)
    made = attempt / "m2.mrc"
    made.touch(0o600)  # a program of its own mind
    made.chmod(0o640)
    made.rename(later)
    for path in (movie, later):
        assert can_read(path, ALICE)
        assert can_read(path, BOB)
        assert can_read(path, STRANGER, gid=STAFF)
        assert not can_read(path, STRANGER)
    assert check_access(keeping(custody), EXPERIMENT).differences == ()


def test_access_ends_only_with_a_complete_answer_without_the_person(custody: Custody, movie: Path) -> None:
    with pytest.raises(StoreError):
        keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))
    custody.logbook.go_down()
    with pytest.raises(LogbookError):
        keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))
    assert can_read(movie, ALICE)
    custody.logbook.is_down = False
    custody.logbook.set_collaborator(EXPERIMENT, Collaborator(uid="uid:alice", is_group=False, posix_id=None))
    with pytest.raises(StoreError, match=r"alice.*what they had before is kept"):
        keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))
    assert can_read(movie, ALICE)
    custody.logbook.remove_collaborator(EXPERIMENT, "uid:alice")
    with pytest.raises(StoreError, match="carol"):
        keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))
    assert not can_read(movie, ALICE)
    assert can_read(movie, BOB)


def test_an_empty_answer_takes_nothing_away_until_it_is_confirmed(custody: Custody, movie: Path) -> None:
    with pytest.raises(StoreError):
        keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))
    for uid in ("uid:alice", "uid:bob", "uid:carol"):
        custody.logbook.remove_collaborator(EXPERIMENT, uid)
    with pytest.raises(StoreError, match="more than half"):
        keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))
    with pytest.raises(StoreError, match="--confirm"):
        repair_access(keeping(custody), EXPERIMENT, confirmed=False)
    assert can_read(movie, ALICE)
    state = check_access(keeping(custody), EXPERIMENT)
    assert [one.uid for one in state.plan.revoked] == ["uid:alice", "uid:bob"]
    assert repair_access(keeping(custody), EXPERIMENT, confirmed=True) > 0
    assert not can_read(movie, ALICE)
    keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))


def test_experiments_that_are_not_current_are_compared_too(custody: Custody, movie: Path) -> None:
    microscope = custody.samples[GRID1].microscope
    with pytest.raises(StoreError):
        keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))
    custody.logbook.remove_collaborator(EXPERIMENT, "uid:bob")
    keep_access_of_others(keeping(custody), microscope, current=EXPERIMENT)
    assert can_read(movie, BOB)
    custody.logbook.go_down()
    keep_access_of_others(keeping(custody), microscope, current=None)
    assert can_read(movie, BOB)
    custody.logbook.is_down = False
    keep_access_of_others(keeping(custody), microscope, current=None)
    assert not can_read(movie, BOB)
    assert can_read(movie, ALICE)
    custody.logbook.remove_collaborator(EXPERIMENT, "uid:alice")
    keep_access_of_others(keeping(custody), microscope, current=None)
    assert can_read(movie, ALICE)
    (alarm,) = custody.rows("alarm")
    assert "cryodaq access repair 20261122-CS01 --confirm" in alarm["text"]
    custody.logbook.set_collaborator(EXPERIMENT, Collaborator(uid="uid:alice", is_group=False, posix_id=ALICE))
    keep_access_of_others(keeping(custody), microscope, current=None)
    assert custody.rows("alarm")[0]["cleared_at"] is not None


def test_what_was_narrowed_by_hand_is_found_and_mended(custody: Custody, movie: Path) -> None:
    custody.logbook.remove_collaborator(EXPERIMENT, "uid:carol")
    keep_access(keeping(custody), EXPERIMENT, folder=folder(custody))
    movie.chmod(0o600)
    assert mend_access(keeping(custody), active_since=custody.now + timedelta(days=1)).experiments == 0
    mended = mend_access(keeping(custody), active_since=custody.now - timedelta(days=1))
    assert (mended.experiments, mended.changed, mended.problems) == (1, 1, ())
    assert can_read(movie, ALICE)
    movie.chmod(0o600)
    (found,) = check_access(keeping(custody), EXPERIMENT).differences
    assert found.path == movie
    assert repair_access(keeping(custody), EXPERIMENT, confirmed=False) == 1
    assert can_read(movie, ALICE)
