"""Times of starting: commands, imports, and our part of parsing a DAG file. Prints medians and their goals."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 7
FACILITY = """
[storage]
root = "/data"
[[microscopes]]
name = "tem1"
instrument = "TEM1"
shares = [{ root = "/mnt/tem1" }]
"""
PARSE = """
import time
import airflow.sdk
code = compile(open({path!r}).read(), {name!r}, "exec")
started = time.perf_counter()
exec(code, {{"__file__": {name!r}}})
print(time.perf_counter() - started)
"""


def median_wall_s(command: list[str], environment: dict[str, str]) -> float:
    """Run a command several times; return the median time of the whole process, s."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def median_printed_s(command: list[str], environment: dict[str, str]) -> float:
    """Run a command several times; return the median of the seconds that it prints last."""
    times = []
    for _ in range(RUNS):
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        times.append(float(done.stdout.split()[-1]))
    return statistics.median(times)


def main() -> None:
    import cryodaq

    room = Path(cryodaq.__file__).parent / "orchestration"
    microscopes = str(room / "dags" / "cryodaq_microscopes.py")
    sample = str(room / "templates" / "pipeline_single-particle_pre-processing.py")
    python = sys.executable
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "facility.active.toml").write_text(FACILITY)
        environment = {**os.environ, "CRYODAQ_HOME": home, "AIRFLOW_HOME": home}
        rows = [
            ("cryodaq --help", median_wall_s([python, "-m", "cryodaq", "--help"], environment), 0.3),
            ("import cryodaq.domain", median_wall_s([python, "-c", "import cryodaq.domain.names"], environment), 0.3),
            ("import airflow.sdk (the peer)", median_wall_s([python, "-c", "import airflow.sdk"], environment), None),
        ]
        for label, path, name in (
            ("parse the microscopes' DAG file", microscopes, "cryodaq_microscopes.py"),
            ("parse a sample's DAG file", sample, "20261122-CS01_6258a1f2c0ffee0123456789.py"),
        ):
            command = [python, "-c", PARSE.format(path=path, name=name)]
            rows.append((f"{label}, ours", median_printed_s(command, environment), 0.3))
    print(f"median of {RUNS} runs")
    for label, seconds, goal in rows:
        print(f"{label:40s} {seconds:6.3f} s" + (f"   goal {goal} s" if goal else ""))


if __name__ == "__main__":
    main()
