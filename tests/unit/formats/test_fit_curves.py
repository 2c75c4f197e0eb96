"""CTF curves as JSON: what was measured comes back, and what is no number is said to be none."""

from __future__ import annotations

import json
from pathlib import Path

from cryodaq.domain.results import CtfFit, FitCurve
from cryodaq.formats.fit_curves import write_fit_curves

FIT = CtfFit(
    fitted=True,
    defocus_u_ang=15200.0,
    defocus_v_ang=14800.0,
    defocus_angle_deg=30.0,
    phase_shift_deg=0.0,
    score=0.4,
    fit_resolution_ang=3.6,
)
CURVE = FitCurve(
    frequency_per_ang=(0.1, 0.2), experimental=(0.123456789, float("nan")), fitted=(0.0, 1.0), correlation=(1.0, -1.0)
)


def test_fits_and_curves_of_both_sums_are_written(tmp_path: Path) -> None:
    write_fit_curves(tmp_path / "ctf.json", aligned=(FIT, CURVE), unaligned=(FIT, None))
    read = json.loads((tmp_path / "ctf.json").read_text())
    assert read["aligned"]["curve"] == {
        "frequency_per_ang": [0.1, 0.2],
        "experimental": [0.12346, None],
        "fitted": [0.0, 1.0],
        "correlation": [1.0, -1.0],
    }
    assert read["aligned"]["fit"]["fitted"] is True
    assert read["aligned"]["fit"]["defocus_u_ang"] == 15200.0
    assert read["aligned"]["fit"]["ice_ring_ratio"] is None
    assert read["unaligned"]["curve"] is None


def test_a_sum_that_was_not_fitted_is_null(tmp_path: Path) -> None:
    write_fit_curves(tmp_path / "ctf.json", aligned=(FIT, CURVE), unaligned=None)
    assert json.loads((tmp_path / "ctf.json").read_text())["unaligned"] is None
