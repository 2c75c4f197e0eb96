"""Exposures with one shift of the beam find each other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cryodaq.formats.metadata import read_metadata
from cryodaq.publish.beam_shifts import Pattern, area_of, group_beam_shifts


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


def collected(shifts: list[tuple[float, float]], areas: list[str]) -> tuple[Pattern, list[str]]:
    """Return what is known at the end, and each exposure's group as it was told when it came; empty: none."""
    pattern, names = Pattern(), []
    for number, (shift, area) in enumerate(zip(shifts, areas, strict=True), start=1):
        if not pattern.has_places(area):
            pattern = pattern.one_more()
            if pattern.is_to_be_looked_for:
                pattern = pattern.looked(shifts[:number], areas=areas[:number])
        pattern, place = pattern.placed(shift, area=area)
        names.append("" if place is None else place.name)
    return pattern, names


@pytest.mark.parametrize("scatter", [0.0005, 0.004])
def test_while_it_is_collected_a_pattern_is_found_early_and_kept(scatter: float) -> None:
    shifts, which = places(2_000, scatter=scatter, seed=13)
    pattern, names = collected(shifts, [""] * len(shifts))
    told = [(name, place) for name, place in zip(names, which, strict=True) if name]
    assert names.index(told[0][0]) < 80
    assert len(told) > 1_900
    assert len(set(told)) == len(pattern.places) == 9


def test_places_that_come_late_open_new_groups_and_change_no_other() -> None:
    random = np.random.default_rng(14)
    first = [(0.1 * (number % 2), 0.0) for number in range(40)]
    later = [(0.1 * (number % 3), 0.05) for number in range(30)]
    shifts = [(x + random.normal(0, 5e-4), y + random.normal(0, 5e-4)) for x, y in first + later]
    _, names = collected(shifts, [""] * len(shifts))
    assert set(names[20:40]) == {"beamShift001", "beamShift002"}
    assert set(names[40:]) == {"beamShift003", "beamShift004", "beamShift005"}


def test_areas_of_one_shift_each_are_groups_where_they_are_far_apart() -> None:
    random = np.random.default_rng(16)
    shifts = [(0.1 * (number % 2) + float(random.normal(0, 1e-3)), 0.0) for number in range(40)]
    _, names = collected(shifts, [str(number % 2) for number in range(40)])
    assert set(names[-10:]) == {"beamShift001", "beamShift002"}


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_shifts_without_places_are_never_told_apart(spread: float) -> None:
    random = np.random.default_rng(15)
    shifts = [(float(x), float(y)) for x, y in random.normal(0, spread, (3_000, 2))]
    assert set(collected(shifts, [""] * len(shifts))[1]) == {""}


def test_a_real_afis_session_is_told_apart_while_it_is_collected(shared_data: Path) -> None:
    files = [
        file for file in (shared_data / "epu/afis_epu2.6.0_falcon3").rglob("*.xml") if "Fractions" not in file.name
    ]
    found = sorted((read_metadata(file)[0].acquired_at or "", file) for file in files)
    shifts = [read_metadata(file)[0].beam_shift_xy or (0.0, 0.0) for _, file in found]
    areas = [area_of(file.stem) for _, file in found]
    _, names = collected(shifts * 3, areas * 3)
    everyone = group_beam_shifts(shifts, areas=areas) * 3
    told = {(name, group) for name, group in zip(names, everyone, strict=True) if name}
    assert names.index("beamShift001") < 80
    assert len({name for name, _ in told}) == len({group for _, group in told}) == len(told) == 30
