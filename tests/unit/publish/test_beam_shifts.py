"""Exposures with one shift of the beam find each other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cryodaq.formats.metadata import read_metadata
from cryodaq.publish.beam_shifts import area_of, group_beam_shifts


def places(count: int, *, scatter: float, seed: int) -> tuple[list[tuple[float, float]], list[int]]:
    """Return shifts around a 3 x 3 pattern, and which place each belongs to."""
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    which = random.integers(9, size=count)
    points = np.stack([which % 3, which // 3], axis=1) * 0.1 + random.normal(0, scatter, (count, 2))
    return [(float(x), float(y)) for x, y in points], which.tolist()


@pytest.mark.parametrize("scatter", [0.0, 0.001, 0.004])
def test_a_pattern_of_nine_holes_is_nine_groups(scatter: float) -> None:
    shifts, which = places(600, scatter=scatter, seed=11)
    names = group_beam_shifts(shifts, areas=[""] * len(shifts))
    assert len(set(names)) == 9
    assert len(set(zip(names, which, strict=True))) == 9


def test_shifts_without_a_pattern_are_one_group() -> None:
    shifts, _ = places(600, scatter=0.2, seed=12)
    assert set(group_beam_shifts(shifts, areas=[""] * len(shifts))) == {"beamShift001"}


def test_the_same_shift_throughout_is_one_group() -> None:
    assert set(group_beam_shifts([(0.1, 0.2)] * 40, areas=[""] * 40)) == {"beamShift001"}


def test_areas_are_told_apart_and_unknown_shifts_have_no_group() -> None:
    names = group_beam_shifts([(0.1, 0.2), None, (0.1, 0.2)], areas=["1", "1", "2"])
    assert names == ["beamShift001", "", "beamShift002"]


def test_a_real_afis_session_falls_into_three_areas_of_ten_shifts(shared_data: Path) -> None:
    files = sorted((shared_data / "epu/afis_epu2.6.0_falcon3").rglob("*.xml"))
    files = [file for file in files if "Fractions" not in file.name]
    shifts = [read_metadata(file)[0].beam_shift_xy for file in files]
    areas = [area_of(file.stem) for file in files]
    names = group_beam_shifts(shifts, areas=areas)
    assert Counter(areas) == {"5338216": 21, "5338284": 21, "5338300": 21}
    assert len(set(names)) == 30
    for name in set(names):
        near = np.array([shift for shift, other in zip(shifts, names, strict=True) if other == name])
        assert np.ptp(near, axis=0).max() < 0.02
