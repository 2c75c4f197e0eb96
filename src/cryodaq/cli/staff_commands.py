"""`cryodaq quarantine` and `cryodaq clear`: what staff decide about files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.deciding import TokenOption, decider
from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption
from cryodaq.domain.wording import count_of, say_size
from cryodaq.errors import ConfigError, LedgerError

if TYPE_CHECKING:
    from cryodaq.ledger.samples import SampleRecord
    from cryodaq.wiring import System

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
        print(f"{count_of(folder.movies, 'movie')}, {say_size(folder.size_bytes)}")
    if not found:
        print("nothing waits")


@quarantine.command("assign")
def assign(
    microscope: MicroscopeArgument,
    sample: Annotated[str, typer.Argument(help="Name or id of the sample that they belong to.")],
    experiment: Annotated[
        str | None, typer.Option(help="Of the sample; needed for a name that several have, or that was never current.")
    ] = None,
    folder: Annotated[
        str | None, typer.Option(help="Only this session folder; default: all of the microscope.")
    ] = None,
    token_file: TokenOption = None,
    home: HomeOption = None,
) -> None:
    """Give exposures to a sample: copies, records and runs move together. The ledger keeps who said so."""
    from cryodaq.app.assign_exposures import assign_exposures

    system = answering_system(home)
    parts = system.refiling(microscope)
    taker = sample_meant(system, microscope, sample, experiment=experiment)
    account = decider(system, token_file, experiments=[taker.experiment])
    assigned = assign_exposures(parts, sample_id=taker.id, by=account, acquisition_folder=folder)
    amount = f"{count_of(assigned.exposures, 'exposure')} with {count_of(assigned.movies, 'movie')}"
    print(f"{amount} given to {taker.name} of {taker.experiment}")


def sample_meant(system: System, microscope: str, name: str, *, experiment: str | None) -> SampleRecord:
    """Return the sample that a person means. Raises `LedgerError`."""
    from cryodaq.ledger import samples

    if experiment is not None:
        return system.find_or_register_sample(experiment, name, microscope=microscope)
    with system.engine.connect() as connection:
        known = samples.samples_of_microscope(connection, microscope)
        meant = [one for one in known if name in (one.id, one.name)]
        by_id = samples.find_sample(connection, name)
    if not meant and by_id is not None:
        return by_id
    if len(meant) == 1:
        return meant[0]
    where = ", ".join(sorted({one.experiment for one in meant}))
    message = (
        f"several samples of {microscope} are called {name}: say which with --experiment ({where})"
        if meant
        else f"no sample {name} was ever current on {microscope}; name its experiment with --experiment"
    )
    raise LedgerError(message)


def clear(
    microscope: MicroscopeArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Remove what the retention rule allows.")] = False,
    unowned: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Instead, what nobody owns in this session folder, once it is verified."),
    ] = None,
    token_file: TokenOption = None,
    home: HomeOption = None,
) -> None:
    """Remove verified movies from a microscope's shares, as its retention rule says.

    `--now` is for accounts that may edit all experiments whose files would go. The ledger keeps who said so.
    """
    from cryodaq.app.clear_microscope import clear_microscope, experiments_to_clear, preview_clearing

    if dry_run == now:
        raise ConfigError("say either --dry-run or --now")
    system = answering_system(home)
    clearing = system.clearing(microscope)
    if dry_run:
        cleared = preview_clearing(clearing, unowned_folder=unowned)
    else:
        account = decider(system, token_file, experiments=[] if unowned else experiments_to_clear(clearing))
        cleared = clear_microscope(clearing, unowned_folder=unowned, by=account)
    for path in cleared.removed:
        print(f"{'would remove' if dry_run else 'removed'}  {path}")
    for path, why in cleared.kept:
        print(f"kept  {path}: {why}")
    what = (
        f"{count_of(len(cleared.removed), 'file')}, {say_size(cleared.removed_bytes)}" if cleared.removed else "nothing"
    )
    print(
        f"{what} {'would be' if dry_run else 'was' if len(cleared.removed) < 2 else 'were'} removed from {microscope}"
    )
    if not cleared.removed and not cleared.kept and unowned:
        print(
            f"nothing that is verified and that nobody owns lies in {unowned}; cryodaq quarantine list says what waits"
        )
    elif not cleared.removed and not cleared.kept:
        print(
            "no file that is verified is old and large enough yet by its retention rule, or none is left on the share"
        )
    if not clearing.microscope.retention.enabled:
        print(f"retention is off for {microscope}: set [microscopes.retention] enabled = true to have it done")
