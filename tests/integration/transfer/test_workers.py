"""The I/O worker as a real process: answers, errors, and being given up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from cryodaq.errors import ShareMissingError, ShareStalledError, SourceVanishedError, TransferError
from cryodaq.transfer.workers import ShareWorker, process_mark, still_lives

WAIT_S = 20


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    (folder / "session").mkdir(parents=True)
    (folder / ".online").touch()
    (folder / "session" / "a.xml").write_text("<a/>")
    return folder


@pytest.fixture
def worker(share: Path) -> Iterator[ShareWorker]:
    made = ShareWorker(PurePosixPath(share), sentinel=".online", stall_s=1.0)
    made.start()
    yield made
    if made.pid is not None:
        os.kill(made.pid, signal.SIGCONT)
    made.close()


def order(share: Path, raw: Path, name: str) -> dict[str, object]:
    found = (share / name).stat()
    return {
        "source": name,
        "size_bytes": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "base": str(raw),
        "relative": name,
        "token": "0badcafe",
        "number": 1,
    }


def test_scan_look_copy_and_publish(worker: ShareWorker, share: Path, tmp_path: Path) -> None:
    found = worker.request("scan", hot=[]).result(WAIT_S)
    assert [row[0] for part in found["parts"] for row in part["changed"]] == [".online", "session/a.xml"]
    assert found["free_bytes"] > 0
    (look,) = worker.request("look", paths=["session/a.xml"]).result(WAIT_S)["looks"]
    assert look["closed"] is True
    assert look["size_bytes"] == 4
    part = worker.request("copy", order=order(share, tmp_path, "session/a.xml")).result(WAIT_S)
    copies = [{"part": part["part"], "target": str(tmp_path / "session/a.xml"), "xxh3_128": part["xxh3_128"]}]
    assert worker.request("publish", copies=copies).result(WAIT_S)["published"] == [{"fresh": True}]
    assert (tmp_path / "session/a.xml").read_text() == "<a/>"


def test_errors_come_back_as_what_they_are(worker: ShareWorker, share: Path, tmp_path: Path) -> None:
    wanted = order(share, tmp_path, "session/a.xml")
    (share / "session/a.xml").unlink()
    with pytest.raises(SourceVanishedError):
        worker.request("copy", order=wanted).result(WAIT_S)
    with pytest.raises(TransferError, match="no worker can"):
        worker.request("format_disk").result(WAIT_S)
    with pytest.raises(TransferError, match="TypeError"):
        worker.request("look", nonsense=1).result(WAIT_S)


def test_a_lost_mount_is_no_empty_session(worker: ShareWorker, share: Path) -> None:
    worker.request("scan", hot=[]).result(WAIT_S)
    (share / ".online").unlink()
    (share / "session/a.xml").unlink()
    with pytest.raises(ShareMissingError, match="mount the share"):
        worker.request("scan", hot=[]).result(WAIT_S)
    (share / "session/a.xml").write_text("<a/>")
    (share / ".online").touch()
    again = worker.request("scan", hot=[]).result(WAIT_S)
    assert again["vanished"] == []


def test_a_stopped_worker_is_given_up_without_waiting(worker: ShareWorker) -> None:
    worker.request("scan", hot=[]).result(WAIT_S)
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    waiting = worker.request("scan", hot=[])
    deadline = time.monotonic() + WAIT_S
    while not worker.stalled:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    mark = worker.abandon()
    assert mark.split()[1] == str(pid)
    with pytest.raises(ShareStalledError):
        waiting.result(WAIT_S)


def test_a_worker_ends_with_its_supervisor(worker: ShareWorker) -> None:
    worker.request("scan", hot=[]).result(WAIT_S)
    assert worker.close()
    assert not worker.alive


def test_requests_to_a_dead_worker_fail_at_once(worker: ShareWorker) -> None:
    worker.close()
    with pytest.raises(TransferError):
        worker.request("scan", hot=[]).result(WAIT_S)


def test_a_process_is_known_again_by_its_mark() -> None:
    mark = process_mark(os.getpid())
    assert still_lives(mark)
    host, pid, started = mark.split()
    assert not still_lives(f"{host} {pid} {int(started) + 1}")
    assert not still_lives(f"elsewhere {pid} {started}")
    assert not still_lives("")
