"""A final name never stands for anything but a whole, hashed copy, and is never taken from another file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
import xxhash

from cryodaq.errors import (
    CopyMismatchError,
    SourceUnstableError,
    SourceVanishedError,
    TargetExistsError,
    TargetFullError,
    TransferError,
)
from cryodaq.transfer import copy as copying
from cryodaq.transfer.beneath import make_folders, rename_without_replacing
from cryodaq.transfer.copy import (
    CopyCancelledError,
    CopyOrder,
    copy_to_part,
    discard_parts,
    part_path,
    publish,
    publish_living,
)
from cryodaq.transfer.pour import LARGE_BYTES, Throttle, pour, pour_with_a_writer
from cryodaq.transfer.verify import put_in_place, verify

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def order(share: Path, raw: Path, *, name: str = "session/a.tif", living: bool = False) -> CopyOrder:
    found = (share / name).stat()
    return CopyOrder(
        source=name,
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        base=raw,
        relative=PurePosixPath(name),
        token="0badcafe",
        number=1,
        living=living,
    )


@pytest.fixture
def movie(share: Path) -> Path:
    path = share / "session" / "a.tif"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    os.utime(path, ns=(10**18, 10**18 + 7))
    return path


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_copy_is_whole_hashed_and_keeps_its_time(share: Path, raw: Path, movie: Path) -> None:
    part = copy_to_part(share, order(share, raw))
    assert part.xxh3_128 == xxhash.xxh3_128(CONTENT).hexdigest()
    assert not (raw / "session/a.tif").exists()
    assert publish(part.part, raw / "session/a.tif", xxh3_128=part.xxh3_128)
    target = raw / "session/a.tif"
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mtime_ns == 10**18 + 7
    assert target.stat().st_mode & 0o777 == 0o640
    assert target.parent.stat().st_mode & 0o777 == 0o750
    assert entries(raw) == ["a.tif"]
    verify(target, xxh3_128=part.xxh3_128)


def test_an_empty_file_is_copied_too(share: Path, raw: Path) -> None:
    (share / "empty.log").touch()
    part = copy_to_part(share, order(share, raw, name="empty.log"))
    assert publish(part.part, raw / "empty.log", xxh3_128=part.xxh3_128)
    assert (raw / "empty.log").stat().st_size == 0


def test_the_same_copy_after_a_crash_is_accepted(share: Path, raw: Path, movie: Path) -> None:
    target = raw / "session/a.tif"
    first = copy_to_part(share, order(share, raw))
    assert publish(first.part, target, xxh3_128=first.xxh3_128)
    second = copy_to_part(share, order(share, raw))
    assert publish(second.part, target, xxh3_128=second.xxh3_128) is False
    assert entries(raw) == ["a.tif"]


def test_another_file_of_that_name_is_never_replaced(share: Path, raw: Path, movie: Path) -> None:
    target = raw / "session/a.tif"
    target.parent.mkdir()
    target.write_bytes(b"somebody's result")
    part = copy_to_part(share, order(share, raw))
    with pytest.raises(TargetExistsError, match=r"a\.tif"):
        publish(part.part, target, xxh3_128=part.xxh3_128)
    assert target.read_bytes() == b"somebody's result"
    assert entries(raw) == ["a.tif"]


def test_a_source_that_grows_meanwhile_is_left_for_the_next_scan(share: Path, raw: Path, movie: Path) -> None:
    def grow(_copied: int) -> None:
        with movie.open("ab") as handle:
            handle.write(b"another page")

    with pytest.raises(SourceUnstableError, match="bytes"):
        copy_to_part(share, order(share, raw), progress=grow)
    assert entries(raw) == []


def test_a_source_that_is_rewritten_in_place_meanwhile_is_left_for_the_next_scan(
    share: Path, raw: Path, movie: Path
) -> None:
    with pytest.raises(SourceUnstableError, match="written to"):
        copy_to_part(share, order(share, raw), progress=lambda _: os.utime(movie, ns=(1, 1)))
    assert entries(raw) == []


def test_a_source_that_is_cut_meanwhile_is_left_for_the_next_scan(share: Path, raw: Path, movie: Path) -> None:
    wanted = order(share, raw)
    os.truncate(movie, 1000)
    os.utime(movie, ns=(10**18, 10**18 + 7))
    with pytest.raises(SourceUnstableError):
        copy_to_part(share, wanted)


def test_a_source_that_went_is_said_to_have_gone(share: Path, raw: Path, movie: Path) -> None:
    wanted = order(share, raw)
    movie.unlink()
    with pytest.raises(SourceVanishedError):
        copy_to_part(share, wanted)


def test_a_living_file_is_copied_as_it_was_when_opened(share: Path, raw: Path, movie: Path) -> None:
    def grow(copied: int) -> None:
        if copied == 0:
            with movie.open("ab") as handle:
                handle.write(b"another line")

    part = copy_to_part(share, order(share, raw, living=True), progress=grow)
    publish_living(part.part, raw / "session/a.tif")
    assert (raw / "session/a.tif").read_bytes() == CONTENT
    newer = copy_to_part(share, order(share, raw, living=True))
    publish_living(newer.part, raw / "session/a.tif")
    assert (raw / "session/a.tif").read_bytes() == CONTENT + b"another line"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_target_is_said_to_be_full_and_keeps_nothing_half(
    share: Path, raw: Path, movie: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(_descriptor: int, _view: memoryview) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(copying.os, "write", refuse)
    with pytest.raises(TargetFullError, match="GB free"):
        copy_to_part(share, order(share, raw))
    assert entries(raw) == []


def test_a_read_error_keeps_nothing_half(share: Path, raw: Path, movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int, _buffers: list[memoryview]) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(copying.os, "readv", fail)
    with pytest.raises(TransferError, match="Input/output error"):
        copy_to_part(share, order(share, raw))
    assert entries(raw) == []


def test_a_copy_can_be_given_up(share: Path, raw: Path, movie: Path) -> None:
    with pytest.raises(CopyCancelledError):
        copy_to_part(share, order(share, raw), cancelled=lambda: True)
    assert entries(raw) == []


def test_a_missing_sample_folder_is_not_made_behind_the_back_of_who_sets_its_rights(
    share: Path, tmp_path: Path, movie: Path
) -> None:
    with pytest.raises(TransferError, match="not there yet"):
        copy_to_part(share, order(share, tmp_path / "nowhere"))


def test_a_symbolic_link_is_not_copied(share: Path, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (share / "link.tif").symlink_to(tmp_path / "secret")
    (share / "folder").symlink_to(tmp_path / "outside")
    for name in ("link.tif", "folder/secret"):
        with pytest.raises(TransferError):
            copy_to_part(share, order(share, raw, name=name))
    assert entries(raw) == []


def test_a_pipe_on_the_share_stops_nobody(share: Path, raw: Path) -> None:
    os.mkfifo(share / "pipe.tif")
    with pytest.raises(TransferError, match="not a regular file"):
        copy_to_part(share, order(share, raw, name="pipe.tif"))


def test_parts_of_other_leases_are_removed_and_ours_is_kept(raw: Path) -> None:
    target = raw / "a.tif"
    mine, theirs = part_path(target, number=1, token="mine"), part_path(target, number=1, token="old")
    others = part_path(raw / "ab.tif", number=2, token="old")
    for path in (mine, theirs, others, target):
        path.touch()
    assert discard_parts(raw, token="mine") == 2
    assert sorted(raw.iterdir()) == sorted([mine, target])
    assert discard_parts(raw / "missing", token="mine") == 0


def test_a_damaged_copy_is_found_and_makes_room_for_a_good_one(share: Path, raw: Path, movie: Path) -> None:
    part = copy_to_part(share, order(share, raw))
    target = raw / "session/a.tif"
    publish(part.part, target, xxh3_128=part.xxh3_128)
    with target.open("r+b") as handle:
        handle.write(b"!")
    with pytest.raises(CopyMismatchError, match="copied again"):
        verify(target, xxh3_128=part.xxh3_128)
    again = copy_to_part(share, order(share, raw))
    aside = put_in_place(again.part, target, token="0badcafe")
    verify(target, xxh3_128=part.xxh3_128)
    assert aside.read_bytes()[:1] == b"!"
    assert not again.part.exists()
    third = copy_to_part(share, order(share, raw))
    target.unlink()
    put_in_place(third.part, target, token="1badcafe")
    verify(target, xxh3_128=part.xxh3_128)


def test_renaming_never_replaces(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        rename_without_replacing(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "b"
    rename_without_replacing(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_text() == "a"


def test_folders_are_made_below_an_existing_base(tmp_path: Path) -> None:
    assert make_folders(tmp_path, PurePosixPath("a/b")).is_dir()
    assert make_folders(tmp_path, PurePosixPath("a/b")) == tmp_path / "a/b"
    assert make_folders(tmp_path, PurePosixPath()) == tmp_path


@pytest.mark.parametrize("act", [pour, pour_with_a_writer])
def test_a_large_file_is_copied_whole(act: Callable[..., tuple[str, int]], tmp_path: Path) -> None:
    content = os.urandom(LARGE_BYTES + 12_345)
    (tmp_path / "source").write_bytes(content)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        digest, copied = act(source.fileno(), target.fileno(), size_bytes=len(content))
    assert (tmp_path / "target").read_bytes() == content
    assert (digest, copied) == (xxhash.xxh3_128(content).hexdigest(), len(content))


@pytest.mark.parametrize("act", [pour, pour_with_a_writer])
def test_a_disk_that_fills_is_said_to_be_full(act: Callable[..., tuple[str, int]], tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(bytes(LARGE_BYTES))
    descriptor, full = os.open(source, os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left"):
            act(descriptor, full, size_bytes=LARGE_BYTES)
    finally:
        os.close(descriptor)
        os.close(full)


def test_all_who_share_a_throttle_keep_to_one_rate() -> None:
    now, rests = [100.0], []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        now[0] += seconds

    throttle = Throttle(1000.0, clock=lambda: now[0], rest=rest)
    for _ in range(10):
        throttle.take(500)
    assert now[0] - 100.0 == pytest.approx(5.0)
    now[0] += 60.0  # nobody copied for a minute; that gives no right to more
    throttle.take(1000)
    assert rests[-1] == pytest.approx(1.0)
