"""The small plots are where the numbers are."""

from __future__ import annotations

import pytest

from cryodaq.ledger.gallery import Measurements, RecentMovie
from cryodaq.web.plots import HEIGHT, WIDTH, strips, track


def movies(*resolutions: float | None) -> list[RecentMovie]:
    """Return movies with these fit resolutions."""
    return [
        RecentMovie(id=index, run_name=f"m{index}", measured=Measurements(fit_resolution_ang=value))
        for index, value in enumerate(resolutions)
    ]


def test_larger_numbers_are_higher_and_order_is_kept() -> None:
    (strip,) = strips(movies(3.0, 5.0, 4.0))
    assert strip.title == "Fit resolution"
    assert strip.median == 4.0
    assert [point.x for point in strip.points] == sorted(point.x for point in strip.points)
    low, high, middle = (point.y for point in strip.points)
    assert low > middle > high
    assert strip.median_y == middle


def test_a_movie_without_the_number_leaves_its_place_empty() -> None:
    (strip,) = strips(movies(3.0, None, 4.0))
    assert [point.title for point in strip.points] == ["m0: 3.0 Å", "m2: 4.0 Å"]
    assert strip.points[1].x == pytest.approx(WIDTH - 4)


def test_one_wild_value_does_not_flatten_the_others() -> None:
    (strip,) = strips(movies(*([3.0, 4.0] * 60), 900.0))
    assert strip.high < 10
    assert all(0 <= point.y <= HEIGHT for point in strip.points)


def test_equal_values_lie_in_the_middle() -> None:
    (strip,) = strips(movies(4.0, 4.0))
    assert strip.points[0].y == pytest.approx(HEIGHT / 2, abs=1)


def test_nothing_measured_is_no_plot() -> None:
    assert strips(movies(None, None)) == []
    assert strips([]) == []


def test_the_track_keeps_its_shape_and_its_scale() -> None:
    found = track([(0.0, 0.0), (10.0, 0.0), (10.0, 5.0)], pixel_size_ang=2.0)
    assert found is not None
    (x0, y0), (x1, y1), (x2, y2) = found.points
    assert (y1 - y0, x2 - x1) == (0, 0)
    assert (x1 - x0) == pytest.approx(2 * (y2 - y1), abs=0.2)
    assert found.bar_units / found.bar_ang == pytest.approx((x1 - x0) / 20.0, rel=0.01)


def test_a_movie_that_does_not_move_has_a_track_too() -> None:
    found = track([(0.0, 0.0)] * 3, pixel_size_ang=1.0)
    assert found is not None
    assert found.points == ((100.0, 100.0),) * 3
    assert track([(0.0, 0.0)], pixel_size_ang=1.0) is None
