"""Picking on real micrographs, against people's picks and masks."""

from __future__ import annotations

import csv
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from cryodaq.imaging.picking import pick_particles

MICROGRAPHS = Path(__file__).parents[4] / "shared/data/micrographs"
HAND_PICKED = MICROGRAPHS / "apoferritin_empiar10146"
CRYSTAL = MICROGRAPHS / "ice_contamination"
REACH_PX = 20

pytestmark = pytest.mark.skipif(
    not MICROGRAPHS.exists(), reason="the real micrographs lie in ../shared/data, which is not here"
)


@pytest.mark.parametrize("diameter_ang", [110.0, 125.0, 140.0])
def test_apoferritin_is_picked_like_by_hand(diameter_ang) -> None:
    scores, masked = [], []
    for path in sorted((HAND_PICKED / "ground_truth_coords").glob("*.csv")):
        with path.open() as rows:
            by_hand = np.array([[float(row["x_px"]), float(row["y_px"])] for row in csv.DictReader(rows)])
        picture = np.asarray(Image.open(HAND_PICKED / "avg" / f"{path.stem}.bin_avg.png"), dtype=np.float32)
        picks = pick_particles(picture, pixel_size_ang=1.5, diameter_ang=diameter_ang)
        distances = cdist(picks.coordinates_px_xy, by_hand)
        rows, columns = linear_sum_assignment(np.minimum(distances, REACH_PX))
        matched = int((distances[rows, columns] < REACH_PX).sum())
        scores.append(2 * matched / (len(picks.scores) + len(by_hand)))
        masked.append(picks.masked_fraction)
    assert len(scores) == 9
    assert np.mean(scores) > 0.8
    assert np.mean(masked) < 0.12


@pytest.mark.parametrize("diameter_px", [20.0, 30.0, 45.0])
def test_an_ice_crystal_is_avoided(diameter_px) -> None:
    picture = mrcfile.read(CRYSTAL / "Ucsf_stack_1142_DW.mrc")
    dirt = mrcfile.read(CRYSTAL / "Ucsf_stack_1142_DW_mask.mrc") > 0.5
    picks = pick_particles(picture, pixel_size_ang=1.0, diameter_ang=diameter_px)
    x, y = np.rint(picks.coordinates_px_xy).astype(int).T
    assert dirt[y, x].sum() <= 0.05 * max(len(x), 20)
