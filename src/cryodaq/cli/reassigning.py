"""`cryodaq reassign`: what was filed with the wrong sample goes to the right one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.deciding import TokenOption, decider
from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption
from cryodaq.errors import ConfigError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from cryodaq.app.reassign_exposures import Reassigned


def reassign(
    experiment: Annotated[str, typer.Argument(help="To which the movies belong.")],
    sample: Annotated[str, typer.Argument(help="Name or id of the sample to which they belong.")],
    folder: Annotated[str | None, typer.Option(help="What lies in this session folder of the microscope.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="What was first seen since, such as 2026-11-22T14:00 (the site's time)."),
    ] = None,
    giver: Annotated[
        str | None, typer.Option("--from", metavar="SAMPLE", help="Id of the sample that gives it away.")
    ] = None,
    microscope: Annotated[str | None, typer.Option(help="Default: where the sample was measured.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    token_file: TokenOption = None,
    home: HomeOption = None,
) -> None:
    """Give what is already filed to another sample: files, results, access, elogbook runs and pending runs.

    The same command again goes on after an interruption; so does the microscope's next pass by itself.
    """
    from zoneinfo import ZoneInfo

    from cryodaq.app.reassign_exposures import Wish, preview_reassignment, reassign_exposures

    system = answering_system(home)
    only = system.facility.microscopes[0].name if len(system.facility.microscopes) == 1 else None
    taker = system.find_or_register_sample(experiment, sample, microscope=microscope or only)
    parts = system.refiling(microscope or taker.microscope)
    moment = None if since is None else _time(since, ZoneInfo(system.facility.site.zone))
    wish = Wish(to_sample=taker.id, asked_by="", folder=folder, since=moment, from_sample=giver)
    found = preview_reassignment(parts, wish)
    if dry_run:
        print(f"would go {_route(found)}: {found.exposures} exposures, {found.files} files, {found.movies} movies")
        return
    account = decider(system, token_file, experiments=(found.from_sample.experiment, taker.experiment))
    done = reassign_exposures(
        parts, Wish(to_sample=taker.id, asked_by=account, folder=folder, since=moment, from_sample=giver)
    )
    anew = done.movies - done.with_results
    print(f"went {_route(done)}: {done.exposures} exposures, {done.files} files, {done.movies} movies")
    print(f"{done.with_results} movies kept their results, {anew} are processed anew")


def _route(found: Reassigned) -> str:
    before, after = found.from_sample, found.to_sample
    return f"from {before.name} of {before.experiment} to {after.name} of {after.experiment}"


def _time(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is not a time; write it as 2026-11-22T14:00"
        raise ConfigError(message) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
