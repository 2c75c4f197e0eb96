"""The secrets of a new stack, made once into a folder, to be given to swarm and then kept in a safe."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

from cryodaq.domain.home import AIRFLOW_OPERATOR, AIRFLOW_PERSON, AIRFLOW_USER
from cryodaq.errors import ConfigError
from cryodaq.launch.secrets import write_private

ACCOUNTS = (AIRFLOW_PERSON, AIRFLOW_OPERATOR, AIRFLOW_USER)
"""Airflow's: for administrators, for preparing a start, and for triggering and reading runs."""


def make_secrets(folder: Path, *, postgres: str, redis: str) -> list[Path]:
    """Write random secrets that fit together, each into a file of its own; return the files.

    Parameters
    ----------
    postgres, redis
        Host and port of each, such as `postgres:5432`.

    Raises
    ------
    ConfigError
        The folder is not empty: secrets in use must never be replaced by accident.
    """
    if folder.exists() and any(folder.iterdir()):
        message = f"{folder} is not empty; name a new folder"
        raise ConfigError(message)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = {person: _random() for person in ACCOUNTS}
    database, broker = _random(), _random()
    login = f"cryodaq:{database}@{postgres}"
    content = {
        "postgres_password": database,
        "database_url": f"postgresql+psycopg://{login}/cryodaq",
        "airflow_database_url": f"postgresql+psycopg2://{login}/airflow",
        "redis_conf": f"requirepass {broker}\nappendonly yes\nappendfsync everysec\ndir /data\n",
        "broker_url": f"redis://:{broker}@{redis}/0",
        "airflow_fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "airflow_secret_key": _random(),
        "airflow_jwt_secret": secrets.token_urlsafe(64),
        "airflow_passwords": json.dumps(passwords),
        "airflow_password": passwords[AIRFLOW_USER],
        "airflow_password_operator": passwords[AIRFLOW_OPERATOR],
        "elogbook_token": _random(),
    }
    for name, text in content.items():
        write_private(folder / name, text)
    return [folder / name for name in content]


def _random() -> str:
    return secrets.token_urlsafe(32)
