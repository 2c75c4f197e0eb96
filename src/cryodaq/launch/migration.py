"""Airflow's own tables are made by its own command, in a process that runs while other parts start."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.home import Home
from cryodaq.errors import LaunchError
from cryodaq.launch import sessions
from cryodaq.launch.supervisor import rotate_log

NAME = "airflow-migration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """The command under way, in a session of its own."""

    home: Home
    process: subprocess.Popen[bytes]

    @classmethod
    def begin(cls, home: Home, command: list[str], *, environment: Mapping[str, str]) -> Migration:
        """Start the command; what it says goes into `airflow-migration.log`."""
        path = _log(home)
        rotate_log(path)
        with path.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=home.airflow,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        sessions.record_session(home.run, NAME, leader=process.pid)
        return cls(home=home, process=process)

    def finish(self, *, timeout_s: float) -> None:
        """Wait for its end. Raises `LaunchError` with its last lines when it fails or takes too long."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        if status != 0:
            with _log(self.home).open(encoding="utf-8", errors="replace") as file:
                lines = "".join(deque(file, maxlen=20))
            message = f"Airflow's tables could not be made; the last lines of {_log(self.home)}:\n{lines}"
            raise LaunchError(message)
        sessions.forget_session(self.home.run, NAME)

    def end(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            for record in sessions.read_records(self.home.run):
                if record.name == NAME:
                    sessions.kill_session(record)
            self.process.wait()
        sessions.forget_session(self.home.run, NAME)


def _log(home: Home) -> Path:
    return home.logs / f"{NAME}.log"
