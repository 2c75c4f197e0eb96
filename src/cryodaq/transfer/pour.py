"""Bring bytes from one open file to another, hashed on the way.

Buffers are small enough to stay in a core's cache between reading, hashing and writing: larger ones make each of these
fetch the bytes from memory again. Where a core is free, a large file is written by a second thread while the next piece
is read and hashed; the system calls and the hash run without Python's lock. Where none is, a second thread only costs:
a sixth more CPU, and on a busy machine a quarter of the rate.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

BUFFER_BYTES = 512 << 10
PIECES = 4
"""Buffers between the two threads of a large file."""
LARGE_BYTES = 16 << 20
"""Smaller files are not worth a second thread."""
LONGEST_REST_S = 5.0
"""Somebody waits for a sign of life."""
_buffers = threading.local()


class Hash(Protocol):
    """The part of an xxhash object that is used here."""

    def update(self, data: memoryview, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """Return the hash, 32 hexadecimal digits."""


def new_hash() -> Hash:
    """Return an empty xxh3_128."""
    import xxhash

    digest: Hash = xxhash.xxh3_128()
    return digest


class Throttle:
    """Holds all who share it to one rate."""

    def __init__(
        self,
        bytes_per_s: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._rest = bytes_per_s, clock, rest
        self._free_at = clock()
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> None:
        """Rest until so many bytes may go; nobody saves up for later."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + size_bytes / self._rate
            rest_s = self._free_at - now
        if rest_s > 0:
            self._rest(min(rest_s, LONGEST_REST_S))


UNLIMITED = Throttle(None)


def core_is_free() -> bool:
    """Whether the load of the last minute, our own copies included, leaves a core for a second thread."""
    return os.getloadavg()[0] < len(os.sched_getaffinity(0))


def buffer() -> memoryview:
    """Return this thread's buffer: allocating one for each file would cost more than copying a small one."""
    if getattr(_buffers, "size", None) != BUFFER_BYTES:
        _buffers.view, _buffers.size = memoryview(bytearray(BUFFER_BYTES)), BUFFER_BYTES
    view: memoryview = _buffers.view
    return view


def pour(
    source: int,
    target: int,
    *,
    size_bytes: int,
    check: Callable[[int], None] = lambda _: None,
    throttle: Throttle = UNLIMITED,
) -> tuple[str, int]:
    """Copy up to `size_bytes` from one descriptor to another; return the hash of what was written, and how much.

    Parameters
    ----------
    check
        Called with the bytes read so far before each piece; what it raises ends the copy.

    Raises
    ------
    OSError
        Of reading or writing.
    """
    if size_bytes >= LARGE_BYTES and core_is_free():
        return pour_with_a_writer(source, target, size_bytes=size_bytes, check=check, throttle=throttle)
    view = buffer()
    return _pour(
        source,
        lambda: view,
        lambda piece: _write_all(target, piece),
        size_bytes=size_bytes,
        check=check,
        throttle=throttle,
    )


def pour_with_a_writer(
    source: int,
    target: int,
    *,
    size_bytes: int,
    check: Callable[[int], None] = lambda _: None,
    throttle: Throttle = UNLIMITED,
) -> tuple[str, int]:
    """Do the same with a second thread that writes."""
    with _writer(target) as (take, give):
        return _pour(source, take, give, size_bytes=size_bytes, check=check, throttle=throttle)


def _pour(
    source: int,
    take: Callable[[], memoryview],
    give: Callable[[memoryview], None],
    *,
    size_bytes: int,
    check: Callable[[int], None],
    throttle: Throttle,
) -> tuple[str, int]:
    """Read into the buffers that `take` returns, hash, and hand what was read to `give`."""
    digest, copied = new_hash(), 0
    while copied < size_bytes:
        check(copied)
        view = take()
        count = os.readv(source, [view[: min(len(view), size_bytes - copied)]])
        if count == 0:
            break
        digest.update(view[:count])
        give(view[:count])
        copied += count
        throttle.take(count)
    return digest.hexdigest(), copied


@contextmanager
def _writer(target: int) -> Iterator[tuple[Callable[[], memoryview], Callable[[memoryview], None]]]:
    """Yield where to get an empty buffer and where to put a full one; on leaving everything is written.

    Raises what writing raised, at the next buffer or on leaving.
    """
    empty: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
    full: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
    problems: list[OSError] = []
    for _ in range(PIECES):
        empty.put(memoryview(bytearray(BUFFER_BYTES)))

    def write() -> None:
        while (piece := full.get()) is not None:
            if not problems:
                try:
                    _write_all(target, piece)
                except OSError as error:
                    problems.append(error)
            empty.put(memoryview(piece.obj))

    def take() -> memoryview:
        view = empty.get()
        if problems:
            raise problems[0]
        return view

    thread = threading.Thread(target=write, name="writer", daemon=True)
    thread.start()
    try:
        yield take, full.put
    finally:
        full.put(None)
        thread.join()
    if problems:
        raise problems[0]


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def hash_descriptor(
    descriptor: int, *, throttle: Throttle = UNLIMITED, progress: Callable[[int], None] = lambda _: None
) -> str:
    """Return the xxh3_128 of what is left to read from a descriptor. Raises `OSError`."""
    digest, view, done = new_hash(), buffer(), 0
    while count := os.readv(descriptor, [view]):
        digest.update(view[:count])
        done += count
        progress(done)
        throttle.take(count)
    return digest.hexdigest()
