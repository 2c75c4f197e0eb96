"""The `cryodaq-maintenance` DAG: once a day, each step as the command that a person could type."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, task

from cryodaq.domain.home import DOORBELL_DAG

if TYPE_CHECKING:
    from airflow.sdk import XComArg

EARLY = "17 3 * * *"
"""In UTC; few people look at screens then in Europe and America."""
LONGEST_STEP = timedelta(hours=2, minutes=30)
"""Reading old copies takes the longest: 50 GB at 10 MB/s are 83 minutes."""
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)

log = logging.getLogger(__name__)


def maintenance_dag() -> DAG:
    """Return the empty DAG; a day that was missed is not made up for."""
    return DAG(
        dag_id=DOORBELL_DAG,
        description="Cuts Airflow's history and logs, reads some old copies again, mends access, backs up",
        schedule=EARLY,
        start_date=FIRST_DAY,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["cryodaq"],
        default_args={
            "do_xcom_push": False,
            "retries": 2,
            "retry_delay": timedelta(minutes=10),
            "execution_timeout": LONGEST_STEP,
        },
    )


def maintain(step: str, **options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    """Run `cryodaq maintain STEP`, whatever became of the steps before; its words go into the task's log."""

    def body(name: str) -> None:
        from airflow.sdk.exceptions import AirflowException

        done = subprocess.run(
            [sys.executable, "-m", "cryodaq", "maintain", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        log.info("%s", done.stdout.strip())
        if done.returncode != 0:
            raise AirflowException(done.stdout.strip())

    decorated = task(task_id=step, multiple_outputs=False, trigger_rule="all_done", **options)(body)
    return decorated(step)
