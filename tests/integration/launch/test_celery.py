"""The system with Celery, for real: Redis, a worker for each queue, one killed in the middle of a task."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import FAKES, SystemTrial, make_home, plain_services

from cryodaq.app.sample_dag import install_sample_dag, packaged_templates, template_for
from cryodaq.domain.failures import RunState
from cryodaq.launch import airflow as launch_airflow
from cryodaq.launch import sessions
from cryodaq.launch.redis import consumed_queues, listening_queues
from cryodaq.launch.system import EmbeddedSystem
from cryodaq.scheduler.airflow import AirflowScheduler

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="NOT TESTED: Celery, because Debian's redis-server is not here"
    ),
]
DAG_ID = "20260101-CT20_0123456789abcdef01234567"


def within(limit_s: float, claim: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + limit_s
    while not (holds := claim()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(holds)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemTrial]:
    home = tmp_path_factory.mktemp("celery") / "home"
    facility = make_home(home)
    facility = facility.model_copy(update={"airflow": facility.airflow.model_copy(update={"executor": "celery"})})
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")]))
            patch.setattr(launch_airflow, "HEARTBEAT_TIMEOUT_S", 12)  # the same way at a fifth of the wait
            heard: list[object] = []
            system = EmbeddedSystem(home, facility, on_event=heard.append, services=plain_services(facility))
            system.start()
            yield SystemTrial(home=home, facility=facility, system=system)
    finally:
        system.stop()
        for record in sessions.read_records(home / "run"):
            sessions.kill_session(record)


@pytest.fixture
def scheduler(trial: SystemTrial) -> Iterator[AirflowScheduler]:
    with trial.system.airflow.scheduler() as scheduler:
        yield scheduler


def stages(trial: SystemTrial, movie: int) -> list[str]:
    calls = [call for stage in ("align", "ctf", "pick", "publish") for call in trial.calls(stage)]
    return [call["call"] for call in sorted(calls, key=lambda call: call["at"]) if call["movie"] == movie]


def make_dag(trial: SystemTrial, scheduler: AirflowScheduler) -> None:
    template = template_for("single-particle", folders=[packaged_templates()])
    assert template is not None
    install_sample_dag(template, Path(trial.system.airflow.dag_folder), dag_id=DAG_ID)
    scheduler.refresh()
    assert within(20, lambda: scheduler.is_parsed(DAG_ID))


def is_published(scheduler: AirflowScheduler, run: str) -> bool:
    return scheduler.run_states(DAG_ID, [run])[run] is RunState.SUCCESS


def test_each_queue_has_its_worker_and_the_microscope_is_followed(trial: SystemTrial) -> None:
    assert {"redis", "worker-tem1", "worker-cpu"} <= set(trial.system.process_ids)
    broker = trial.system.redis
    assert consumed_queues(broker.url, ["tem1", "cpu", "gpu"]) == {"tem1", "cpu"}
    assert listening_queues(broker.url) == {"tem1", "tem1-clear", "cpu", "cpu-clear"}
    assert broker.socket.stat().st_mode & 0o077 == 0
    assert broker.socket.parent.stat().st_mode & 0o077 == 0
    assert within(60, lambda: len(trial.calls("transfer")) >= 2)


def records(trial: SystemTrial, name: str) -> list[sessions.SessionRecord]:
    return [record for record in sessions.read_records(trial.home / "run") if record.name == name]


def test_a_movie_whose_worker_is_killed_in_the_middle_of_a_stage_is_published_once(
    trial: SystemTrial, scheduler: AirflowScheduler
) -> None:
    make_dag(trial, scheduler)
    (trial.home / "slow-align-301").touch()
    scheduler.trigger(DAG_ID, "m301", conf={"movie_id": 301, "branch_id": 1})
    assert within(60, lambda: stages(trial, 301) == ["align"])
    (worker,) = records(trial, "worker-cpu")
    killed_at = time.monotonic()
    sessions.kill_session(worker)  # the worker, its pool and the task, as when a node loses its power
    assert within(120, lambda: is_published(scheduler, "m301"))
    print(f"published {time.monotonic() - killed_at:.0f} s after its worker was killed")
    assert stages(trial, 301) == ["align", "align", "ctf", "pick", "publish"]


def test_what_redis_forgets_is_no_movie(trial: SystemTrial, scheduler: AirflowScheduler) -> None:
    import redis

    make_dag(trial, scheduler)
    with redis.Redis(unix_socket_path=str(trial.system.redis.socket)) as client:
        client.flushall()
    scheduler.trigger(DAG_ID, "m302", conf={"movie_id": 302, "branch_id": 1})
    begun = time.monotonic()
    assert within(200, lambda: is_published(scheduler, "m302"))
    print(f"published {time.monotonic() - begun:.0f} s after Redis lost its content")
    assert stages(trial, 302) == ["align", "ctf", "pick", "publish"]


def test_stopping_leaves_no_process(trial: SystemTrial) -> None:
    processes = trial.processes()
    begun = time.monotonic()
    trial.system.stop()
    print(f"stopped in {time.monotonic() - begun:.1f} s")
    assert not [process for process in processes if process.is_running() and process.status() != "zombie"]
    assert not trial.system.redis.socket.parent.exists()
