"""`cryodaq simulate`: a microscope that collects a session onto a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.errors import ConfigError

if TYPE_CHECKING:
    from cryodaq.simulator.camera import Fault
    from cryodaq.simulator.existing_movie import ExistingMovie
    from cryodaq.simulator.truth import Truth


def simulate(
    share: Annotated[Path, typer.Argument(help="The share; gains go to DIR-gainrefs, truth to DIR-truth.")],
    software: Annotated[str, typer.Option(help="epu or serialem.")] = "epu",
    movies: Annotated[int, typer.Option(min=1, help="How many to collect.")] = 8,
    frames: Annotated[int, typer.Option(min=2, help="Frames a movie.")] = 20,
    shape: Annotated[str, typer.Option(help="Rows x columns, px.")] = "1024x1024",
    seed: Annotated[int, typer.Option(help="The same seed makes the same movies.")] = 1,
    interval_s: Annotated[float, typer.Option(min=0, help="From exposure to exposure, s.")] = 10.0,
    session: Annotated[str | None, typer.Option(help="Folder of the session; default: by date and time.")] = None,
    write_time_s: Annotated[float, typer.Option(min=0, help="How long the camera writes a movie, s.")] = 1.0,
    fault: Annotated[
        list[str] | None, typer.Option(help="NUMBER:KIND, such as 3:short; kinds: short, truncated, ...")
    ] = None,
    source: Annotated[
        list[Path] | None, typer.Option("--from", help="Send this movie (again for more) instead of simulating.")
    ] = None,
    gain: Annotated[Path | None, typer.Option(help="Gain reference of the movies sent (MRC).")] = None,
    pixel_size_ang: Annotated[float | None, typer.Option("--pixel-size-ang", help="Of the movies sent, Å.")] = None,
    dose_per_frame_e_ang2: Annotated[
        float | None, typer.Option("--dose-per-frame-e-ang2", help="Of the movies sent, e⁻/Å².")
    ] = None,
    voltage_kv: Annotated[float, typer.Option("--voltage-kv", help="Of the movies sent, kV.")] = 300.0,
    cs_mm: Annotated[float, typer.Option("--cs-mm", help="Of the movies sent, mm.")] = 2.7,
) -> None:
    """Collect a session of simulated movies, or of existing ones, as a microscope would."""
    from cryodaq.domain.file_roles import Software
    from cryodaq.simulator.microscope import simulate_session
    from cryodaq.simulator.plan import SessionPlan

    if software not in {Software.EPU, Software.SERIALEM}:
        message = f"--software is {software!r}; write epu or serialem"
        raise ConfigError(message)
    plan = SessionPlan(
        software=Software(software),
        movie_count=movies,
        session_name=session,
        frame_count=frames,
        shape_yx=_shape(shape),
        seed=seed,
        interval_s=interval_s,
        write_time_s=write_time_s,
        faults=_faults(fault or []),
        source=_existing(source, gain, pixel_size_ang, dose_per_frame_e_ang2, voltage_kv, cs_mm),
    )
    simulate_session(share, plan, on_movie=_say)


def _say(truth: Truth) -> None:
    print(truth.movie, flush=True)


def _shape(text: str) -> tuple[int, int]:
    rows, _, columns = text.lower().partition("x")
    if not (rows.isdigit() and columns.isdigit()):
        message = f"--shape is {text!r}; write rows and columns such as 1024x1024"
        raise ConfigError(message)
    return int(rows), int(columns)


def _faults(texts: list[str]) -> dict[int, Fault]:
    from cryodaq.simulator.camera import Fault

    faults = {}
    for text in texts:
        number, _, kind = text.partition(":")
        if not number.isdigit() or kind not in {fault.value for fault in Fault}:
            kinds = ", ".join(fault.value for fault in Fault)
            message = f"--fault is {text!r}; write NUMBER:KIND with a movie counted from 0 and one of {kinds}"
            raise ConfigError(message)
        faults[int(number)] = Fault(kind)
    return faults


def _existing(
    paths: list[Path] | None,
    gain: Path | None,
    pixel_size_ang: float | None,
    dose_per_frame_e_ang2: float | None,
    voltage_kv: float,
    cs_mm: float,
) -> ExistingMovie | None:
    from cryodaq.simulator.existing_movie import ExistingMovie

    if not paths:
        return None
    if pixel_size_ang is None or dose_per_frame_e_ang2 is None:
        message = "--from needs --pixel-size-ang and --dose-per-frame-e-ang2: a microscope would know them"
        raise ConfigError(message)
    return ExistingMovie(
        paths=tuple(path.absolute() for path in paths),
        gain=gain.absolute() if gain else None,
        pixel_size_ang=pixel_size_ang,
        dose_per_frame_e_ang2=dose_per_frame_e_ang2,
        voltage_kv=voltage_kv,
        cs_mm=cs_mm,
    )
