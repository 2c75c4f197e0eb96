"""What `cryodaq doctor` looks at, one function a part; each finding is one sentence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.cli.warming import warm_imaging
from cryodaq.errors import CryodaqError

if TYPE_CHECKING:
    from cryodaq.domain.microscope import Share
    from cryodaq.wiring import System

SHARE_ANSWERS_S = 10.0
"""A share that says nothing for so long is called stalled."""
LOW_SPACE = 0.1
"""Below this free fraction of the storage, processing would pause first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    sentence: str


def examine(system: System) -> list[Finding]:
    """Look at every part; a part that cannot be looked at is a finding of its own."""
    parts: list[tuple[str, Callable[[System], Iterator[Finding]]]] = [
        ("facility file", _facility),
        ("state", _state),
        ("storage", _storage),
        ("access", _access),
        ("shares", _shares),
        ("database", _database),
        ("alarms", _alarms),
        ("notifications", _notifications),
        ("elogbook", _elogbook),
        ("Airflow", _airflow),
        ("workers", _workers),
        ("engines", _engines),
    ]
    findings: list[Finding] = []
    for what, look in parts:
        try:
            findings += look(system)
        except (CryodaqError, OSError) as error:
            findings.append(Finding(what=what, good=False, sentence=str(error)))
            if what == "facility file":
                break
    return findings


def _facility(system: System) -> Iterator[Finding]:
    from cryodaq.config import problem_of_source

    names = ", ".join(table.name for table in system.facility.microscopes)
    yield Finding(what="facility file", good=True, sentence=f"the active one describes {names}")
    if (problem := problem_of_source(system.home.root)) is not None:
        yield Finding(what="facility file", good=False, sentence=problem)


def _state(system: System) -> Iterator[Finding]:
    """Whether logs and backups can be written."""
    from cryodaq.app.watch_facility import state_disks

    for sentence, full in state_disks(system.state_folders):
        yield Finding(what="logs and backups", good=not full, sentence=sentence)


def _storage(system: System) -> Iterator[Finding]:
    root = system.facility.storage.root
    if not root.is_dir():
        yield Finding(what="storage", good=False, sentence=f"{root} is not there; mount the large file system")
        return
    writable = os.access(root, os.W_OK | os.X_OK)
    usage = shutil.disk_usage(root)
    free = f"{usage.free / 1e12:.2f} TB free"
    enough = usage.free / usage.total >= LOW_SPACE
    advice = "" if writable else "; it cannot be written to: check its rights"
    advice += "" if enough else f"; that is less than {LOW_SPACE:.0%}: make room"
    yield Finding(what="storage", good=writable and enough, sentence=f"{root}: {free}{advice}")


def _access(system: System) -> Iterator[Finding]:
    """Whether collaborators can come to the storage, and whether its file system keeps their rights."""
    from cryodaq.store.access import impassable_parents
    from cryodaq.store.acl import kind_of

    root = system.facility.storage.root
    if not root.is_dir():
        return
    closed = ", ".join(str(folder) for folder in impassable_parents(root))
    advice = f"others cannot pass {closed}: no collaborator comes to the files; chmod o+x" if closed else "all can pass"
    yield Finding(what="way to the storage", good=not closed, sentence=f"{root}: {advice}")
    kind = kind_of(root)
    sentence = {
        "posix": "it keeps POSIX access control lists",
        "nfs4": "it keeps NFSv4 access control lists only, which cryodaq cannot set: export it with POSIX ACLs (GPFS: "
        "mmchfs -k all; NFS: version 3 with acl), or give whole groups access by the folder's group",
        "none": "it keeps no access control lists: collaborators cannot read their files; mount it with acl",
    }[kind]
    yield Finding(what="access control lists", good=kind == "posix", sentence=f"{root}: {sentence}")


def _shares(system: System) -> Iterator[Finding]:
    for table in system.facility.microscopes:
        for share in system.facility.microscope(table.name).shares:
            problem = _problem_of_share(share)
            yield Finding(
                what=f"share of {table.name}", good=problem is None, sentence=problem or f"{_mounted(share)} is mounted"
            )
        if table.gain_root is not None:
            there = table.gain_root.is_dir()
            sentence = f"{table.gain_root} is there" if there else f"{table.gain_root} is not there; mount it"
            yield Finding(what=f"gains of {table.name}", good=there, sentence=sentence)


def _problem_of_share(share: Share) -> str | None:
    """Ask through a worker that can be given up: whoever touches a stalled mount may hang for minutes."""
    from cryodaq.errors import ShareStalledError, TransferError
    from cryodaq.transfer.workers import ShareWorker

    worker = ShareWorker(share.root, sentinel=share.sentinel, expected_source=share.mounted_from, threads=1)
    worker.start()
    try:
        worker.request("look", paths=[]).result(SHARE_ANSWERS_S)
    except TimeoutError:
        worker.abandon()
        return str(ShareStalledError(share.root, waited_s=SHARE_ANSWERS_S))
    except TransferError as error:
        return str(error)
    finally:
        worker.close()
    return None


def _mounted(share: Share) -> str:
    from cryodaq.transfer.mounted import mounted_from

    source = mounted_from(Path(share.root))
    return f"{share.root} ({source})" if source else str(share.root)


def _database(system: System) -> Iterator[Finding]:
    from sqlalchemy.exc import OperationalError

    from cryodaq.app.compare_clocks import clock_problem
    from cryodaq.database import address
    from cryodaq.migrations import current_revision, newest_revision
    from cryodaq.wiring import utc_now

    try:
        found = current_revision(system.engine)
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        yield Finding(what="database", good=False, sentence=f"it does not answer ({reason}); is the system running?")
        return
    good, place = found == newest_revision(), address(system.engine.url)
    if not good:
        advice = f"this program needs {newest_revision()}: start the system, which upgrades it"
        yield Finding(what="database", good=False, sentence=f"{place} has schema {found or 'none'}; {advice}")
        return
    yield Finding(what="database", good=True, sentence=f"schema {found}, {place}")
    with system.engine.connect() as connection:
        problem = clock_problem(connection, at=utc_now())
    yield Finding(what="clock", good=problem is None, sentence=problem or "it is the database's")


def _alarms(system: System) -> Iterator[Finding]:
    from sqlalchemy.exc import SQLAlchemyError

    from cryodaq.ledger.events import open_alarms

    try:
        with system.engine.connect() as connection:
            alarms = open_alarms(connection)
    except SQLAlchemyError:
        return
    for alarm in alarms:
        yield Finding(what=alarm.severity, good=alarm.severity == "notice", sentence=alarm.text)


def _notifications(system: System) -> Iterator[Finding]:
    """Whether alarms leave the building, and whether their channels take them."""
    from sqlalchemy.exc import SQLAlchemyError

    from cryodaq.ledger.notifications import unsent

    channels = [channel.name for channel in system.facility.notifications.channels]
    if not channels:
        sentence = "alarms stay in the building: no channel is named (docs/how-to/alarms-out-of-the-building.md)"
        yield Finding(what="notifications", good=True, sentence=sentence)
        return
    try:
        with system.engine.connect() as connection:
            waiting = unsent(connection)
    except SQLAlchemyError:
        return  # the database is a finding of its own
    for name in channels:
        count = waiting.get(name, 0)
        sentence = f"{count} messages wait for it; try cryodaq notify test {name}" if count else "nothing waits for it"
        yield Finding(what=f"channel {name}", good=not count, sentence=sentence)


def _elogbook(system: System) -> Iterator[Finding]:
    known = {instrument.id.lower() for instrument in system.logbook.instruments()}
    yield Finding(what="elogbook", good=True, sentence=f"{system.elogbook_url} answers")
    for table in system.facility.microscopes:
        if table.instrument.lower() not in known:
            sentence = f"it has no instrument {table.instrument}; add it there or correct the facility file"
            yield Finding(what=f"elogbook, {table.name}", good=False, sentence=sentence)


def _airflow(system: System) -> Iterator[Finding]:
    health = system.scheduler.health()
    for name in ("metadatabase", "scheduler", "dag_processor"):
        state = health.get(name, "unknown")
        yield Finding(what=f"Airflow's {name}", good=state == "healthy", sentence=state)
    for table in system.facility.microscopes:
        dag_id = f"{table.name}-daq"
        parsed = system.scheduler.is_parsed(dag_id)
        sentence = f"{dag_id} is known" if parsed else f"{dag_id} is not known; see the DAG processor's log"
        yield Finding(what="Airflow", good=parsed, sentence=sentence)


def _workers(system: System) -> Iterator[Finding]:
    """Look for a worker of each queue, where Celery does the tasks."""
    from cryodaq.config import read_secret
    from cryodaq.launch.airflow import CPU_QUEUE, GPU_QUEUE
    from cryodaq.launch.redis import EmbeddedRedis, listening_queues

    own, foreign = EmbeddedRedis(system.home.root), system.facility.airflow.broker_url_file
    if foreign is None and not own.socket.exists():
        return
    queues = {CPU_QUEUE: "a node that computes"}
    if system.facility.pools.gpu_slots:
        queues[GPU_QUEUE] = "a node with a GPU"
    for table in system.facility.microscopes:
        queue = table.queue or table.name
        queues |= dict.fromkeys((queue, f"{queue}-clear"), f"a node that mounts the share of {table.name}")
    listening = listening_queues(own.url if foreign is None else read_secret(foreign).get_secret_value())
    for queue, where in queues.items():
        there = queue in listening
        sentence = "a worker takes its tasks" if there else f"no worker takes its tasks; start one on {where}"
        yield Finding(what=f"queue {queue}", good=there, sentence=sentence)


def _engines(system: System) -> Iterator[Finding]:
    """Our own imaging, and whether each program that the facility file chooses can be started in a known version."""
    from cryodaq.engines.catalogue import PROGRAMS
    from cryodaq.engines.program import installed_version
    from cryodaq.errors import EngineError
    from cryodaq.wiring.engines import program_settings

    seconds = warm_imaging()
    yield Finding(what="engine native", good=True, sentence=f"small movies went through it in {seconds:.1f} s")
    table = system.facility.engines
    for name in sorted(table.chosen & PROGRAMS.keys()):
        try:
            version = installed_version(PROGRAMS[name], program_settings(table, name))
        except EngineError as error:
            yield Finding(what=f"engine {name}", good=False, sentence=f"{error}; see engines.programs.{name}")
        else:
            sentence = f"version {version}" if version else "says its version only with its results"
            yield Finding(what=f"engine {name}", good=True, sentence=sentence)
