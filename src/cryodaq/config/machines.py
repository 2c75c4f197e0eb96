"""What the system runs on: storage, database, how much at once, Airflow, ports, daily maintenance."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cryodaq.config.tables import AbsolutePath, Port, Table

SYSTEM_MEMORY_GB = 4.0
"""Left for databases, Airflow and pages of a machine that has everything."""


class Storage(Table):
    """The data centre's large file system."""

    root: AbsolutePath = Field(description="Experiments lie below in YYYYMM/<experiment>_<instrument>/.")
    dag_folder: AbsolutePath | None = Field(
        default=None, description="Where samples' DAG files lie; default: below the home of the system."
    )
    processing_floor: float = Field(
        default=0.1, ge=0, lt=1, description="No movie is processed while a smaller fraction of it is free."
    )
    readers_uids: tuple[Annotated[int, Field(gt=0, lt=2**32 - 1)], ...] = Field(
        default=(), description="Numeric ids of people who read every experiment."
    )
    readers_gids: tuple[Annotated[int, Field(gt=0, lt=2**32 - 1)], ...] = Field(
        default=(), description="Numeric ids of groups that read every experiment, such as the facility's staff."
    )
    copying_floor: float = Field(
        default=0.02, ge=0, lt=1, description="Nothing is copied while a smaller fraction of it is free."
    )
    verify_limit_mb_s: float | None = Field(
        default=None, gt=0, description="What reading copies again may take for each microscope, MB/s; default: all."
    )

    @property
    def verify_max_bytes_per_s(self) -> float | None:
        """The limit of reading copies again, bytes/s."""
        return None if self.verify_limit_mb_s is None else self.verify_limit_mb_s * 1e6


class Database(Table):
    """PostgreSQL; without a url the embedded one is started."""

    url_file: AbsolutePath | None = Field(
        default=None, description="File with postgresql+psycopg://..., because it holds a password."
    )


class Pools(Table):
    """How much runs at once."""

    compute_slots: int = Field(
        default=0, ge=0, description="Processing tasks at once; 0: one a core, as far as the memory reaches."
    )
    memory_per_task_gb: float = Field(
        default=4.0,
        gt=0,
        description="What aligning one movie takes, GB; a K3 movie of 40 frames 3 with our own engine, 8 with RELION.",
    )
    gpu_slots: int = Field(default=0, ge=0, description="Tasks with a GPU at once: slots of the pool and queue gpu.")
    threads_per_task: int = Field(default=1, ge=1, description="Threads of one processing task.")
    movies_in_flight: int = Field(
        default=0,
        ge=0,
        description="Movies of one microscope that Airflow has at once, others wait in the ledger; "
        "0: twice the slots and eight more.",
    )

    def slots(self, *, cores: int, memory_bytes: int) -> int:
        """Return how many tasks process at once on a machine: as many as have a core and the memory of a movie."""
        room = (memory_bytes / 1e9 - SYSTEM_MEMORY_GB) / self.memory_per_task_gb
        return self.compute_slots or max(1, min(cores, int(room)))

    def in_flight(self, *, cores: int, memory_bytes: int) -> int:
        """Return how many movies of one microscope Airflow gets at once, on such a machine."""
        return self.movies_in_flight or 2 * self.slots(cores=cores, memory_bytes=memory_bytes) + 8


class AirflowTable(Table):
    """How Airflow has tasks done, and where it is; without a url the embedded one is started."""

    executor: Literal["local", "celery"] = Field(
        default="local", description="Tasks as processes of one machine, or by workers that take them from queues."
    )
    broker_url_file: AbsolutePath | None = Field(
        default=None, description="File with the URL of Celery's Redis; default: an embedded one."
    )
    url: str | None = Field(default=None, description="Where its API is, when it is not the embedded one.")
    user: str = Field(default="cryodaq", description="Account of this program; it triggers and reads runs.")
    password_file: AbsolutePath | None = Field(default=None, description="File with its password.")


class Ports(Table):
    """Loopback ports of the embedded system."""

    web: Port = Field(default=8080, description="The pages.")
    elogbook: Port = Field(default=8081, description="The embedded elogbook.")
    airflow: Port = Field(default=8082, description="Airflow's pages and API.")

    @model_validator(mode="after")
    def _different(self) -> Ports:
        if len({self.web, self.elogbook, self.airflow}) < 3:
            message = "web, elogbook and airflow need three different ports"
            raise ValueError(message)
        return self


class Maintenance(Table):
    """What is done once a day."""

    airflow_history_days: int = Field(default=30, ge=2, description="Airflow's rows of older runs are removed.")
    log_days: int = Field(default=30, ge=2, description="Airflow's task logs that are older are removed.")
    backup_folder: AbsolutePath | None = Field(
        default=None, description="Where backups go; default: below the home. Better on another disk."
    )
    backups_kept: int = Field(default=14, ge=1, description="Older backups are removed.")
    verify_after_days: int = Field(
        default=30, ge=1, description="Copies verified so long ago are read again, some a day."
    )
    verify_gb: float = Field(default=50.0, ge=0, description="How much of them is read a day, GB; 0: nothing.")
