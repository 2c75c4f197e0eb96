"""Runs a child program: argument list, no shell, its own session, a time limit, output to a file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cryodaq.errors import EngineError

LAST_LINES = 20
MAX_LINE = 400
MAX_LOG_BYTES = 32 * 1024 * 1024
"""As much of a log is read; a real one has some kilobytes."""
GRACE_S = 5.0
"""From the polite signal to the hard one; containers use it to end what runs inside."""

_OURS = ("CRYODAQ_", "AIRFLOW_", "_AIRFLOW_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Beginnings of variables that are for us alone; a program in Python must find its own libraries."""
_SECRET = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|PRIVATE_KEY|API_KEY", re.IGNORECASE)
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def run_child(
    command: Sequence[str],
    *,
    program: str,
    folder: Path,
    log: Path,
    timeout_s: float,
    answers: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it said.

    Parameters
    ----------
    program
        What people call it, for messages.
    folder
        Where it runs.
    log
        Takes its output and errors; what an earlier program said there is kept.
    answers
        Text for its standard input.
    environment
        Added to ours, from which our own settings and everything that looks like a secret are taken away.

    Raises
    ------
    EngineError
        It cannot be started, ends with an error, or runs longer than `timeout_s`; with its last 20 lines.
    """
    answers_file = log.with_suffix(".stdin")
    answers_file.write_text(answers, encoding="utf-8")
    with log.open("ab") as output, answers_file.open("rb") as given:
        began_at = output.tell()
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment(environment or {}),
                start_new_session=True,
            )
        except OSError as error:
            problem = f"{command[0]} cannot be started ({error.strerror}); correct its executable in the facility file"
            raise EngineError(program, problem=problem) from error
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        end_group(process)
        problem = f"it did not end within {timeout_s:g} s and was stopped"
        raise EngineError(program, problem=problem, last_lines=last_lines(_said(log, began_at))) from None
    except BaseException:  # a stopped task must not leave its program running
        end_group(process)
        raise
    said = _said(log, began_at)
    if code != 0:
        how = f"it was ended by signal {-code}" if code < 0 else f"it ended with code {code}"
        raise EngineError(program, problem=how, last_lines=last_lines(said))
    return said


def child_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return what a foreign program may see of our environment; numbers are written the English way."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(_OURS) and _SECRET.search(name) is None
    }
    return {**inherited, "LC_ALL": "C", **added}


def last_lines(said: str, *, count: int = LAST_LINES) -> str:
    """Return the last lines that say something, without colours and progress bars' other control characters."""
    lines = (_CONTROL.sub("", line).rstrip()[:MAX_LINE] for line in re.split(r"[\r\n]+", said))
    return "\n".join([line for line in lines if line][-count:])


def end_group(process: subprocess.Popen[bytes], *, grace_s: float = GRACE_S) -> None:
    """End a program and everything that it started: politely, then hard."""
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, grace_s)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            break
    with suppress(ProcessLookupError):  # children that outlived their parent's polite end
        os.killpg(process.pid, signal.SIGKILL)


def _said(log: Path, began_at: int) -> str:
    with log.open("rb") as handle:
        handle.seek(max(began_at, handle.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
        return handle.read().decode("utf-8", "replace")
