"""Copying: ours with hash, ours with verification, against cp and rsync, interleaved in one run.

Prints medians and ratios to cp; absolute numbers are this machine's and this moment's.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from cryodaq.transfer.copy import CopyOrder, copy_to_part, publish
from cryodaq.transfer.verify import verify


def ours(source: Path, target: Path) -> str:
    """Copy as the transfer does: hash in the pass, fsync, rename without replacing."""
    status = source.stat()
    order = CopyOrder(
        source=source.name,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        base=target.parent,
        relative=PurePosixPath(target.name),
        token="bench",  # noqa: S106  # a name, not a secret
    )
    part = copy_to_part(source.parent, order)
    publish(part.part, target, xxh3_128=part.xxh3_128)
    return part.xxh3_128


def cpu_s() -> float:
    """CPU time of this process and its ended children, s."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--mb", type=int, default=512, help="size of the file, MB")
    cli.add_argument("--runs", type=int, default=5)
    cli.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="default: tmpfs")  # noqa: S108
    args = cli.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        measure(Path(name), size_mb=args.mb, runs=args.runs)


def measure(folder: Path, *, size_mb: int, runs: int) -> None:
    source, target = folder / "movie.tiff", folder / "copy.tiff"
    source.write_bytes(np.random.default_rng(1).bytes(size_mb * 1_000_000))
    methods: dict[str, Callable[[], object]] = {
        "cp": lambda: (subprocess.run(["cp", source, target], check=True), _sync(target)),
        "ours, hash in the pass": lambda: ours(source, target),
        "ours, read again": lambda: verify(target, xxh3_128=ours(source, target)),
    }
    if shutil.which("rsync"):
        methods["rsync -a"] = lambda: subprocess.run(["rsync", "-a", source, target], check=True)
    times: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
    for _ in range(runs):
        for method, run in methods.items():
            target.unlink(missing_ok=True)
            started, cpu = time.perf_counter(), cpu_s()
            run()
            times[method].append((time.perf_counter() - started, cpu_s() - cpu))
    peer = statistics.median(wall for wall, _ in times["cp"])
    print(f"{size_mb} MB, median of {runs} interleaved runs in {folder.parent}")
    for method, found in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*found, strict=True))
        rate = size_mb / wall
        print(f"{method:24s} {rate:7.0f} MB/s   {peer / wall:5.2f} of cp   {cpu * 1000 / size_mb:5.2f} CPU s/GB")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    main()
