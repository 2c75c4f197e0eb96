"""Facility file in, stack file out: a worker for each microscope on the nodes that mount its shares, and the rest.

Nothing in it is secret: passwords and keys are swarm's secrets, read from `/run/secrets` by whoever needs them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from cryodaq.config import Facility
from cryodaq.config.machines import Ports
from cryodaq.config.microscope import MicroscopeTable
from cryodaq.errors import ConfigError
from cryodaq.launch.swarm.checking import MEMORY_PER_TASK
from cryodaq.launch.swarm.waiting import OPTION

Service = dict[str, Any]  # Any: YAML
FACILITY_PLACE = "/etc/cryodaq/facility.toml"
STATE = "${CRYODAQ_STATE}"
OPTIONAL = ("postgres", "redis")
"""Services that a site may have of its own."""
FOREIGN = frozenset(OPTIONAL)
"""Services with images of their own."""
AIRFLOW = ("airflow-api", "airflow-scheduler", "airflow-dag-processor", "prepare")
ASKERS = frozenset({"web", "watch"})
"""Services that ask elogbook and Airflow, and send messages."""
MAINTAINER = "worker-cpu"
"""Whose queue is that of the maintenance, which writes backups."""
WAITING = ("python3", "-m", "cryodaq.launch.swarm.waiting")
"""Before each program: until `prepare` is done."""
HEALTH_OF_TASKS_API = "/execution/health"
"""Of the half of Airflow's API server that tasks talk to."""
SECRETS = "/run/secrets/"
WORKER_SECRETS = (
    "airflow_database_url",
    "airflow_fernet_key",
    "airflow_secret_key",
    "airflow_jwt_secret",
    "broker_url",
    "database_url",
)
WITHOUT_HEALTH_CHECK = {"disable": True}
"""A worker that fails ends; what it takes too long for is seen by Airflow, and asking Celery costs 4 CPU seconds."""
DEAD_PEERS = {
    "net.ipv4.tcp_keepalive_time": "15",
    "net.ipv4.tcp_keepalive_intvl": "5",
    "net.ipv4.tcp_keepalive_probes": "3",
    "net.ipv4.tcp_retries2": "6",
}
"""A connection to a node that lost its power ends within half a minute; by Linux's defaults a worker would wait for a
broker that is gone for two hours, and the scheduler for its database for a quarter of one."""
LOGS = {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}


def render(facility: Facility, *, facility_text: str, without: Collection[str] = ()) -> dict[str, Any]:  # Any: YAML
    """Return the stack of a facility, as it goes into the file.

    Parameters
    ----------
    facility_text
        The facility file itself; its hash names the config, because swarm never changes one.
    without
        Of `OPTIONAL`: what the site runs itself.

    Raises
    ------
    ConfigError
        The facility file describes one machine, not a swarm; with a line for each setting that is missing.
    """
    _require_swarm_settings(facility)
    stack: dict[str, Any] = yaml.safe_load(
        (Path(__file__).parent / "stack.yml").read_text(encoding="utf-8")
    )  # Any: YAML
    airflow = {**stack.pop("x-airflow-environment"), **_places(facility)}
    services: dict[str, Service] = {name: one for name, one in stack["services"].items() if name not in without}
    services |= dict(_workers(facility))
    for name, service in services.items():
        _complete(name, service, facility=facility, airflow=airflow)
    digest = hashlib.sha256(facility_text.encode()).hexdigest()[:12]
    used = sorted({secret for service in services.values() for secret in service.get("secrets", ())})
    return {
        "version": "3.8",
        "services": services,
        "networks": {"cryodaq": {"driver": "overlay"}},
        "secrets": {name: {"external": True, "name": f"cryodaq_{name}"} for name in used},
        "configs": {"facility": {"file": "${CRYODAQ_FACILITY}", "name": f"cryodaq_facility_{digest}"}},
    }


def as_yaml(stack: dict[str, Any]) -> str:  # Any: YAML
    """Return a stack's file."""

    class Plain(yaml.SafeDumper):
        """Writes every value where it belongs, not as a reference to its equal."""

        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # PyYAML's signature
            return True

    head = "# Rendered by `cryodaq deploy render`: change the facility file and render it again.\n"
    return head + yaml.dump(stack, Dumper=Plain, sort_keys=False, width=120)


def _require_swarm_settings(facility: Facility) -> None:
    wanted = {
        '[airflow] executor = "celery"': facility.airflow.executor == "celery",
        '[airflow] url, such as "http://airflow-api:8082"': bool(facility.airflow.url),
        '[airflow] password_file = "/run/secrets/airflow_password"': bool(facility.airflow.password_file),
        '[airflow] broker_url_file = "/run/secrets/broker_url"': bool(facility.airflow.broker_url_file),
        '[database] url_file = "/run/secrets/database_url"': bool(facility.database.url_file),
        '[elogbook] url, such as "http://elogbook:8081"': bool(facility.elogbook.url),
        '[elogbook] token_file = "/run/secrets/elogbook_token"': bool(facility.elogbook.token_file),
        "[storage] dag_folder, on the large file system": bool(facility.storage.dag_folder),
        "[pools] compute_slots, of all nodes together": bool(facility.pools.compute_slots),
        "no [ports]: the env file says which ones are published": facility.ports == Ports(),
    }
    missing = [f"a swarm needs {what}" for what, there in wanted.items() if not there]
    shallow = [
        f"{share.root}: mount shares below a folder of their own, such as /mnt/cryoem{share.root}"
        for table in facility.microscopes
        for share in table.shares
        if share.root.parent == Path("/")
    ]
    if missing or shallow:
        raise ConfigError("\n".join([*missing, *shallow]))


def _places(facility: Facility) -> dict[str, str]:
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": str(facility.storage.dag_folder),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": f"{STATE}/logs/airflow",
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": f"{STATE}/logs/airflow/dag_processor",
    }


def _workers(facility: Facility) -> Iterator[tuple[str, Service]]:
    for table in facility.microscopes:
        queue = table.queue or table.name
        clearing = f"{queue}-clear"
        if not table.retention.enabled:
            yield f"worker-{table.name}", _microscope_worker(table, f"{queue},{clearing}", read_only=True)
            continue
        yield f"worker-{table.name}", _microscope_worker(table, queue, read_only=True)
        yield f"worker-{table.name}-clear", _microscope_worker(table, clearing, read_only=False)
    for queue in ("cpu", "gpu") if facility.pools.gpu_slots else ("cpu",):
        yield f"worker-{queue}", _compute_worker(queue, memory_per_task_gb=facility.pools.memory_per_task_gb)


def _microscope_worker(table: MicroscopeTable, queues: str, *, read_only: bool) -> Service:
    """Return a worker that copies, which never needs to write to a share, or one that clears."""
    parents = {str(share.root.parent) for share in table.shares}
    gains = {str(table.gain_root.parent)} - parents if table.gain_root else set()
    first = queues.partition(",")[0]
    return {
        "command": _worker_command(queues, slots="2", name=first),
        "secrets": list(WORKER_SECRETS),
        "healthcheck": dict(WITHOUT_HEALTH_CHECK),
        "volumes": [
            *(bind(parent, read_only=read_only, slave=True) for parent in sorted(parents)),
            *(bind(parent, read_only=True, slave=True) for parent in sorted(gains)),
        ],
        "stop_grace_period": "60s",
        "deploy": {
            "replicas": 1,
            "placement": {"constraints": [f"node.labels.cryodaq.{table.name} == true"]},
            "resources": {"limits": {"memory": "${CRYODAQ_TRANSFER_MEMORY}"}},
        },
    }


def _compute_worker(queue: str, *, memory_per_task_gb: float) -> Service:
    """Return a worker that aligns; its memory is reserved, so swarm puts it on no node that has less to give."""
    slots, memory = (f"${{CRYODAQ_{queue.upper()}_{what}}}" for what in ("SLOTS", "MEMORY"))
    return {
        "command": _worker_command(queue, slots=slots, name=queue),
        "secrets": list(WORKER_SECRETS),
        "healthcheck": dict(WITHOUT_HEALTH_CHECK),
        "stop_grace_period": "120s",
        "deploy": {
            "mode": "global",
            "labels": {MEMORY_PER_TASK: f"{memory_per_task_gb:g}"},
            "placement": {"constraints": [f"node.labels.cryodaq.{queue} == true"]},
            "resources": {"limits": {"memory": memory}, "reservations": {"memory": memory}},
        },
    }


def _worker_command(queues: str, *, slots: str, name: str) -> list[str]:
    airflow = ["python3", "-m", "cryodaq.orchestration.preloaded"]
    command = [*airflow, "celery", "worker", "--skip-serve-logs", "--queues", queues]
    return [*command, "--concurrency", slots, "--celery-hostname", f"{name}@%h"]


def _secrets_named(settings: object) -> Iterator[str]:
    """Yield the names of swarm's secrets that the facility file's settings point to."""
    if isinstance(settings, dict):
        for value in settings.values():
            yield from _secrets_named(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _secrets_named(value)
    elif isinstance(settings, str) and settings.startswith(SECRETS):
        yield settings.removeprefix(SECRETS)


def bind(source: str, *, read_only: bool = False, slave: bool = False) -> dict[str, Any]:  # Any: YAML
    """Return a folder of the node at the same place; with `slave`, what the node mounts below it later is seen."""
    bind: dict[str, Any] = {"type": "bind", "source": source, "target": source}  # Any: YAML
    if read_only:
        bind["read_only"] = True
    if slave:
        bind["bind"] = {"propagation": "rslave"}
    return bind


def _complete(name: str, service: Service, *, facility: Facility, airflow: dict[str, str]) -> None:
    """Add what all services have in common, and the folders that each needs."""
    deploy = service["deploy"]
    deploy.setdefault("restart_policy", {"condition": "any", "delay": "5s"})
    deploy["endpoint_mode"] = "dnsrr"
    service["networks"] = ["cryodaq"]
    service["logging"] = LOGS
    if name in FOREIGN:
        return
    service["image"] = "${CRYODAQ_IMAGE}"
    service["user"] = "${CRYODAQ_UID}:${CRYODAQ_GID}"
    service |= {"init": True, "sysctls": dict(DEAD_PEERS)}
    if name != "prepare":
        also = [OPTION, f"{facility.airflow.url}{HEALTH_OF_TASKS_API}"] if name.startswith("worker-") else []
        service["command"] = [*WAITING, *also, *service["command"]]
    is_worker = name.startswith("worker-")
    if is_worker or name in ASKERS:
        service["secrets"] = sorted({*service["secrets"], *_secrets_named(facility.model_dump(mode="json"))})
    service["environment"] = _environment(facility) | (airflow if is_worker or name in AIRFLOW else {})
    state_is_read = name in {"web", "elogbook"}
    folders = [bind(STATE, read_only=state_is_read)]
    if is_worker or name in ASKERS:
        folders.append(bind(str(facility.storage.root), read_only=not is_worker, slave=True))
    if is_worker or name in AIRFLOW:
        may_write = name == "prepare" or (is_worker and not name.endswith(("-cpu", "-gpu")))
        folders.append(bind(str(facility.storage.dag_folder), read_only=not may_write))
    service["volumes"] = [*service.get("volumes", ()), *folders]
    if name == MAINTAINER and facility.maintenance.backup_folder:
        service["volumes"].append(bind(str(facility.maintenance.backup_folder)))
    if name == "prepare":
        service["configs"] = [{"source": "facility", "target": FACILITY_PLACE}]


def _environment(facility: Facility) -> dict[str, str]:
    """Return what every process of ours finds."""
    found = {"CRYODAQ_HOME": STATE, "HOME": "/tmp", "TZ": "UTC"}  # noqa: S108  # of the container alone
    found["CRYODAQ_NODE"] = "{{.Node.Hostname}}"  # swarm fills it in: a container's own host name is a number
    found["USER"] = "cryodaq"  # Airflow asks for a name, and the image knows none for the site's uid
    threads = str(facility.pools.threads_per_task)
    return found | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
