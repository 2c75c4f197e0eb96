"""How long a new transfer window takes to be at work where a session's files are all copied and verified."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import sqlalchemy as sa

from cryodaq.app.follow_logbook import Following
from cryodaq.app.transfer_movies import Transfer, transfer_window
from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.socket_folders import remove_socket_folder
from cryodaq.migrations import upgrade
from cryodaq.testing.fake_logbook import FakeLogbook
from cryodaq.transfer.scan import ShareScanner

NAME, EXPERIMENT = "tem1", "20260101-CS01"
EXPOSURES = """
insert into ledger.exposure (microscope, share, key, acquisition_folder, decision, seen_from, seen_until,
  decided_at)
select :name, :share, key, 'session', 'quarantine', now(), now(), now() from unnest(cast(:keys as text[])) as t(key)
"""
FILES = """
insert into ledger.file (microscope, share, path, version, role, exposure_id, state, size_bytes, mtime_ns, inode,
  xxh3_128, target, seen_at, changed_at, complete_at, copied_at, verified_at)
select :name, :share, t.path, 1, 'preview', e.id, 'verified', 0, t.mtime, t.inode, repeat('0', 32),
  :storage || '/' || t.path, now(), now(), now(), now(), now()
from unnest(cast(:paths as text[]), cast(:mtimes as bigint[]), cast(:inodes as bigint[])) as t(path, mtime, inode)
join ledger.exposure e on e.key = regexp_replace(t.path, '\\.jpg$', '')
"""


@contextmanager
def ledger(folder: Path) -> Iterator[sa.Engine]:
    """An empty ledger on a server of its own."""
    server = EmbeddedPostgres(folder / "ledger")
    server.home.mkdir()
    server.initialise()
    with (folder / "postgres.log").open("w") as log:
        process = subprocess.Popen(server.command(), stdout=log, stderr=log)
    try:
        while not server.is_ready():
            time.sleep(0.1)
        server.create_databases(["bench"])
        engine = sa.create_engine(server.url("bench"), connect_args={"options": "-c timezone=UTC"})
        upgrade(engine)
        yield engine
        engine.dispose()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        remove_socket_folder(server.socket_folder)


def measure_restart(folder: Path, *, files: int) -> None:
    """Print how long until the first scan of a new window is in the ledger, and nothing is left to do."""
    from transfer import cpu_s, make_tree

    share, storage = folder / "share", folder / "storage"
    folder.chmod(0o711)
    make_tree(share, files=files, folders=300)
    (share / ".online").touch()
    storage.mkdir()
    with ledger(folder) as engine:
        transfer = new_transfer(engine, share, storage)
        fill(engine, share, storage)
        for _ in range(3):
            began, cpu = time.perf_counter(), cpu_s()
            started_at = datetime.now(UTC)
            summary = transfer_window(transfer, 60.0, lambda: scanned_since(engine, started_at))  # noqa: B023
            wall, cpu = time.perf_counter() - began, cpu_s() - cpu
            print(
                f"{files} verified files: scanned and compared after {wall:.1f} s ({cpu:.1f} CPU s), "
                f"{summary.copied} copied, {summary.to_copy} to copy, load {os.getloadavg()[0]:.1f}"
            )


def new_transfer(engine: sa.Engine, share: Path, storage: Path) -> Transfer:
    logbook = FakeLogbook()
    logbook.add_instrument(NAME)
    logbook.add_experiment(EXPERIMENT, instrument=NAME)
    logbook.switch(EXPERIMENT, instrument=NAME)
    logbook.add_sample(EXPERIMENT, "grid1", params={})
    microscope = Microscope(
        name=NAME,
        instrument=NAME,
        station=0,
        shares=(Share(root=PurePosixPath(share)),),
        gain_root=None,
        detector="",
        defaults=InstrumentDefaults(voltage_kv=300, cs_mm=2.7, amplitude_contrast=0.1),
        retention=RetentionRule(),
        queue=NAME,
    )
    following = Following(
        engine=engine,
        logbook=logbook,
        microscope=microscope,
        experiment_pattern=".*",
        storage_root=PurePosixPath(storage),
        now=lambda: datetime.now(UTC),
    )
    return Transfer(following=following)


def fill(engine: sa.Engine, share: Path, storage: Path) -> None:
    """Have the ledger know every file of the share as verified."""
    found = [one for one in ShareScanner(share).scan().changed if one.path != ".online"]
    names = {"name": NAME, "share": str(share), "storage": str(storage)}
    with engine.begin() as connection:
        connection.execute(sa.text(EXPOSURES), names | {"keys": [one.path.removesuffix(".jpg") for one in found]})
        columns = {"paths": "path", "mtimes": "mtime_ns", "inodes": "inode"}
        values = {column: [getattr(one, name) for one in found] for column, name in columns.items()}
        connection.execute(sa.text(FILES), names | values)
        connection.execute(sa.text("analyze"))


def scanned_since(engine: sa.Engine, since: datetime) -> bool:
    """Whether a scan that began later has come to its end."""
    query = sa.text("select max(scan_began_at) from ledger.share_state")
    with engine.connect() as connection:
        scanned: datetime | None = connection.execute(query).scalar_one()
    return scanned is not None and scanned > since
