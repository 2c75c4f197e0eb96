"""Writes docs/reference from the code: settings, commands, errors. `scripts/docs` runs it; a test compares."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import typer

from cryodaq import config, errors
from cryodaq.cli.commands import app

REFERENCE = Path(__file__).parent / "reference"


def facility_page() -> str:
    """Describe every setting of the facility file."""
    schema: dict[str, Any] = config.schema()
    tables = {"": schema, **schema["$defs"]}
    lines = [
        "# The facility file",
        "",
        "Generated from the settings. `cryodaq config schema` prints the JSON schema.",
        "",
    ]
    for name, table in tables.items():
        lines += [f"## {name or 'top level'}", "", table.get("description", "").split("\n")[0], ""]
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
        for key, entry in table.get("properties", {}).items():
            required = key in table.get("required", [])
            default = "required" if required else f"`{json.dumps(entry.get('default'), ensure_ascii=False)}`"
            if isinstance(entry.get("default"), dict):
                default = "see below"
            lines.append(f"| `{key}` | {_kind(entry)} | {default} | {_meaning(entry, schema)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _meaning(entry: dict[str, Any], schema: dict[str, Any]) -> str:
    table = schema["$defs"].get(entry.get("$ref", "").rpartition("/")[2], {})
    return str(entry.get("description") or table.get("description", "").split("\n")[0])


def _kind(entry: dict[str, Any]) -> str:
    if "$ref" in entry:
        return f"table {entry['$ref'].rpartition('/')[2]}"
    if "anyOf" in entry:
        return " or ".join(_kind(option) for option in entry["anyOf"] if option.get("type") != "null")
    if "enum" in entry:
        return ", ".join(f'"{value}"' for value in entry["enum"])
    if "const" in entry:
        return f'"{entry["const"]}"'
    if entry.get("type") == "array":
        return f"list of {_kind(entry.get('items', {}))}"
    return str(entry.get("type", "any"))


def command_page() -> str:
    """Describe every command and option."""
    group = typer.main.get_command(app)
    lines = ["# Commands", "", "Generated from the command line's own help.", ""]
    for path, command in _commands(group, ("cryodaq",)):
        lines += [f"## `{' '.join(path)}`", "", (command.help or "").split("\n")[0], ""]
        rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            lines += ["| argument or option | default | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _commands(group: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            found += _commands(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


def _parameter(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    name = ", ".join(parameter.opts) if is_option else (parameter.name or "").upper()
    default = "required" if parameter.required else parameter.default
    shown = "" if default is None or default is False else default
    return f"| `{name}` | {shown} | {getattr(parameter, 'help', None) or ''} |"


def error_page() -> str:
    """Describe every error."""
    lines = ["# Errors", "", "Generated from `cryodaq.errors`. Retryable ones are tried again by themselves.", ""]
    lines += ["| error | is a | retryable | meaning |", "|---|---|---|---|"]
    for name, error in vars(errors).items():
        if inspect.isclass(error) and issubclass(error, errors.CryodaqError):
            meaning = (inspect.getdoc(error) or "").split("\n")[0]
            lines.append(
                f"| `{name}` | `{error.__base__.__name__}` | {'yes' if error.retryable else 'no'} | {meaning} |"
            )
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Return the content of every generated file, by name."""
    schema = json.dumps(config.schema(), indent=2, ensure_ascii=False) + "\n"
    return {
        "facility.md": facility_page(),
        "facility.schema.json": schema,
        "commands.md": command_page(),
        "errors.md": error_page(),
    }


if __name__ == "__main__":
    for file_name, content in pages().items():
        (REFERENCE / file_name).write_text(content, encoding="utf-8")
        sys.stdout.write(f"docs/reference/{file_name}\n")
