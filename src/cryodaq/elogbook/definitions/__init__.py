"""Parameter definitions of samples and forms, and the check of a sample's parameters against them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from cryodaq.errors import ConfigError

_KIND = re.compile(r"[a-z_]{1,40}", re.ASCII)
Definition = dict[str, Any]  # a JSON object of the contract, whose values can be anything


def load_definitions(folder: Path | None) -> dict[str, Definition]:
    """Return the definitions by kind: the shipped ones, replaced by those in a site's folder.

    Raises
    ------
    ConfigError
        A file of the site is not what it should be.
    """
    found = {}
    for shipped in resources.files(__package__).iterdir():
        if shipped.name.endswith(".json"):
            found[shipped.name.removesuffix(".json")] = json.loads(shipped.read_text(encoding="utf-8"))
    for path in sorted(folder.glob("*.json")) if folder is not None else []:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            message = f"{path} cannot be read as parameter definitions: {error}"
            raise ConfigError(message) from error
        if not isinstance(content, dict) or not isinstance(content.get("params", []), list):
            message = f'{path} must be an object with a list "params"'
            raise ConfigError(message)
        found[path.stem] = content
    return found


def definition(definitions: Mapping[str, Definition], kind: str) -> Definition:
    """Return one kind as the contract gives it; an unknown kind has no params."""
    return {"_id": kind, "params": [], **definitions.get(kind, {})}


def find_problem(
    definitions: Mapping[str, Definition],
    params: Mapping[str, object],
    *,
    experiment_params: Mapping[str, object],
    every_number_required: bool,
) -> str | None:
    """Say in the contract's words what is wrong with a sample's parameters.

    Parameters
    ----------
    params
        As the operator gave them.
    experiment_params
        Facts of the experiment that `showwhen` may ask for, such as `type`.
    every_number_required
        As an explgbk: each number must be there and `showwhen` does not count.

    Returns
    -------
    A sentence, or None when nothing is wrong.
    """
    for entry in definitions.get("samples", {}).get("params", []):
        full_name = str(entry["param_name"])
        name = full_name.removeprefix("params.")
        shown = every_number_required or _is_shown(entry.get("showwhen"), params, experiment_params)
        if shown and entry.get("required") and not _is_given(params.get(name), strict=every_number_required):
            return f"One of the required parameters {full_name} was not specified"
        must_be_number = entry.get("param_type") in {"int", "float"}
        if must_be_number and (name in params or every_number_required) and not _is_number(params.get(name)):
            return f"The parameter {full_name} is not an number"
    return None


def _is_shown(
    showwhen: Mapping[str, object] | None, params: Mapping[str, object], experiment: Mapping[str, object]
) -> bool:
    for key, value in (showwhen or {}).items():
        found = (
            experiment.get(key.removeprefix("experiment."))
            if key.startswith("experiment.")
            else params.get(key.removeprefix("params."))
        )
        if found != value:
            return False
    return True


def _is_given(value: object, *, strict: bool) -> bool:
    """An explgbk takes 0 and false for not given."""
    return bool(value) if strict else value is not None and value != ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
