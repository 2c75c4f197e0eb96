"""`cryodaq where` and `cryodaq doctor`: where a movie is, and what is wrong with the system."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.places import answering_system, home_folder, running_system
from cryodaq.cli.running import HomeOption
from cryodaq.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from sqlalchemy import Engine

    from cryodaq.ledger.movies import Whereabouts

_NOT_YET = {
    "seen": "until it is complete: closed as its format says, with all its frames, and unchanged in two looks",
    "complete": "to be copied",
    "copied": "to be read again from storage",
}
"""What a file without a problem waits for, by its state."""


def where(
    movie: Annotated[str, typer.Argument(help="Name of a movie or run, or a part of its path.")],
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Say where a movie is, and why it waits; also one that `cryodaq transfer` copies."""
    from cryodaq.ledger import movies

    with _asked_ledger(home) as (engine, zone), engine.connect() as connection:
        found = movies.where(connection, Path(movie).name)
    if as_json:
        print(json.dumps([asdict(one) for one in found], default=str, indent=2, ensure_ascii=False))
    elif not found:
        message = f"nothing called {movie} was ever seen on a microscope's share"
        raise LedgerError(message)
    else:
        for one in found:
            print(_described(one, zone))


@contextmanager
def _asked_ledger(home: Path | None) -> Iterator[tuple[Engine, ZoneInfo]]:
    """Give the ledger of the system below a home, or the one of `cryodaq transfer`, and the zone to tell times in."""
    from zoneinfo import ZoneInfo

    from cryodaq.cli.transferring import ledger_url
    from cryodaq.config import ACTIVE_NAME
    from cryodaq.database import open_engine
    from cryodaq.launch.postgres import EmbeddedPostgres

    folder = home_folder(home)
    if (folder / ACTIVE_NAME).exists() or not EmbeddedPostgres(folder).data.exists():
        system = answering_system(home)
        yield system.engine, ZoneInfo(system.facility.site.zone)
        return
    with ledger_url(home) as url:
        engine = open_engine(url)
        yield engine, ZoneInfo("UTC")
        engine.dispose()


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
    elif (reason := _NOT_YET.get(one.file_state)) is not None:
        lines.append(f"  waits       {reason}")
    if one.movie_problem:
        waits = "waits" if one.movie_problem.startswith("waits until ") else "waits for"
        label = {"failed": "failed", "kept": "because"}.get(one.movie_state or "", waits)
        lines.append(f"  {label:<10}  {one.movie_problem.removeprefix(f'{waits} ')}")
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
