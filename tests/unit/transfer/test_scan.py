"""A scan reports exactly what changed, whatever the folders say about themselves."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cryodaq.transfer import scan as scanning
from cryodaq.transfer.scan import HOT_S, ScanResult, ShareScanner


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def paths(found: ScanResult) -> set[str]:
    return {file.path for file in found.changed}


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def cooled(scanner: ShareScanner, clock: Clock) -> None:
    """Let every folder become cold."""
    scanner.scan()
    clock.now += HOT_S + 1
    scanner.scan()


def test_the_first_scan_reports_everything_and_the_second_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    write(tmp_path / "session" / "GridSquare_1" / "b.tif", b"12345")
    scanner = ShareScanner(tmp_path)
    first = scanner.scan()
    assert paths(first) == {"a.tif", "session/GridSquare_1/b.tif"}
    assert {file.size_bytes for file in first.changed} == {1, 5}
    assert first.full
    assert first.file_count == 2
    again = scanner.scan()
    assert not again.changed
    assert not again.vanished
    assert not again.full


def test_new_files_and_folders_are_found_in_cold_folders(tmp_path: Path) -> None:
    write(tmp_path / "session" / "a.tif")
    clock = Clock()
    scanner = ShareScanner(tmp_path, clock=clock, full_every_s=1e9)
    cooled(scanner, clock)
    write(tmp_path / "session" / "b.tif")
    write(tmp_path / "session" / "deep" / "er" / "c.tif")
    assert paths(scanner.scan()) == {"session/b.tif", "session/deep/er/c.tif"}


def test_a_file_that_grows_in_place_is_seen_while_its_folder_is_hot(tmp_path: Path) -> None:
    grown = write(tmp_path / "session" / "a.tif")
    scanner = ShareScanner(tmp_path)
    scanner.scan()
    with grown.open("ab") as handle:
        handle.write(b"more")
    assert paths(scanner.scan()) == {"session/a.tif"}


def test_a_file_that_grows_in_a_cold_folder_is_seen_when_asked_for_and_at_the_next_full_walk(tmp_path: Path) -> None:
    grown = write(tmp_path / "session" / "a.tif")
    clock = Clock()
    scanner = ShareScanner(tmp_path, clock=clock, full_every_s=3600)
    cooled(scanner, clock)
    grown.write_bytes(b"more")
    os.utime(grown, ns=(1, 1))
    assert paths(scanner.scan(hot=["session"])) == {"session/a.tif"}
    clock.now += HOT_S + 1
    scanner.scan()
    grown.write_bytes(b"even more")
    clock.now += 3600
    last = scanner.scan()
    assert last.full
    assert paths(last) == {"session/a.tif"}


def test_a_replaced_file_of_the_same_size_and_time_is_another_file(tmp_path: Path) -> None:
    original = write(tmp_path / "a.tif", b"1234")
    os.utime(original, ns=(5, 5))
    scanner = ShareScanner(tmp_path)
    scanner.scan()
    other = write(tmp_path / "other", b"5678")
    os.utime(other, ns=(5, 5))
    other.replace(original)
    assert paths(scanner.scan()) == {"a.tif"}


def test_vanished_files_and_folders_are_reported_once(tmp_path: Path) -> None:
    write(tmp_path / "session" / "deep" / "a.tif").unlink()
    gone = write(tmp_path / "session" / "deep" / "b.tif")
    scanner = ShareScanner(tmp_path)
    scanner.scan()
    gone.unlink()
    gone.parent.rmdir()
    gone.parent.parent.rmdir()
    assert scanner.scan().vanished == ("session/deep/b.tif",)
    assert scanner.scan().vanished == ()


def test_a_folder_that_cannot_be_listed_keeps_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "session" / "a.tif")
    scanner = ShareScanner(tmp_path)
    scanner.scan()
    list_folder = os.scandir

    def refuse(path: Path) -> os.ScandirIterator[str]:  # type: ignore[name-defined]  # typeshed keeps it private
        if Path(path).name == "session":
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = scanner.scan()
    assert found.vanished == ()
    assert found.unreadable == ("session: Permission denied",)
    monkeypatch.setattr(os, "scandir", list_folder)
    assert not scanner.scan().changed


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    share, outside = tmp_path / "share", tmp_path / "outside"
    write(share / "a.tif")
    write(outside / "secret.tif")
    (share / "folder").symlink_to(outside)
    (share / "file.tif").symlink_to(outside / "secret.tif")
    assert paths(ShareScanner(share).scan()) == {"a.tif"}


def test_junk_and_excluded_names_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "$RECYCLE.BIN" / "a.tif")
    write(tmp_path / "private" / "b.tif")
    write(tmp_path / "c.bak")
    write(tmp_path / "session" / "private" / "d.tif")
    found = ShareScanner(tmp_path, excludes=["private", "*.BAK"]).scan()
    assert paths(found) == set()


def test_names_that_are_no_text_are_reported_and_stop_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    (tmp_path / os.fsdecode(b"\xff\xfe.tif")).write_bytes(b"x")
    found = ShareScanner(tmp_path).scan()
    assert paths(found) == {"a.tif"}
    assert len(found.unreadable) == 1


def test_a_share_that_cannot_be_listed_is_an_error_and_not_an_empty_session(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ShareScanner(tmp_path / "missing").scan()


def test_in_a_very_large_folder_only_a_part_is_asked_and_everything_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "ASKED_IN_TURN", 5)
    for n in range(40):
        write(tmp_path / "session" / f"{n:02}.tif")
    clock = Clock()
    scanner = ShareScanner(tmp_path, clock=clock, full_every_s=1e9)
    cooled(scanner, clock)
    write(tmp_path / "new.tmp", b"yy").replace(tmp_path / "session" / "07.tif")
    write(tmp_path / "session" / "40.tif")
    (tmp_path / "session" / "11.tif").unlink()
    found = scanner.scan()
    assert {"session/07.tif", "session/40.tif"} <= paths(found)
    assert found.vanished == ("session/11.tif",)
    rewritten = tmp_path / "session" / "21.tif"
    rewritten.write_bytes(b"another")  # in place: neither its folder nor its inode says so
    seen = [scanner.scan() for _ in range(9)]
    assert [paths(one) for one in seen if one.changed] == [{"session/21.tif"}]
    rewritten.write_bytes(b"and once more")
    assert paths(scanner.scan()) == {"session/21.tif"}, "what changed lately is asked every time"


def test_a_file_that_cannot_be_asked_is_not_taken_for_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "session" / "a.tif")
    scanner = ShareScanner(tmp_path)
    scanner.scan()
    monkeypatch.setattr(ShareScanner, "_sort", _refuse)
    refused = scanner.scan(hot=["session"])
    assert not refused.vanished
    assert any("session" in name for name in refused.unreadable)


def _refuse(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
