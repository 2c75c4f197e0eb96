"""`cryodaq import SESSION`: process a finished session from disk as if it had just been collected."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption
from cryodaq.cli.transferring import display, told_to_stop
from cryodaq.errors import ConfigError

if TYPE_CHECKING:
    from cryodaq.wiring import System


def import_session(
    session: Annotated[Path, typer.Argument(help="Folder of the session.", exists=True, file_okay=False)],
    experiment: Annotated[str, typer.Argument(help="Name in the elogbook.")],
    sample: Annotated[str, typer.Argument(help="Name or id of a sample that the elogbook has.")],
    microscope: Annotated[
        str | None, typer.Option(help="Microscope that collected it; needed where the facility has several.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Copy, verify, register and process a finished session, as if it had just been collected.

    Movies are processed by the running system; a second start goes on where the first one ended. SESSION is only read.
    """
    from cryodaq.app.import_session import SessionImport
    from cryodaq.app.import_session import import_session as bring_in
    from cryodaq.wiring import utc_now

    system = answering_system(home)
    name = _microscope(system, microscope)
    parts = SessionImport(
        engine=system.engine,
        logbook=system.logbook,
        following=system.transfer_parts(name).following,
        preparation=system.preparation(name),
        now=utc_now,
    )
    with told_to_stop() as stop, display() as show:
        owner, left = bring_in(
            parts, session.expanduser().resolve(), experiment=experiment, sample=sample, stop=stop, show=show
        )
    print(f"{left.verified} of {left.files} files are verified below {owner.folder}/raw")
    print(f"its movies are processed by {name}'s pipeline: cryodaq report {experiment} {owner.name}")
    if left.held or left.waiting:
        print(f"{left.held} files are held, {left.waiting} wait: cryodaq where NAME says why")
        sys.exit(1)


def _microscope(system: System, given: str | None) -> str:
    names = [one.name for one in system.facility.microscopes]
    if given is None and len(names) == 1:
        return names[0]
    if given not in names:
        message = f"name the microscope that collected it with --microscope: {', '.join(names)}"
        raise ConfigError(message)
    return given
