"""Folders, links and access rights on a real file system."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.errors import StoreError
from cryodaq.store.access import (
    Readers,
    check_tree,
    grant_tree,
    impassable_parents,
    make_passable,
)
from cryodaq.store.acl import Acl, decode, kind_of, read_access, write_access
from cryodaq.store.folders import make_folders, make_link

STRANGER, COLLABORATOR, MEMBER_GID = 61_001, 61_002, 61_003

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: opening a file as another user needs root")
PERMISSIONS = st.integers(0, 7)
NAMED = st.dictionaries(st.integers(0, 2**32 - 2), PERMISSIONS, max_size=5)


def can_read(path: Path, *, uid: int, gids: tuple[int, ...] = ()) -> bool:
    command = ["/bin/cat", str(path)]
    done = subprocess.run(command, user=uid, group=uid, extra_groups=gids, capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """An experiment folder below folders that everybody may pass."""
    for part in (tmp_path, *tmp_path.parents):
        if str(part).startswith("/tmp/") and part != Path("/tmp"):  # noqa: S108
            part.chmod(0o755)
    folder = tmp_path / "experiment"
    make_folders([folder])
    return folder


def test_folders_are_closed_to_others(tmp_path: Path) -> None:
    make_folders([tmp_path / "a" / "b"])
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o750
    make_folders([tmp_path / "a" / "b"])


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("")
    with pytest.raises(StoreError, match="raw"):
        make_folders([tmp_path / "raw" / "x"])


def test_a_samples_name_leads_to_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "6258a1f2c0ffee0123456789"
    folder.mkdir()
    make_link(tmp_path / "grid1", folder)
    make_link(tmp_path / "grid1", folder)
    assert (tmp_path / "grid1").resolve() == folder
    assert (tmp_path / "grid1").readlink() == Path(folder.name)


def test_a_name_that_another_sample_has_is_refused_and_kept(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    make_link(tmp_path / "grid1", first)
    with pytest.raises(StoreError, match="another name"):
        make_link(tmp_path / "grid1", second)
    assert (tmp_path / "grid1").resolve() == first


@needs_root
def test_a_collaborator_reads_old_and_new_files_and_a_stranger_none(experiment: Path) -> None:
    old = experiment / "old.txt"
    old.write_text("x")
    old.chmod(0o640)
    readers = Readers(uids=frozenset({COLLABORATOR}), gids=frozenset({MEMBER_GID}))
    grant_tree(experiment, readers)
    make_folders([experiment / "raw" / "session"])
    new = experiment / "raw" / "session" / "movie.tiff"
    descriptor = os.open(new, os.O_CREAT | os.O_WRONLY, 0o640)
    os.close(descriptor)
    for path in (old, new):
        assert can_read(path, uid=COLLABORATOR)
        assert can_read(path, uid=STRANGER, gids=(MEMBER_GID,))
        assert not can_read(path, uid=STRANGER)


@needs_root
def test_who_leaves_the_list_loses_access(experiment: Path) -> None:
    file = experiment / "movie.tiff"
    file.write_text("x")
    grant_tree(experiment, Readers(uids=frozenset({COLLABORATOR}), gids=frozenset()))
    assert can_read(file, uid=COLLABORATOR)
    grant_tree(experiment, Readers(), revoke=Readers(uids=frozenset({COLLABORATOR})))
    assert not can_read(file, uid=COLLABORATOR)


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        grant_tree(tmp_path / "nowhere", Readers())


def test_links_are_not_followed_out_of_the_tree(tmp_path: Path, experiment: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o600)
    (experiment / "link").symlink_to(outside)
    grant_tree(experiment, Readers(uids=frozenset({COLLABORATOR}), gids=frozenset()))
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600


@given(
    st.builds(
        Acl, owner=PERMISSIONS, group=PERMISSIONS, others=PERMISSIONS, mask=PERMISSIONS, users=NAMED, groups=NAMED
    )
)
def test_lists_come_back_as_they_were_written(acl: Acl) -> None:
    assert decode(acl.encode()) == acl


def test_what_is_no_list_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        decode(b"\x01\x00\x00\x00")


@needs_root
def test_a_mask_that_a_program_narrowed_is_found_and_mended(experiment: Path) -> None:
    file = experiment / "movie.tiff"
    file.write_text("x")
    readers = Readers(uids=frozenset({COLLABORATOR}))
    grant_tree(experiment, readers)
    assert list(check_tree(experiment, readers)) == []
    file.chmod(0o600)
    assert not can_read(file, uid=COLLABORATOR)
    (found,) = check_tree(experiment, readers)
    assert (found.path, found.problem) == (file, f"user {COLLABORATOR} cannot read it")
    assert grant_tree(experiment, readers) == 1
    assert can_read(file, uid=COLLABORATOR)
    assert grant_tree(experiment, readers) == 0


def test_what_staff_added_by_hand_is_kept(experiment: Path) -> None:
    file = experiment / "movie.tiff"
    file.write_text("x")
    readers = Readers(uids=frozenset({COLLABORATOR}))
    grant_tree(experiment, readers)
    before = read_access(file)
    write_access(file, Acl(owner=6, group=4, others=0, mask=6, users={**before.users, STRANGER: 6}))
    assert list(check_tree(experiment, readers)) == []
    grant_tree(experiment, Readers(), revoke=readers)
    assert read_access(file).users == {STRANGER: 6}
    assert read_access(file).mask == 6


def test_who_must_not_read_is_found(experiment: Path) -> None:
    file = experiment / "movie.tiff"
    file.write_text("x")
    gone, members = Readers(uids=frozenset({COLLABORATOR})), Readers(gids=frozenset({MEMBER_GID}))
    grant_tree(experiment, gone | members)
    said = {found.problem for found in check_tree(experiment, members, revoke=gone)}
    assert said == {f"user {COLLABORATOR} can still read it"}
    grant_tree(experiment, members, revoke=gone)
    file.chmod(0o644)
    assert [found.problem for found in check_tree(experiment, members)] == ["everybody on the system has rights to it"]


@needs_root
def test_folders_between_storage_and_experiment_can_be_passed_and_not_listed(tmp_path: Path) -> None:
    for part in (tmp_path, *tmp_path.parents):
        if str(part).startswith("/tmp/"):  # noqa: S108
            part.chmod(0o755)
    experiment = tmp_path / "202611" / "experiment"
    make_folders([experiment])
    file = experiment / "movie.tiff"
    file.write_text("x")
    grant_tree(experiment, Readers(uids=frozenset({COLLABORATOR})))
    assert impassable_parents(experiment.parent) == [experiment.parent]
    assert not can_read(file, uid=COLLABORATOR)
    make_passable(experiment, below=tmp_path)
    assert can_read(file, uid=COLLABORATOR)
    assert not can_read(file, uid=STRANGER)
    assert stat.S_IMODE(experiment.parent.stat().st_mode) == 0o751


def test_the_kind_of_lists_is_tried_and_leaves_nothing_behind(tmp_path: Path) -> None:
    assert kind_of(tmp_path) == "posix"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="nowhere"):
        kind_of(tmp_path / "nowhere")
