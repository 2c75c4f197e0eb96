"""Removing takes the file that was copied, and never another one that got its name."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from cryodaq.errors import RemovalOpenError, SourceUnstableError, SourceVanishedError, TransferError
from cryodaq.transfer import remove as removing
from cryodaq.transfer.remove import aside_name, remove, settle_aside
from cryodaq.transfer.scan import Identity, ShareScanner

ASIDE = aside_name("session/a.tif", token="0badcafe", number=7)


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    path = tmp_path / "session" / "a.tif"
    path.parent.mkdir()
    path.write_bytes(b"movie")
    return path


def identity(path: Path) -> Identity:
    found = path.stat()
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def test_the_expected_file_is_removed(tmp_path: Path, movie: Path) -> None:
    remove(tmp_path, "session/a.tif", aside=ASIDE, expected=identity(movie))
    assert list(movie.parent.iterdir()) == []


def test_a_changed_file_stays_under_its_name(tmp_path: Path, movie: Path) -> None:
    expected = identity(movie)
    movie.write_bytes(b"another movie")
    with pytest.raises(SourceUnstableError):
        remove(tmp_path, "session/a.tif", aside=ASIDE, expected=expected)
    assert movie.read_bytes() == b"another movie"


def test_a_file_that_is_replaced_between_the_check_and_the_rename_gets_its_name_back(
    tmp_path: Path, movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = identity(movie)
    rename = removing.rename_without_replacing

    def replaced_first(source: Path, target: Path) -> None:
        if source == movie:
            movie.unlink()
            movie.write_bytes(b"the next session's movie")
        rename(source, target)

    monkeypatch.setattr(removing, "rename_without_replacing", replaced_first)
    with pytest.raises(SourceUnstableError, match="replaced"):
        remove(tmp_path, "session/a.tif", aside=ASIDE, expected=expected)
    assert movie.read_bytes() == b"the next session's movie"
    assert not (tmp_path / ASIDE).exists()


def test_a_crash_with_the_file_aside_is_settled_later(tmp_path: Path, movie: Path) -> None:
    expected = identity(movie)
    movie.rename(tmp_path / ASIDE)
    assert settle_aside(tmp_path, "session/a.tif", aside=ASIDE, expected=expected) == "removed"
    assert settle_aside(tmp_path, "session/a.tif", aside=ASIDE, expected=expected) == "removed"  # and is not back


def test_a_crash_before_the_file_was_aside_leaves_it_alone(tmp_path: Path, movie: Path) -> None:
    assert settle_aside(tmp_path, "session/a.tif", aside=ASIDE, expected=identity(movie)) == "absent"
    assert movie.read_bytes() == b"movie"


def test_a_file_that_cannot_be_removed_once_it_is_aside_is_left_open(
    tmp_path: Path, movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = identity(movie)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(RemovalOpenError, match="settles it"):
        remove(tmp_path, "session/a.tif", aside=ASIDE, expected=expected)
    monkeypatch.undo()
    assert settle_aside(tmp_path, "session/a.tif", aside=ASIDE, expected=expected) == "removed"


def test_a_strange_file_aside_whose_name_was_taken_stays_and_is_said(tmp_path: Path, movie: Path) -> None:
    (tmp_path / ASIDE).write_bytes(b"strange")
    with pytest.raises(TransferError, match="cannot get its name"):
        settle_aside(tmp_path, "session/a.tif", aside=ASIDE, expected=(1, 2, 3))
    assert movie.read_bytes() == b"movie"
    assert (tmp_path / ASIDE).read_bytes() == b"strange"


def test_a_file_that_is_not_there_cannot_be_removed(tmp_path: Path, movie: Path) -> None:
    expected = identity(movie)
    movie.unlink()
    with pytest.raises(SourceVanishedError):
        remove(tmp_path, "session/a.tif", aside=ASIDE, expected=expected)


def test_scans_do_not_take_a_file_aside_for_a_new_one(tmp_path: Path, movie: Path) -> None:
    from pathlib import PurePosixPath

    from cryodaq.domain.names import FileRole, classify

    movie.rename(tmp_path / ASIDE)
    found = ShareScanner(tmp_path).scan().changed
    assert {classify(PurePosixPath(file.path)).role for file in found} == {FileRole.IGNORED}
