"""Motion correction against RELION, on movies whose truth is known, interleaved in one run.

    scripts/bench imaging                     movies of 1024² x 20, ours alone
    scripts/bench imaging --relion            the same with RELION (Debian's package is installed when it is missing)
    scripts/bench imaging --profile           and what each of our steps took
    scripts/bench imaging --set 2k|k3         larger movies: 2048² x 40; 5760 x 4092 x 40 (minutes to make)
    scripts/bench imaging --set 1k-faults     a bar of the grid in the field, faults of the camera, 200 fractions

Prints for each movie what a whole process took (decoding and writing included), how far the found trajectories are
from the true ones (RMS over 5 x 5 places and all frames, as found and with each place's mean removed), and the signal
to noise of both sums in bands of resolution, relative to the same frames added up along the true motion, unweighted.
An engine whose interpolation takes more from late frames, which have faded, gains by that where there are no weights.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import motion_profile
import numpy as np
import relion_peer
import tifffile
from likeness import BANDS_ANG, signal_to_noise
from made_movies import MadeMovie, MovieCase, make_movie, sum_by_truth
from motion_child import places
from numpy.typing import NDArray

SMALL = {"shape_yx": (1024, 1024), "frame_count": 20, "flow_ang": 4.0}
SETS: dict[str, tuple[MovieCase, ...]] = {
    "1k": (
        MovieCase(name="rough flow", seed=101, **SMALL),
        MovieCase(name="jump", seed=102, jump_ang=10.0, **SMALL),
        MovieCase(name="carbon, ice", seed=103, carbon=True, contamination=True, **SMALL),
        MovieCase(name="still", seed=104, shape_yx=(1024, 1024), frame_count=20, flow="none", drift_ang=0.0),
    ),
    "1k-faults": (
        MovieCase(name="bar of the grid", seed=111, bar=True, **SMALL),
        MovieCase(name="6 % stale gain", seed=112, stale_gain=0.06, **SMALL),
        MovieCase(name="bad columns", seed=113, bad_columns=3, **SMALL),
        MovieCase(name="200 fractions", seed=114, **{**SMALL, "frame_count": 200, "dose_per_frame_e_ang2": 0.1}),
    ),
    "2k": (
        MovieCase(name="rough flow", seed=201),
        MovieCase(name="quadratic", seed=202, flow="quadratic"),
        MovieCase(name="jump", seed=203, flow="quadratic", jump_ang=12.0),
        MovieCase(name="carbon, ice", seed=204, carbon=True, contamination=True),
        MovieCase(name="still", seed=205, flow="none", drift_ang=0.0),
        MovieCase(name="0.45 e/px/frame", seed=206, dose_per_frame_e_ang2=0.65),
        MovieCase(name="39 px drift", seed=207, drift_ang=32.0),
    ),
    "k3": (MovieCase(name="K3", seed=20, shape_yx=(4092, 5760), flow_ang=8.0, carbon=True, contamination=True),),
}
PATCHES = {"1k": ((1, 1), (4, 4)), "1k-faults": ((1, 1), (4, 4)), "2k": ((1, 1), (5, 5)), "k3": ((5, 7),)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table."""

    engine: str
    wall_s: float
    cpu_s: float
    peak_gb: float
    strict_px: float | None
    free_px: float | None
    ratios: NDArray[np.float64]
    weighted: NDArray[np.float64]
    """Of the dose-weighted sum, to the same sum that is not."""


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--set", choices=sorted(SETS), default="1k", dest="chosen")
    cli.add_argument("--relion", action="store_true", help="run RELION too; installs Debian's package when missing")
    cli.add_argument("--only", help="a case by its name")
    cli.add_argument("--seed-offset", type=int, default=0, help="other movies of the same kinds")
    cli.add_argument("--profile", action="store_true", help="print what each step of ours took")
    cli.add_argument("--keep", type=Path, help="folder in which made movies are kept for the next run")
    cli.add_argument("--prepare", action="store_true", help="make the movies for --keep, and measure nothing")
    args = cli.parse_args()
    if args.relion:
        relion_peer.install()
    print(f"{os.cpu_count()} cores, {_processor()}; load {os.getloadavg()[0]:.1f}")
    bands = " ".join(f"{low:g}-{high:g}".rjust(6) for low, high in BANDS_ANG)
    print(f"{'movie':16s} {'engine':12s} wall s  CPU s  GB  strict  free px   SNR ratio {bands} Å")
    chosen = [case for case in SETS[args.chosen] if args.only in (None, case.name)]
    for case in (replace(case, seed=case.seed + args.seed_offset) for case in chosen):
        if args.prepare:
            with tempfile.TemporaryDirectory() as name:
                laid_out(case, Path(name), args.keep)
        else:
            measure(case, args)


def measure(case: MovieCase, args: argparse.Namespace) -> None:
    """Let every engine align one movie in turn, and print their lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        movie, best = laid_out(case, folder, args.keep)
        # A field as large as the K3's is never corrected as a whole only.
        for patches_yx in PATCHES[args.chosen]:
            lines = [_ours(movie, folder, patches_yx, best, profile=args.profile)]
            if args.relion:
                lines.append(_relion(movie, folder, patches_yx, best))
            for line in lines:
                _print(case.name, line)
            if args.relion:
                wall, cpu = lines[1].wall_s / lines[0].wall_s, lines[1].cpu_s / lines[0].cpu_s
                print(f"{'':16s} RELION took {wall:.1f} times the wall time, {cpu:.1f} times the CPU time", flush=True)
            if args.profile:
                _print_profile(folder, wall_s=lines[0].wall_s)


def _print_profile(folder: Path, *, wall_s: float) -> None:
    spent_s = json.loads((folder / "profile.json").read_text())
    alone_s = _told_by("motion_floor.py", str(folder))
    forked_s, forked_cpu_s = _told_by("motion_child.py", str(folder), "--forked")
    print(motion_profile.table(spent_s))
    print(motion_profile.floor(spent_s, alone_s, wall_s=wall_s, forked_s=forked_s))
    print(f"  a fork of a loaded worker: {forked_s:.2f} s, {forked_cpu_s:.2f} CPU s", flush=True)


def _told_by(script: str, folder: str, *options: str) -> Any:  # Any: what the script prints
    """Last line of a script's output, JSON."""
    relion_peer.timed([sys.executable, str(Path(__file__).with_name(script)), folder, *options], Path(folder))
    return json.loads((Path(folder) / "output.txt").read_text().splitlines()[-1])


def laid_out(case: MovieCase, folder: Path, keep: Path | None) -> tuple[MadeMovie, NDArray[np.float64]]:
    """Movie and gain reference as files of a folder, and what the truth makes of them; all of it kept for next time."""
    kept = folder if keep is None else keep / f"{case.name.replace(' ', '_').replace('/', '')}_{case.seed}"
    kept.mkdir(parents=True, exist_ok=True)
    finished = kept / "best.npy"
    if not finished.is_file():
        movie = make_movie(case)
        tifffile.imwrite(kept / "movie.tif", movie.frames, compression="lzw")
        relion_peer.mrcfile.write(kept / "gain.mrc", movie.gain, overwrite=True)
        best = signal_to_noise(sum_by_truth(movie), movie.truth, pixel_size_ang=case.pixel_size_ang)
        (kept / "made.pickle").write_bytes(pickle.dumps(replace(movie, frames=movie.frames[:0]), 4))
        np.save(finished, best)
    if kept != folder:
        for file in ("movie.tif", "gain.mrc"):
            (folder / file).symlink_to((kept / file).resolve())
    made: MadeMovie = pickle.loads((kept / "made.pickle").read_bytes())  # noqa: S301  # written by this script
    return made, np.load(finished)


def _ours(
    movie: MadeMovie, folder: Path, patches_yx: tuple[int, int], best: NDArray[np.float64], *, profile: bool
) -> Line:
    case = movie.case
    order = {"pixel": case.pixel_size_ang, "dose": case.dose_per_frame_e_ang2, "patches": patches_yx}
    (folder / "order.json").write_text(json.dumps(order))
    child = Path(__file__).with_name("motion_child.py")
    command = [sys.executable, str(child), str(folder), *(["--profile"] if profile else [])]
    wall_s, cpu_s, peak_gb = relion_peer.timed(command, folder)
    sums = (relion_peer.mrcfile.read(folder / name) for name in ("micrograph.mrc", "micrograph_DW.mrc"))
    ratios, weighted = (signal_to_noise(one, movie.truth, pixel_size_ang=case.pixel_size_ang) / best for one in sums)
    error = np.load(folder / "track.npy") - _true_track(movie)
    return Line(
        engine=f"ours {patches_yx[1]}x{patches_yx[0]}",
        wall_s=wall_s,
        cpu_s=cpu_s,
        peak_gb=peak_gb,
        strict_px=_rms(error),
        free_px=_rms(error - error.mean(axis=0)),
        ratios=ratios,
        weighted=weighted,
    )


def _relion(movie: MadeMovie, folder: Path, patches_yx: tuple[int, int], best: NDArray[np.float64]) -> Line:
    case = movie.case
    run = relion_peer.align(
        folder,
        pixel_size_ang=case.pixel_size_ang,
        dose_per_frame_e_ang2=case.dose_per_frame_e_ang2,
        patches_yx=patches_yx,
    )
    sums = run.sum, run.dose_weighted
    ratios, weighted = (signal_to_noise(one, movie.truth, pixel_size_ang=case.pixel_size_ang) / best for one in sums)
    return Line(
        engine=f"RELION {patches_yx[1]}x{patches_yx[0]}",
        wall_s=run.wall_s,
        cpu_s=run.cpu_s,
        peak_gb=run.peak_gb,
        strict_px=None,
        free_px=None,
        ratios=ratios,
        weighted=weighted,
    )


def _true_track(movie: MadeMovie) -> NDArray[np.float64]:  # (frame, 25, yx)
    points = places(movie.case.shape_yx)
    track = np.array([movie.displacement_yx(points, frame) for frame in range(movie.case.frame_count)])
    return np.asarray(track - track[0])


def _rms(error: NDArray[np.float64]) -> float:
    return float(np.sqrt((error**2).sum(axis=-1).mean()))


def _print(name: str, line: Line) -> None:
    errors = "     -      -" if line.strict_px is None else f"{line.strict_px:6.2f} {line.free_px:6.2f}"
    ratios, weighted = (" ".join(f"{ratio:6.3f}" for ratio in some) for some in (line.ratios, line.weighted))
    print(
        f"{name:16s} {line.engine:12s} {line.wall_s:6.1f} {line.cpu_s:6.1f} {line.peak_gb:4.1f} {errors}   "
        f"          {ratios}"
    )
    print(f"{'':16s} {'dose-weighted':61s}{weighted}", flush=True)


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(errors="replace")
    return next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "?")


if __name__ == "__main__":
    main()
