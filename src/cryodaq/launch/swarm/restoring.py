"""The stack that puts a backup back: the database, and a service that restores it once everybody else has let go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryodaq.launch.swarm.rendering import bind

PATIENCE = {"condition": "on-failure", "delay": "5s", "max_attempts": 60}
"""Workers may take two minutes to stop, and the database is not restored while one of them uses it."""


def restoring(stack: dict[str, Any], *, backup: Path) -> dict[str, Any]:  # Any: YAML
    """Return what is left of a stack while a backup is restored; `docker stack deploy --prune` stops the rest.

    Parameters
    ----------
    backup
        Its absolute path, the same on every node.
    """
    postgres = {name: one for name, one in stack["services"].items() if name == "postgres"}
    prepare = stack["services"]["prepare"]
    restore = {
        **{key: value for key, value in prepare.items() if key != "configs"},
        "command": ["cryodaq", "restore", str(backup)],
        "secrets": ["database_url"],
        "environment": {key: value for key, value in prepare["environment"].items() if not key.startswith("AIRFLOW")},
        "deploy": {**prepare["deploy"], "restart_policy": PATIENCE},
        "volumes": [*prepare["volumes"], bind(str(backup.parent))],
    }
    services = {**postgres, "restore": restore}
    used = {secret for service in services.values() for secret in service["secrets"]}
    return {
        "version": stack["version"],
        "services": services,
        "networks": stack["networks"],
        "secrets": {name: one for name, one in stack["secrets"].items() if name in used},
    }
