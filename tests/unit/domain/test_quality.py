"""Numbers by which micrographs are judged, and what makes a fitted CTF unbelievable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryodaq.domain.quality import ctf_doubts, picks_per_um2, relative_ice_thickness
from cryodaq.domain.results import CtfFit

SOUND = CtfFit(
    fitted=True,
    defocus_u_ang=15_200.0,
    defocus_v_ang=14_800.0,
    defocus_angle_deg=30.0,
    phase_shift_deg=0.0,
    score=0.18,
    fit_resolution_ang=3.5,
)


def test_nothing_speaks_against_a_good_fit() -> None:
    assert ctf_doubts(SOUND, aliased_from_ang=6.0, searched_ang=(1_000.0, 50_000.0)) == ()


def test_an_empty_pictures_fit_is_doubted_however_fine_it_claims_to_be() -> None:
    assert ctf_doubts(replace(SOUND, score=0.017, fit_resolution_ang=5.2)) == ("the score 0.017 is below 0.03",)


def test_a_weak_fit_is_believed_where_the_box_shows_the_rings_and_doubted_beyond() -> None:
    weak = replace(SOUND, score=0.06, fit_resolution_ang=5.0)
    assert ctf_doubts(weak) == ()
    assert ctf_doubts(weak, aliased_from_ang=4.5) == ()
    assert "aliased from 9.3 Å" in ctf_doubts(weak, aliased_from_ang=9.3)[0]


@pytest.mark.parametrize("field", ["defocus_u_ang", "defocus_angle_deg", "score", "fit_resolution_ang"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_fit(field: str, value: float) -> None:
    assert ctf_doubts(replace(SOUND, **{field: value})) == ("the program gave no numbers",)


@pytest.mark.parametrize("resolution_ang", [0.0, -1.0, 25.0])
def test_rings_that_end_at_once_are_no_rings(resolution_ang: float) -> None:
    assert len(ctf_doubts(replace(SOUND, fit_resolution_ang=resolution_ang))) == 1


@pytest.mark.parametrize("defocus_ang", [1_000.0, 50_000.0])
def test_a_defocus_at_the_limit_of_the_search_was_not_found(defocus_ang: float) -> None:
    stuck = replace(SOUND, defocus_u_ang=defocus_ang, defocus_v_ang=defocus_ang)
    assert "limit of the search" in ctf_doubts(stuck, searched_ang=(1_000.0, 50_000.0))[0]


def test_picks_are_counted_on_the_area_that_is_not_masked() -> None:
    whole = picks_per_um2(200, shape_yx=(4000, 5000), pixel_size_ang=1.0)
    assert whole == pytest.approx(200 / 0.2)
    assert picks_per_um2(200, shape_yx=(4000, 5000), pixel_size_ang=1.0, masked_fraction=0.5) == pytest.approx(
        2 * whole
    )
    assert picks_per_um2(0, shape_yx=(4000, 5000), pixel_size_ang=1.0, masked_fraction=1.0) == 0


def test_ice_that_halves_the_counts_is_as_thick_as_two_layers_of_half_the_logarithm() -> None:
    thin, thick = (
        relative_ice_thickness(counts, dose_per_frame_e_ang2=1.0, pixel_size_ang=2.0) for counts in (2.0, 1.0)
    )
    assert thin is not None
    assert thick == pytest.approx(2 * thin)
    assert relative_ice_thickness(0.0, dose_per_frame_e_ang2=1.0, pixel_size_ang=2.0) is None
