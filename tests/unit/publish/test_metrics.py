"""The numbers that the elogbook keeps with a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cryodaq.domain.results import AlignmentResult, CtfResult, MotionStatistics, PickResult
from cryodaq.publish.metrics import run_params
from cryodaq.testing.seeded_ledger import example_fit

PICK = PickResult(coordinates="/x", count=212, masked_fraction=0.02, diameter_ang=160.0, seconds=1.0, engine="native")


def alignment() -> AlignmentResult:
    """Return steps of 2, 2 and 1 px at 1.5 Å/px."""
    return AlignmentResult(
        micrograph="/x",
        micrograph_dose_weighted="/x",
        unaligned_sum="/x",
        pixel_size_ang=1.5,
        frame_count=4,
        shape_yx=(64, 64),
        motion=MotionStatistics(
            displacement_px_xy=((0, 0), (2, 0), (2, 2), (3, 2)), total_ang=7.5, early_ang=6.0, late_ang=1.5
        ),
        hot_pixels=0,
        mean_counts_per_px_frame=1.0,
        gain_applied=True,
        seconds=1.0,
        engine="native",
    )


def ctf(**fits: object) -> CtfResult:
    """Return a CTF result without pictures."""
    values = {"aligned": example_fit(resolution_ang=4.0), "unaligned": example_fit(resolution_ang=8.0), **fits}
    return CtfResult(**values, spectrum="/x", spectrum_unaligned=None, seconds=1.0, engine="native")  # type: ignore[arg-type]  # fits by name


def test_drift_is_the_mean_step_over_the_first_frames() -> None:
    params = run_params(alignment(), ctf(), pick=PICK, preview="a.jpg")
    assert params["aligned_first1"] == 3.0
    assert params["aligned_first3"] == 2.5
    assert params["aligned_all"] == 2.5
    assert params["aligned_total_motion"] == 7.5


def test_resolution_performance_is_nyquist_over_resolution() -> None:
    params = run_params(alignment(), ctf(), pick=PICK, preview="a.jpg")
    assert params["aligned_resolution_performance"] == pytest.approx(2 * 1.5 / 4.0)
    assert params["unaligned_resolution_performance"] == pytest.approx(2 * 1.5 / 8.0)


def test_ice_and_counts_are_kept_with_the_run_where_they_were_measured() -> None:
    known = run_params(replace(alignment(), relative_ice_thickness=0.25), ctf(), pick=PICK, preview="a.jpg")
    assert (known["aligned_mean_counts"], known["aligned_relative_ice_thickness"]) == (1.0, 0.25)
    ringed = replace(example_fit(resolution_ang=4.0), ice_ring_ratio=1.75)
    assert run_params(alignment(), ctf(aligned=ringed), pick=PICK, preview="a.jpg")["aligned_ice_ring"] == 1.75
    assert "aligned_relative_ice_thickness" not in run_params(alignment(), ctf(), pick=PICK, preview="a.jpg")


def test_where_no_ctf_was_found_there_are_no_numbers() -> None:
    params = run_params(alignment(), ctf(aligned=example_fit(fitted=False), unaligned=None), pick=None, preview="a.jpg")
    assert params["aligned_ctf_fitted"] is False
    assert not [key for key in params if "defocus" in key or "resolution" in key or key.startswith("unaligned_")]
    assert "aligned_particles" not in params


def test_the_params_are_flat_and_plain() -> None:
    params = run_params(alignment(), ctf(), pick=PICK, preview="a.jpg")
    assert json.loads(json.dumps(params)) == params
    assert not [value for value in params.values() if isinstance(value, dict | list)]
    assert params["aligned_particles"] == 212
    assert params["preview"] == "a.jpg"
