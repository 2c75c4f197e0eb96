"""Copying: ours with hash, ours with verification, against cp and rsync, interleaved in one run; scans; a restart.

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from cryodaq.transfer.copy import CopyOrder, copy_to_part, publish
from cryodaq.transfer.scan import HOT_S, ShareScanner
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
        number=1,
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
    cli.add_argument("--scan", action="store_true", help="instead: scans of a share")
    cli.add_argument("--restart", action="store_true", help="instead: until a new window is at work")
    cli.add_argument("--files", type=int, default=200_000, help="on the share, for scans and the restart")
    cli.add_argument("--work", action="store_true", help="instead: four microscopes at work, and a backlog")
    cli.add_argument("--minutes", type=float, default=1.5, help="of the four microscopes")
    cli.add_argument("--backlog", type=int, default=500, help="movies that wait at once")
    cli.add_argument("--all", type=Path, metavar="DISK", help="all of it: on tmpfs, in a folder of a disk, the restart")
    args = cli.parse_args()
    if args.all is not None:
        measure_all(args)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        if args.scan:
            measure_scans(Path(name), files=args.files)
        elif args.restart:
            from transfer_restart import measure_restart

            measure_restart(Path(name), files=args.files)
        elif args.work:
            from transfer_work import measure_work

            measure_work(Path(name), minutes=args.minutes, backlog=args.backlog)
        else:
            measure(Path(name), size_mb=args.mb, runs=args.runs)


def measure_all(args: argparse.Namespace) -> None:
    """Measure everything that the documents give figures of; it takes some eight minutes."""
    from transfer_restart import measure_restart
    from transfer_work import measure_work

    for folder in (args.folder, args.all):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            measure(Path(name), size_mb=args.mb, runs=args.runs)
    with tempfile.TemporaryDirectory(dir=args.all) as name:
        measure_work(Path(name), minutes=args.minutes, backlog=args.backlog)
    with tempfile.TemporaryDirectory(dir=args.all) as name:
        measure_scans(Path(name), files=args.files)
    with tempfile.TemporaryDirectory(dir=args.all) as name:
        measure_restart(Path(name), files=args.files)


def measure(folder: Path, *, size_mb: int, runs: int) -> None:
    """Copy two movies of half the size each in every way: what a lane does, and what two do at once."""
    sources = [folder / name for name in ("movie1.tiff", "movie2.tiff")]
    for number, source in enumerate(sources):
        source.write_bytes(np.random.default_rng(number).bytes(size_mb * 500_000))
    targets = [source.with_suffix(".copy") for source in sources]
    pairs = list(zip(sources, targets, strict=True))
    methods: dict[str, Callable[[], object]] = {
        "cp, not synced": lambda: _run_all(["cp"], pairs),
        "cp": lambda: (_run_all(["cp"], pairs), list(map(_sync, targets))),
        "ours, hash in the pass": lambda: [ours(*pair) for pair in pairs],
        "ours, read again": lambda: [verify(pair[1], xxh3_128=ours(*pair)) for pair in pairs],
        "ours, two at once": lambda: _at_once(ours, pairs),
    }
    if shutil.which("rsync"):
        methods["rsync -a"] = lambda: (_run_all(["rsync", "-a"], pairs), list(map(_sync, targets)))
        methods["rsync -a, two at once"] = lambda: (_start_all(["rsync", "-a"], pairs), list(map(_sync, targets)))
    times: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
    for _ in range(runs):
        for method, run in methods.items():
            for target in targets:
                target.unlink(missing_ok=True)
            started, cpu = time.perf_counter(), cpu_s()
            run()
            times[method].append((time.perf_counter() - started, cpu_s() - cpu))
    load = os.getloadavg()[0]
    print(f"{size_mb} MB, {runs} interleaved runs in {folder.parent}, {os.cpu_count()} cores, load {load:.1f}")
    peer, best = (choose(wall for wall, _ in times["cp"]) for choose in (statistics.median, min))
    for method, found in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*found, strict=True))
        quickest = min(one for one, _ in found)
        print(
            f"{method:24s} median {size_mb / wall:6.0f} MB/s {peer / wall:5.2f} of cp   "
            f"best {size_mb / quickest:6.0f} MB/s {best / quickest:5.2f} of cp   {cpu * 1000 / size_mb:5.2f} CPU s/GB"
        )


def measure_scans(folder: Path, *, files: int) -> None:
    """Time the first scan, those of a share at rest and at work, and a full walk, for two shapes of tree."""
    for folders in (300, 1):
        root = folder / f"{folders}"
        make_tree(root, files=files, folders=folders)
        now = [0.0]
        scanner = ShareScanner(root, clock=lambda now=now: now[0])
        print(f"{files} files in {folders} folders, load {os.getloadavg()[0]:.1f}")
        say_scan("first", scanner)
        now[0] += HOT_S + 1
        scanner.scan()
        for _ in range(3):
            say_scan("nothing happens", scanner)
        for n in range(3):
            (root / "GridSquare_0" / f"new_{n}.tiff").touch()
            now[0] += 1
            say_scan("one folder is written to", scanner)
        now[0] += 1000
        say_scan("full walk", scanner)
        shutil.rmtree(root)


def make_tree(root: Path, *, files: int, folders: int) -> None:
    """Make empty files in the way of an acquisition."""
    for number in range(folders):
        folder = root / f"GridSquare_{number}"
        folder.mkdir(parents=True)
        for n in range(files // folders):
            os.close(
                os.open(folder / f"FoilHole_{number}{n:06}_Data_1_1_20260101_{n:06}.jpg", os.O_CREAT | os.O_WRONLY)
            )


def say_scan(what: str, scanner: ShareScanner) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    changed = len(scanner.scan().changed)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"  {what:26s} {wall:7.3f} s, {cpu:6.3f} CPU s, {changed} changed")


def _run_all(command: list[str], pairs: list[tuple[Path, Path]]) -> None:
    for source, target in pairs:
        subprocess.run([*command, source, target], check=True)


def _start_all(command: list[str], pairs: list[tuple[Path, Path]]) -> None:
    running = [subprocess.Popen([*command, source, target]) for source, target in pairs]
    for process in running:
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)


def _at_once(copy: Callable[[Path, Path], str], pairs: list[tuple[Path, Path]]) -> None:
    with ThreadPoolExecutor(len(pairs)) as pool:
        list(pool.map(copy, *zip(*pairs, strict=True)))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    main()
