"""Triggers runs: at Airflow by its REST interface (no import of Airflow), or in this process."""

from __future__ import annotations

from collections.abc import Mapping

from cryodaq.errors import RunConflictError

IDENTITY_KEYS = ("movie_id", "branch_id")
"""Keys of a run's conf that say whom it is for: ids of the ledger."""


def check_same_run(run_id: str, *, wanted: Mapping[str, object], found: Mapping[str, object]) -> None:
    """Accept a run that exists already if it is for the same movie and branch.

    Raises
    ------
    RunConflictError
        It stands for another movie.
    """
    if any(wanted.get(key) != found.get(key) for key in IDENTITY_KEYS):
        raise RunConflictError(run_id, expected_movie=_identity(wanted), found_movie=_identity(found))


def _identity(conf: Mapping[str, object]) -> str:
    movie, branch = (conf.get(key, "unknown") for key in IDENTITY_KEYS)
    return f"{movie} (branch {branch})"
