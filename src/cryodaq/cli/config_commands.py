"""`cryodaq config`: check, describe and show the facility file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cryodaq.cli.places import facility_file, home_folder
from cryodaq.domain.wording import count_of

app = typer.Typer(help="Check, describe and show the facility file.", no_args_is_help=True)
ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="CRYODAQ_CONFIG", help="The facility file (TOML).")
]
HomeOption = Annotated[Path | None, typer.Option("--home", envvar="CRYODAQ_HOME", help="State of the system.")]


@app.command()
def check(
    path: Annotated[Path | None, typer.Argument(help="Default: CRYODAQ_CONFIG.")] = None,
    activate: Annotated[bool, typer.Option("--activate", help="Keep it as the active one when it passes.")] = False,
    home: HomeOption = None,
) -> None:
    """Check a facility file; every problem is one line with its place."""
    from cryodaq import config

    file = facility_file(path)
    facility = config.activate(file, home=home_folder(home)) if activate else config.load(file)
    names = ", ".join(table.name for table in facility.microscopes)
    microscopes = count_of(len(facility.microscopes), "microscope")
    print(f"{file} is correct: {microscopes} ({names})")


@app.command()
def schema() -> None:
    """Print the JSON schema of the facility file."""
    from cryodaq import config

    print(json.dumps(config.schema(), indent=2, ensure_ascii=False))


@app.command()
def show(config_path: ConfigOption = None, home: HomeOption = None) -> None:
    """Print the facility with all defaults filled in, as JSON; without a file, the active one."""
    from cryodaq import config

    facility = config.load(config_path) if config_path else config.load_active(home_folder(home))
    print(facility.model_dump_json(indent=2))
