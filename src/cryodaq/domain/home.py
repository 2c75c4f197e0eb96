"""Where the files of an embedded system lie, below the one folder that `--home` or `CRYODAQ_HOME` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

AIRFLOW_USER = "cryodaq"
"""The running system's account at Airflow: it triggers and reads runs."""
AIRFLOW_OPERATOR = "operator"
"""Airflow's account for what a start prepares: it makes pools."""
AIRFLOW_PERSON = "admin"
"""The account for people in the embedded Airflow."""
DOORBELL_DAG = "cryodaq-maintenance"
"""Always there, so that reading its file again makes Airflow look at the whole DAG folder."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one embedded system."""

    root: Path

    @property
    def secrets(self) -> Path:
        """Generated secrets, readable by their owner alone."""
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        """One log a component; Airflow's task logs below `airflow`."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """The lock, and which processes were started."""
        return self.root / "run"

    @property
    def backups(self) -> Path:
        """Dumps made before the database's tables were changed."""
        return self.root / "backups"

    @property
    def prepared(self) -> Path:
        """For which release a stack's tables and DAG files are in place, as one line."""
        return self.root / "prepared"

    @property
    def airflow(self) -> Path:
        """Airflow's own home."""
        return self.root / "airflow"

    @property
    def dag_folder(self) -> Path:
        """DAG files, where the facility file names no other folder."""
        return self.root / "dags"

    @property
    def templates(self) -> Path:
        """The site's own templates of samples' DAGs; they come before the packaged ones."""
        return self.root / "templates"

    @property
    def elogbook_token(self) -> Path:
        """This program's token for the embedded elogbook."""
        return self.secrets / "elogbook-token"

    @property
    def web_token(self) -> Path:
        """By what the embedded elogbook knows the pages' own server."""
        return self.secrets / "web-token"

    @property
    def metrics_token(self) -> Path:
        """What Prometheus shows to read the metrics."""
        return self.secrets / "metrics-token"

    def airflow_password(self, user: str) -> Path:
        """Return the file with the password of one of Airflow's accounts."""
        return self.secrets / f"airflow_{user}"
