"""The `<experiment>_<sample id>` DAGs: one run a movie, one task a stage.

A sample's DAG file names the stages and draws the edges; each stage takes Airflow's own task options, such as
`align(queue="gpu", pool="gpu", retries=1)`.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, get_current_context, task

from cryodaq.domain.names import parse_dag_id
from cryodaq.orchestration.system import opened_system

if TYPE_CHECKING:
    from airflow.sdk import XComArg

COMPUTE_POOL = "compute"
ACTIVE_AT_ONCE = 100
"""Movies under way at once; the pool decides how many of them compute."""
LONGEST_STAGE = timedelta(hours=2)
"""More than an external program may take (30 minutes, where a site does not say more), less than Celery's
visibility timeout, so that no task is ever given out twice while it runs."""
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
LEDGER_ID: dict[str, Any] = {"type": "integer", "minimum": 1}  # Any: JSON schema

log = logging.getLogger(__name__)


def sample_dag(file: str) -> DAG:
    """Return the empty DAG of the sample that the file's own name says.

    Raises
    ------
    UnsafeNameError
        The file is not named `<experiment>_<sample id>.py`; Airflow shows it as an import error.
    """
    stem = Path(file).stem
    experiment, sample_id = parse_dag_id(stem)
    return DAG(
        dag_id=stem,
        description=f"Pre-processes every movie of sample {sample_id} of experiment {experiment}",
        schedule=None,
        start_date=FIRST_DAY,
        catchup=False,
        max_active_runs=ACTIVE_AT_ONCE,
        max_active_tasks=ACTIVE_AT_ONCE,
        is_paused_upon_creation=False,
        tags=["cryodaq", experiment],
        params={
            "movie_id": Param(description="The movie's id in the ledger.", **LEDGER_ID),
            "branch_id": Param(description="The id of the branch of parameters in the ledger.", **LEDGER_ID),
        },
        default_args={
            "pool": COMPUTE_POOL,
            "weight_rule": "upstream",  # a movie that was begun is finished before the next one begins
            "do_xcom_push": False,
            "retries": 3,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": 3.0,
            "max_retry_delay": timedelta(minutes=10),
            "execution_timeout": LONGEST_STAGE,
        },
    )


def align(**options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    """Correct gain, hot pixels and motion; write the dose-weighted, the plain and the unaligned sum."""
    return _stage("align", **options)


def ctf(**options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    """Fit the contrast transfer function of the aligned and of the unaligned sum."""
    return _stage("ctf", **options)


def pick(**options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    """Find particles."""
    return _stage("pick", **options)


def publish(**options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    """Make the preview, the STAR rows and the elogbook's run."""
    return _stage("publish", **options)


def _stage(name: str, **options: Any) -> XComArg:  # Any: keywords of Airflow's operators
    def body() -> None:
        context = get_current_context()
        movie_id, branch_id = (int(context["params"][key]) for key in ("movie_id", "branch_id"))
        experiment, sample_id = parse_dag_id(context["dag"].dag_id)
        with opened_system(experiment=experiment, sample=sample_id, movie=context["run_id"]) as system:
            result = system.run_stage(name, movie_id, branch_id)
            log.info("%s of movie %d: %s", name, movie_id, result)

    return task(task_id=name, multiple_outputs=False, **options)(body)()
