"""Topaz and RELION themselves, against the hand picks of real micrographs of apoferritin."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.engines import catalogue
from cryodaq.engines.program import ProgramSettings
from cryodaq.formats.mrc import write_micrograph
from cryodaq.formats.star import read_star

NEAR_PX = 20


@pytest.mark.parametrize(
    ("name", "executable", "least_f1"), [("topaz", "topaz", 0.5), ("relion", "relion_autopick", 0.25)]
)
def test_real_picks_are_where_people_pick(
    shared_data: Path,
    tmp_path: Path,
    folder: Path,
    parameters: ImagingParameters,
    name: str,
    executable: str,
    least_f1: float,
) -> None:
    if shutil.which(executable) is None:
        pytest.skip(f"{executable} is not installed: its adapter is tried against it only where it is")
    place = shared_data / "micrographs/apoferritin_empiar10146"
    picture = sorted((place / "avg").glob("*.png"))[0]
    with Image.open(picture) as opened:
        array = np.asarray(opened, np.float32)
    micrograph = tmp_path / "apoferritin.mrc"
    write_micrograph(micrograph, array, pixel_size_ang=1.5)
    with (place / "ground_truth_coords" / picture.name.replace(".bin_avg.png", ".csv")).open() as handle:
        by_hand = [(float(row[0]), float(row[1])) for row in csv.reader(handle) if row[0][:1].isdigit()]
    right = replace(
        parameters,
        pixel_size_ang=replace(parameters.pixel_size_ang, value=1.5),
        particle_diameter_ang=replace(parameters.particle_diameter_ang, value=125.0),
    )
    engine = catalogue.particle_picking(name, ProgramSettings(gpus=(), timeout_s=100))
    result = engine.pick(micrograph, parameters=right, folder=folder)
    table = next(iter(read_star(Path(result.coordinates)).values()))
    picked = np.array([table["rlnCoordinateX"], table["rlnCoordinateY"]], float).T
    found = harmonic_mean(picked, np.array(by_hand))
    turned = harmonic_mean(np.stack([picked[:, 0], array.shape[0] - 1 - picked[:, 1]], axis=1), np.array(by_hand))
    assert found > least_f1
    assert found > 1.3 * turned


def harmonic_mean(picked: np.ndarray, by_hand: np.ndarray) -> float:  # type: ignore[type-arg]
    """F1 of picks within `NEAR_PX` of what people picked."""
    precision = (cKDTree(by_hand).query(picked)[0] < NEAR_PX).mean()
    recall = (cKDTree(picked).query(by_hand)[0] < NEAR_PX).mean()
    return float(2 * precision * recall / (precision + recall + 1e-9))
