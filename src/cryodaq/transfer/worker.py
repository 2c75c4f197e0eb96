"""The I/O worker: the only process that touches one mount, so that it can be given up when the mount stalls.

`python -m cryodaq.transfer.worker` reads requests from its standard input and answers on its standard output
(`wire`). It ends when its input ends, at once, whatever its threads wait for.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from cryodaq.errors import CryodaqError, FormatError, TargetExistsError, TransferError
from cryodaq.transfer import copy, remove, verify, wire
from cryodaq.transfer.beneath import (
    FILE_MODE,
    check_share,
    make_folders,
    open_beneath,
    rename_without_replacing,
    sync_folder,
)
from cryodaq.transfer.mounted import check_source, mounted_from
from cryodaq.transfer.pour import Throttle
from cryodaq.transfer.scan import ShareScanner

SAY_EVERY_S = 1.0
"""Progress is said at most so often for each request."""
ENTRIES_A_PART = 5000

Json = dict[str, Any]  # Any: values of JSON
_THREADS = {
    "scan": "look",
    "look": "look",
    "publish": "finish",
    "recognise": "finish",
    "discard_parts": "finish",
    "make_folders": "finish",
    "free_space": "finish",
    "move": "finish",
    "repair": "finish",
    "remove": "finish",
    "settle_aside": "finish",
    "remove_empty_folders": "finish",
    "empty_recycle_bin": "finish",
    "copy": "copy",
    "verify": "reread",
    "hash_source": "reread",
}
"""Which threads do what."""


class Worker:
    """Everything that is done on one mount."""

    def __init__(
        self,
        *,
        root: Path,
        sentinel: str | None,
        excludes: list[str],
        expected_source: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_bytes_per_s: float | None = None,
        source_of: Callable[[Path], str | None] = mounted_from,
    ) -> None:
        self._root, self._sentinel = root, sentinel
        self._expected_source, self._source_of = expected_source, source_of
        self._source: str | None = None
        self._throttle = Throttle(max_bytes_per_s)
        self._device: int | None = None
        self._scanner = ShareScanner(root, excludes=excludes, clock=clock)
        self._cancelled: set[int] = set()

    def check_share(self) -> int:
        """Return the mount's device number; raises `ShareMissingError`."""
        device = check_share(self._root, sentinel=self._sentinel, device=self._device)
        source = self._source_of(self._root)  # each time: the kernel gives a new mount the device number of an old one
        check_source(self._root, expected=self._expected_source or self._source, found=source)
        self._device, self._source = device, source
        return device

    def cancel(self, request: int) -> None:
        """Give up a copy that may be under way."""
        self._cancelled.add(request)

    def scan(self, say: Reply, hot: list[str], anew: bool = False) -> Json:  # noqa: FBT001, FBT002  # JSON from the wire
        """Look for changes; the share is checked before and after, so that a lost mount empties nothing.

        Parameters
        ----------
        anew
            The caller has not heard of what was found before: everything is told.
        """
        if anew:
            self._scanner.forget()
        device = self.check_share()
        began = time.monotonic()
        try:
            found = self._scanner.scan(hot=hot, progress=say.progress)
            self.check_share()
        except (OSError, CryodaqError) as error:
            self._scanner.forget()
            if isinstance(error, OSError):
                message = f"{self._root} cannot be listed: {error.strerror}"
                raise TransferError(message) from error
            raise
        rows = [[f.path, f.size_bytes, f.mtime_ns, f.inode] for f in found.changed]
        for start in range(0, len(rows), ENTRIES_A_PART):
            say.part({"changed": rows[start : start + ENTRIES_A_PART]})
        return {
            "vanished": list(found.vanished),
            "unreadable": list(found.unreadable),
            "file_count": found.file_count,
            "empty_folders": list(found.empty_folders),
            "full": found.full,
            "device": device,
            "mounted_from": self._source,
            "scan_s": time.monotonic() - began,
            **_space(self._root),
        }

    def look(self, say: Reply, paths: list[str]) -> Json:
        """Look at files through open handles: size, time, and what their formats say."""
        self.check_share()
        looks = []
        for number, path in enumerate(paths):
            try:
                looks.append(self._look(path))
            except TransferError as error:
                looks.append({"path": path, "error": wire.error_to_message(error)})
            say.progress(number)
        return {"looks": looks}

    def _look(self, path: str) -> Json:
        from cryodaq.formats.closure import inspect

        name = PurePosixPath(path)
        with open_beneath(self._root, path) as descriptor:
            try:
                with os.fdopen(os.dup(descriptor), "rb") as handle:
                    closure = inspect(handle, name=name)
                found = os.fstat(descriptor)
            except OSError as error:
                message = f"{path} cannot be read: {error.strerror}"
                raise TransferError(message) from error
        look = {
            "path": path,
            "size_bytes": found.st_size,
            "mtime_ns": found.st_mtime_ns,
            "closed": closure.closed if found.st_size == closure.size_bytes else False,
            "sealed": closure.sealed,
            "frame_count": closure.frame_count,
            "problem": closure.problem,
        }
        return look | (self._facts(path) if closure.closed and name.suffix.lower() in {".xml", ".mdoc"} else {})

    def _facts(self, path: str) -> Json:
        """Return, for each exposure that a metadata file describes, its movie's name and number of frames.

        A damaged file says nothing here; it is copied, and whoever processes the movie says what is wrong.
        """
        from cryodaq.formats.metadata import read_metadata

        try:
            described = read_metadata(self._root / path)
        except (FormatError, OSError):
            return {}
        return {"facts": [[one.movie_file_name, one.frame_count] for one in described]}

    def copy(self, say: Reply, order: Json) -> Json:
        """Copy one file to its `.part`."""
        self.check_share()
        made = copy.copy_to_part(
            self._root,
            copy.CopyOrder(**order | {"base": Path(order["base"]), "relative": PurePosixPath(order["relative"])}),
            progress=say.progress,
            cancelled=lambda: say.request in self._cancelled,
            throttle=self._throttle,
        )
        return {
            "part": str(made.part),
            "xxh3_128": made.xxh3_128,
            "size_bytes": made.size_bytes,
            "mtime_ns": made.mtime_ns,
            "inode": made.inode,
        }

    def publish(self, say: Reply, copies: list[Json]) -> Json:
        """Give finished copies their final names."""
        return {"published": [_or_error(partial(_publish, one), say) for one in copies]}

    def recognise(self, say: Reply, copies: list[Json]) -> Json:
        """Say which copies have their final names, with size and time: those that were made, by their hashes."""
        return {"recognised": [_or_error(partial(_recognise, one), say) for one in copies]}

    def discard_parts(self, say: Reply, folders: list[str], token: str) -> Json:
        """Remove what earlier leases left half."""
        count = 0
        for folder in folders:
            count += copy.discard_parts(Path(folder), token=token)
            say.progress(count)
        return {"count": count}

    def make_folders(self, say: Reply, base: str, folders: list[str]) -> Json:
        """Make folders below an existing one, where they are not there yet."""
        for number, folder in enumerate(folders):
            try:
                make_folders(Path(base), PurePosixPath(folder))
            except OSError as error:
                message = f"{base}/{folder} cannot be made: {error.strerror}"
                raise TransferError(message) from error
            say.progress(number)
        return {}

    def verify(self, say: Reply, copies: list[Json], max_bytes_per_s: float | None = None) -> Json:
        """Re-read copies from storage."""
        throttle = Throttle(max_bytes_per_s)
        return {"verified": [_or_error(partial(_verify, one, throttle, say), say) for one in copies]}

    def hash_source(self, say: Reply, path: str) -> Json:
        """Hash a file of the share."""
        self.check_share()
        return {"xxh3_128": verify.hash_of_source(self._root, path, progress=say.progress)}

    def repair(self, _say: Reply, part: str, target: str, token: str) -> Json:
        """Put another copy in the place of a damaged one."""
        return {"aside": str(verify.put_in_place(Path(part), Path(target), token=token))}

    def move(self, say: Reply, moves: list[Json]) -> Json:
        """Move copies within the storage without replacing anything."""
        return {"moved": [_or_error(partial(_move if one["xxh3_128"] else _move_product, one), say) for one in moves]}

    def remove(self, _say: Reply, path: str, aside: str, expected: list[int]) -> Json:
        """Remove a file from the share if it is the one expected."""
        self.check_share()
        remove.remove(self._root, path, aside=aside, expected=(expected[0], expected[1], expected[2]))
        return {}

    def settle_aside(self, _say: Reply, path: str, aside: str, expected: list[int]) -> Json:
        """Finish a removal that was interrupted."""
        self.check_share()
        known = (expected[0], expected[1], expected[2])
        return {"outcome": remove.settle_aside(self._root, path, aside=aside, expected=known)}

    def remove_empty_folders(self, _say: Reply, folder: str) -> Json:
        """Remove what is left of a session's folders."""
        self.check_share()
        return {"count": remove.remove_empty_folders(self._root, folder)}

    def empty_recycle_bin(self, _say: Reply, older_than_s: float) -> Json:
        """Remove what people deleted long ago."""
        self.check_share()
        return {"freed_bytes": remove.empty_recycle_bin(self._root, older_than_s=older_than_s)}

    def free_space(self, _say: Reply, folder: str) -> Json:
        """Return what is free on a folder's file system."""
        return _space(Path(folder))


class Reply:
    """Says what becomes of one request."""

    def __init__(self, request: int, send: Callable[[Json], None]) -> None:
        self.request = request
        self._send = send
        self._said_at = time.monotonic()

    def began(self) -> None:
        """A thread took the request up."""
        self._send({"id": self.request, "began": True})

    def progress(self, amount: int) -> None:
        """Something was done; said at most once a second."""
        now = time.monotonic()
        if now - self._said_at >= SAY_EVERY_S:
            self._said_at = now
            self._send({"id": self.request, "progress": amount})

    def part(self, piece: Json) -> None:
        """A piece of a long answer."""
        self._send({"id": self.request, "part": piece})

    def result(self, answer: Json) -> None:
        """The answer."""
        self._send({"id": self.request, "result": answer})

    def error(self, error: CryodaqError) -> None:
        """It could not be done."""
        self._send({"id": self.request, "error": wire.error_to_message(error)})


def _or_error(act: Callable[[], Json], say: Reply) -> Json:
    """Do one of several things; what is wrong with one does not stop the others."""
    try:
        return act()
    except CryodaqError as error:
        return {"error": wire.error_to_message(error)}
    finally:
        say.progress(0)


def _publish(one: Json) -> Json:
    part, target = Path(one["part"]), Path(one["target"])
    if one.get("claimed"):
        copy.refuse_name(part, target)
    if one.get("living"):
        copy.publish_living(part, target)
        return {"fresh": True}
    return {"fresh": copy.publish(part, target, xxh3_128=one["xxh3_128"])}


def _recognise(one: Json) -> Json:
    target = Path(one["target"])
    try:
        if not _is_copy(target, one["xxh3_128"]):
            return {}
        found = target.stat()
        sync_folder(target.parent)
    except OSError as error:
        message = f"{target} cannot be read: {error.strerror}"
        raise TransferError(message) from error
    return {"size_bytes": found.st_size, "mtime_ns": found.st_mtime_ns}


def _verify(one: Json, throttle: Throttle, say: Reply) -> Json:
    verify.verify(Path(one["target"]), xxh3_128=one["xxh3_128"], throttle=throttle, progress=say.progress)
    return {}


def _move(one: Json) -> Json:
    """Move a copy; one that already lies there (after a crash) is accepted by its hash.

    With a `token` the caller knows that no other copy belongs there. Then what lies there is this copy too, moved
    before a crash: damaged, it is taken over as such, or makes room for a good one and is kept, hidden.
    """
    source, base, relative = Path(one["source"]), Path(one["base"]), PurePosixPath(one["relative"])
    target = base / relative
    try:
        make_folders(base, relative.parent)
        source.chmod(FILE_MODE)
        rename_without_replacing(source, target)
        sync_folder(target.parent)
        sync_folder(source.parent)
    except FileNotFoundError as error:
        if _is_copy(target, one["xxh3_128"]):
            return {"target": str(target)}
        if one.get("token") and target.is_file():
            return {"target": str(target), "damaged": True}
        message = f"{source} is not there and cannot be moved"
        raise TransferError(message) from error
    except FileExistsError as error:
        if _is_copy(target, one["xxh3_128"]):
            source.unlink(missing_ok=True)
        elif one.get("token") and _is_copy(source, one["xxh3_128"]):
            verify.put_in_place(source, target, token=one["token"])
        else:
            raise TargetExistsError(target) from error
    except OSError as error:
        message = f"{source} cannot be moved to {target}: {error.strerror}"
        raise TransferError(message) from error
    return {"target": str(target)}


def _move_product(one: Json) -> Json:
    """Move what was computed; it replaces what lies there, and may not be there (moved before, or never made)."""
    source, base, relative = Path(one["source"]), Path(one["base"]), PurePosixPath(one["relative"])
    target = base / relative
    try:
        make_folders(base, relative.parent)
        source.replace(target)
    except FileNotFoundError:
        return {}
    except OSError as error:
        message = f"{source} cannot be moved to {target}: {error.strerror}"
        raise TransferError(message) from error
    return {"target": str(target)}


def _is_copy(target: Path, xxh3_128: str) -> bool:
    return target.is_file() and copy.hash_of(target) == xxh3_128


def _space(folder: Path) -> Json:
    try:
        found = os.statvfs(folder)
    except OSError as error:
        message = f"{folder} does not say how much room it has: {error.strerror}"
        raise TransferError(message) from error
    return {
        "free_bytes": found.f_bavail * found.f_frsize,
        "total_bytes": found.f_blocks * found.f_frsize,
        "free_inodes": found.f_favail,
        "total_inodes": found.f_files,
    }


class Desk:
    """Takes requests in and hands each to the threads of its kind: looking never waits behind copying."""

    def __init__(self, worker: Worker, *, threads: int, send: Callable[[Json], None]) -> None:
        self._worker, self._send = worker, send
        sizes = {"look": 2, "finish": 1, "copy": threads, "reread": 1}
        self._pools = {kind: ThreadPoolExecutor(size, thread_name_prefix=kind) for kind, size in sizes.items()}

    def take(self, message: wire.Message) -> None:
        """Begin what a request asks for."""
        request, wanted = int(message["id"]), str(message["do"])
        if wanted == "cancel":
            self._worker.cancel(int(message["request"]))
            return
        arguments = {key: value for key, value in message.items() if key not in {"id", "do"}}
        reply = Reply(request, self._send)
        if wanted not in _THREADS:
            reply.error(TransferError(f"no worker can {wanted}"))
            return
        self._pools[_THREADS[wanted]].submit(self._run, reply, wanted, arguments)

    def _run(self, reply: Reply, wanted: str, arguments: Json) -> None:
        reply.began()
        try:
            reply.result(getattr(self._worker, wanted)(reply, **arguments))
        except CryodaqError as error:
            reply.error(error)
        except Exception as error:  # noqa: BLE001  # the outermost loop of a worker's thread: its caller must hear of it
            reply.error(TransferError(f"{wanted} failed: {type(error).__name__}: {error}"))


def serve(source: int, target: int) -> None:
    """Serve requests until the input ends; the first line opens the mount."""
    lock = threading.Lock()

    def send(message: Json) -> None:
        with lock:
            view = memoryview(wire.encode(message))
            while view:
                view = view[os.write(target, view) :]

    with os.fdopen(source, "rb") as lines:
        first = wire.decode(lines.readline())
        worker = Worker(
            root=Path(first["root"]),
            sentinel=first["sentinel"],
            excludes=list(first["excludes"]),
            expected_source=first["expected_source"],
            max_bytes_per_s=first["max_bytes_per_s"],
        )
        if first["niceness"]:
            os.nice(int(first["niceness"]))
        desk = Desk(worker, threads=int(first["threads"]), send=send)
        for line in lines:
            desk.take(wire.decode(line))


def main() -> None:
    """Run the worker; stray prints of libraries go to standard error, never between the messages."""
    answers = os.dup(1)
    os.dup2(2, 1)
    with suppress(BrokenPipeError, TransferError):
        serve(os.dup(0), answers)
    sys.stderr.flush()
    os._exit(0)  # threads may wait for a dead mount for ever; nothing here is worth waiting for


if __name__ == "__main__":
    main()
