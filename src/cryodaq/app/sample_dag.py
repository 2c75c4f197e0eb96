"""The DAG file of a sample: a byte-for-byte copy of its imaging method's template, which a site may then edit.

An existing file is never replaced. Retiring renames it out of the parser's sight, so that an edited file comes
back as it was when its sample is used again; the runs' history stays with the scheduler.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import cryodaq
from cryodaq.domain.names import parse_dag_id

if TYPE_CHECKING:
    from sqlalchemy import Connection

IDLE = timedelta(days=14)
"""A sample that nobody used for so long is retired."""
RETIRED_SUFFIX = ".retired"
_METHOD = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


log = logging.getLogger(__name__)


def packaged_templates() -> Path:
    """Return the folder of the templates that come with the program."""
    return Path(cryodaq.__file__).parent / "orchestration" / "templates"


def template_for(imaging_method: str, *, folders: Sequence[Path]) -> Path | None:
    """Return the template of an imaging method, or None: then its movies are copied, not processed.

    Parameters
    ----------
    folders
        Searched in order: the site's own first, then the packaged ones.
    """
    if not _METHOD.fullmatch(imaging_method):
        return None  # what an operator typed never becomes part of a path unchecked
    for folder in folders:
        template = folder / f"pipeline_{imaging_method}_pre-processing.py"
        if template.is_file():
            return template
    return None


def template_hash(template: Path) -> str:
    """Return what identifies a template's content in a branch: `sha256:<hex>`."""
    return f"sha256:{hashlib.sha256(template.read_bytes()).hexdigest()}"


def install_sample_dag(template: Path, dag_folder: Path, *, dag_id: str) -> Path:
    """Put a sample's DAG file in place, or bring its retired one back; an existing file is left as it is.

    Raises
    ------
    UnsafeNameError
        `dag_id` is not `<experiment>_<sample id>`.
    OSError
        The folder or the template cannot be used.
    """
    parse_dag_id(dag_id)
    dag_folder.mkdir(parents=True, exist_ok=True)
    target = dag_folder / f"{dag_id}.py"
    if target.exists():
        return target
    retired = _retired(target)
    if retired.exists():
        retired.rename(target)
        log.info("brought a retired DAG back", extra={"dag": dag_id})
        return target
    part = dag_folder / f".{dag_id}.{os.getpid()}.part"  # hidden from the parser, which reads *.py
    with part.open("wb") as file:
        file.write(template.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(part, target)  # unlike a rename, never replaces what another process put there meanwhile
    except FileExistsError:
        log.info("the DAG file was there already", extra={"dag": dag_id})
    finally:
        part.unlink()
    return target


def retire_sample_dag(dag_folder: Path, *, dag_id: str) -> bool:
    """Take a sample's DAG file out of the parser's sight. Return whether there was one."""
    parse_dag_id(dag_id)
    target = dag_folder / f"{dag_id}.py"
    try:
        target.rename(_retired(target))
    except FileNotFoundError:
        return False
    return True


def retire_sample_dags(
    connection: Connection, microscope: str, *, dag_folder: Path, now: datetime, idle: timedelta = IDLE
) -> list[str]:
    """Retire the DAGs of a microscope's samples that nobody used for `idle`. Return their ids."""
    from cryodaq.ledger.samples import samples_of_microscope, set_dag_state

    retired = []
    for sample in samples_of_microscope(connection, microscope):
        if sample.dag_state in {"absent", "retired"} or now - sample.last_active_at < idle:
            continue
        retire_sample_dag(dag_folder, dag_id=sample.dag_id)
        set_dag_state(connection, sample.id, "retired", problem=None, at=now)
        retired.append(sample.dag_id)
    return retired


def _retired(target: Path) -> Path:
    return target.with_name(target.name + RETIRED_SUFFIX)
