"""`cryodaq verify` and `cryodaq certificate`: what is proved of a sample's copies."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.places import running_system
from cryodaq.cli.running import HomeOption
from cryodaq.domain.wording import count_of, say_size

if TYPE_CHECKING:
    from cryodaq.app.prove_copies import Certificate, Finding

ExperimentArgument = Annotated[str, typer.Argument(help="Name in the elogbook.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def verify(
    experiment: ExperimentArgument,
    sample: Annotated[str | None, typer.Argument(help="Name or id; default: all of the experiment.")] = None,
    home: HomeOption = None,
) -> None:
    """Read all copies of an experiment again from storage and compare them with their hashes.

    Writes the manifest of each sample; ends with status 1 when a copy is damaged or cannot be read.
    """
    from cryodaq.app.prove_copies import verify_sample, write_sample_manifest
    from cryodaq.ledger.custody import samples_called
    from cryodaq.wiring import utc_now

    engine = running_system(home).engine
    with engine.connect() as connection:
        found = samples_called(connection, experiment, sample)
    bad = 0
    for one in found:
        counts = Counter(finding.outcome for finding in verify_sample(engine, one, now=utc_now, progress=_tell))
        manifest = write_sample_manifest(engine, one)
        said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "nothing was copied yet"
        print(f"{one.name}: {said}" + (f"; {manifest}" if manifest else ""))
        bad += counts["damaged"] + counts["unreadable"]
    if bad:
        sys.exit(1)


def _tell(finding: Finding) -> None:
    if finding.outcome != "equal":
        named = str(finding.problem).startswith(str(finding.file.target))
        print(f"{finding.outcome}  {'' if named else f'{finding.file.target}: '}{finding.problem}", flush=True)


def certificate(
    experiment: ExperimentArgument,
    sample: Annotated[str, typer.Argument(help="Name or id.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what of a sample may be removed from the microscope, and why the rest may not."""
    from cryodaq.app.prove_copies import certify
    from cryodaq.ledger.custody import samples_called
    from cryodaq.wiring import utc_now

    engine = running_system(home).engine
    with engine.connect() as connection:
        (found,) = samples_called(connection, experiment, sample)[:1]
    made = certify(engine, found, now=utc_now)
    if as_json:
        print(json.dumps(asdict(made), default=str, indent=2, ensure_ascii=False))
    else:
        _print(made)


def _print(made: Certificate) -> None:
    print(
        f"{made.sample.experiment}, sample {made.sample.name} ({made.sample.id}), {made.made_at:%Y-%m-%d %H:%M:%S %Z}"
    )
    print(f"safe to remove: {count_of(len(made.safe), 'file')}, {say_size(made.safe_bytes)}; all copies verified")
    for one in made.safe:
        print(f"  {one.xxh3_128}  {one.share}/{one.path}")
    for title, found in (("must stay", made.unsafe), ("went before it was copied", made.gone)):
        if found:
            print(f"{title}: {count_of(len(found), 'file')}")
        for one, why in found:
            print(f"  {one.share}/{one.path}: {why}")
