"""The plots are where the numbers are."""

from __future__ import annotations

import re

import pytest

from cryodaq.ledger.selection import Distribution, Probe
from cryodaq.web.plots import HEIGHT, WIDTH, panels, track


def spread(
    *probes: tuple[float, bool], inside: tuple[int, ...] = (2, 0), outside: tuple[int, ...] = (1, 1)
) -> Distribution:
    """Return a distribution of defocus, Å, between 10,000 and 20,000."""
    return Distribution(
        key="defocus_ang",
        median=15_000.0,
        low=10_000.0,
        high=20_000.0,
        inside=inside,
        outside=outside,
        probes=tuple(
            Probe(place=index / max(1, len(probes) - 1), is_in=is_in, value=value)
            for index, (value, is_in) in enumerate(probes)
        ),
    )


def dots(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)h0", path)]


def test_larger_numbers_are_higher_order_is_kept_and_units_are_the_shown_ones() -> None:
    (panel,) = panels([spread((10_000.0, True), (20_000.0, True), (15_000.0, False))], limits={})
    (x0, low), (x1, high) = dots(panel.dots_in)
    ((x2, middle),) = dots(panel.dots_out)
    assert x0 < x1 < x2
    assert low > middle > high
    assert (panel.median, panel.low, panel.high) == pytest.approx((1.5, 1.0, 2.0))


def test_values_beyond_the_range_lie_on_its_edge() -> None:
    (panel,) = panels([spread((90_000.0, True), (20_000.0, True))], limits={})
    (_, far), (_, edge) = dots(panel.dots_in)
    assert far == edge


def test_bars_stand_on_each_other_and_the_fullest_fills_the_height() -> None:
    (panel,) = panels([spread((15_000.0, True))], limits={"defocus_ang": (None, 15_000.0)})
    first, second = panel.bars
    assert first.in_height + first.out_height == pytest.approx(HEIGHT)
    assert first.out_y + first.out_height == pytest.approx(first.in_y)
    assert second.out_height == pytest.approx(HEIGHT / 3, abs=0.01)
    assert first.title == "1.00 to 1.50 µm: 2 in, 1 out"
    assert panel.limit_x == (WIDTH / 2,)
    assert panel.most == 3


def test_a_limit_beyond_the_range_is_not_drawn() -> None:
    (panel,) = panels([spread((15_000.0, True))], limits={"defocus_ang": (None, 99_000.0)})
    assert panel.limit_x == panel.limit_y == ()


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
