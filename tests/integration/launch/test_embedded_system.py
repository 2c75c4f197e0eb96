"""The whole embedded system, for real: started after its supervisor was killed, hurt, asked, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cryodaq.errors import LaunchError
from cryodaq.launch.housekeeping import clean_airflow
from cryodaq.launch.system import EmbeddedSystem
from cryodaq.scheduler.airflow import AirflowScheduler

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def within(limit_s: float, claim: Any) -> bool:
    deadline = time.monotonic() + limit_s
    while not (holds := claim()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(holds)


def on_this_machine(limit_s: float) -> float:
    """Stretch a limit, which holds on a machine of one's own, by how much others use this one."""
    return limit_s * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def transfers(trial: Any) -> int:
    return len(trial.calls("transfer"))


def test_a_start_after_the_supervisor_was_killed_clears_up_and_goes_on(system_trial: Any) -> None:
    assert len(system_trial.survivors) > 5  # they did outlive it
    alive = [pid for pid in system_trial.survivors if psutil.pid_exists(pid)]
    assert not [pid for pid in alive if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    before = transfers(system_trial)
    assert within(30, lambda: transfers(system_trial) > before)
    print(f"first start {system_trial.first_start_s:.1f} s, second {system_trial.second_start_s:.1f} s")
    assert system_trial.first_start_s < on_this_machine(30)
    assert system_trial.second_start_s < on_this_machine(30)


def test_a_second_system_on_the_same_home_is_refused(system_trial: Any) -> None:
    other = EmbeddedSystem(system_trial.home, system_trial.facility, services=[])
    with pytest.raises(LaunchError, match=f"already \\(process {os.getpid()}\\)"):
        other.start()
    assert all(psutil.pid_exists(pid) for pid in system_trial.system.process_ids.values())


def test_everything_listens_on_loopback_alone(system_trial: Any) -> None:
    sockets = [
        connection
        for process in system_trial.processes()
        for connection in _connections(process)
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {connection.laddr.ip for connection in sockets} == {"127.0.0.1"}
    ports = system_trial.facility.ports
    assert {connection.laddr.port for connection in sockets} == {ports.web, ports.elogbook, ports.airflow}


def _connections(process: psutil.Process) -> list[Any]:
    """What a process has open; nothing when it, a task perhaps, has just ended."""
    try:
        return list(process.net_connections("inet"))
    except psutil.NoSuchProcess:
        return []


def test_no_secret_stands_in_a_log_a_setting_a_command_or_airflows_answers(system_trial: Any) -> None:
    home: Path = system_trial.home
    files = [path for path in (home / "secrets").iterdir() if path.suffix != ".json"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (home / "secrets").iterdir())
    secrets = [word for path in files for word in path.read_text().strip().split(":") if len(word) > 20]
    assert len(secrets) >= 6
    places = [path for folder in ("logs", "airflow", "dags", "run") for path in (home / folder).rglob("*")]
    places += [home / "facility.active.toml", home / "facility.toml", home / "first.log"]
    texts = {str(path): path.read_bytes() for path in places if path.is_file()}
    assert any("airflow-scheduler.log" in name for name in texts)
    for process in system_trial.processes():
        with suppress(psutil.NoSuchProcess):
            texts[f"command of {process.pid}"] = " ".join(process.cmdline()).encode()
    texts |= airflow_answers(system_trial)
    found = [(name, word[:4]) for name, text in texts.items() for word in secrets if word.encode() in text]
    assert not found


def airflow_answers(trial: Any) -> dict[str, bytes]:
    """What Airflow tells an administrator: runs with their conf, settings, connections, variables, import errors."""
    password = trial.system.home.airflow_password("admin").read_text()
    with httpx.Client(base_url=trial.system.airflow.url, trust_env=False, timeout=20) as client:
        token = client.post("/auth/token", json={"username": "admin", "password": password}).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        places = ["dags/~/dagRuns", "config", "connections", "variables", "importErrors", "dags", "eventLogs", "jobs"]
        return {place: client.get(f"/api/v2/{place}", headers=headers).content for place in places}


def test_strangers_are_refused_by_airflow(system_trial: Any) -> None:
    url = system_trial.system.airflow.url
    assert httpx.get(f"{url}/api/v2/dags", trust_env=False).status_code == 401
    guess = {"username": "admin", "password": "admin"}
    assert httpx.post(f"{url}/auth/token", json=guess, trust_env=False).status_code == 401


def test_the_password_of_the_database_is_asked_for(system_trial: Any) -> None:
    postgres = system_trial.system.postgres
    command = [str(postgres.binary("psql")), f"--host={postgres.socket_folder}", "--username=cryodaq", "-w", "airflow"]
    environment = {**os.environ, "PGPASSFILE": "/dev/null", "PGPASSWORD": "guess"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    assert "password authentication failed" in done.stderr


def test_from_one_transfer_to_the_next_less_than_3_s_pass(system_trial: Any) -> None:
    have = transfers(system_trial)
    assert within(60, lambda: transfers(system_trial) >= have + 4)
    calls = system_trial.calls("transfer")[have:]
    gaps = [later["begun"] - earlier["at"] for earlier, later in pairwise(calls)]
    print("gaps", [f"{gap:.2f} s" for gap in gaps])
    assert min(gaps) < on_this_machine(3)
    for call in ("current_sample", "prepare_sample", "clear_microscope"):
        assert len(system_trial.calls(call)) >= have + 3


def test_a_sample_whose_dag_takes_no_runs_stops_no_transfer(system_trial: Any) -> None:
    unready = system_trial.home / "unready"
    unready.write_text("20260101-CT01_0123456789abcdef01234567")
    try:
        prepared, copied = len(system_trial.calls("prepare_sample")), transfers(system_trial)
        assert within(60, lambda: len(system_trial.calls("prepare_sample")) >= prepared + 2)
        assert within(30, lambda: transfers(system_trial) > copied + 1)
    finally:
        unready.unlink()


@pytest.mark.parametrize("names", [("airflow-scheduler", "web"), ("postgres",)])
def test_killed_children_are_started_again_and_work_goes_on(
    system_trial: Any, airflow_scheduler: AirflowScheduler, names: tuple[str, ...]
) -> None:
    first = {name: system_trial.system.process_ids[name] for name in names}
    heard = len(system_trial.happenings)
    for process_id in first.values():
        os.kill(process_id, signal.SIGKILL)
    for name in names:

        def told(name: str = name) -> list[str]:
            return [event.what for event in system_trial.happenings[heard:] if event.child == name]

        assert within(40, lambda told=told: "healthy" in told())
        assert told()[:2] == ["died", "restarted"]
        assert system_trial.system.process_ids[name] != first[name]
    before = transfers(system_trial)
    # Without its database Airflow's scheduler may stop for good while its process lives; that is noticed, too.
    assert within(120, lambda: transfers(system_trial) > before)
    assert within(30, lambda: airflow_scheduler.health()["scheduler"] == "healthy")


def test_airflows_history_is_cut_by_its_own_command_beside_the_running_system(
    system_trial: Any, airflow_scheduler: AirflowScheduler
) -> None:
    runs = "/api/v2/dags/tem1-daq/dagRuns?limit=1"
    clean_airflow(system_trial.system.home, before=datetime.now(UTC) - timedelta(days=30))
    assert airflow_scheduler._ask("GET", runs).json()["total_entries"] > 0
    assert airflow_scheduler.is_parsed("cryodaq-maintenance")


def test_stopping_ends_a_running_transfer_and_leaves_no_process(system_trial: Any) -> None:
    (system_trial.home / "window_s").write_text("60")
    assert within(60, lambda: any(call["window_s"] == 60 for call in system_trial.calls("transfer_begun")))
    processes = system_trial.processes()
    ended = transfers(system_trial)
    begun = time.monotonic()
    system_trial.system.stop()
    took_s = time.monotonic() - begun
    print(f"stopped in {took_s:.1f} s")
    assert took_s < 15
    assert not psutil.wait_procs(processes, timeout=2)[1]
    assert not list((system_trial.home / "run").glob("*.json"))
    assert not system_trial.system.postgres.socket_folder.exists()
    assert system_trial.calls("transfer")[ended:][-1]["stopped"] is True
    killed = [path for path in (system_trial.home / "logs").glob("*.log") if "was killed" in path.read_text()]
    assert not killed
