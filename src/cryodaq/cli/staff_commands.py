"""`cryodaq quarantine` and `cryodaq clear`: what staff decide about files."""

from __future__ import annotations

from typing import Annotated

import typer

from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption
from cryodaq.errors import ConfigError

quarantine = typer.Typer(help="Exposures that nobody owns yet.", no_args_is_help=True)
MicroscopeArgument = Annotated[str, typer.Argument(metavar="TEM", help="Name in the facility file, such as tem1.")]


@quarantine.command("list")
def list_quarantine(home: HomeOption = None) -> None:
    """List what waits for somebody to say whose it is, by microscope and session folder."""
    from zoneinfo import ZoneInfo

    from cryodaq.app.assign_exposures import quarantined

    system = answering_system(home)
    zone = ZoneInfo(system.facility.site.zone)
    found = quarantined(system.engine)
    for folder in found:
        seen = folder.seen_from.astimezone(zone).isoformat(timespec="seconds")
        print(f"{folder.microscope}  {folder.acquisition_folder}  since {seen}", end="  ")
        print(f"{folder.movies} movie{'s' * (folder.movies != 1)}, {folder.size_bytes / 1e9:.2g} GB")
    if not found:
        print("nothing waits")


@quarantine.command("assign")
def assign(
    microscope: MicroscopeArgument,
    sample_id: Annotated[str, typer.Argument(help="The sample's id (24 hexadecimal digits).")],
    folder: Annotated[
        str | None, typer.Option(help="Only this session folder; default: all of the microscope.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Give exposures to a sample: copies, records and runs move together."""
    from cryodaq.app.assign_exposures import assign_exposures

    assigned = assign_exposures(
        answering_system(home).assigning(microscope), sample_id=sample_id, acquisition_folder=folder
    )
    print(f"{assigned.exposures} exposures with {assigned.movies} movies now belong to {sample_id}")


def clear(
    microscope: MicroscopeArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Remove what the retention rule allows.")] = False,
    unowned: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Instead, what nobody owns in this session folder, once it is verified."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Remove verified movies from a microscope's shares, as its retention rule says."""
    from cryodaq.app.clear_microscope import clear_microscope, preview_clearing

    if dry_run == now:
        raise ConfigError("say either --dry-run or --now")
    clearing = answering_system(home).clearing(microscope)
    clear_now = preview_clearing if dry_run else clear_microscope
    cleared = clear_now(clearing, unowned_folder=unowned)
    for path in cleared.removed:
        print(f"{'would remove' if dry_run else 'removed'}  {path}")
    print(f"{len(cleared.removed)} files, {cleared.removed_bytes / 1e9:.2f} GB")
    if not clearing.microscope.retention.enabled:
        print(f"retention is off for {microscope}: set [microscopes.retention] enabled = true to have it done")
