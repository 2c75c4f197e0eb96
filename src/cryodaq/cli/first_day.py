"""`cryodaq adopt` and `cryodaq shadow`: the first day at a microscope that is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption
from cryodaq.cli.staff_commands import MicroscopeArgument, sample_meant
from cryodaq.domain.wording import count_of, say_size


def adopt(
    microscope: MicroscopeArgument,
    copies: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Where another system's copies lie.")
    ] = None,
    folder: Annotated[str | None, typer.Option(help="With --copies: only this session folder of the share.")] = None,
    sample: Annotated[str | None, typer.Option(help="With --copies: name or id of the sample whose they are.")] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Of the sample; needed for a name that several have, or that was never current.")
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Only list what was adopted.")] = False,
    home: HomeOption = None,
) -> None:
    """Call what lies on a microscope's shares the baseline, which is not copied; believe equal copies of others."""
    from cryodaq.app.adopt_share import adopt_share, believe_copies
    from cryodaq.ledger.baselines import baseline_folders

    system = answering_system(home)
    adopting = system.adopting(microscope)
    if copies is not None:
        owner = None if sample is None else sample_meant(system, microscope, sample, experiment=experiment)
        sample_id = None if owner is None else owner.id
        done = believe_copies(adopting, copies.absolute(), folder=folder, sample_id=sample_id, progress=print)
        print(f"equal: {done.equal}, different: {len(done.different)}, without a copy there: {done.missing}")
        for path in done.different:
            print(f"different  {path}")
        return
    if not list_only:
        adopt_share(adopting)
    with system.engine.connect() as connection:
        found = baseline_folders(connection, microscope)
    for one in found:
        known = f", {one.with_copy} with an equal copy" if one.with_copy else ""
        print(f"{one.share}/{one.folder}: {_amount(one.files, one.movies, one.size_bytes)}{known}")
    print(f"{sum(one.files for one in found)} files of {microscope} are the baseline and are not copied")


def shadow(microscope: MicroscopeArgument, home: HomeOption = None) -> None:
    """Say what would be copied, held and quarantined of a microscope in shadow mode, and where it would go."""
    from cryodaq.ledger.baselines import intended
    from cryodaq.ledger.events import open_alarms

    system = answering_system(home)
    with system.engine.connect() as connection:
        found = intended(connection, microscope)
        alarms = open_alarms(connection, microscope=microscope)
    for one in found:
        where = f"{one.sample_name} of {one.experiment}, {one.folder}" if one.folder else "quarantine"
        print(f"would copy {_amount(one.files, one.movies, one.size_bytes)} to {where}")
        if one.held:
            print(f"  and hold {one.held} until a person looks at them")
    for alarm in alarms:
        print(f"{alarm.severity:<8} {alarm.text}")
    if not found:
        print("nothing would be copied")
    if not system.facility.microscope(microscope).shadow:
        print(f"{microscope} is not in shadow mode: this is what waits to be copied now")


def _amount(files: int, movies: int, size_bytes: int) -> str:
    return f"{count_of(files, 'file')}, {count_of(movies, 'movie')}, {say_size(size_bytes)}"
