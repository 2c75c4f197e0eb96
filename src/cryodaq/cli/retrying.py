"""`cryodaq retry`: movies that were given up are handed over again."""

from __future__ import annotations

from typing import Annotated

import typer

from cryodaq.cli.deciding import TokenOption, decider
from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption
from cryodaq.domain.failures import Cause


def retry(
    experiment: Annotated[str | None, typer.Argument(help="Only movies of this experiment; default: all.")] = None,
    sample: Annotated[str | None, typer.Argument(help="Only of this sample: its name or id.")] = None,
    microscope: Annotated[str | None, typer.Option(help="Only of this microscope, such as tem1.")] = None,
    cause: Annotated[
        list[Cause] | None,
        typer.Option(help="lasting: the same input failed; lost: its process died; unforeseen, passing; repeatable."),
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Only what failed at align, ctf, pick or publish.")] = None,
    problem: Annotated[str | None, typer.Option(help="Only where the problem has these words.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be handed over.")] = False,
    token_file: TokenOption = None,
    home: HomeOption = None,
) -> None:
    """Hand movies over again that failed and were given up, once the cause is gone; those of a kind are one line."""
    from cryodaq.app.retry_movies import Choice, choose, grouped, retry_movies
    from cryodaq.wiring import utc_now

    system = answering_system(home)
    choice = Choice(
        experiment=experiment,
        sample=sample,
        microscope=microscope,
        causes=frozenset(cause or ()),
        stage=stage,
        problem=problem,
    )
    found = choose(system.engine, choice)
    for group in grouped(found):
        movies = f"{group.movies} movie{'s' * (group.movies != 1)}"
        where = f"{group.stage} failed" if group.stage else "refused"
        print(f"{movies} of {group.experiment}, {group.sample_name}: {where} ({group.cause}): {group.problem}")
    if not found:
        print("no movie like this was given up")
    elif dry_run:
        print(f"would be handed over again: {len(found)}")
    else:
        account = decider(system, token_file, experiments={one.experiment for one in found})
        done = retry_movies(system.engine, found, asked_by=account, at=utc_now())
        print(f"handed over again: {done}; the next look at each microscope sends them, within seconds")
