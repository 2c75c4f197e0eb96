"""How long a movie takes from the camera to its first tasks: the whole way, with movies that are written and closed.

A simulated microscope writes movies onto the share of a running system, each with its metadata, and an operator has
said how many frames they have. All moments but one are the ledger's own; a movie counts as closed at its last write, by
its modification time, which is the same machine's clock. Stages compute nothing, so what is measured is the way.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import mrcfile
import numpy as np
import sqlalchemy as sa
from orchestration import GAPS, NOOP, percentiles

from cryodaq.cli.accounts import OPERATOR, operator_token_file
from cryodaq.cli.demo_operator import DemoOperator
from cryodaq.cli.running import make_system
from cryodaq.config import Facility, activate
from cryodaq.config.machines import Ports
from cryodaq.database import open_engine
from cryodaq.domain.completeness import QUIET_S
from cryodaq.domain.file_roles import Software
from cryodaq.launch.ports import PortClaims
from cryodaq.launch.services import free_ports
from cryodaq.launch.system import EmbeddedSystem
from cryodaq.simulator.existing_movie import ExistingMovie
from cryodaq.simulator.microscope import simulate_session
from cryodaq.simulator.optics import ImagingConditions
from cryodaq.simulator.plan import SessionPlan

FRAMES = 20
SETTLE_S, LIMIT_S, COPIES = 30.0, 300.0, 5
TIMES = """
select f.size_bytes, f.mtime_ns / 1e9, extract(epoch from f.complete_at), extract(epoch from f.copied_at),
       extract(epoch from t.sent_at), extract(epoch from min(s.started_at)), extract(epoch from max(s.ended_at))
from ledger.file f
join ledger.movie m on m.file_id = f.id
join ledger.trigger t on t.movie_id = m.id
join ledger.stage_result s on s.movie_id = m.id
where t.outcome = 'published' group by f.id, t.id order by f.id
"""


def make_home(home: Path, claims: PortClaims) -> Facility:
    """Write the facility file of a system with one microscope."""
    ports = free_ports(Ports(web=21_100, elogbook=21_101, airflow=21_102), claims)
    for name in ("share", "share-gainrefs", "storage"):
        (home / name).mkdir(parents=True)
    (home / "share" / ".online").touch()
    (home / "facility.toml").write_text(f"""
[storage]
root = "{home}/storage"
processing_floor = 0
copying_floor = 0
[ports]
web = {ports.web}
elogbook = {ports.elogbook}
airflow = {ports.airflow}
[pools]
compute_slots = 2
[[microscopes]]
name = "tem1"
instrument = "TEM1"
voltage_kv = 300
cs_mm = 2.7
shares = [{{ root = "{home}/share" }}]
gain_root = "{home}/share-gainrefs"
""")
    return activate(home / "facility.toml", home=home)


def make_source(folder: Path, *, megabytes: float) -> ExistingMovie:
    """Write the movie that the camera sends again and again, and its gain reference."""
    side = int((megabytes * 1e6 / FRAMES) ** 0.5)
    movie, gain, known = folder / "movie.mrc", folder / "gain.mrc", ImagingConditions()
    frame = np.random.default_rng(1).poisson(1.0, (side, side)).astype(np.int8)
    with mrcfile.new(movie) as written:
        written.set_data(np.stack([np.roll(frame, number, axis=0) for number in range(FRAMES)]))
    with mrcfile.new(gain) as written:
        written.set_data(np.ones((side, side), np.float32))
    return ExistingMovie(
        paths=(movie,),
        gain=gain,
        pixel_size_ang=known.pixel_size_ang,
        dose_per_frame_e_ang2=known.dose_per_frame_e_ang2,
        voltage_kv=known.voltage_kv,
        cs_mm=known.cs_mm,
    )


def bytes_per_s(source: Path, folder: Path) -> float:
    """Return at what rate `cp` with fsync brings the movie to the storage, the median of some."""
    taken, target = [], folder / "probe"
    for _ in range(COPIES):
        begun = time.perf_counter()
        shutil.copyfile(source, target)
        with target.open("rb") as copy:
            os.fsync(copy.fileno())
        taken.append(time.perf_counter() - begun)
        target.unlink()
    return source.stat().st_size / statistics.median(taken)


def collect(system: EmbeddedSystem, facility: Facility, plan: SessionPlan) -> None:
    """Have an operator begin a session, and the microscope collect it."""
    url, token = f"http://127.0.0.1:{facility.ports.elogbook}", operator_token_file(system.home).read_text()
    operator = DemoOperator(url, user=OPERATOR, token=token)
    operator.begin_session("TEM1", f"{datetime.now(UTC):%Y%m%d}-CS01", sample_name="grid1", plan=plan)
    operator.close()
    time.sleep(SETTLE_S)
    simulate_session(Path(facility.microscopes[0].shares[0].root), plan)


def times_of(engine: sa.Engine, *, movies: int) -> list[list[float]]:
    """Wait until all movies are published; return their moments, s. Raises `TimeoutError`."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            rows = connection.execute(sa.text(TIMES)).all()
        if len(rows) == movies:
            return [[float(value) for value in row] for row in rows]
        time.sleep(0.5)
    message = f"after {LIMIT_S:.0f} s {len(rows)} of {movies} movies were published"
    raise TimeoutError(message)


def measure(home: Path, options: argparse.Namespace) -> dict[str, object]:
    """Run the system, collect, and return what each part of the way took."""
    claims = PortClaims()
    facility = make_home(home, claims)
    source = make_source(home, megabytes=options.mb)
    rate = bytes_per_s(source.paths[0], home / "storage")
    plan = SessionPlan(
        software=Software.EPU,
        movie_count=options.movies,
        frame_count=FRAMES,
        interval_s=options.interval_s,
        write_time_s=options.write_s,
        source=source,
    )
    os.environ["PYTHONPATH"] = str(NOOP)
    system = make_system(home, facility, claims)
    with system:
        engine = open_engine(system.database_url)
        begun_at = datetime.now(UTC)
        collect(system, facility, plan)
        rows, load = times_of(engine, movies=options.movies), os.getloadavg()[0]
        with engine.connect() as connection:
            gaps = [float(gap) for gap in connection.execute(sa.text(GAPS), {"since": begun_at}).scalars()]
        engine.dispose()
    size_bytes = rows[0][0]
    bound_s = QUIET_S + size_bytes / rate
    closed, complete, copied, sent, begun, ended = zip(*(row[1:] for row in rows), strict=True)
    parts = {
        "closed to complete": _between(closed, complete),
        "complete to copied": _between(complete, copied),
        "closed to copied": _between(closed, copied),
        "closed to copied, beyond quiet time and size/bandwidth": [one - bound_s for one in _between(closed, copied)],
        "copied to triggered": _between(copied, sent),
        "triggered to first task": _between(sent, begun),
        "task to task": gaps,
        "closed to published": _between(closed, ended),
    }
    return {
        "movies": len(rows),
        "megabytes": round(size_bytes / 1e6, 1),
        "quiet_s": QUIET_S,
        "cp_mb_per_s": round(rate / 1e6),
        "load": load,
        "latency_s": {name: percentiles(sorted(values)) for name, values in parts.items()},
    }


def _between(begin: tuple[float, ...], end: tuple[float, ...]) -> list[float]:
    return [after - before for before, after in zip(begin, end, strict=True)]


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--movies", type=int, default=40)
    parser.add_argument("--mb", type=float, default=100, help="size of a movie, MB")
    parser.add_argument("--interval-s", type=float, default=7.3, help="from one movie to the next, s")
    parser.add_argument("--write-s", type=float, default=1.0, help="time that the camera writes on a movie, s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cq-", ignore_cleanup_errors=True) as folder:
        print(json.dumps(measure(Path(folder) / "home", options), indent=2))


if __name__ == "__main__":
    main()
