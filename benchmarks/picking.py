"""Picking at the automatic threshold on micrographs whose particles are known, and CPU time of 4096² pixels.

Seeds are printed; another first seed gives other micrographs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from picking_micrographs import Field, Pictured, expose
from real_micrographs import REAL_DATA, hand_picked
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from cryodaq.imaging.picking import Picks, pick_particles

SMALL = Field(diameter_ang=60.0, pixel_size_ang=0.8, defocus_ang=22000.0)
CASES: dict[str, Field] = {
    "globule 160 Å": Field(),
    "globule 160 Å, crowded": Field(packing=0.45),
    "globule 160 Å, sparse": Field(packing=0.04),
    "globule 160 Å, uneven ice": Field(uneven_ice=0.15),
    "shell 125 Å": Field(shape="shell", diameter_ang=125.0),
    "rod 180 Å": Field(shape="rod", diameter_ang=180.0),
    "globule 60 Å": SMALL,
    "globule 80 Å": replace(SMALL, diameter_ang=80.0, pixel_size_ang=1.0),
    "globule 300 Å": Field(diameter_ang=300.0),
    "globule 600 Å": Field(diameter_ang=600.0, packing=0.35),
    "globule 60 Å, faint": replace(SMALL, phase_per_ang=4.8e-4),
    "low contrast": Field(defocus_ang=7000.0, phase_per_ang=4e-4),
    "low contrast, 20 e/Å²": Field(defocus_ang=7000.0, phase_per_ang=4e-4, dose_e_ang2=20.0),
    "carbon edge": Field(carbon=True),
    "contamination": Field(contamination=8),
    "contamination, large": Field(contamination=4, lump_ang=(600.0, 2000.0)),
    "ice crystals": Field(crystals=3),
    "gold beads": Field(gold_beads=6),
    "globule 80 Å, ice crystals": replace(SMALL, diameter_ang=80.0, pixel_size_ang=1.0, crystals=3),
    "carbon and contamination, low contrast": Field(
        carbon=True, contamination=6, defocus_ang=9000.0, phase_per_ang=4e-4
    ),
    "empty ice": Field(packing=0.0),
    "empty ice, contamination": Field(packing=0.0, contamination=6),
    "empty ice, small contamination": Field(packing=0.0, contamination=6, lump_ang=(60.0, 300.0)),
    "empty ice, ice crystals": Field(packing=0.0, crystals=4),
    "empty ice, carbon": Field(packing=0.0, carbon=True),
}


def count_matches(picks: Picks, truth: Pictured) -> int:
    """Pairs of pick and particle nearer than half a radius, each used once."""
    if not len(picks.scores) or not len(truth.particles_px_xy):
        return 0
    reach = truth.field.diameter_ang / truth.field.pixel_size_ang / 4
    return count_pairs(picks.coordinates_px_xy, truth.particles_px_xy, reach=reach)


def count_pairs(found_px_xy: np.ndarray, real_px_xy: np.ndarray, *, reach: float) -> int:
    """Pairs nearer than `reach` pixels, each place used once."""
    distance = cdist(found_px_xy, real_px_xy)
    rows, columns = linear_sum_assignment(np.minimum(distance, reach))
    return int((distance[rows, columns] < reach).sum())


def measure_case(scene: Field, *, seeds: range, size_px: int, verbose: bool) -> str:
    table = []
    for seed in seeds:
        truth = expose(scene, size_px=size_px, rng=np.random.default_rng(seed))
        cpu = time.process_time()
        picks = pick_particles(truth.micrograph, pixel_size_ang=scene.pixel_size_ang, diameter_ang=scene.diameter_ang)
        cpu = time.process_time() - cpu
        found, real = len(picks.scores), len(truth.particles_px_xy)
        matches = count_matches(picks, truth)
        table.append((matches, found, real, picks.masked_fraction, truth.spoilt.mean(), cpu))
        if verbose:
            print(f"    seed {seed}: {matches} of {found} picks, {real} particles, masked {picks.masked_fraction:.3f}")
    matches, found, real, masked, spoilt, cpu = np.array(table).T
    share = 2 * matches / np.maximum(found + real, 1)
    rates = f"{matches.sum() / max(found.sum(), 1):.2f} / {matches.sum() / max(real.sum(), 1):.2f}"
    quality = (
        f"{share.mean():.3f} (worst {share.min():.2f}), {rates}" if real.any() else f"false: {found.max():.0f} at most"
    )
    return f"{quality} | {masked.mean():.3f} / {spoilt.mean():.3f} | {np.median(cpu):.2f}"


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--count", type=int, default=3, help="micrographs of each case")
    cli.add_argument("--size-px", type=int, default=3072)
    cli.add_argument("--first-seed", type=int, default=1)
    cli.add_argument("--only", default="", help="part of the names of the cases to run")
    cli.add_argument("--verbose", action="store_true")
    args = cli.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.count)
    print(f"{args.size_px}², seeds {seeds.start} to {seeds.stop - 1}")
    print("| case | F1, precision / recall | masked / spoilt | CPU s |")
    print("|---|---|---|---|")
    for name, scene in CASES.items():
        if args.only in name:
            result = measure_case(scene, seeds=seeds, size_px=args.size_px, verbose=args.verbose)
            print(f"| {name} | {result} |", flush=True)
    if not args.only:
        print_time(runs=5)
        if REAL_DATA.exists():
            print_real(REAL_DATA)


def print_real(data: Path) -> None:
    """Apoferritin against hand picks within 20 pixels, at several diameters that a user might give."""
    for diameter_ang in (110.0, 125.0, 140.0):
        scores, found, right, real = [], 0, 0, 0
        for known in hand_picked(data):
            picks = pick_particles(known.micrograph, pixel_size_ang=1.5, diameter_ang=diameter_ang)
            matches = count_pairs(picks.coordinates_px_xy, known.particles_px_xy, reach=20.0)
            scores.append(2 * matches / (len(picks.scores) + len(known.particles_px_xy)))
            found, right, real = found + len(picks.scores), right + matches, real + len(known.particles_px_xy)
        print(
            f"apoferritin by hand, {real} picks, diameter {diameter_ang:.0f} Å: F1 {2 * right / (found + real):.2f}, "
            f"{right / found:.2f} / {right / real:.2f}; mean F1 of {len(scores)} micrographs {np.mean(scores):.2f}"
        )


def print_time(*, runs: int) -> None:
    truth = expose(Field(), size_px=4096, rng=np.random.default_rng(0))
    times = []
    for _ in range(runs + 1):
        cpu = time.process_time()
        pick_particles(truth.micrograph, pixel_size_ang=1.4, diameter_ang=160.0)
        times.append(time.process_time() - cpu)
    print(f"\n4096²: {statistics.median(times[1:]):.2f} CPU s (median of {runs}, {min(times[1:]):.2f} best)")


if __name__ == "__main__":
    main()
