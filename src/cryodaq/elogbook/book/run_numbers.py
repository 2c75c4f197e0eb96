"""Run numbers: an integer, or the base name of a movie."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import ColumnElement

from cryodaq.elogbook.refusals import BadRequestError

MAX_LABEL_LENGTH = 500
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNumber:
    """Exactly one of the two is set."""

    number: int | None = None
    label: str | None = None

    @property
    def value(self) -> int | str:
        """The run number as the contract writes it."""
        return self.number if self.label is None and self.number is not None else str(self.label)


def read_run_number(value: object, *, verbatim: bool = False) -> RunNumber:
    """Read a run number; text of digits is the integer, so "00042" is run 42.

    Parameters
    ----------
    verbatim
        Text stays text, as in an explgbk's register_file.

    Raises
    ------
    BadRequestError
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return RunNumber(number=value)
    if not isinstance(value, str) or not value or len(value) > MAX_LABEL_LENGTH:
        message = f"A run number is an integer or a name of up to {MAX_LABEL_LENGTH} characters, not {value!r:.80}"
        raise BadRequestError(message)
    if not verbatim and _INTEGER.fullmatch(value):
        return RunNumber(number=int(value))
    return RunNumber(label=value)


def matches(
    number: ColumnElement[int | None], label: ColumnElement[str | None], wanted: RunNumber
) -> ColumnElement[bool]:
    """Return the condition that a row has this run number."""
    return label == wanted.label if wanted.number is None else number == wanted.number
