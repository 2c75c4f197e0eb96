"""Airflow is imported here, so it gets a home of its own first."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def airflow_home() -> Iterator[None]:
    """Keep Airflow's generated settings out of the person's home."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if "AIRFLOW_HOME" not in os.environ:
            patch.setenv("AIRFLOW_HOME", folder)
            patch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", folder)
        yield
