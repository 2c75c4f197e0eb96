"""`cryodaq held`: movies that wait for a person, and the word that a short one is all there will be."""

from __future__ import annotations

from typing import Annotated

import typer

from cryodaq.cli.deciding import TokenOption, decider
from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption

app = typer.Typer(help="Movies that wait for a person.", no_args_is_help=True)


@app.command("list")
def list_held(home: HomeOption = None) -> None:
    """List the movies that are held, and why."""
    from zoneinfo import ZoneInfo

    from cryodaq.ledger import acceptances

    system = answering_system(home)
    with system.engine.connect() as connection:
        found = acceptances.held_movies(connection)
    zone = ZoneInfo(system.facility.site.zone)
    for one in found:
        owner = f"{one.sample_name} of {one.experiment}" if one.sample_id else "nobody"
        print(f"{one.microscope}  {one.path}  since {one.seen_at.astimezone(zone).isoformat(timespec='seconds')}")
        print(f"  belongs to {owner}; {one.problem}")
    if not found:
        print("no movie is held")


@app.command()
def accept(
    movie: Annotated[str, typer.Argument(help="File name, or path below the share, as `cryodaq held list` has it.")],
    reason: Annotated[str, typer.Option(help="Why it is short; kept in the ledger.")],
    token_file: TokenOption = None,
    home: HomeOption = None,
) -> None:
    """Take a short movie as it is: it is copied and processed with the frames that it has."""
    from cryodaq.app.accept_movie import accept_movie, find_held
    from cryodaq.wiring import utc_now

    system = answering_system(home)
    held = find_held(system.engine, movie)
    account = decider(system, token_file, experiments=[held.experiment] if held.experiment else [])
    frames = accept_movie(system.engine, held, reason=reason, by=account, at=utc_now())
    print(f"{held.path} is taken with its {frames} frames; it is copied at the next look, within half a minute")
