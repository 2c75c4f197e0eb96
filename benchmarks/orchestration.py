"""What ordering the work costs: the whole system with real Airflow and PostgreSQL, movies whose stages do nothing.

Copied movies are put into the ledger at a steady rate; the running system hands them over and Airflow runs four tasks
for each. CPU seconds are of all processes of the system, less what it uses while idle, so they mean something on a busy
machine too; latencies do not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import sqlalchemy as sa

from cryodaq.app.sample_dag import install_sample_dag, packaged_templates, template_for
from cryodaq.cli.running import make_system
from cryodaq.config import Facility, activate
from cryodaq.config.machines import Ports
from cryodaq.database import open_engine
from cryodaq.domain.layout import experiment_layout
from cryodaq.launch import sessions
from cryodaq.launch.ports import PortClaims
from cryodaq.launch.services import free_ports
from cryodaq.launch.system import EmbeddedSystem
from cryodaq.ledger import samples, tables
from cryodaq.ledger.samples import NewSample

NOOP = Path(__file__).parent / "without_imaging"
EXPERIMENT, SAMPLE = "20260101-CS01", "6258a1f2c0ffee0123456789"
SETTLE_S, IDLE_S = 45.0, 30.0
"""Before idle use is measured, while what a start leaves to do is done; and how long that is measured."""
DRAIN_LIMIT_S = 1800.0
LATENCIES = """
select extract(epoch from t.sent_at - t.created_at), extract(epoch from min(s.started_at) - t.sent_at),
       extract(epoch from max(s.ended_at) - min(s.started_at)), extract(epoch from max(s.ended_at) - t.created_at)
from ledger.trigger t join ledger.stage_result s on s.movie_id = t.movie_id
where t.outcome = 'published' and t.created_at >= :since group by t.id
"""
GAPS = """
select gap from (
    select extract(epoch from started_at - lag(ended_at) over (partition by movie_id order by id)) as gap
    from ledger.stage_result where started_at >= :since) as gaps
where gap is not null
"""
STEPS = """
select run_id, task_id, extract(epoch from end_date), extract(epoch from scheduled_dttm),
       extract(epoch from queued_dttm), extract(epoch from start_date)
from task_instance where dag_id = :dag and state = 'success' and try_number = 1
"""
STARTS = """
select t.run_id, s.stage, extract(epoch from s.started_at), extract(epoch from s.ended_at)
from ledger.trigger t join ledger.stage_result s on s.movie_id = t.movie_id where t.created_at >= :since
"""
DATABASES = """
select datname, xact_commit, pg_database_size(datname) / 1000.0 from pg_stat_database
where datname in ('airflow', 'cryodaq')
"""
STAGES = ("align", "ctf", "pick", "publish")
PARTS = ("recorded to ended", "ended to scheduled", "scheduled to queued", "queued to started", "started to recorded")
"""Of what passes between two tasks: two by the task's process, the three between by the scheduler and its executor."""
STEP_UP = 1.5
FLAT_S, FEW = 15.0, 5
"""A backlog of what comes in so many seconds, or of so few movies, at a load's end is none."""
NAMES = ("copied to triggered", "triggered to first task", "first task to published", "copied to published")


def make_home(home: Path, claims: PortClaims, *, slots: int, executor: str) -> Facility:
    """Write the facility file of a system whose microscope is away."""
    ports = free_ports(Ports(web=21_000, elogbook=21_001, airflow=21_002), claims)
    text = f"""
[storage]
root = "{home}/storage"
processing_floor = 0
copying_floor = 0
[ports]
web = {ports.web}
elogbook = {ports.elogbook}
airflow = {ports.airflow}
[airflow]
executor = "{executor}"
[pools]
compute_slots = {slots}
[[microscopes]]
name = "tem1"
instrument = "TEM1"
shares = [{{ root = "{home}/share" }}]
"""
    (home / "share").mkdir(parents=True)
    (home / "share" / ".online").touch()
    (home / "storage").mkdir()
    (home / "facility.toml").write_text(text)
    return activate(home / "facility.toml", home=home)


def add_sample(engine: sa.Engine, system: EmbeddedSystem, home: Path) -> int:
    """Register the sample with its DAG; return its branch."""
    layout = experiment_layout(home / "storage", EXPERIMENT, instrument="TEM1")  # type: ignore[arg-type]  # pure paths
    now = datetime.now(UTC)
    new = NewSample(
        id=SAMPLE,
        experiment=EXPERIMENT,
        instrument="TEM1",
        microscope="tem1",
        name="grid1",
        experiment_folder=str(layout.root),
        folder=str(layout.sample(SAMPLE).root),
        params={},
        imaging_method="single-particle",
        preprocess=True,
        dag_id=f"{EXPERIMENT}_{SAMPLE}",
    )
    with engine.begin() as connection:
        samples.register_sample(connection, new, at=now)
        samples.save_branch(
            connection, SAMPLE, name="live", settings={}, template_hash="0", software_version="0", at=now
        )
        samples.set_dag_state(connection, SAMPLE, "parsed", problem=None, at=now)
        branch = samples.live_branch(connection, SAMPLE)
    template = template_for("single-particle", folders=[packaged_templates()])
    if template is None or branch is None:
        message = "the packaged template or the sample's branch is missing"
        raise LookupError(message)
    install_sample_dag(template, system.airflow.dag_folder, dag_id=new.dag_id)
    with system.airflow.scheduler() as scheduler:
        scheduler.refresh()
        while not scheduler.is_parsed(new.dag_id):
            time.sleep(0.5)
    return branch.id


def add_movie(engine: sa.Engine, number: int, *, branch: int) -> None:
    """Put a copied movie into the ledger, ready to be handed over."""
    now, name = datetime.now(UTC), f"FoilHole_{number}_Data_1_1_20260101_120000"
    common = {"microscope": "tem1", "share": "/elsewhere"}
    with engine.begin() as connection:
        values = {"key": name, "acquisition_folder": ".", "sample_id": SAMPLE, "decision": "current"}
        statement = tables.exposure.insert().values(**common, **values, seen_from=now, seen_until=now)
        exposure = connection.execute(statement.returning(tables.exposure.c.id)).scalar_one()
        values = {"path": name, "version": 1, "role": "movie", "exposure_id": exposure, "state": "verified"}
        times = dict.fromkeys(("seen_at", "changed_at", "copied_at", "verified_at", "gone_at"), now)
        facts = {"size_bytes": 1, "mtime_ns": 1, "target": f"/{name}", "xxh3_128": "0" * 32}
        statement = tables.file.insert().values(**common, **values, **times, **facts)
        file = connection.execute(statement.returning(tables.file.c.id)).scalar_one()
        identity = {"sample_id": SAMPLE, "path": name, "version": 1, "experiment": EXPERIMENT, "run_name": name}
        statement = tables.movie.insert().values(
            **identity, file_id=file, exposure_id=exposure, state="queued", registered_at=now
        )
        movie = connection.execute(statement.returning(tables.movie.c.id)).scalar_one()
        connection.execute(
            tables.trigger.insert().values(
                movie_id=movie,
                branch_id=branch,
                dag_id=f"{EXPERIMENT}_{SAMPLE}",
                run_id=name,
                conf={"movie_id": movie, "branch_id": branch},
                parameters={},
                created_at=now,
                next_attempt_at=now,
            )
        )


def cpu_s(home: Path) -> dict[str, float]:
    """CPU seconds of each service of the system, with those of children that ended and were waited for."""
    totals: dict[str, float] = {}
    for record in sessions.read_records(home / "run"):
        totals[record.name] = 0.0
        for process in sessions.members(record):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            totals[record.name] += times.user + times.system + times.children_user + times.children_system
    return totals


def cores(before: dict[str, float], after: dict[str, float], *, took_s: float) -> dict[str, float]:
    """Return how many cores each service kept busy, the busiest first."""
    used = {name: round((after[name] - before.get(name, 0.0)) / took_s, 2) for name in after}
    return dict(sorted(used.items(), key=lambda one: -one[1]))


def published(engine: sa.Engine) -> int:
    """How many movies went through all stages."""
    query = sa.text("select count(*) from ledger.trigger where outcome = 'published'")
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def offer(engine: sa.Engine, *, first: int, per_hour: float, minutes: float, branch: int) -> tuple[int, list[int]]:
    """Add movies at a steady rate; return the number of the last and one more, and the backlog every half minute."""
    begun, number, backlog = time.monotonic(), first, []
    next_look_s = 30.0
    while (elapsed := time.monotonic() - begun) < 60 * minutes:
        while number - first < elapsed * per_hour / 3600:
            add_movie(engine, number, branch=branch)
            number += 1
        if elapsed >= next_look_s:
            backlog.append(number - published(engine))
            next_look_s += 30.0
        time.sleep(0.1)
    return number, [*backlog, number - published(engine)]


def database_use(engine: sa.Engine) -> dict[str, tuple[float, float]]:
    """Return the transactions so far and the kB of each database."""
    with engine.connect() as connection:
        rows = connection.execute(sa.text(DATABASES)).all()
    return {str(name): (float(transactions), float(size_kb)) for name, transactions, size_kb in rows}


def between_tasks(engine: sa.Engine, airflow_url: str, *, since: datetime) -> dict[str, list[float]]:
    """Return what passes between two tasks, s, in its parts: the clocks of Airflow and of the ledger are one."""
    with engine.connect() as connection:
        recorded = {
            (run, stage): (float(a), float(b))
            for run, stage, a, b in connection.execute(sa.text(STARTS), {"since": since})
        }
    orders = open_engine(airflow_url)
    with orders.connect() as connection:
        rows = connection.execute(sa.text(STEPS), {"dag": f"{EXPERIMENT}_{SAMPLE}"}).all()
    orders.dispose()
    told = {(row[0], row[1]): [float(value) for value in row[2:]] for row in rows if None not in row}
    found: dict[str, list[float]] = {name: [] for name in PARTS}
    for (run, stage), (_, scheduled, queued, started) in told.items():
        before = (run, STAGES[STAGES.index(stage) - 1])
        if stage == STAGES[0] or before not in told or (run, stage) not in recorded:
            continue
        moments = [recorded[before][1], told[before][0], scheduled, queued, started, recorded[run, stage][0]]
        for name, begin, end in zip(PARTS, moments, moments[1:], strict=False):
            found[name].append(end - begin)
    return found


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A running system with a sample to which movies are added."""

    home: Path
    engine: sa.Engine
    airflow_url: str
    branch: int
    idle_cores: float

    def load(self, *, per_hour: float, minutes: float) -> dict[str, object]:
        """Put one load on it, wait until all is done, and return what it cost."""
        first = published(self.engine)
        before, at, since = cpu_s(self.home), time.monotonic(), datetime.now(UTC)
        stored = database_use(self.engine)
        last, backlog = offer(self.engine, first=first, per_hour=per_hour, minutes=minutes, branch=self.branch)
        while published(self.engine) < last and time.monotonic() - at < DRAIN_LIMIT_S:
            time.sleep(0.5)
        took_s, count, done = time.monotonic() - at, last - first, published(self.engine) - first
        after = cpu_s(self.home)
        used = sum(after.values()) - sum(before.values()) - self.idle_cores * took_s
        return {
            "offered_per_hour": per_hour,
            "movies": count,
            "published": done,
            "seconds": round(took_s, 1),
            "movies_per_hour": round(3600 * done / took_s),
            "backlog_each_30_s": backlog,
            "sustained": backlog[-1] <= max(FEW, per_hour * FLAT_S / 3600),
            "cpu_s_per_movie": round(used / max(done, 1), 2),
            "load": os.getloadavg()[0],
            "cores_by_service": cores(before, after, took_s=took_s),
            "database_per_movie": self._database_per_movie(stored, movies=max(done, 1)),
            "latency_s": self._latencies(since=since),
        }

    def _database_per_movie(self, before: dict[str, tuple[float, float]], *, movies: int) -> dict[str, float]:
        """Return by how much each database grew, and how often it committed."""
        found = {}
        for name, (transactions, size_kb) in database_use(self.engine).items():
            found[f"{name}_kb"] = round((size_kb - before[name][1]) / movies, 1)
            found[f"{name}_transactions"] = round((transactions - before[name][0]) / movies)
        return found

    def _latencies(self, *, since: datetime) -> dict[str, dict[str, float]]:
        """Return percentiles of the movies since then, s."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.text(LATENCIES), {"since": since}).all()
            gaps = [float(gap) for gap in connection.execute(sa.text(GAPS), {"since": since}).scalars()]
        columns = {name: [float(row[place]) for row in rows] for place, name in enumerate(NAMES)}
        columns |= {"task to task": gaps, **between_tasks(self.engine, self.airflow_url, since=since)}
        return {name: percentiles(sorted(values)) for name, values in columns.items()}


def measure(home: Path, options: argparse.Namespace) -> dict[str, object]:
    """Put one load on the system or, to find where it breaks, loads that grow until one is not sustained."""
    claims = PortClaims()
    facility = make_home(home, claims, slots=options.slots, executor=options.executor)
    os.environ["PYTHONPATH"] = str(NOOP)
    system = make_system(home, facility, claims)
    with system:
        engine = open_engine(system.database_url)
        branch = add_sample(engine, system, home)
        time.sleep(SETTLE_S)
        before, at = cpu_s(home), time.monotonic()
        time.sleep(IDLE_S)
        idle = (sum(cpu_s(home).values()) - sum(before.values())) / (time.monotonic() - at)
        airflow_url = system.postgres.url("airflow")
        trial = Trial(home=home, engine=engine, airflow_url=airflow_url, branch=branch, idle_cores=idle)
        loads, per_hour = [trial.load(per_hour=options.per_hour, minutes=options.minutes)], options.per_hour
        while options.until_it_breaks and loads[-1]["sustained"]:
            per_hour *= STEP_UP
            loads.append(trial.load(per_hour=per_hour, minutes=options.minutes))
        engine.dispose()
    return {
        "executor": options.executor,
        "slots": options.slots,
        "cores": os.cpu_count(),
        "idle_cores": round(idle, 3),
        "loads": loads,
    }


def percentiles(values: list[float]) -> dict[str, float]:
    """Return what half, nearly all and all of sorted values stay below, s."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p95": round(cuts[94], 2), "most": round(values[-1], 2)}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-hour", type=float, default=1200, help="movies offered an hour")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--executor", choices=["local", "celery"], default="local")
    parser.add_argument("--until-it-breaks", action="store_true", help="go on with half as many more, and so on")
    parser.add_argument("--slots", type=int, default=2, help="processing tasks at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cq-", ignore_cleanup_errors=True) as folder:
        print(json.dumps(measure(Path(folder) / "home", options), indent=2))


if __name__ == "__main__":
    main()
