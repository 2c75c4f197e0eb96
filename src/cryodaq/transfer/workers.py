"""The supervisor's side of an I/O worker: requests with bounded waits, and giving up a worker that stalls."""

from __future__ import annotations

import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cryodaq.errors import ShareStalledError, TransferError, WorkerEndedError
from cryodaq.transfer import wire

log = logging.getLogger(__name__)
_ENDED = frozenset({"Z", "X"})
STALL_S = 60.0
"""A request of which nothing is heard for so long has met a dead mount."""

Json = dict[str, Any]  # Any: values of JSON


@dataclass(slots=True)
class _Pending:
    what: str
    future: Future[Json]
    heard_at: float
    began: bool = False
    parts: list[Json] = field(default_factory=list)


class ShareWorker:
    """One worker process for one mount.

    Parameters
    ----------
    sentinel
        Name of the file that proves the mount; None for a mount without one.
    expected_source
        What must be mounted there; None: whatever it is.
    threads
        Copies at once.
    max_bytes_per_s
        Of all its copies together; None: as fast as it goes.
    niceness
        How much the worker stands back behind other processes.
    wake
        Called, from another thread, whenever an answer arrives.
    """

    def __init__(  # noqa: PLR0913  # each says one thing of the mount, and has a usual value
        self,
        root: PurePosixPath,
        *,
        sentinel: str | None = None,
        expected_source: str | None = None,
        excludes: tuple[str, ...] = (),
        threads: int = 3,
        niceness: int = 0,
        max_bytes_per_s: float | None = None,
        stall_s: float = STALL_S,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.root = root
        self._stall_s = stall_s
        self._wake = wake
        self._hello: Json = {
            "root": str(root),
            "sentinel": sentinel,
            "expected_source": expected_source,
            "excludes": list(excludes),
            "threads": threads,
            "niceness": niceness,
            "max_bytes_per_s": max_bytes_per_s,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._pending: dict[int, _Pending] = {}
        self._lock = threading.Lock()
        self._last_id = 0
        self._heard_at = 0.0
        self._given_up = False

    @property
    def pid(self) -> int | None:
        """The worker's process id while it is not known to have ended."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def alive(self) -> bool:
        """Whether requests can be sent."""
        return not self._given_up and self.pid is not None

    def expect(self, source: str) -> None:
        """Have the next process refuse what is not mounted from there."""
        self._hello["expected_source"] = source

    def start(self) -> None:
        """Start the process. Its environment carries no more than it needs."""
        self._given_up = False
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cryodaq.transfer.worker"],
                stdin=theirs_in,
                stdout=theirs_out,
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            os.close(ours_out)
            os.close(ours_in)
            message = f"no worker could be started for {self.root}: {error.strerror}"
            raise TransferError(message) from error
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._heard_at = time.monotonic()
        self._outbox = queue.SimpleQueue()
        self._outbox.put(wire.encode(self._hello))
        # Each thread owns its end of a pipe and closes it: nobody else may, while it could wait there.
        for target, descriptor in ((self._write, ours_out), (self._read, ours_in)):
            threading.Thread(
                target=target, args=(descriptor, self._outbox), name=f"worker of {self.root}", daemon=True
            ).start()

    def request(self, what: str, **arguments: object) -> Future[Json]:
        """Send a request; its future fails with a `TransferError` of the kind that the worker met.

        Pieces of a long answer are in the result under `parts`. The future has an attribute-free id:
        give it to `cancel` to give a copy up.
        """
        future: Future[Json] = Future()
        with self._lock:
            self._last_id += 1
            number = self._last_id
            if not self.alive:
                future.set_exception(ShareStalledError(self.root, waited_s=0))
                return future
            now = time.monotonic()
            if not self._pending:
                self._heard_at = now
            self._pending[number] = _Pending(what=what, future=future, heard_at=now)
        self._outbox.put(wire.encode({"id": number, "do": what, **arguments}))
        return future

    def cancel(self, future: Future[Json]) -> None:
        """Ask the worker to give up the copy of a future."""
        with self._lock:
            numbers = [number for number, pending in self._pending.items() if pending.future is future]
        for number in numbers:
            self._outbox.put(wire.encode({"id": 0, "do": "cancel", "request": number}))

    def silent_s(self) -> float:
        """Return for how long a request that should be under way has said nothing, s; 0 when none is."""
        now = time.monotonic()
        with self._lock:
            if not self._pending:
                return 0.0
            begun = [now - pending.heard_at for pending in self._pending.values() if pending.began]
            return max([*begun, now - self._heard_at])

    @property
    def stalled(self) -> bool:
        """Whether it is time to give the worker up."""
        return self.silent_s() > self._stall_s

    def abandon(self) -> str:
        """Kill the worker without waiting for it, fail its requests, and return how to recognise it later.

        What hangs in a dead mount stays a process for as long as the mount is dead, and is asked for nothing more.
        """
        self._given_up = True
        waited_s = self.silent_s()
        process = self._process
        mark = process_mark(process.pid) if process is not None else ""
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
        self._outbox.put(None)
        self._fail_all(ShareStalledError(self.root, waited_s=waited_s))
        log.error("an I/O worker was given up", extra={"share": str(self.root), "waited_s": waited_s, "worker": mark})
        return mark

    def close(self, *, wait_s: float = 2.0) -> bool:
        """End the worker; return whether it has ended. One that has not is killed and left alone."""
        process = self._process
        if process is None:
            return True
        self._outbox.put(None)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.abandon()
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
        self._fail_all(WorkerEndedError(self.root))
        return process.poll() is not None

    def _write(self, descriptor: int, outbox: queue.SimpleQueue[bytes | None]) -> None:
        """Hand requests to the pipe; only this thread waits when the worker does not read."""
        with suppress(OSError):
            while (line := outbox.get()) is not None:
                view = memoryview(line)
                while view:
                    view = view[os.write(descriptor, view) :]
        with suppress(OSError):
            os.close(descriptor)

    def _read(self, descriptor: int, _outbox: queue.SimpleQueue[bytes | None]) -> None:
        rest = b""
        with suppress(OSError):
            while chunk := os.read(descriptor, 1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._hear(wire.decode(line))
        with suppress(OSError):
            os.close(descriptor)
        self._fail_all(WorkerEndedError(self.root))

    def _hear(self, message: Mapping[str, Any]) -> None:  # Any: values of JSON
        now = time.monotonic()
        number = int(message["id"])
        with self._lock:
            self._heard_at = now
            pending = self._pending.get(number)
            if pending is None:
                return
            pending.heard_at, pending.began = now, True
            if "part" in message:
                pending.parts.append(message["part"])
                return
            if "result" not in message and "error" not in message:
                return
            del self._pending[number]
        with suppress(InvalidStateError):
            if "error" in message:
                pending.future.set_exception(wire.error_from_message(message["error"]))
            else:
                pending.future.set_result({**message["result"], "parts": pending.parts})
        self._wake()

    def _fail_all(self, error: TransferError) -> None:
        with self._lock:
            pending, self._pending = list(self._pending.values()), {}
        for one in pending:
            with suppress(InvalidStateError):
                one.future.set_exception(error)
        self._wake()


def _environment() -> dict[str, str]:
    kept = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "HOME", "TMPDIR", "PYTHONPYCACHEPREFIX")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONUTF8": "1"}


def process_mark(pid: int) -> str:
    """Return what tells a process from a later one with the same number: host, number and time of its start."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = "?"
    return f"{socket.gethostname()} {pid} {started}"


def still_lives(mark: str) -> bool:
    """Whether an abandoned worker of this host is still there; one of another host cannot be known to be."""
    host, _, rest = mark.partition(" ")
    pid, _, _ = rest.partition(" ")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return process_mark(int(pid)) == mark and not _ENDED.issuperset(_states_of_threads(pid))


def _states_of_threads(pid: str) -> set[str]:
    """Return the states of a process's threads: the first may have ended while another one hangs in a dead mount."""
    states = set()
    for thread in Path("/proc").glob(f"{pid}/task/*/stat"):
        with suppress(OSError, IndexError):  # it ended just now
            states.add(thread.read_text().rpartition(")")[2].split()[0])
    return states
