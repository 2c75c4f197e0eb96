"""The elogbook's calls per movie at many runs of one experiment: CPU time per call, and how long clients wait.

Starts its own PostgreSQL and the real server, fills one experiment, and lets eight programs with tokens begin runs,
add params and register files: as fast as they can, and at a steady rate. CPU times are those of the server's process
and of PostgreSQL's, so they mean something on a busy machine too; waits do not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from cryodaq.database import open_engine
from cryodaq.elogbook import accounts
from cryodaq.elogbook.app import serve
from cryodaq.elogbook.settings import ElogbookSettings
from cryodaq.launch.ledger_alone import embedded_ledger
from cryodaq.launch.ports import next_free

EXPERIMENT = "20261122-CS01"
CLIENTS = 8
GOAL_MS = 30.0
PARAMS = {f"aligned_value_{number}": number / 7 for number in range(12)} | {"preview": "previews/x.jpg"}
FILES_PER_MOVIE = 6
FILL = """
INSERT INTO elogbook.instrument (id, description) VALUES ('TEM1', '');
INSERT INTO elogbook.experiment (name, instrument_id, start_time, end_time, leader_account, contact_info)
VALUES ('{experiment}', 'TEM1', now(), now(), 'pi', 'pi');
INSERT INTO elogbook.sample (id, experiment_name, name, description)
VALUES ('0123456789abcdef00000000', '{experiment}', 'grid1', '');
INSERT INTO elogbook.run (id, experiment_name, label, type, begin_time, end_time, params, sample_id)
SELECT lpad(to_hex(n), 24, '0'), '{experiment}', 'FoilHole_' || n, 'DATA', now(),
       CASE WHEN n > 1000 THEN now() END, '{params}', '0123456789abcdef00000000'
FROM generate_series(1, {runs}) n;
INSERT INTO elogbook.run_file (id, experiment_name, run_label, path, create_timestamp, modify_timestamp, size_bytes)
SELECT lpad(to_hex(n), 24, '0'), '{experiment}', 'FoilHole_' || n, 'raw/FoilHole_' || n || '.tif', now(), now(), 1
FROM generate_series(1, {runs}) n;
"""


@dataclass
class Client:
    """One program; it keeps its connection, as ours do."""

    port: int
    token: str
    waits_s: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, name: str, method: str, path: str, body: object = None) -> bytes:
        """Send a call, note how long it took, and return the answer; ends the benchmark unless it is 200."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        begun = time.perf_counter()
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        content = answer.read()
        self.waits_s.setdefault(name, []).append(time.perf_counter() - begun)
        if answer.status != http.client.OK:
            sys.exit(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content


def _movie_calls(client: Client, run: str) -> Iterator[Callable[[], object]]:
    control, book = f"/run_control/{EXPERIMENT}/ws", f"/lgbk/{EXPERIMENT}/ws"
    query = f"run_num={run}"
    files = [
        {"path": f"raw/{run}.{part}", "run_num": run, "size": 7, "checksum": "x"} for part in range(FILES_PER_MOVIE)
    ]
    begin = f"{control}/start_run?{query}&sample=grid1&start_time=2026-11-22T08:00:00.000Z"
    yield lambda: client.ask("start_run", "POST", begin)
    yield lambda: client.ask("add_run_params", "POST", f"{control}/add_run_params?{query}", PARAMS)
    yield lambda: client.ask("register_file", "POST", f"{book}/register_file", files)
    yield lambda: client.ask("end_run", "POST", f"{control}/end_run?{query}&end_time=2026-11-22T08:01:00.000Z")


def _work(number: int, port: int, token: str, until: float, pause_s: float, label: str, results: Any) -> None:
    client, movie = Client(port, token), 0
    try:
        while time.monotonic() < until:
            for call in _movie_calls(client, f"{label}_{number}_{movie}"):
                call()
                time.sleep(pause_s)
            movie += 1
    finally:
        results.put(client.waits_s)


def _let_work(port: int, tokens: list[str], *, seconds: float, pause_s: float, label: str) -> dict[str, list[float]]:
    results = multiprocessing.SimpleQueue()
    until = time.monotonic() + seconds
    workers = [
        multiprocessing.Process(target=_work, args=(number, port, token, until, pause_s, label, results))
        for number, token in enumerate(tokens)
    ]
    for worker in workers:
        worker.start()
    waits: dict[str, list[float]] = {}
    for _ in workers:
        for name, found in results.get().items():
            waits.setdefault(name, []).extend(found)
    for worker in workers:
        worker.join()
    return waits


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _postgres(url: str) -> dict[int, psutil.Process]:
    engine = open_engine(url)
    with engine.connect() as connection:
        pids = connection.scalars(sa.text("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")).all()
    engine.dispose()
    return {pid: psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)}


@contextmanager
def _measured(server: psutil.Process, url: str, label: str) -> Iterator[dict[str, list[float]]]:
    """Collect waits in the block, then print them with the CPU time of both sides."""
    waits: dict[str, list[float]] = {}
    before = {pid: _cpu_s(process) for pid, process in _postgres(url).items()}
    server_before, begun = _cpu_s(server), time.monotonic()
    yield waits
    wall_s = time.monotonic() - begun
    calls = sum(map(len, waits.values()))
    server_ms = (_cpu_s(server) - server_before) * 1000 / calls
    after = {pid: _cpu_s(process) for pid, process in _postgres(url).items()}
    database_ms = sum(spent - before.get(pid, 0.0) for pid, spent in after.items()) * 1000 / calls
    print(f"\n{label}: {calls / wall_s:.0f} calls/s; load {os.getloadavg()[0]:.1f}")
    print(f"  CPU per call: server {server_ms:.2f} ms, PostgreSQL {database_ms:.2f} ms")
    for name, found in waits.items():
        p95 = statistics.quantiles(found, n=20)[-1] * 1000
        print(f"  {name:15s} median {statistics.median(found) * 1000:6.1f} ms   p95 {p95:6.1f} ms   goal {GOAL_MS} ms")


@contextmanager
def _server(url: str) -> Iterator[tuple[int, psutil.Process]]:
    port = next_free(38_081)
    environment = {**os.environ, "BENCHED_DATABASE": url}
    command = [sys.executable, __file__, "--serve", str(port)]
    process = subprocess.Popen(command, env=environment)
    try:
        for _ in range(300):
            try:
                Client(port, "").connection.connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _fill(url: str, runs: int) -> list[str]:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(FILL.format(experiment=EXPERIMENT, runs=runs, params=json.dumps(PARAMS)))
        tokens = []
        for number in range(CLIENTS):
            accounts.add_user(connection, f"program{number}", full_name="")
            accounts.grant_site_role(connection, f"uid:program{number}", role="Writer")
            tokens.append(accounts.create_token(connection, f"program{number}", name="bench"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return tokens


def _measure(url: str, *, runs: int, seconds: float) -> None:
    tokens = _fill(url, runs)
    with _server(url) as (port, server):
        _let_work(port, tokens, seconds=2, pause_s=0, label="warm")
        with _measured(server, url, f"{CLIENTS} clients without a pause, {runs} runs") as waits:
            waits.update(_let_work(port, tokens, seconds=seconds, pause_s=0, label="fast"))
        with _measured(server, url, f"{CLIENTS} clients with pauses of 0.2 s, {runs} runs") as waits:
            waits.update(_let_work(port, tokens, seconds=seconds, pause_s=0.2, label="steady"))
        reader = Client(port, tokens[0])
        for path in ("runs", "runs?includeParams=false", "files"):
            size_bytes = len(reader.ask(path, "GET", f"/lgbk/{EXPERIMENT}/ws/{path}"))
            print(f"  {path:26s} {size_bytes / 1e6:6.1f} MB in {reader.waits_s[path][0]:.2f} s")
        memory_mb = server.memory_info().rss / 1e6
        print(f"  server's memory afterwards {memory_mb:.0f} MB")


def _serve(port: int) -> None:
    settings = ElogbookSettings(database_url=os.environ["BENCHED_DATABASE"])
    serve(settings, host="127.0.0.1", port=port)


def main() -> None:
    """Run the benchmark, or one of its parts."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--runs", type=int, default=100_000)
    cli.add_argument("--seconds", type=float, default=8.0, help="of each of the two loads")
    cli.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    chosen = cli.parse_args()
    if chosen.serve is not None:
        _serve(chosen.serve)
        return
    with tempfile.TemporaryDirectory() as home, embedded_ledger(Path(home)) as url:
        _measure(url, runs=chosen.runs, seconds=chosen.seconds)


if __name__ == "__main__":
    main()
