"""Sessions of child processes: recorded when started, found and ended again, by us or by the next start.

Each child leads a session of its own, which its descendants stay in whatever they do with process groups. So the
session is what is recorded, and what is ended.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

LOOK_S = 0.05
WRITE_GRACE_S = 1.0
"""A record is written so soon after its process was started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A session that was started by us."""

    name: str
    session: int
    """Process id of its leader."""
    leader_started: float
    """When the leader was started, as the kernel says it: tells a later process of the same id apart."""
    epoch: str
    """The boot and the process-id namespace in which these ids mean something."""


def current_epoch() -> str:
    """Return what makes process ids comparable: the boot, and the container's namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def record_session(folder: Path, name: str, *, leader: int) -> SessionRecord:
    """Write down that `leader` was started as the leader of a session."""
    record = SessionRecord(
        name=name, session=leader, leader_started=psutil.Process(leader).create_time(), epoch=current_epoch()
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"{name}.json"
    part = target.with_suffix(".part")
    part.write_text(json.dumps(asdict(record)), encoding="utf-8")
    part.replace(target)
    return record


def read_records(folder: Path) -> list[SessionRecord]:
    """Return the sessions that were started and not forgotten; a damaged record names nothing and is removed."""
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(SessionRecord(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError):
            path.unlink()
    return records


def forget_session(folder: Path, name: str) -> None:
    """Remove the record of a session that ended."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def members(record: SessionRecord) -> list[psutil.Process]:
    """Return the live processes of a session; none when its ids mean something else by now."""
    if record.epoch != current_epoch():
        return []
    with suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(record.session).create_time() - record.leader_started) > WRITE_GRACE_S:
            return []
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == record.session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def listens(record: SessionRecord, port: int) -> bool:
    """Whether a process of a session listens on a TCP port."""
    for process in members(record):
        with suppress(psutil.NoSuchProcess):
            open_here = process.net_connections("tcp")
            if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in open_here):
                return True
    return False


def interrupt_tasks(record: SessionRecord) -> int:
    """Send SIGINT to each process group below the leader's; return how many there were.

    Airflow runs every task as a group of its own, which a signal to the scheduler does not reach.
    """
    groups = [
        process.pid for process in members(record) if _leads_a_group(process.pid) and process.pid != record.session
    ]
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGINT)
    return len(groups)


def signal_leader(record: SessionRecord, number: signal.Signals) -> None:
    """Send a signal to the leader, if it lives."""
    if any(process.pid == record.session for process in members(record)):
        with suppress(ProcessLookupError):
            os.kill(record.session, number)


def wait_until_ended(records: Iterable[SessionRecord], *, timeout_s: float) -> list[SessionRecord]:
    """Wait for sessions to end; return those that did not."""
    deadline = time.monotonic() + timeout_s
    left = list(records)
    while (left := [record for record in left if members(record)]) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return left


def kill_session(record: SessionRecord) -> None:
    """Kill every process of a session; repeated because a process may be starting another one."""
    for _ in range(20):
        processes = members(record)
        if not processes:
            return
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(LOOK_S)


def _leads_a_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False
