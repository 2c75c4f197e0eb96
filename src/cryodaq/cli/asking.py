"""`cryodaq where` and `cryodaq doctor`: where a movie is, and what is wrong with the system."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.places import answering_system, running_system
from cryodaq.cli.running import HomeOption
from cryodaq.errors import LedgerError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from cryodaq.ledger.movies import Whereabouts


def where(
    movie: Annotated[str, typer.Argument(help="Name of a movie or run, or a part of its path.")],
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Say where a movie is, and why it waits."""
    from zoneinfo import ZoneInfo

    from cryodaq.ledger import movies

    system = answering_system(home)
    with system.engine.connect() as connection:
        found = movies.where(connection, Path(movie).name)
    if as_json:
        print(json.dumps([asdict(one) for one in found], default=str, indent=2, ensure_ascii=False))
    elif not found:
        message = f"nothing called {movie} was ever seen on a microscope's share"
        raise LedgerError(message)
    else:
        for one in found:
            print(_described(one, ZoneInfo(system.facility.site.zone)))


def _described(one: Whereabouts, zone: ZoneInfo) -> str:
    def moment(at: datetime | None) -> str:
        return "-" if at is None else at.astimezone(zone).isoformat(timespec="seconds")

    copying = f"seen {moment(one.seen_at)}, complete {moment(one.complete_at)}, copied {moment(one.copied_at)}"
    copying += f", verified {moment(one.verified_at)}"
    owner = f"{one.experiment}, sample {one.sample_name}" if one.sample_id else "nobody yet"
    lines = [
        f"{one.path} (version {one.version}) on {one.microscope}, {one.share}",
        f"  belongs to  {owner}" + (f" (decided by: {one.decision})" if one.decision else ""),
        f"  file        {one.file_state}: {copying}",
    ]
    if one.target:
        lines.append(f"  copy        {one.target}")
    if one.movie_state:
        times = f"triggered {moment(one.triggered_at)}, published {moment(one.published_at)}"
        lines.append(f"  processing  {one.movie_state}: {times}")
    if one.file_problem:
        lines.append(f"  problem     {one.file_problem}")
    if one.movie_problem:
        label = {"failed": "failed", "kept": "because"}.get(one.movie_state or "", "waits for")
        lines.append(f"  {label:<10}  {one.movie_problem.removeprefix('waits for ')}")
    return "\n".join(lines)


def doctor(
    home: HomeOption = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="Only compile the imaging code, so that no first movie waits for it.")
    ] = False,
) -> None:
    """Check mounts, rights, database, Airflow, elogbook and engines: what is wrong, and what to do."""
    from cryodaq.cli import examination, warming

    if warm:
        print(f"imaging code compiled in {warming.warm_imaging():.1f} s")
        return
    findings = examination.examine(running_system(home))
    for finding in findings:
        print(f"{'ok  ' if finding.good else 'BAD '} {finding.what}: {finding.sentence}")
    if not all(finding.good for finding in findings):
        sys.exit(1)
