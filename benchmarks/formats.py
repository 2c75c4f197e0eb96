"""What recognising a session costs: 10,000 exposures of EPU by their names, and the XML of one exposure.

Names are those that EPU writes: two XML files, a sum, a preview and a movie for each exposure, and hole pictures.
Processor time counts this process; the wall clock means something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path, PurePosixPath

from cryodaq.domain.file_roles import FileRole, classify
from cryodaq.formats.metadata import read_metadata

XML = Path(__file__).parents[1] / "tests/data/epu"
TAILS = (".xml", ".jpg", ".mrc", "_Fractions.tiff", "_Fractions.xml")
EXPOSURES_OF_A_SQUARE, EXPOSURES_OF_A_HOLE = 300, 3


def names_of(exposures: int) -> list[PurePosixPath]:
    """Return the paths of a session, half of the movies under another root."""
    names = []
    for number in range(exposures):
        square, hole = number // EXPOSURES_OF_A_SQUARE, 9_000_000 + number // EXPOSURES_OF_A_HOLE
        folder = f"Supervisor_20250108_EPU/Images-Disc1/GridSquare_{8_000_000 + square}"
        stem = f"FoilHole_{hole}_Data_9017347_{number % EXPOSURES_OF_A_HOLE}_20250108_{number:06d}"
        names += [PurePosixPath("metadata", folder, "Data", stem + tail) for tail in TAILS if "tiff" not in tail]
        names.append(PurePosixPath("movies" if number % 2 else "metadata", folder, "Data", f"{stem}_Fractions.tiff"))
        if number % EXPOSURES_OF_A_HOLE == 0:
            picture = f"FoilHole_{hole}_20250108_{number:06d}"
            names += [PurePosixPath("metadata", folder, "FoilHoles", picture + end) for end in (".xml", ".jpg")]
    return names


def group(names: list[PurePosixPath]) -> dict[str, set[FileRole]]:
    """Return the roles of each exposure's files."""
    found: dict[str, set[FileRole]] = {}
    for path in names:
        kind = classify(path, size_bytes=1000)
        if kind.exposure is not None:
            found.setdefault(kind.exposure, set()).add(kind.role)
    return found


def main() -> None:
    """Measure both, and print them with the load."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--exposures", type=int, default=10_000)
    words.add_argument("--xml", type=Path, default=XML, help="folder whose XML files are read, with those below it")
    words.add_argument("--times", type=int, default=20, help="how often each XML is read")
    given = words.parse_args()
    names = names_of(given.exposures)
    wall, cpu = time.perf_counter(), time.process_time()
    found = group(names)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    whole = sum({FileRole.MOVIE, FileRole.METADATA, FileRole.SUM} <= roles for roles in found.values())
    print(f"{len(names)} names: {len(found)} exposures, {whole} whole; wall {wall:.2f} s, CPU {cpu:.2f} s")
    files = sorted(path for path in given.xml.rglob("*.xml") if path.stat().st_size > 1000)
    walls, cpus = [], []
    for path in files * given.times:
        at, used = time.perf_counter(), time.process_time()
        read_metadata(path)
        walls.append((time.perf_counter() - at) * 1e3)
        cpus.append((time.process_time() - used) * 1e3)
    print(
        f"{len(files)} XML files read {given.times} times each: wall median {statistics.median(walls):.2f} ms, "
        f"p95 {sorted(walls)[round(0.95 * (len(walls) - 1))]:.2f} ms, CPU mean {statistics.fmean(cpus):.2f} ms"
    )
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
