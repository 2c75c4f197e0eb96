"""Names: of experiments, samples, movies, runs and DAGs, and which of them are safe to use.

Everything here comes from a microscope, a logbook or a browser first, so it is checked before it becomes part
of a path or an identity. What a file is, told by its path, is in `file_roles` and offered here as well.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

from cryodaq.domain.file_roles import (
    ClassifiedFile,
    FileRole,
    Software,
    acquisition_folder,
    as_frame_mdoc,
    as_movie,
    base_name_of_foreign_path,
    classify,
    exposure_stem,
    run_name,
)
from cryodaq.errors import UnsafeNameError

__all__ = [
    "LIVE_BRANCH",
    "ClassifiedFile",
    "FileRole",
    "Software",
    "acquisition_folder",
    "as_frame_mdoc",
    "as_movie",
    "base_name_of_foreign_path",
    "check_experiment_name",
    "check_sample_id",
    "classify",
    "dag_id",
    "disambiguated",
    "exposure_stem",
    "parse_dag_id",
    "product_name",
    "run_id",
    "run_name",
    "safe_component",
    "safe_relative_path",
]

LIVE_BRANCH = "live"
MAX_RUN_ID_LENGTH = 250
"""Airflow's column for run ids."""
MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 4096

_SAMPLE_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_RESERVED_RUN_PREFIX = re.compile(
    r"(?:manual|scheduled|backfill|dataset_triggered|asset_triggered|asset_materialization)__"
)
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and invisible characters, lone surrogates (undecodable bytes), line and paragraph separators."""


def check_experiment_name(name: str, pattern: str) -> str:
    """Return `name` if it is an experiment of this site.

    Parameters
    ----------
    pattern
        The site's regular expression; it must match all of the name.

    Raises
    ------
    UnsafeNameError
    """
    if not re.fullmatch(pattern, name, re.ASCII):
        raise UnsafeNameError(name, why=f"experiments are named by the pattern {pattern}; rename it in the elogbook")
    if not _EXPERIMENT.fullmatch(name):
        raise UnsafeNameError(name, why="experiments have up to 100 letters, digits, '_', '-' and '.'")
    return name


def check_sample_id(text: str) -> str:
    """Return `text` if it is a sample's id in the elogbook, else raise UnsafeNameError."""
    if not _SAMPLE_ID.fullmatch(text):
        raise UnsafeNameError(text, why="a sample id has 24 hexadecimal digits in lower case")
    return text


def dag_id(experiment: str, sample_id: str) -> str:
    """Return the id of a sample's DAG, which is the stem of its file too; raises UnsafeNameError."""
    if not _EXPERIMENT.fullmatch(experiment):
        raise UnsafeNameError(experiment, why="experiments have up to 100 letters, digits, '_', '-' and '.'")
    return f"{experiment}_{check_sample_id(sample_id)}"


def parse_dag_id(text: str) -> tuple[str, str]:
    """Return the (experiment, sample id) of a sample's DAG; raises UnsafeNameError."""
    experiment, separator, sample_id = text.rpartition("_")
    if not separator or not _EXPERIMENT.fullmatch(experiment) or not _SAMPLE_ID.fullmatch(sample_id):
        raise UnsafeNameError(text, why="a sample's DAG is named <experiment>_<sample id of 24 hexadecimal digits>")
    return experiment, sample_id


def disambiguated(run_name: str, n: int) -> str:
    """Return the name of the n-th movie (from 1) of an experiment that has this base name."""
    if n < 1:
        raise UnsafeNameError(run_name, why=f"movies of one name are counted from 1, not {n}")
    return run_name if n == 1 else f"{run_name}~{n}"


def product_name(run_name: str, version: int) -> str:
    """Return what a movie's products are named: a changed source never touches those of its first version."""
    return run_name if version == 1 else f"{run_name}.v{version}"


def run_id(run_name: str, *, version: int = 1, branch: str = LIVE_BRANCH, moves: int = 0, rerun: int = 0) -> str:
    """Return the scheduler's run id of a movie: readable, within `[A-Za-z0-9_.~:+-]`, and never shared.

    Other characters become `~x<code point in hex>.`, and so does a `~` that no digit follows; so `~v2` for a
    changed source, `~b-<branch>` and `~r1` for a rerun are unmistakable. Ids that would be too long end in a hash.

    Parameters
    ----------
    version
        1 for the file first seen, 2 after its source changed.
    moves
        How often the movie was given to another sample (`~m<n>`): a run of before is never taken for one of now.
    rerun
        How often the scheduler was asked anew because a run ended without a result.
    """
    text = _escaped(run_name)
    if _RESERVED_RUN_PREFIX.match(run_name):
        text = f"~x{ord(run_name[0]):x}.{text[1:]}"  # the scheduler keeps these prefixes for its own runs
    if version != 1:
        text += f"~v{version}"
    if branch != LIVE_BRANCH:
        text += f"~b-{_escaped(branch)}"
    if moves:
        text += f"~m{moves}"
    if rerun:
        text += f"~r{rerun}"
    if len(text) > MAX_RUN_ID_LENGTH:
        digest = hashlib.sha256(text.encode()).hexdigest()[:40]
        text = f"{text[: MAX_RUN_ID_LENGTH - 42]}~h{digest}"
    return text


def safe_component(name: str) -> str:
    """Return `name` if it can be one component of a path that we create, else raise UnsafeNameError.

    Hidden names (leading dot) and names that look like options (leading hyphen) are refused as well.
    """
    _check_component(name)
    if name.startswith((".", "-")):
        raise UnsafeNameError(name, why="it begins with a dot or a hyphen")
    return name


def safe_relative_path(path: str | PurePosixPath) -> PurePosixPath:
    """Return a path that stays below whatever folder it is joined to, else raise UnsafeNameError.

    Components may begin with a dot here: the microscope's own names are kept.
    """
    text = str(path)
    if text.startswith("/"):
        raise UnsafeNameError(text, why="it is an absolute path")
    for component in text.split("/"):
        _check_component(component)
    if len(text.encode()) > MAX_PATH_BYTES:
        raise UnsafeNameError(text[:80] + "…", why=f"it is longer than {MAX_PATH_BYTES} bytes")
    return PurePosixPath(text)


def _check_component(name: str) -> None:
    if not name or name in {".", ".."}:
        raise UnsafeNameError(name, why="it is empty or names a folder by dots")
    if "/" in name or "\\" in name:
        raise UnsafeNameError(name, why="it contains a slash")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in name):
        raise UnsafeNameError(name, why="it contains control, invisible or undecodable characters")
    if len(name.encode()) > MAX_COMPONENT_BYTES:
        raise UnsafeNameError(name[:80] + "…", why=f"it is longer than {MAX_COMPONENT_BYTES} bytes")


def _escaped(name: str) -> str:
    """Escape a name injectively: undone by reading `~x<hex>.` from left to right."""
    return re.sub(r"[^A-Za-z0-9_.:+~-]|~(?![0-9])", lambda match: f"~x{ord(match[0]):x}.", name, flags=re.ASCII)
