"""Micrographs and spectra of others, with what their makers found, where the folder of real data is at hand."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray
from PIL import Image

REAL_DATA = Path(__file__).parents[2] / "shared/data/micrographs"


@dataclass(frozen=True, kw_only=True)
class PublishedFit:
    """CTF of beta-galactosidase (RELION's tutorial, EMPIAR-10204), fitted by others."""

    spectrum: NDArray[np.float32]
    defocus_u_ang: float
    defocus_v_ang: float
    angle_deg: float


@dataclass(frozen=True, kw_only=True)
class HandPicked:
    """Apoferritin (EMPIAR-10146), 1.5 Å/px, picked by a person."""

    micrograph: NDArray[np.float32]
    particles_px_xy: NDArray[np.float64]  # (particle, xy)


def published_fits(data: Path) -> Iterator[PublishedFit]:
    """Spectra of 1.39955 Å/px, 200 kV, 1.4 mm, with the fits that came with them."""
    folder = data / "bgal_powerspectra"
    table = (folder / "reference_em-testdata_micrographs_ctf.star").read_text().splitlines()
    rows = [line.split() for line in table if line.startswith("MotionCorr/")]
    fits = {Path(row[0]).stem: (float(row[3]), float(row[4]), float(row[6])) for row in rows}
    for path in sorted(folder.glob("*_PS.mrc")):
        u, v, angle = fits[path.stem.removesuffix("_PS")]
        spectrum = mrcfile.read(path).squeeze()
        yield PublishedFit(spectrum=spectrum, defocus_u_ang=u, defocus_v_ang=v, angle_deg=angle)


def counted_frame(data: Path) -> NDArray[np.float32]:
    """4096² of 0.66655 Å/px, 300 kV, 2.7 mm; other programs say 27,170 Å."""
    return np.asarray(mrcfile.read(data / "falcon3_epu2.9/epu2.9_example.mrc"), np.float32)


def hand_picked(data: Path) -> Iterator[HandPicked]:
    folder = data / "apoferritin_empiar10146"
    for path in sorted((folder / "ground_truth_coords").glob("*.csv")):
        with path.open() as rows:
            places = np.array([[float(row["x_px"]), float(row["y_px"])] for row in csv.DictReader(rows)])
        picture = np.asarray(Image.open(folder / "avg" / f"{path.stem}.bin_avg.png"), np.float32)
        yield HandPicked(micrograph=picture, particles_px_xy=places)
