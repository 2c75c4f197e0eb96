"""`cryodaq access`: who reads an experiment's files, compared with the elogbook, and mended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.deciding import TokenOption, decider
from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption

if TYPE_CHECKING:
    from cryodaq.domain.access import AccessPlan

app = typer.Typer(help="Who reads an experiment's files.", no_args_is_help=True)
ExperimentArgument = Annotated[str, typer.Argument(help="Name in the elogbook.")]


@app.command()
def check(experiment: ExperimentArgument, home: HomeOption = None) -> None:
    """Compare what people can effectively read with the elogbook's collaborators; status 1 when it differs."""
    from cryodaq.app.reconcile_access import check_access

    state = check_access(answering_system(home).access_keeping(), experiment)
    _print(state.plan)
    for difference in state.differences:
        print(f"BAD   {difference.path}: {difference.problem}")
    if state.differences or state.plan.revoked:
        print(f"mend it with: cryodaq access repair {experiment}")
        sys.exit(1)
    print("all files can be read by them, and by nobody who is not named")


@app.command()
def repair(
    experiment: ExperimentArgument,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Also when more than half of the readers lose their access.")
    ] = False,
    token_file: TokenOption = None,
    home: HomeOption = None,
) -> None:
    """Set the access of every file as the elogbook says; what staff added by hand is kept."""
    from cryodaq.app.reconcile_access import repair_access

    system = answering_system(home)
    decider(system, token_file, experiments=(experiment,))
    changed = repair_access(system.access_keeping(), experiment, confirmed=confirm)
    print(f"the rights of {changed} files and folders were changed")


def _print(plan: AccessPlan) -> None:
    for grant in plan.grants:
        number = (
            "no number is known" if grant.posix_id is None else f"{'gid' if grant.is_group else 'uid'} {grant.posix_id}"
        )
        print(f"reads  {grant.uid} ({number})")
    for grant in plan.revoked:
        print(f"loses its access  {grant.uid}")
