"""A facility file becomes a stack that swarm takes: everything declared, nothing secret, each microscope's worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cryodaq.config import parse
from cryodaq.errors import ConfigError
from cryodaq.launch.swarm import checking, rendering
from cryodaq.launch.swarm.restoring import restoring
from cryodaq.launch.swarm.secrets import make_secrets

DEPLOY = Path(__file__).resolve().parents[4] / "deploy"
TEXT = (DEPLOY / "facility.swarm.example.toml").read_text()
FIFTH = """
[[microscopes]]
name = "tem5"
instrument = "TEM5"
queue = "krios"
shares = [{ root = "/mnt/other/tem5" }]
"""


def rendered(text: str = TEXT, **options: Any) -> dict[str, Any]:
    stack = rendering.render(parse(text, source="facility.toml"), facility_text=text, **options)
    return yaml.safe_load(rendering.as_yaml(stack))  # type: ignore[no-any-return]  # YAML


def volume(service: dict[str, Any], source: str) -> dict[str, Any]:
    (found,) = [one for one in service["volumes"] if one.get("source") == source]
    return dict(found)


def env_file() -> dict[str, str]:
    lines = (DEPLOY / "site.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_committed_stack_is_what_the_example_renders_to() -> None:
    stack = rendering.render(parse(TEXT, source="facility.toml"), facility_text=TEXT)
    expected = rendering.as_yaml(stack)
    assert (DEPLOY / "stack.yml").read_text() == expected, "render deploy/stack.yml again and commit it"


def test_a_rendered_stack_has_no_problem_and_needs_nothing_that_the_env_file_lacks() -> None:
    assert checking.problems(rendered()) == []
    wanted = {part.split("}")[0] for part in rendering.as_yaml(rendered()).split("${")[1:]}
    assert wanted == env_file().keys()


@pytest.mark.skipif(
    shutil.which("docker") is None, reason="NOT TESTED: docker stack config, because docker is not here"
)
def test_docker_itself_takes_the_stack(tmp_path: Path) -> None:
    (tmp_path / "facility.toml").write_text(TEXT)
    (tmp_path / "stack.yml").write_text(rendering.as_yaml(rendered()))
    done = subprocess.run(
        ["docker", "stack", "config", "-c", "stack.yml"],
        cwd=tmp_path,
        env={**os.environ, **env_file()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_fifth_microscope_is_a_table_in_the_file() -> None:
    before, after = rendered(), rendered(TEXT + FIFTH)
    assert after["services"].keys() - before["services"].keys() == {"worker-tem5"}
    worker = after["services"]["worker-tem5"]
    assert worker["deploy"]["placement"]["constraints"] == ["node.labels.cryodaq.tem5 == true"]
    assert worker["command"][worker["command"].index("--queues") + 1] == "krios,krios-clear"
    assert volume(worker, "/mnt/other")["read_only"] is True
    assert before["configs"]["facility"]["name"] != after["configs"]["facility"]["name"]


def test_copying_only_reads_the_shares_and_what_is_mounted_later_is_seen() -> None:
    services = rendered()["services"]
    share = volume(services["worker-tem1"], "/mnt/cryoem")
    assert share["read_only"] is True
    assert share["bind"] == {"propagation": "rslave"}
    copying, clearing = services["worker-tem4"], services["worker-tem4-clear"]
    assert volume(copying, "/mnt/cryoem")["read_only"] is True
    assert copying["command"][-5:-4] == ["tem4"]
    assert "read_only" not in volume(clearing, "/mnt/cryoem")
    assert "tem4-clear" in clearing["command"]
    writers = [
        name
        for name, service in services.items()
        for one in service["volumes"]
        if one.get("source") == "/mnt/cryoem" and not one.get("read_only")
    ]
    assert writers == ["worker-tem4-clear"]


def test_only_those_who_must_write_to_storage_and_dag_folder_may() -> None:
    services = rendered()["services"]
    for name, service in services.items():
        for one in service["volumes"]:
            if one.get("source") == "/gpfs/cryoem/cryodaq/dags" and not one.get("read_only"):
                assert name == "prepare" or name.startswith("worker-tem")
            if one.get("source") == "/gpfs/cryoem/data" and not one.get("read_only"):
                assert name.startswith("worker-")


def test_every_service_of_ours_runs_as_the_sites_account_and_is_limited() -> None:
    services = rendered()["services"]
    ours = [service for name, service in services.items() if name not in rendering.OPTIONAL]
    assert {service["user"] for service in ours} == {"${CRYODAQ_UID}:${CRYODAQ_GID}"}
    assert all(service["logging"]["options"]["max-size"] for service in services.values())
    assert all("memory" in service["deploy"]["resources"]["limits"] for service in services.values())


def test_connections_to_a_node_without_power_end_and_every_service_says_how_its_health_is_known() -> None:
    services = rendered()["services"]
    ours = {name: service for name, service in services.items() if name not in rendering.OPTIONAL}
    assert all(service["sysctls"] == rendering.DEAD_PEERS for service in ours.values())
    assert services["postgres"]["command"].count("-c") == 7
    assert all("healthcheck" in service for service in services.values())
    asked = {name for name, service in ours.items() if "test" in service["healthcheck"]}
    assert asked == {"airflow-api", "airflow-scheduler", "airflow-dag-processor", "elogbook", "web"}


@pytest.mark.parametrize("name", sorted(rendering.OPTIONAL))
def test_a_server_that_recovers_after_a_crash_or_is_slow_to_answer_is_not_killed_for_it(name: str) -> None:
    health = rendered()["services"][name]["healthcheck"]
    assert int(health["start_period"].removesuffix("s")) >= 300
    assert int(health["timeout"].removesuffix("s")) >= 20
    assert int(health["retries"]) * int(health["interval"].removesuffix("s")) >= 90


def test_postgresql_is_stopped_without_waiting_for_its_clients() -> None:
    assert rendered()["services"]["postgres"]["stop_signal"] == "SIGINT"


def test_secrets_that_the_facility_file_names_reach_those_who_read_them() -> None:
    mail = '[notifications.smtp]\nhost = "mail.example.org"\nsender = "daq@example.org"\n'
    stack = rendered(TEXT.replace("[pools]", mail + 'password_file = "/run/secrets/mail_password"\n[pools]', 1))
    assert {"mail_password", "database_url", "elogbook_token"} <= set(stack["services"]["watch"]["secrets"])
    assert stack["secrets"]["mail_password"] == {"external": True, "name": "cryodaq_mail_password"}
    assert "mail_password" not in stack["services"]["airflow-api"]["secrets"]


def test_a_sites_own_servers_are_left_out_with_their_secrets() -> None:
    stack = rendered(without=["postgres", "redis"])
    assert not {"postgres", "redis"} & stack["services"].keys()
    assert not {"postgres_password", "redis_conf"} & stack["secrets"].keys()
    assert checking.problems(stack) == []


def test_the_maintenance_can_write_its_backups() -> None:
    assert "read_only" not in volume(rendered()["services"]["worker-cpu"], "/gpfs/cryoem/cryodaq/backups")


@pytest.mark.parametrize("without", [[], ["postgres", "redis"]])
def test_a_backup_is_restored_beside_the_database_alone(without: list[str]) -> None:
    whole = rendered(without=without)
    stack = restoring(whole, backup=Path("/gpfs/cryoem/cryodaq/backups/old.tar"))
    assert checking.problems(stack) == []
    assert stack["services"].keys() == {"restore"} | ({"postgres"} - set(without))
    assert stack["services"].get("postgres") == whole["services"].get("postgres")  # goes on as it is
    restore = stack["services"]["restore"]
    assert restore["command"] == ["cryodaq", "restore", "/gpfs/cryoem/cryodaq/backups/old.tar"]
    assert restore["deploy"]["restart_policy"]["condition"] == "on-failure"
    for place in ("${CRYODAQ_STATE}", "/gpfs/cryoem/cryodaq/dags", "/gpfs/cryoem/cryodaq/backups"):
        assert "read_only" not in volume(restore, place)


def test_one_machines_facility_file_is_refused_with_what_is_missing() -> None:
    text = (DEPLOY / "facility.example.toml").read_text()
    with pytest.raises(ConfigError, match=r"\[database\] url_file") as caught:
        rendered(text)
    assert len(str(caught.value).splitlines()) > 5
    with pytest.raises(ConfigError, match="folder of their own, such as /mnt/cryoem/tem5"):
        rendered(TEXT + FIFTH.replace("/mnt/other/tem5", "/tem5"))


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda s: s["services"]["web"]["networks"].append("frontend"), "web: network frontend is not declared"),
        (lambda s: s["services"]["web"]["secrets"].append("tls_key"), "web: secret tls_key is not declared"),
        (lambda s: s["services"]["web"].update(configs=["nginx"]), "web: config nginx is not declared"),
        (lambda s: s["networks"].update(old={}), "networks: old is declared and no service uses it"),
        (lambda s: s["services"]["web"]["environment"].update(API_TOKEN="x"), "API_TOKEN would stand in plain sight"),
        (lambda s: s["services"]["web"]["environment"].update(X="redis://:pw@redis/0"), "X holds a password"),
        (lambda s: s["services"]["web"]["command"].append("http://me:pw@x/"), "its command holds a password"),
        (lambda s: s["services"]["web"]["deploy"].pop("endpoint_mode"), "endpoint_mode must be dnsrr"),
        (lambda s: s["services"]["web"].update(ports=["80:80"]), "ports must be in host mode"),
        (lambda s: s["services"]["web"].update(volumes=["/mnt:/mnt"]), "in the long form"),
        (lambda s: s["services"]["web"].update(image="cryodaq:latest"), "no fixed version"),
        (lambda s: s["services"]["web"]["deploy"].pop("resources"), "no memory limit"),
    ],
)
def test_what_docker_lets_through_is_found(harm: Any, sentence: str) -> None:
    stack = rendered()
    harm(stack)
    assert any(sentence in problem for problem in checking.problems(stack))


def test_the_example_env_file_has_every_value_and_memory_for_each_slot() -> None:
    values = checking.read_env_file((DEPLOY / "site.env.example").read_text())
    assert values == env_file()
    assert checking.problems_of_values(rendered(), values) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"CRYODAQ_CPU_SLOTS": "20"}, "worker-cpu: 20 slots need 80 GB (4 GB a movie"),
        ({"CRYODAQ_GPU_MEMORY": "7000m"}, "worker-gpu: 2 slots need 8 GB (4 GB a movie"),
        ({"CRYODAQ_CPU_MEMORY": "plenty"}, "worker-cpu: 16 slots with plenty memory"),
        ({"CRYODAQ_CPU_SLOTS": ""}, "the env file has no CRYODAQ_CPU_SLOTS"),
    ],
)
def test_a_worker_with_more_slots_than_memory_for_movies_is_found(changed: dict[str, str], sentence: str) -> None:
    found = checking.problems_of_values(rendered(), env_file() | changed)
    assert any(problem.startswith(sentence) for problem in found), found


def test_workers_that_compute_reserve_their_memory_on_the_node() -> None:
    for name in ("worker-cpu", "worker-gpu"):
        resources = rendered()["services"][name]["deploy"]["resources"]
        assert resources["reservations"] == resources["limits"]


def test_secrets_fit_together_and_are_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in make_secrets(folder, postgres="db:5432", redis="broker:6379")}
    assert rendered()["secrets"].keys() <= made.keys()
    assert all((folder / name).stat().st_mode & 0o777 == 0o600 for name in made)
    assert made["postgres_password"] in made["database_url"]
    assert made["postgres_password"] in made["airflow_database_url"]
    assert made["broker_url"].split(":")[2].split("@")[0] in made["redis_conf"]
    assert json.loads(made["airflow_passwords"])["cryodaq"] == made["airflow_password"]
    with pytest.raises(ConfigError, match="not empty"):
        make_secrets(folder, postgres="db:5432", redis="broker:6379")
