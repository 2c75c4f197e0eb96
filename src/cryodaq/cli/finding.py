"""`cryodaq movies`: the movies of an experiment that were taken there, then, or with that defocus."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryodaq.cli.places import answering_system
from cryodaq.cli.proofs import ExperimentArgument, JsonOption
from cryodaq.cli.running import HomeOption

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection

    from cryodaq.ledger.selection import JudgedMovie, Selection

_PAGE_SIZE = 1_000
_Range = Annotated[str | None, typer.Option(metavar="FROM:TO", help="Lowest and highest; either may be left out.")]


def movies(
    experiment: ExperimentArgument,
    sample: Annotated[str | None, typer.Argument(help="Name or id; default: all of the experiment.")] = None,
    name: Annotated[str, typer.Option(help="A part of the movie's name.")] = "",
    square: Annotated[str | None, typer.Option(help="Grid square.")] = None,
    hole: Annotated[str | None, typer.Option(help="Foil hole.")] = None,
    defocus_set_um: _Range = None,
    stage_x_um: _Range = None,
    stage_y_um: _Range = None,
    tilt_deg: _Range = None,
    dose_e_ang2: _Range = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Taken at this time or later, such as 2026-01-08T16:49.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Taken at this time or earlier.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List movies by what their acquisition program said; times without a zone are the facility's."""
    from zoneinfo import ZoneInfo

    from cryodaq.ledger.custody import samples_called
    from cryodaq.ledger.selection import Selection

    asked = {
        "applied_defocus_ang": _range(defocus_set_um, scale=1e4),
        "stage_x_um": _range(stage_x_um),
        "stage_y_um": _range(stage_y_um),
        "tilt_deg": _range(tilt_deg),
        "total_dose_e_ang2": _range(dose_e_ang2),
    }
    system = answering_system(home)
    zone = ZoneInfo(system.facility.site.zone)
    wanted = Selection(
        sample_id="",
        branch_name="",
        square=square,
        hole=hole,
        text=name,
        said={key: pair for key, pair in asked.items() if pair is not None},
        taken=(_moment(since, zone), _moment(until, zone)),
        descending=False,
    )
    with system.engine.connect() as connection:
        found = [
            {"sample": one.name, **facts}
            for one in samples_called(connection, experiment, sample)
            for facts in _facts(connection, replace(wanted, sample_id=one.id, branch_name=one.current_branch))
        ]
    if as_json:
        print(json.dumps({"movies": found}, default=str, indent=2, ensure_ascii=False))
    else:
        _print(found)


def _facts(connection: Connection, selection: Selection) -> Iterator[dict[str, Any]]:  # Any: JSON
    from cryodaq.ledger.said import records_of
    from cryodaq.ledger.selection import selected_movies

    page, more = 1, True
    while more:
        found, more = selected_movies(connection, selection, page=page, page_size=_PAGE_SIZE)
        said = records_of(connection, [one.movie.id for one in found])
        yield from (_row(one, said.get(one.movie.id, {})) for one in found)
        page += 1


def _row(one: JudgedMovie, said: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    keys = ("acquired_at", "applied_defocus_ang", "stage_x_um", "stage_y_um", "tilt_deg", "total_dose_e_ang2")
    places = {key: said.get(key) for key in ("grid_square", "foil_hole")}
    return {
        "movie": one.movie.run_name,
        "path": one.movie.path,
        "state": one.movie.state,
        "registered_at": one.movie.registered_at,
        **{key: said.get(key) for key in keys},
        **places,
    }


def _print(found: list[dict[str, Any]]) -> None:  # Any: JSON
    from cryodaq.formats.times import to_the_second

    print(f"{'taken':25} {'defocus set':>11} {'stage x':>9} {'stage y':>9}  {'state':10} movie")
    for one in found:
        set_um = None if one["applied_defocus_ang"] is None else one["applied_defocus_ang"] / 1e4
        numbers = f"{_said(set_um, 2):>8} µm {_said(one['stage_x_um'], 1):>6} µm {_said(one['stage_y_um'], 1):>6} µm"
        taken = to_the_second(one["acquired_at"] or "not said")
        print(f"{taken:25} {numbers}  {one['state']:10} {one['movie']}")
    print(f"{len(found)} {'movie' if len(found) == 1 else 'movies'}")


def _said(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _range(text: str | None, *, scale: float = 1.0) -> tuple[float | None, float | None] | None:
    """Return the two ends of FROM:TO. Raises `typer.BadParameter`."""
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        ends = [float(word) * scale if word.strip() else None for word in (low, high)]
    except ValueError as error:
        problem = f"{text} is not FROM:TO with two numbers, such as 0.8:1.5 or 2:"
        raise typer.BadParameter(problem) from error
    if not colon:
        problem = f"{text} lacks the colon of FROM:TO, such as 0.8:1.5 or 2:"
        raise typer.BadParameter(problem)
    return ends[0], ends[1]


def _moment(text: str | None, zone: ZoneInfo) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        problem = f"{text} is not a time such as 2026-01-08T16:49"
        raise typer.BadParameter(problem) from error
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)
