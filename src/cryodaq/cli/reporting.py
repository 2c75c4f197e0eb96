"""`cryodaq report`: each and every image of a sample."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.places import answering_system
from cryodaq.cli.proofs import ExperimentArgument, JsonOption
from cryodaq.cli.running import HomeOption

if TYPE_CHECKING:
    from cryodaq.app.account_for_images import ImageAccount


def report(
    experiment: ExperimentArgument,
    sample: Annotated[str | None, typer.Argument(help="Name or id; default: all of the experiment.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Account for each and every image: seen, copied, in the elogbook, published; the missing ones by name.

    Ends with status 1 while an image is missing.
    """
    from cryodaq.app.account_for_images import account_for_images
    from cryodaq.ledger.custody import samples_called

    engine = answering_system(home).engine
    with engine.connect() as connection:
        found = samples_called(connection, experiment, sample)
    accounts = [account_for_images(engine, one) for one in found]
    if as_json:
        facts = {"samples": [asdict(account) for account in accounts]}
        print(json.dumps(facts, default=str, indent=2, ensure_ascii=False))
    else:
        for account in accounts:
            _print(account)
    if any(account.missing for account in accounts):
        sys.exit(1)


def _print(account: ImageAccount) -> None:
    one = account.sample
    print(f"{one.experiment}, sample {one.name} ({one.id}): {account.exposures} exposures")
    steps = {
        "in metadata": account.in_metadata,
        "movies seen": account.seen,
        "copied": account.copied,
        "runs in the elogbook": account.runs,
        "published": account.published,
        "copied and registered only": account.kept,
    }
    for step, number in steps.items():
        print(f"  {number:>7}  {step}")
    print(f"  {len(account.missing):>7}  missing")
    for missing in account.missing:
        print(f"    not {_STEPS[missing.step]}: {missing.name}: {missing.why}")


_STEPS = {"seen": "seen", "copied": "copied", "run": "in the elogbook", "published": "published"}
