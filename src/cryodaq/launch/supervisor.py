"""Children, each in a session of its own: started, watched, started again with back-off, stopped in order."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryodaq.domain.home import Home
from cryodaq.errors import LaunchError
from cryodaq.launch import sessions
from cryodaq.launch.sessions import SessionRecord

LOOK_S = 0.2
HEALTH_EVERY_S = 5.0
SICK_LIMIT_S = 30.0
"""A child that was healthy and gives no sign for so long is killed and started again."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STEADY_S = 60.0
"""A child that ran for so long begins again with the first pause."""
INTERRUPT_AGAIN_S = 0.3
STOP_LIMIT_S = 12.0
"""All ranks together; the last one, the database, may use what the others left of it."""
WATCHER_S = 0.5
KEPT_LOGS = 5
LARGEST_LOG_BYTES, LEAST_LOG_BYTES = 64_000_000, 16_000_000
"""Of one log; and what must be free on its disk for a child to get one."""

log = logging.getLogger(__name__)

Happening = Literal["started", "healthy", "died", "restarted", "sick"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A program that runs as long as the system does."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    """Where it is started."""
    is_healthy: Callable[[], bool | None]
    """Answers within a few seconds and raises nothing; None when it cannot be told."""
    port: int | None = None
    """Where it listens; while another program does, that one's answers are not taken for the child's."""
    stop_signal: signal.Signals = signal.SIGTERM
    runs_tasks: bool = False
    """Whether process groups below it are tasks, to be interrupted when it stops."""
    stop_rank: int = 0
    """Children of a lower rank are stopped before those of a higher one begin to."""
    stop_grace_s: float = 4.0
    """How long it may take to stop before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEvent:
    """What happened to a child, in a sentence for people."""

    child: str
    what: Happening
    sentence: str


class _Running:
    """One child with what is known of its present process; changed under the supervisor's lock alone."""

    def __init__(self, child: Child, process: subprocess.Popen[bytes], record: SessionRecord) -> None:
        self.child, self.process, self.record = child, process, record
        self.started_at = self.last_well_at = time.monotonic()
        self.was_healthy = False
        self.next_look_at = 0.0
        self.pause_s = FIRST_PAUSE_S
        self.restart_at: float | None = None


class Supervisor:
    """Owner of all children below one home.

    Parameters
    ----------
    on_event
        Told of each start, death and recovery, on the watching thread; must not raise.
    """

    def __init__(self, home: Home, *, on_event: Callable[[ChildEvent], None]) -> None:
        self._home, self._on_event = home, on_event
        self._children: dict[str, _Running] = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self, child: Child) -> None:
        """Start a child; its log of last time is kept as `<name>.log.1`."""
        rotate_log(self._log(child.name))
        with self._lock:
            self._children[child.name] = self._spawn(child)
            if not self._watcher.is_alive():
                self._watcher.start()
        self._tell(child.name, "started", f"{child.name} was started")

    def wait_until_healthy(self, names: Sequence[str], *, timeout_s: float) -> None:
        """Wait until children answer.

        Raises
        ------
        LaunchError
            One of them did not in time; with its last lines.
        """
        deadline = time.monotonic() + timeout_s
        for name in names:
            while not self._is_healthy(self._children[name]):
                if time.monotonic() > deadline or self._gave_up(name):
                    message = f"{name} did not start; its last lines in {self._log(name)}:\n{self._last_lines(name)}"
                    raise LaunchError(message)
                time.sleep(LOOK_S)
            with self._lock:
                running = self._children[name]
                running.was_healthy, running.last_well_at = True, time.monotonic()

    def process_ids(self) -> dict[str, int]:
        """Return the process id of each child by name."""
        with self._lock:
            return {name: running.process.pid for name, running in self._children.items()}

    def stop(self) -> None:
        """Stop all children in order, killing those that do not end in time; no process is left."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join(WATCHER_S)  # it may wait for the answer of a busy child; it starts nothing any more
        with self._lock:
            running = list(self._children.values())
            stop_sessions([(r.child, r.record) for r in running])
            for one in running:
                one.process.wait()  # reaps the leader, which is dead by now
                sessions.forget_session(self._home.run, one.child.name)
            self._children.clear()

    def _spawn(self, child: Child) -> _Running:
        path = self._log(child.name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _where_it_prints(path).open("ab") as output:
            process = subprocess.Popen(
                list(child.command),
                env=dict(child.environment),
                cwd=child.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            record = sessions.record_session(self._home.run, child.name, leader=process.pid)
        except OSError:
            process.kill()  # nobody would know of it
            process.wait()
            raise
        return _Running(child, process, record)

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            with self._lock:
                running = list(self._children.values())
            for one in running:
                try:
                    self._look_at(one)
                except Exception:  # the watching thread's outermost loop: it must go on watching
                    log.exception("looking after %s failed", one.child.name)

    def _look_at(self, one: _Running) -> None:
        now = time.monotonic()
        if one.restart_at is not None:
            if now >= one.restart_at:
                self._restart(one)
        elif (status := one.process.poll()) is not None:
            self._note_death(one, status, now)
        elif now >= one.next_look_at:
            one.next_look_at = now + (HEALTH_EVERY_S if one.was_healthy else LOOK_S)
            self._check_health(one, now)
            shorten_log(self._log(one.child.name))

    def _check_health(self, one: _Running, now: float) -> None:
        name = one.child.name
        healthy = self._is_healthy(one)
        if healthy:
            if not one.was_healthy:
                self._tell(name, "healthy", f"{name} answers")
            one.was_healthy, one.last_well_at = True, now
        elif healthy is None:
            one.last_well_at = now
        elif one.was_healthy and now - one.last_well_at > SICK_LIMIT_S:
            self._tell(name, "sick", f"{name} gave no sign for {SICK_LIMIT_S:.0f} s; it is started again")
            sessions.kill_session(one.record)

    def _is_healthy(self, one: _Running) -> bool | None:
        """Whether a child answers; for the first time only when it is the child that listens."""
        healthy = one.child.is_healthy()
        if not healthy or one.was_healthy or one.child.port is None:
            return healthy
        return sessions.listens(one.record, one.child.port)

    def _note_death(self, one: _Running, status: int, now: float) -> None:
        """Clear up what the child left and say when it is started again."""
        name = one.child.name
        if now - one.started_at > STEADY_S:
            one.pause_s = FIRST_PAUSE_S
        how = f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
        self._tell(name, "died", f"{name} ended {how}; it is started again in {one.pause_s:g} s")
        if one.child.runs_tasks and sessions.interrupt_tasks(one.record):
            sessions.wait_until_ended([one.record], timeout_s=2.0)  # lets tasks report that they were interrupted
        sessions.kill_session(one.record)
        one.restart_at = time.monotonic() + one.pause_s

    def _restart(self, one: _Running) -> None:
        one.restart_at = time.monotonic() + LONGEST_PAUSE_S  # should starting fail, for want of memory or disk
        with self._lock:
            if self._stopping.is_set():
                return
            fresh = self._spawn(one.child)
            fresh.pause_s = min(2 * one.pause_s, LONGEST_PAUSE_S)
            self._children[one.child.name] = fresh
        self._tell(one.child.name, "restarted", f"{one.child.name} was started again")

    def _gave_up(self, name: str) -> bool:
        """Whether a child died again and again before it ever answered.

        The first tries may meet what an earlier process is only now letting go, such as PostgreSQL's lock.
        """
        return self._children[name].pause_s > 8 * FIRST_PAUSE_S

    def _tell(self, child: str, what: Happening, sentence: str) -> None:
        level = logging.WARNING if what in {"died", "sick"} else logging.INFO
        log.log(level, "%s", sentence, extra={"child": child, "what": what})
        self._on_event(ChildEvent(child=child, what=what, sentence=sentence))

    def _log(self, name: str) -> Path:
        return self._home.logs / f"{name}.log"

    def _last_lines(self, name: str) -> str:
        with self._log(name).open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=20))


def stop_sessions(started: Sequence[tuple[Child, SessionRecord]]) -> None:
    """Stop sessions rank by rank; each rank at once, and killed when its grace is over."""
    ranks = sorted({child.stop_rank for child, _ in started})
    limit = time.monotonic() + STOP_LIMIT_S
    for rank in ranks:
        peers = [(child, record) for child, record in started if child.stop_rank == rank]
        for child, record in peers:
            sessions.signal_leader(record, child.stop_signal)
        grace_s = max(child.stop_grace_s for child, _ in peers)
        left = _wait_for_rank(peers, grace_s=max(grace_s, limit - time.monotonic()) if rank == ranks[-1] else grace_s)
        for record in left:
            log.warning("%s did not stop in time and was killed", record.name)
            sessions.kill_session(record)


def _wait_for_rank(peers: Sequence[tuple[Child, SessionRecord]], *, grace_s: float) -> list[SessionRecord]:
    """Wait until the sessions ended, interrupting tasks again and again: some are only now taken from the queue."""
    deadline = time.monotonic() + grace_s
    left = [record for _, record in peers]
    signalled_again: set[str] = set()
    while left and (remaining := deadline - time.monotonic()) > 0:
        left = sessions.wait_until_ended(left, timeout_s=min(remaining, INTERRUPT_AGAIN_S))
        for child, record in peers:
            if child.runs_tasks and record in left and sessions.interrupt_tasks(record):
                if child.name not in signalled_again:  # Airflow: "signal again if you don't want to wait"
                    sessions.signal_leader(record, child.stop_signal)
                signalled_again.add(child.name)
    return left


def _where_it_prints(log_file: Path) -> Path:
    """Return a child's log or, on a full disk, nowhere: Airflow's programs end when they cannot print."""
    if shutil.disk_usage(log_file.parent).free >= LEAST_LOG_BYTES:
        return log_file
    log.warning("a full disk: it runs without a log until it is started again", extra={"log": str(log_file)})
    return Path(os.devnull)


def rotate_log(path: Path) -> None:
    """Keep the last logs as `<name>.1` (the newest) to `<name>.5`."""
    if not path.exists() or path.stat().st_size == 0:
        return
    for number in range(KEPT_LOGS - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))


def shorten_log(path: Path, *, largest_bytes: int = LARGEST_LOG_BYTES) -> None:
    """Empty a log that grew too large, after a copy; its child holds it open and appends."""
    if path.exists() and path.stat().st_size > largest_bytes:
        kept = path.with_name(f"{path.name}.1")
        try:
            shutil.copyfile(path, kept)
        except OSError as error:  # a full disk, which is what emptying the log helps against
            kept.unlink(missing_ok=True)
            log.warning("a log was emptied without a copy", extra={"log": str(path), "problem": error.strerror})
        os.truncate(path, 0)
