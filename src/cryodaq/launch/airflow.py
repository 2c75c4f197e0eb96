"""The embedded Airflow: settings by environment, secrets in private files, and the three components it needs.

No triggerer, because no task defers. Every number that differs from Airflow's default was measured or is said why.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from cryodaq.domain.home import AIRFLOW_OPERATOR, AIRFLOW_PERSON, AIRFLOW_USER, Home
from cryodaq.errors import LaunchError, SchedulerError
from cryodaq.launch.ports import LOOPBACK, answers_http
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.redis import consumed_queues
from cryodaq.launch.secrets import secret, write_private
from cryodaq.launch.supervisor import Child
from cryodaq.scheduler.airflow import AirflowScheduler

DATABASE = "airflow"
CPU_QUEUE, GPU_QUEUE = "cpu", "gpu"
HEARTBEAT_TIMEOUT_S = 60
"""A task without a sign for so long was lost with its worker; signs come every 2 s."""
VISIBILITY_TIMEOUT_S = 10_800
"""Longer than any task may run (`orchestration`), so that Redis never gives a task out twice."""
ROLES = {AIRFLOW_PERSON: "admin", AIRFLOW_OPERATOR: "op", AIRFLOW_USER: "user"}
AUTH_MANAGER = "cryodaq.orchestration.log_in.FacilityAuthManager"
"""Narrows the role `user` to triggering and reading runs."""
PATHS_OF_HEALTH = ("/api/v2/monitor/health", "/execution/health")
"""People's half of the API server, and the tasks', which is built at its first request, for seconds."""
OWN_CONFIG = "# Settings come from the environment that cryodaq sets; this file keeps Airflow from generating one.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class CeleryWorkers:
    """Celery's broker, and the workers of this machine."""

    broker_url: str
    concurrency: Mapping[str, int]
    """How many tasks each worker does at once; it takes them from the queue of its name and from `<name>-clear`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedAirflow:
    """One Airflow below `home`, with a LocalExecutor or with workers that take tasks from queues."""

    home: Home
    port: int
    dag_folder: Path
    postgres: EmbeddedPostgres
    parallelism: int
    """Tasks at once: more than pools allow, because a slot is given back up to 2 s after its task's end."""
    celery: CeleryWorkers | None = None

    @property
    def url(self) -> str:
        """Where its pages and REST interface are."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def _passwords(self) -> Path:
        return self.home.secrets / "airflow_passwords.json"

    @property
    def _marker(self) -> Path:
        return self.home.airflow / "migrated"

    def prepare(self) -> None:
        """Make its folders and its secrets."""
        for folder in (self.home.airflow, self.dag_folder):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        (self.home.airflow / "airflow.cfg").write_text(OWN_CONFIG, encoding="utf-8")
        passwords = {user: secret(self.home.airflow_password(user)) for user in ROLES}
        write_private(self._passwords, json.dumps(passwords))

    def environment(self) -> dict[str, str]:
        """Return its settings; secrets among them stand in no file but their own and are never passed on."""
        secrets = self.home.secrets
        sections: dict[str, dict[str, object]] = {
            "core": {
                "executor": "CeleryExecutor" if self.celery else "LocalExecutor",
                "parallelism": self.parallelism,
                "dags_folder": self.dag_folder,
                "load_examples": False,
                "dags_are_paused_at_creation": False,
                "min_serialized_dag_update_interval": 5,
                "execution_api_server_url": f"{self.url}/execution/",
                "fernet_key": secret(secrets / "airflow_fernet") + "=",  # 32 bytes in padded base64
                "auth_manager": AUTH_MANAGER,
                "simple_auth_manager_users": ",".join(f"{user}:{role}" for user, role in ROLES.items()),
                "simple_auth_manager_passwords_file": self._passwords,
                "hostname_callable": "socket.gethostname",  # asks no name server
            },
            "database": {"sql_alchemy_conn": self.postgres.url(DATABASE, driver="psycopg2")},
            "api": {
                "host": LOOPBACK,
                "port": self.port,
                "base_url": self.url,
                "workers": 1,
                "secret_key": secret(secrets / "airflow_secret_key"),
                "expose_config": False,
                "instance_name": "cryodaq",
            },
            "api_auth": {"jwt_secret": secret(secrets / "airflow_jwt", byte_count=64)},
            "dag_processor": {
                "refresh_interval": 5,  # a new sample's file is seen within seconds even without the doorbell
                "bundle_refresh_check_interval": 1,
                "parsing_processes": 1,
                "print_stats_interval": 600,
            },
            "scheduler": {
                "scheduler_idle_sleep_time": 0.15,  # from one task to the next
                "task_instance_heartbeat_timeout": HEARTBEAT_TIMEOUT_S,
                "orphaned_tasks_check_interval": 30,
                "task_queued_timeout": 120,  # pools leave a worker for every queued task, so a longer wait is a loss
                "task_queued_timeout_check_interval": 30,
            },
            "workers": {"min_heartbeat_interval": 2},  # a task's slot is given back so late at most; 5 s is a jam
            "logging": {
                "base_log_folder": self.home.logs / "airflow",
                "dag_processor_child_process_log_directory": self.home.logs / "airflow" / "dag_processor",
            },
        }
        sections |= self._celery_sections()
        flat = {
            f"AIRFLOW__{section.upper()}__{key.upper()}": str(value)
            for section, settings in sections.items()
            for key, value in settings.items()
        }
        return {"AIRFLOW_HOME": str(self.home.airflow), "PGPASSFILE": str(self.postgres.password_file), **flat}

    def _celery_sections(self) -> dict[str, dict[str, object]]:
        if self.celery is None:
            return {}
        return {
            "operators": {"default_queue": CPU_QUEUE},
            "celery": {
                "broker_url": self.celery.broker_url,
                "worker_prefetch_multiplier": 1,
                "task_acks_late": True,
                "operation_timeout": 5,  # a broker that starts again answers within seconds
            },
            "celery_broker_transport_options": {"visibility_timeout": VISIBILITY_TIMEOUT_S, "socket_keepalive": True},
        }

    def migrate_command(self) -> list[str]:
        """Return the command that makes or upgrades its tables (about 8 s)."""
        return [sys.executable, "-m", "airflow", "db", "migrate"]

    def is_migrated(self) -> bool:
        """Whether the installed release has already migrated this database."""
        if not self._marker.exists():
            return False
        return self._marker.read_text(encoding="utf-8") == self._state()

    def note_migrated(self) -> None:
        """Remember that the migration succeeded."""
        self._marker.write_text(self._state(), encoding="utf-8")

    def _state(self) -> str:
        import psycopg

        with psycopg.connect(self.postgres.dsn(DATABASE)) as connection:
            known = connection.execute("select to_regclass('alembic_version') is not null").fetchone()
            if not known or not known[0]:
                return "none"
            row = connection.execute("select version_num from alembic_version").fetchone()
        return f"{version('apache-airflow-core')} {row[0] if row else 'none'}"

    def children(self, environment: Mapping[str, str]) -> list[Child]:
        """Return api-server, DAG processor and scheduler."""
        airflow = [sys.executable, "-m", "airflow"]
        everything = {**environment, **self.environment()}
        return [
            *self._workers(everything),
            Child(
                name="airflow-api",
                command=[*airflow, "api-server", "--host", LOOPBACK, "--port", str(self.port), "--workers", "1"],
                environment=everything,
                folder=self.home.airflow,
                is_healthy=lambda: all(answers_http(self.port, path=path) for path in PATHS_OF_HEALTH),
                port=self.port,
                stop_rank=1,
                stop_grace_s=2.0,  # it keeps nothing of its own
            ),
            Child(
                name="airflow-dag-processor",
                command=[*airflow, "dag-processor"],
                environment=everything,
                folder=self.home.airflow,
                is_healthy=lambda: self._component_is_healthy("dag_processor"),
                stop_rank=1,
                stop_grace_s=2.0,  # it keeps nothing of its own
            ),
            Child(
                name="airflow-scheduler",
                # Its log server would listen on every address.
                command=[sys.executable, "-m", "cryodaq.orchestration.preloaded", "scheduler", "--skip-serve-logs"],
                environment=everything,
                folder=self.home.airflow,
                is_healthy=lambda: self._component_is_healthy("scheduler"),
                runs_tasks=True,
                stop_rank=0,
                stop_grace_s=6.0,
            ),
        ]

    def _workers(self, environment: Mapping[str, str]) -> list[Child]:
        """Return a worker for each queue; they start when the database is migrated and serve no logs of their own."""
        if self.celery is None:
            return []
        broker = self.celery.broker_url

        def takes_tasks(queue: str) -> bool | None:
            found = consumed_queues(broker, [queue])
            return None if found is None else queue in found  # a broker that lost its content lost the worker, too

        def named(queue: str) -> list[str]:
            return ["--celery-hostname", f"{queue}@%h"]

        command = [sys.executable, "-m", "cryodaq.orchestration.preloaded", "celery", "worker", "--skip-serve-logs"]
        return [
            Child(
                name=f"worker-{queue}",
                command=[*command, "--queues", f"{queue},{queue}-clear", "--concurrency", str(count), *named(queue)],
                environment=dict(environment),
                folder=self.home.airflow,
                is_healthy=partial(takes_tasks, queue),
                runs_tasks=True,
                stop_rank=0,
                stop_grace_s=6.0,
            )
            for queue, count in self.celery.concurrency.items()
        ]

    def scheduler(self, user: str = AIRFLOW_USER) -> AirflowScheduler:
        """Return a client with one of this program's accounts."""
        return AirflowScheduler(self.url, user=user, password_file=self.home.airflow_password(user))

    def _component_is_healthy(self, name: str) -> bool | None:
        try:
            with self.scheduler() as scheduler:
                return scheduler.health().get(name) == "healthy"
        except SchedulerError:
            return None  # the api-server is what is down

    def require_parsed(self, dag_ids: list[str]) -> list[str]:
        """Return those DAGs that Airflow has not read yet.

        Raises
        ------
        LaunchError
            The microscopes' file cannot be read; with Airflow's words.
        """
        with self.scheduler() as scheduler:
            problem = scheduler.import_error("cryodaq_microscopes.py")
            if problem is not None:
                message = f"Airflow cannot read {self.dag_folder / 'cryodaq_microscopes.py'}:\n{problem}"
                raise LaunchError(message)
            return [dag_id for dag_id in dag_ids if not scheduler.is_parsed(dag_id)]
