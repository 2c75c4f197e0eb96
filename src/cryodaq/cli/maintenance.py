"""`cryodaq backup`, `restore` and `maintain`: what is done once a day, and what one hopes never to need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.places import home_folder, running_system
from cryodaq.cli.running import HomeOption
from cryodaq.domain.wording import say_size
from cryodaq.errors import ConfigError, CryodaqError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryodaq.launch.backup import BackupPlace
    from cryodaq.wiring import System

ACCESS_MENDED_FOR = timedelta(days=30)
"""The files of experiments that were current since are compared every day; later, when their lists change."""


def backup(
    folder: Annotated[Path | None, typer.Argument(help="Default: as the facility file says.")] = None,
    home: HomeOption = None,
) -> None:
    """Write ledger, elogbook and configuration into one file; secrets are not in it.

    The system may run or not; an embedded database is started for it.
    """
    from cryodaq.launch.backup import make_backup
    from cryodaq.wiring import utc_now

    with _opened(home) as system:
        target = (folder or _backup_folder(system)).expanduser().absolute()
        made = make_backup(_place(system), target, at=utc_now())
    print(f"{made}: {say_size(made.stat().st_size)}")


def restore(
    file: Annotated[Path, typer.Argument(help="What `cryodaq backup` wrote.")],
    home: HomeOption = None,
) -> None:
    """Replace ledger, elogbook and configuration by those of a backup; the system must be stopped.

    What was there before is backed up first. Either everything is replaced or nothing.
    """
    from cryodaq.launch.backup import BackupPlace, restore_backup
    from cryodaq.launch.ledger_alone import embedded_database
    from cryodaq.launch.postgres import EmbeddedPostgres
    from cryodaq.wiring import open_system, utc_now
    from cryodaq.wiring.connections import DATABASE_VARIABLE

    folder = home_folder(home)
    system = open_system(folder)
    source = file.expanduser().absolute()
    embedded = not _names_database(system)
    given: AbstractContextManager[str] = embedded_database(folder) if embedded else nullcontext(system.database_url)
    with given as url:
        place = BackupPlace(
            home=system.home,
            url=url,
            dag_folder=_dag_folder(system),
            postgres=EmbeddedPostgres(folder),
        )
        before = restore_backup(place, source, at=utc_now())
    print(f"restored {source}" + (f"; what was there before is in {before}" if before else ""))
    if not embedded:
        print(f"the database of {DATABASE_VARIABLE} or [database] url_file was used")


def maintain(
    steps: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STEP]...", help="airflow, logs, backup, access, copies; default: all."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Do what is due once a day: cut Airflow's history and logs, read old copies again, back up, mend access."""
    unknown = sorted(set(steps or ()) - STEPS.keys())
    if unknown:
        message = f"there is no step {', '.join(unknown)}; known are: {', '.join(STEPS)}"
        raise ConfigError(message)
    system, failed = running_system(home), False
    for name in steps or STEPS:
        try:
            print(f"{name}: {STEPS[name](system)}", flush=True)
        except CryodaqError as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            failed = True
    if failed:
        sys.exit(1)


def _clean_airflow(system: System) -> str:
    from cryodaq.launch.housekeeping import clean_airflow
    from cryodaq.wiring import utc_now

    days = system.facility.maintenance.airflow_history_days
    clean_airflow(system.home, before=utc_now() - timedelta(days=days))
    return f"runs that are older than {days} days are forgotten"


def _prune_logs(system: System) -> str:
    from cryodaq.launch.housekeeping import prune_logs

    days = system.facility.maintenance.log_days
    files, size_bytes = prune_logs(system.home.logs / "airflow", older_than=timedelta(days=days))
    return f"{files} logs older than {days} days, {say_size(size_bytes)}, are removed"


def _verify_copies(system: System) -> str:
    from cryodaq.app.verify_old_copies import verify_old_copies
    from cryodaq.wiring import utc_now

    rule = system.facility.maintenance
    found = verify_old_copies(
        system.engine,
        after=timedelta(days=rule.verify_after_days),
        up_to_bytes=int(rule.verify_gb * 1e9),
        now=utc_now,
    )
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.items())) or "no copy is old enough"


def _make_backup(system: System) -> str:
    from cryodaq.launch.backup import make_backup, prune_backups
    from cryodaq.wiring import utc_now

    folder = _backup_folder(system)
    made = make_backup(_place(system), folder, at=utc_now())
    old = prune_backups(folder, keep=system.facility.maintenance.backups_kept)
    return f"{made}, {say_size(made.stat().st_size)}; {len(old)} old ones are removed"


def _mend_access(system: System) -> str:
    from cryodaq.app.reconcile_access import mend_access
    from cryodaq.wiring import utc_now

    done = mend_access(system.access_keeping(), active_since=utc_now() - ACCESS_MENDED_FOR)
    if done.problems:
        raise StoreError("; ".join(done.problems))
    where = f"{done.experiments} experiment{'s' * (done.experiments != 1)}"
    if not done.changed:
        return f"all files of {where} have the rights that they should have"
    return f"the rights of {done.changed} files and folders of {where} were mended"


STEPS: Mapping[str, Callable[[System], str]] = {
    "airflow": _clean_airflow,
    "logs": _prune_logs,
    "backup": _make_backup,
    "access": _mend_access,
    "copies": _verify_copies,
}
"""In the order in which they are done."""


@contextmanager
def _opened(home: Path | None) -> Iterator[System]:
    """Give the system below a home; its embedded database is started unless it runs."""
    from cryodaq.launch.ledger_alone import embedded_database
    from cryodaq.wiring import open_system

    folder = home_folder(home)
    if _names_database(open_system(folder)):
        yield running_system(folder)
        return
    with embedded_database(folder):
        yield running_system(folder)


def _names_database(system: System) -> bool:
    """Whether facility file or environment name a database, so that none of ours is to be started."""
    import os

    from cryodaq.config import ACTIVE_NAME
    from cryodaq.wiring.connections import DATABASE_VARIABLE

    if os.environ.get(DATABASE_VARIABLE):
        return True
    return (system.home.root / ACTIVE_NAME).exists() and system.facility.database.url_file is not None


def _dag_folder(system: System) -> Path:
    """Return where DAG files go; a home without a facility file has the usual place."""
    from cryodaq.config import ACTIVE_NAME

    return system.dag_folder if (system.home.root / ACTIVE_NAME).exists() else system.home.dag_folder


def _backup_folder(system: System) -> Path:
    return system.facility.maintenance.backup_folder or system.home.backups


def _place(system: System) -> BackupPlace:
    from cryodaq.launch.backup import BackupPlace
    from cryodaq.launch.postgres import EmbeddedPostgres

    return BackupPlace(
        home=system.home,
        url=system.database_url,
        dag_folder=_dag_folder(system),
        postgres=EmbeddedPostgres(system.home.root),
    )
