"""`cryodaq inspect PATH`: what is this file or session."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.proofs import JsonOption
from cryodaq.errors import FormatError

if TYPE_CHECKING:
    from cryodaq.app.inspect_files import InspectedFile, InspectedSession


def inspect(
    path: Annotated[Path, typer.Argument(help="File, or folder of a session.", exists=True)],
    as_json: JsonOption = False,
) -> None:
    """Say what a file or a session is: format, metadata, whether it is whole, problems.

    Needs no database. Ends with status 1 when there are problems.
    """
    from cryodaq.app.inspect_files import inspect_file, inspect_session

    try:
        found: InspectedFile | InspectedSession = inspect_session(path) if path.is_dir() else inspect_file(path)
    except OSError as error:
        raise FormatError(path, problem=f"it cannot be read: {error.strerror}") from error
    if as_json:
        print(json.dumps(asdict(found), default=str, indent=2, ensure_ascii=False))
    else:
        _print(asdict(found))
    if found.problems:
        sys.exit(1)


def _print(facts: Mapping[str, object], *, indent: int = 0) -> None:
    """Print a record line by line, nested ones deeper; what is empty is left out."""
    space = " " * indent
    for name, value in facts.items():
        if value in (None, "", (), [], {}):
            continue
        if isinstance(value, Mapping):
            print(f"{space}{name}:")
            _print(value, indent=indent + 2)
        elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            for one in value:
                print(f"{space}{name}:")
                _print(one, indent=indent + 2)
        elif name == "problems" and isinstance(value, list | tuple):
            for one in value:
                print(f"{space}problem: {_shown(one)}")
        elif isinstance(value, list | tuple):
            print(f"{space}{name}: {', '.join(map(_shown, value))}")
        else:
            print(f"{space}{name}: {_shown(value)}")


def _shown(value: object) -> str:
    """Return a value for a terminal: control characters of hostile names do nothing."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)
