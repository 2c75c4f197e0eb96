"""CTF fits on micrographs of known defocus: errors by set, CPU time of 4096² pixels, and false fits.

Seeds are printed; another first seed gives another set.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ctf_micrographs import Scene, draw_scene, empty_pictures, expose
from real_micrographs import REAL_DATA, counted_frame, published_fits

from cryodaq.imaging.ctf import CtfMeasurement, CtfOptions, fit_ctf, fit_ctf_of_spectrum

Draw = Callable[[np.random.Generator], Scene]
SETS: dict[str, Draw] = {
    "all, SNR .006-.2": lambda rng: draw_scene(rng, snr=(0.006, 0.2)),
    "ordinary, SNR .02-.2": lambda rng: draw_scene(rng, snr=(0.02, 0.2)),
    "faint, SNR .006-.02": lambda rng: draw_scene(rng, snr=(0.006, 0.02)),
    "faintest, SNR .006": lambda rng: draw_scene(rng, snr=(0.006, 0.006)),
    "phase plate 40-140°": lambda rng: draw_scene(rng, snr=(0.02, 0.2), phase_shift_deg=rng.uniform(40, 140)),
    "drift of 12 Å": lambda rng: draw_scene(rng, snr=(0.02, 0.2), drift_ang=12.0, drift_deg=rng.uniform(0, 180)),
}


def fit(picture: np.ndarray, scene: Scene) -> CtfMeasurement:
    """Fit with what a session knows."""
    lens = scene.conditions
    return fit_ctf(
        picture,
        pixel_size_ang=lens.pixel_size_ang,
        voltage_kv=lens.voltage_kv,
        cs_mm=lens.cs_mm,
        amplitude_contrast=lens.amplitude_contrast,
        options=CtfOptions(search_phase_shift=scene.phase_shift_deg > 0),
    )


def errors(scene: Scene, measured: CtfMeasurement) -> tuple[float, float, float]:
    """Of mean defocus (Å), astigmatism as a vector (Å) and phase shift (degrees)."""
    fitted, true = measured.fit, scene.defocus
    ours = fitted.astigmatism_ang * np.exp(2j * np.deg2rad(fitted.defocus_angle_deg))
    theirs = (true.u_ang - true.v_ang) * np.exp(2j * np.deg2rad(true.angle_deg))
    shift = abs((fitted.phase_shift_deg - scene.phase_shift_deg + 90) % 180 - 90)
    return abs(fitted.defocus_mean_ang - scene.mean_defocus_ang), float(abs(ours - theirs)), float(shift)


def measure_set(draw: Draw, *, seeds: range, size_px: int, verbose: bool) -> Iterator[tuple[float, ...]]:
    for seed in seeds:
        rng = np.random.default_rng(seed)
        scene = draw(rng)
        picture = expose(scene, size_px=size_px, rng=rng)
        cpu = time.process_time()
        measured = fit(picture, scene)
        cpu = time.process_time() - cpu
        found = errors(scene, measured)
        if verbose:
            print(
                f"    seed {seed}: {found[0]:.0f} Å, {found[1]:.0f} Å, {found[2]:.1f}° {scene}\n        {measured.fit}"
            )
        yield *found, measured.fit.fitted, measured.fit.fit_resolution_ang, cpu


def print_sets(*, seeds: range, size_px: int, verbose: bool) -> None:
    print(
        "| set | n | fitted | defocus median / 90 % / worst, Å | astigmatism median / worst, Å | "
        "phase median / worst, ° | fit median, Å | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, draw in SETS.items():
        table = np.array(list(measure_set(draw, seeds=seeds, size_px=size_px, verbose=verbose)))
        defocus, astigmatism, shift, fitted, resolution, cpu = table.T
        print(
            f"| {name} | {len(table)} | {int(fitted.sum())} "
            f"| {np.median(defocus):.1f} / {np.quantile(defocus, 0.9):.1f} / {defocus.max():.0f} "
            f"| {np.median(astigmatism):.1f} / {astigmatism.max():.0f} | {np.median(shift):.1f} / {shift.max():.1f} "
            f"| {np.median(resolution):.2f} | {np.median(cpu):.2f} |",
            flush=True,
        )


def print_empty(*, seeds: range, size_px: int) -> None:
    """How often something is fitted where there is nothing."""
    found: dict[str, list[str]] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for kind, picture in empty_pictures(rng, size_px=size_px).items():
            for options in (CtfOptions(), CtfOptions(search_phase_shift=True)):
                measured = fit_ctf(
                    picture, pixel_size_ang=1.0, voltage_kv=300, cs_mm=2.7, amplitude_contrast=0.1, options=options
                )
                wrong = f"seed {seed} score {measured.fit.score:.3f} {measured.fit.fit_resolution_ang:.1f} Å"
                found.setdefault(kind, []).extend([wrong] if measured.fit.fitted else [])
    print(f"\nfits of empty pictures, of {2 * len(seeds)} each:")
    for kind, wrong in found.items():
        print(f"  {kind}: {len(wrong)} {'; '.join(wrong)}")


def print_time(*, runs: int) -> None:
    rng = np.random.default_rng(0)
    scene = draw_scene(rng, snr=(0.05, 0.05))
    picture = expose(scene, size_px=4096, rng=rng)
    times = []
    for _ in range(runs + 1):
        cpu = time.process_time()
        fit(picture, scene)
        times.append(time.process_time() - cpu)
    print(f"\n4096²: {statistics.median(times[1:]):.2f} CPU s (median of {runs}, {min(times[1:]):.2f} best)")


def print_real(data: Path) -> None:
    """Spectra of beta-galactosidase against their published fits, and a counted frame."""
    means, vectors = [], []
    for known in published_fits(data):
        fitted = fit_ctf_of_spectrum(
            known.spectrum, pixel_size_ang=1.39955, voltage_kv=200.0, cs_mm=1.4, amplitude_contrast=0.1
        ).fit
        mean = (known.defocus_u_ang + known.defocus_v_ang) / 2
        means.append(abs(fitted.defocus_mean_ang - mean) / mean * 100)
        ours = fitted.astigmatism_ang * np.exp(2j * np.deg2rad(fitted.defocus_angle_deg))
        theirs = (known.defocus_u_ang - known.defocus_v_ang) * np.exp(2j * np.deg2rad(known.angle_deg))
        vectors.append(float(abs(ours - theirs)))
    good = sum(mean <= 2 and vector <= 200 for mean, vector in zip(means, vectors, strict=True))
    print(
        f"\nspectra of beta-galactosidase: {good} of {len(means)} within 2 % and 200 Å; "
        f"worst {max(means):.2f} % and {max(vectors):.0f} Å"
    )
    frame = fit_ctf(counted_frame(data), pixel_size_ang=0.66655, voltage_kv=300, cs_mm=2.7, amplitude_contrast=0.1).fit
    print(f"counted Falcon frame: {frame.defocus_mean_ang:.0f} Å, fit to {frame.fit_resolution_ang:.1f} Å")


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--count", type=int, default=24, help="micrographs of each set")
    cli.add_argument("--size-px", type=int, default=3072)
    cli.add_argument("--first-seed", type=int, default=1)
    cli.add_argument("--only", default="", help="part of the names of the sets to run")
    cli.add_argument("--verbose", action="store_true")
    args = cli.parse_args()
    for name in [name for name in SETS if args.only not in name]:
        del SETS[name]
    seeds = range(args.first_seed, args.first_seed + args.count)
    print(f"{args.size_px}², seeds {seeds.start} to {seeds.stop - 1}")
    print_sets(seeds=seeds, size_px=args.size_px, verbose=args.verbose)
    if not args.only:
        print_empty(seeds=seeds[: max(1, args.count // 4)], size_px=1536)
        print_time(runs=5)
        if REAL_DATA.exists():
            print_real(REAL_DATA)


if __name__ == "__main__":
    main()
