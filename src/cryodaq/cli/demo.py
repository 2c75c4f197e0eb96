"""`cryodaq demo`: the whole system on this machine, with a simulated microscope and an operator."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.demo_operator import COLLABORATORS, DemoOperator

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from cryodaq.cli.demo_summary import Progress
    from cryodaq.config import Facility
    from cryodaq.launch.ports import PortClaims
    from cryodaq.launch.system import EmbeddedSystem
    from cryodaq.simulator.plan import SessionPlan
    from cryodaq.simulator.truth import Truth

PATIENCE_S = 240.0
"""Without any progress for so long, a movie is missing."""
LOOK_S = 0.5
VERIFIED_WITHIN_S = 30.0
"""How long the end of the demo waits for copies to be read again."""
FACILITY = """\
# Written by `cryodaq demo`: one simulated microscope.
[site]
name = "cryodaq demo"

[storage]
root = "{home}/storage"
processing_floor = 0.01
copying_floor = 0.005

[[microscopes]]
name = "tem1"
instrument = "TEM1"
shares = [{{ root = "{home}/tem1" }}]
gain_root = "{home}/tem1-gainrefs"
voltage_kv = 300
cs_mm = 2.7
amplitude_contrast = 0.1
detector = "simulated"

[microscopes.retention]  # movies leave the simulated share once their copies are verified
enabled = true
older_than_h = 0
larger_than_mb = 0
patterns = ["*.tif", "*.tiff", "*.eer", "*.mrc"]

[ports]
web = {web}
elogbook = {elogbook}
airflow = {airflow}
"""


@dataclass
class Collection:
    """What the simulated microscope has done so far; filled by its thread."""

    truths: list[Truth] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    problem: str | None = None


def demo(
    movies: Annotated[int, typer.Option(min=1, help="How many the microscope collects.")] = 8,
    software: Annotated[str, typer.Option(help="epu or serialem.")] = "epu",
    exit_when_done: Annotated[
        bool, typer.Option("--exit-when-done", help="End when every movie is published; status 0 when none is missing.")
    ] = False,
    home: Annotated[
        Path | None, typer.Option("--home", envvar="CRYODAQ_HOME", help="Where all of it lies; default ~/cryodaq-demo.")
    ] = None,
    interval_s: Annotated[float, typer.Option(min=0, help="From exposure to exposure, s.")] = 5.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same movies.")] = 1,
    engine: Annotated[
        list[str] | None,
        typer.Option(help="Program of the stages that it knows, such as relion; may be said several times."),
    ] = None,
) -> None:
    """Watch movies travel from a simulated microscope to picked micrographs on a page."""
    from cryodaq.cli.running import make_system
    from cryodaq.domain.file_roles import Software
    from cryodaq.errors import ConfigError
    from cryodaq.launch.ports import PortClaims
    from cryodaq.launch.system import ended_by_sigterm
    from cryodaq.simulator.plan import SessionPlan

    if software not in {"epu", "serialem"}:
        message = f"--software is {software!r}; write epu or serialem"
        raise ConfigError(message)
    folder = (home or Path.home() / "cryodaq-demo").expanduser().absolute()
    claims = PortClaims()
    facility = _facility(folder, claims, engines=engine or [])
    plan = SessionPlan(software=Software(software), movie_count=movies, interval_s=interval_s, seed=seed)
    print(f"starting PostgreSQL, Airflow, the elogbook and the pages below {folder}", flush=True)
    system = make_system(folder, facility, claims)
    with ended_by_sigterm(), system:
        complete = _run(system, facility, plan, exit_when_done=exit_when_done)
    if exit_when_done and not complete:
        sys.exit(1)


def _facility(home: Path, claims: PortClaims, *, engines: Sequence[str]) -> Facility:
    """Return the demo's facility, on ports that are free and claimed.

    Raises
    ------
    ConfigError
        One of the engines is unknown.
    """
    from cryodaq import config
    from cryodaq.config.machines import Ports
    from cryodaq.launch.services import free_ports

    (home / "storage").mkdir(parents=True, exist_ok=True)
    ports = free_ports(Ports(), claims)
    file = home / "facility.toml"
    file.write_text(
        FACILITY.format(home=home, web=ports.web, elogbook=ports.elogbook, airflow=ports.airflow) + _chosen(engines),
        encoding="utf-8",
    )
    return config.activate(file, home=home)


def _chosen(engines: Sequence[str]) -> str:
    """Return the facility file's table of programs; a later one takes a stage from an earlier one."""
    from cryodaq.config.engines import programs_of_stages
    from cryodaq.errors import ConfigError

    known = programs_of_stages()
    for name in engines:
        if all(name not in names for names in known.values()):
            message = f"--engine is {name!r}; write one of {', '.join(sorted(set().union(*known.values())))}"
            raise ConfigError(message)
    last = {stage: [name for name in engines if name in names][-1:] for stage, names in known.items()}
    lines = [f'{stage} = "{name}"' for stage, names in last.items() for name in names]
    return "\n".join(["", "[engines]", *lines, "", "[engines.programs.topaz]", "gpus = []", ""])


def _run(system: EmbeddedSystem, facility: Facility, plan: SessionPlan, *, exit_when_done: bool) -> bool:
    """Collect, watch and judge; return whether every movie was published."""
    from cryodaq.cli.accounts import OPERATOR, operator_token_file
    from cryodaq.database import open_engine

    engine = open_engine(system.database_url)
    _add_people(engine)
    operator = DemoOperator(
        f"http://127.0.0.1:{facility.ports.elogbook}", user=OPERATOR, token=operator_token_file(system.home).read_text()
    )
    experiment = f"{datetime.now(UTC):%Y%m%d}-CS01"
    name = operator.free_sample_name(experiment, "grid")
    operator.begin_session("TEM1", experiment, sample_name=name, plan=plan)
    _say_where(system, facility, operator, experiment=experiment, sample_name=name)
    operator.close()
    share = Path(facility.microscopes[0].shares[0].root)
    collection, stop = Collection(), threading.Event()
    thread = threading.Thread(target=_collect, args=(share, plan, collection, stop.is_set), daemon=True)
    thread.start()
    try:
        complete = _watch(engine, collection, plan, share=share)
        _write_summary(system.home.root, engine, collection, share=share)
        _clear_share(system.home.root, engine)
        if not exit_when_done:
            print("Everything goes on; Ctrl-C ends it.", flush=True)
            while True:
                time.sleep(60)
        return complete
    finally:
        stop.set()
        thread.join(10)
        engine.dispose()


def _add_people(engine: Engine) -> None:
    """Add the demo's collaborators to the directory, with the numeric ids that get access to the files."""
    from cryodaq.elogbook import accounts

    with engine.begin() as connection:
        for user, (full_name, uid_number) in COLLABORATORS.items():
            accounts.add_user(connection, user, full_name=full_name, uid_number=uid_number)


def _say_where(
    system: EmbeddedSystem, facility: Facility, operator: DemoOperator, *, experiment: str, sample_name: str
) -> None:
    from cryodaq.cli.accounts import OPERATOR, operator_password_file, operator_token_file

    page = f"http://127.0.0.1:{facility.ports.web}"
    print(f"the board     {page}/login?ticket={operator.login_ticket()}  (this link logs you in once)")
    print(f"              {page}/  as {OPERATOR}, password in {operator_password_file(system.home)}")
    print(f"the elogbook  http://127.0.0.1:{facility.ports.elogbook}/  (token in {operator_token_file(system.home)})")
    print(f"Airflow       {system.airflow.url}  as admin, password in {system.home.airflow_password('admin')}")
    results = Path(facility.storage.root) / experiment[:6] / f"{experiment}_TEM1" / sample_name
    print(f"results       {results}", flush=True)


def _collect(share: Path, plan: SessionPlan, collection: Collection, stop: Callable[[], bool]) -> None:
    from cryodaq.errors import CryodaqError
    from cryodaq.simulator.microscope import simulate_session

    try:
        simulate_session(share, plan, on_movie=collection.truths.append, stop=stop)
    except (CryodaqError, OSError) as error:
        collection.problem = str(error)
    finally:
        collection.ended.set()


def _watch(engine: Engine, collection: Collection, plan: SessionPlan, *, share: Path) -> bool:
    """Show the progress until every movie is published or nothing moves any more."""
    from cryodaq.cli.demo_summary import progress_of
    from cryodaq.cli.progress import progress_display

    last: Progress | None = None
    moved_at = time.monotonic()
    with progress_display(plan.movie_count) as show:
        while True:
            truths = tuple(collection.truths)
            with engine.connect() as connection:
                progress = progress_of(connection, truths, share=share)
            show(progress)
            if progress != last:
                last, moved_at = progress, time.monotonic()
            if collection.ended.is_set() and len(truths) == len(collection.truths):
                if collection.problem:
                    print(f"the simulated microscope stopped: {collection.problem}", file=sys.stderr)
                    return False
                if progress.published == progress.collected == plan.movie_count:
                    return True
                if time.monotonic() - moved_at > PATIENCE_S:
                    return False
            time.sleep(LOOK_S)


def _clear_share(home: Path, engine: Engine) -> None:
    """Have the retention rule remove what is verified, as the microscope's next passes would, and say so."""
    from cryodaq.app.clear_microscope import clear_microscope
    from cryodaq.cli.demo_summary import movies_by_proof
    from cryodaq.cli.places import running_system
    from cryodaq.errors import LeaseLostError

    deadline = time.monotonic() + VERIFIED_WITHIN_S
    while True:
        with engine.connect() as connection:
            proof = movies_by_proof(connection, "tem1")
        if not proof.copied or time.monotonic() > deadline:
            break
        time.sleep(LOOK_S)
    with suppress(LeaseLostError):  # the microscope's own pass is clearing at this moment
        clear_microscope(running_system(home).clearing("tem1"))
    with engine.connect() as connection:
        proof = movies_by_proof(connection, "tem1")
    print(f"retention     {proof.removed} of {proof.all} movies were removed from the simulated share, each only after")
    print("              its copy had been read again from storage and was equal", flush=True)


def _write_summary(home: Path, engine: Engine, collection: Collection, *, share: Path) -> None:
    from cryodaq.cli.demo_summary import summarise, write_summary

    with engine.connect() as connection:
        summary = summarise(connection, collection.truths, shares=[share])
    write_summary(home / "summary.json", summary)
    judged = f"defocus within 2 %: {summary['defocus_within_2_percent']} of {summary['defocus_judged']}"
    judged += f"; drift within 0.5 px: {summary['drift_within_half_px']} of {summary['drift_judged']}"
    print(f"published {summary['published']} of {summary['collected']} movies; {judged}")
    print(f"summary       {home / 'summary.json'}", flush=True)
    for entry in summary["movies"]:
        if entry["published_at"] is None:
            reason = entry.get("problem") or entry["state"]
            print(f"missing: {entry['movie']}: {reason}", file=sys.stderr)
