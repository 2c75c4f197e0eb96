"""`cryodaq ledger`: the record of what was observed, copied and produced."""

from __future__ import annotations

import typer

from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption

app = typer.Typer(help="The record of what was observed, copied and produced.", no_args_is_help=True)


@app.callback()
def ledger() -> None:
    """The record of what was observed, copied and produced."""


@app.command()
def rebuild(home: HomeOption = None) -> None:
    """Take every copy on the storage into the ledger that it does not know, with the manifests' hashes.

    For a ledger that was lost without a backup. What comes back counts as verified once the transfer has read it
    again; movies are registered and not processed; results, branches and history are lost. Safe to repeat.
    """
    from cryodaq.app.rebuild_ledger import rebuild_ledger

    done = rebuild_ledger(answering_system(home).rebuilding(print))
    print(f"{done.samples} samples, {done.files} files and {done.movies} movies came back")
    print(f"{done.hashed} copies are in no manifest and were read now")
    for reason in done.left_out:
        print(f"left out  {reason}")
