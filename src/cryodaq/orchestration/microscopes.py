"""The `<microscope>-daq` DAGs: follow the elogbook, copy, clear; over and over.

Imported whenever a DAG file is parsed and a task starts: nothing heavy at module level, and the facility file is
read without its schema (it passed the check when it became the active one).
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, task

from cryodaq.orchestration.system import opened_system, stop_flag

if TYPE_CHECKING:
    from airflow.sdk import XComArg

ACTIVE_FACILITY = "facility.active.toml"
TRANSFER_POOL = "transfer"
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
"""Every parse must make the same DAG, so no day that moves."""
RETRY: dict[str, Any] = {  # Any: keywords of Airflow's operators
    "retries": 4,
    "retry_delay": timedelta(seconds=2),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=1),
}
"""A continuous DAG starts again at once, so these pauses are what keeps a failing pass from spinning."""
LONGEST_PASS = timedelta(minutes=30)
"""A transfer's longest window (10 minutes) and its drain (5 minutes) twice over; then its process hangs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroscopeQueue:
    """What the DAG file needs to know of one microscope."""

    name: str
    queue: str

    @property
    def clearing_queue(self) -> str:
        """Taken by a worker that may write to the shares; all others only read them."""
        return f"{self.queue}-clear"


def active_microscopes() -> list[MicroscopeQueue]:
    """Return the microscopes of the active facility file below `CRYODAQ_HOME`."""
    path = Path(os.environ["CRYODAQ_HOME"]) / ACTIVE_FACILITY
    facility = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        MicroscopeQueue(name=table["name"], queue=table.get("queue") or table["name"])
        for table in facility["microscopes"]
    ]


def microscope_dag(microscope: MicroscopeQueue) -> DAG:
    """Return the empty DAG of one microscope; it starts anew as soon as it ended."""
    return DAG(
        dag_id=f"{microscope.name}-daq",
        description=f"Follows the elogbook and copies what {microscope.name} collects",
        schedule="@continuous",
        start_date=FIRST_DAY,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["cryodaq", microscope.name],
        default_args={"queue": microscope.queue, "do_xcom_push": False, "execution_timeout": LONGEST_PASS, **RETRY},
    )


def current_sample(microscope: MicroscopeQueue, **options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    """Ask what is current; without anything to do the task itself waits, up to a minute."""

    def body(name: str) -> None:
        with stop_flag() as stop, opened_system(microscope=name) as system:
            log.info("current sample: %s", system.wait_for_current_sample(name, stop=stop))

    return _task("current_sample", body, microscope, **options)


def prepare_sample(microscope: MicroscopeQueue, **options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    """Make folders, link, access and DAG file of the current sample; fails while the DAG takes no runs."""

    def body(name: str) -> None:
        from airflow.sdk.exceptions import AirflowFailException

        with opened_system(microscope=name) as system:
            unready = system.prepare_samples(name)
        if unready:
            message = f"{', '.join(unready)} take no runs yet; copying goes on, the next pass looks again"
            raise AirflowFailException(message)

    return _task("prepare_sample", body, microscope, **options)


def transfer(microscope: MicroscopeQueue, **options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    """Stream one window, whatever came of preparing: scan, copy, record, trigger; a signal ends it between files."""

    def body(name: str) -> None:
        with stop_flag() as stop, opened_system(microscope=name) as system:
            log.info("transferred: %s", system.transfer(name, stop=stop))

    return _task("transfer", body, microscope, pool=TRANSFER_POOL, trigger_rule="all_done", **options)


def clear_microscope(microscope: MicroscopeQueue, **options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    """Remove from the share what is verified and old enough."""

    def body(name: str) -> None:
        with stop_flag() as stop, opened_system(microscope=name) as system:
            log.info("cleared: %s", system.clear_microscope(name, stop=stop))

    return _task("clear_microscope", body, microscope, **{"queue": microscope.clearing_queue, **options})


def _task(task_id: str, body: Callable[[str], None], microscope: MicroscopeQueue, **options: Any) -> XComArg:
    decorated = task(task_id=task_id, multiple_outputs=False, **options)(body)  # Any: keywords of Airflow's operators
    return decorated(microscope.name)
