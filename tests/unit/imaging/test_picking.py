"""Picking on micrographs whose particles are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist, pdist

from cryodaq.errors import ImagingError
from cryodaq.imaging.picking import PickOptions, pick_particles

SCALE = {"pixel_size_ang": 2.0, "diameter_ang": 120.0}
SIZE_PX = 1024
RADIUS_PX = 30


def scattered(rng, count: int, *, keep_out=None) -> np.ndarray:
    """(particle, xy), no two overlapping, the whole particle inside."""
    places: list[np.ndarray] = []
    while len(places) < count:
        place = rng.uniform(RADIUS_PX + 5, SIZE_PX - RADIUS_PX - 5, 2)
        free = all(np.hypot(*(place - other)) > 2.2 * RADIUS_PX for other in places)
        if free and (keep_out is None or not keep_out[int(place[1]), int(place[0])]):
            places.append(place)
    return np.array(places).reshape(-1, 2)


def micrograph(rng, places, *, depth=0.5, hollow=0.0, dirt=None) -> np.ndarray:
    """Counting noise of 1 per pixel; a particle in the middle is `depth` darker."""
    picture = np.zeros((SIZE_PX, SIZE_PX))
    for place in places:
        left, top = (max(0, int(n) - RADIUS_PX - 2) for n in place)
        y, x = np.ogrid[top : top + 2 * RADIUS_PX + 5, left : left + 2 * RADIUS_PX + 5]
        distance = np.hypot(x - place[0], y - place[1]) / RADIUS_PX
        thickness = np.sqrt(np.clip(1 - distance**2, 0, None)) - np.sqrt(np.clip(hollow**2 - distance**2, 0, None))
        picture[y, x] -= depth * thickness
    if dirt is not None:
        picture -= dirt
    slope = 0.3 * np.add.outer(np.arange(SIZE_PX), np.arange(SIZE_PX)) / SIZE_PX
    return (100 + slope + picture + rng.normal(size=picture.shape)).astype(np.float32)


def found_share(picks, places) -> tuple[float, float]:
    """Precision and recall of picks within half a radius."""
    if not len(picks.scores):
        return 0.0, 0.0
    near = cdist(picks.coordinates_px_xy, places).min(axis=1) < RADIUS_PX / 2
    return near.mean(), near.sum() / len(places)


@pytest.mark.parametrize(("seed", "depth", "hollow"), [(1, 1.0, 0.0), (2, 0.3, 0.0), (3, 1.0, 0.7), (4, 8.0, 0.0)])
def test_particles_are_found_where_they_are(seed, depth, hollow) -> None:
    rng = np.random.default_rng(seed)
    places = scattered(rng, 60)
    picks = pick_particles(micrograph(rng, places, depth=depth, hollow=hollow), **SCALE)
    precision, recall = found_share(picks, places)
    assert precision > 0.95
    assert recall > 0.9
    assert (np.diff(picks.scores) <= 0).all()


def test_coordinates_are_x_then_y_of_the_full_micrograph() -> None:
    rng = np.random.default_rng(5)
    places = np.array([[700.0, 200.0], [300.0, 800.0], [512.0, 500.0], [120.0, 130.0]])
    picks = pick_particles(micrograph(rng, places, depth=3.0), **SCALE)
    assert picks.coordinates_px_xy.shape == (4, 2)
    assert cdist(picks.coordinates_px_xy, places).min(axis=1).max() < 2.5


@pytest.mark.parametrize("seed", [6, 7, 8])
def test_empty_ice_has_next_to_no_picks(seed) -> None:
    rng = np.random.default_rng(seed)
    clouds = 20 * gaussian_filter(rng.normal(size=(SIZE_PX, SIZE_PX)), 60)
    picks = pick_particles(micrograph(rng, [], dirt=clouds), **SCALE)
    assert len(picks.scores) <= 3


def test_picks_keep_their_distance() -> None:
    rng = np.random.default_rng(9)
    picks = pick_particles(micrograph(rng, scattered(rng, 80)), **SCALE)
    assert pdist(picks.coordinates_px_xy).min() >= 0.6 * 2 * RADIUS_PX
    assert picks.coordinates_px_xy.min() >= RADIUS_PX - 3
    assert picks.coordinates_px_xy.max() <= SIZE_PX - RADIUS_PX + 3


def test_nothing_is_picked_on_carbon_but_all_beside_it() -> None:
    rng = np.random.default_rng(10)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    carbon = np.hypot(x - 1700, y - 500) < 1000
    places = scattered(rng, 40, keep_out=np.hypot(x - 1700, y - 500) < 1080)
    grain = carbon * (3 + 3 * gaussian_filter(rng.normal(size=carbon.shape), 3) * 6)
    picks = pick_particles(micrograph(rng, places, dirt=gaussian_filter(grain, 2)), **SCALE)
    precision, recall = found_share(picks, places)
    assert precision > 0.95
    assert recall > 0.9
    assert picks.masked_fraction == pytest.approx(carbon.mean(), abs=0.1)
    assert picks.mask.mean() == pytest.approx(picks.masked_fraction)


def test_ice_crystals_are_masked() -> None:
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    crystals = sum(5.0 * (np.hypot(x - cx, y - cy) < r) for cx, cy, r in [(300, 300, 90), (800, 650, 60)])
    places = scattered(rng, 40, keep_out=gaussian_filter(crystals, 30) > 0.02)
    picks = pick_particles(micrograph(rng, places, dirt=crystals), **SCALE)
    precision, recall = found_share(picks, places)
    assert precision > 0.95
    assert recall > 0.8
    assert 0 < picks.masked_fraction < 0.25


def test_a_site_can_ask_for_fewer_picks() -> None:
    rng = np.random.default_rng(12)
    picture = micrograph(rng, scattered(rng, 40), depth=0.5)
    strict = pick_particles(picture, options=PickOptions(least_score=1e3), **SCALE)
    assert strict.coordinates_px_xy.shape == (0, 2)


@pytest.mark.parametrize(
    ("picture", "scale", "sentence"),
    [
        (np.ones((256, 256)), SCALE, "every pixel is 1"),
        (np.full((256, 256), np.nan), SCALE, "NaN"),
        (np.where(np.eye(256) > 0, -np.inf, 1), SCALE, "256 of the micrograph's 65,536 pixels"),
        (np.ones(256), SCALE, "axes"),
        (np.indices((280, 280)).sum(axis=0) % 2, SCALE, "much finer"),
        (np.eye(256), {"pixel_size_ang": 2.0, "diameter_ang": 3.0}, "correct the diameter"),
        (np.eye(256), {"pixel_size_ang": 2.0, "diameter_ang": 900.0}, "correct the diameter"),
        (np.eye(256), {"pixel_size_ang": 2.0, "diameter_ang": np.nan}, "correct the diameter"),
        (np.eye(256), {"pixel_size_ang": 0.0, "diameter_ang": 100.0}, "pixel size"),
    ],
)
def test_what_cannot_be_picked_is_refused(picture, scale, sentence) -> None:
    with pytest.raises(ImagingError, match=sentence):
        pick_particles(picture, **scale)


def test_particles_between_crystals_and_carbon_are_found() -> None:
    rng = np.random.default_rng(13)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    crystals = sum(6.0 * (np.hypot(x - cx, y - cy) < r) for cx, cy, r in [(560, 300, 80), (700, 800, 50)])
    dirt = crystals + 5.0 * (x < 250)
    places = scattered(rng, 50, keep_out=gaussian_filter(dirt, 40) > 0.05)
    picks = pick_particles(micrograph(rng, places, dirt=dirt), **SCALE)
    precision, recall = found_share(picks, places)
    assert precision > 0.95
    assert recall > 0.85
    on_dirt = dirt[tuple(np.rint(picks.coordinates_px_xy[:, ::-1]).astype(int).T)] > 0
    assert not on_dirt.any()


@pytest.mark.parametrize("count", [3, 12, 110])
def test_neither_few_nor_many_particles_are_taken_for_dirt(count) -> None:
    rng = np.random.default_rng(count)
    places = scattered(rng, count)
    picks = pick_particles(micrograph(rng, places, depth=2.0), **SCALE)
    assert picks.masked_fraction < 0.05
    precision, recall = found_share(picks, places)
    assert precision > 0.9
    assert recall > 0.9


@pytest.mark.parametrize("seed", [14, 15])
def test_ice_that_is_slowly_thicker_is_no_dirt(seed) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    thicker = 2.0 * np.exp(-((x - 300) ** 2 + (y - 700) ** 2) / (2 * 250.0**2))
    places = scattered(rng, 70)
    picks = pick_particles(micrograph(rng, places, depth=0.7, dirt=thicker), **SCALE)
    precision, recall = found_share(picks, places)
    assert picks.masked_fraction < 0.02
    assert precision > 0.95
    assert recall > 0.9


@pytest.mark.parametrize("change", [np.transpose, np.rot90, np.fliplr, lambda picture: 7 * picture - 300])
def test_picks_follow_the_micrograph_not_its_frame_or_units(change) -> None:
    rng = np.random.default_rng(16)
    places = scattered(rng, 40)
    picture = micrograph(rng, places, depth=0.8)
    numbered = np.zeros((SIZE_PX, SIZE_PX))
    straight = pick_particles(picture, **SCALE)
    changed = pick_particles(np.ascontiguousarray(change(picture)), **SCALE)
    x, y = np.rint(straight.coordinates_px_xy).astype(int).T
    numbered[y, x] = 1
    moved = np.argwhere((change(numbered) if change(numbered).min() == 0 else numbered) > 0)[:, ::-1]
    near = cdist(changed.coordinates_px_xy, moved).min(axis=1) < 4
    assert near.mean() > 0.95
    assert len(changed.scores) == pytest.approx(len(straight.scores), abs=2)


def test_where_crystals_cover_most_the_ice_between_them_is_picked() -> None:
    rng = np.random.default_rng(17)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    crystals = (6.0 + 3.0 * np.sin(x / 60)) * (y < 380) + 9.0 * (y > 800)
    clear = gaussian_filter(crystals, 20) < 0.02
    places = scattered(rng, 12, keep_out=~clear)
    picks = pick_particles(micrograph(rng, places, depth=1.0, dirt=crystals), **SCALE)
    precision, recall = found_share(picks, places)
    assert precision > 0.7
    assert recall > 0.8
    assert picks.masked_fraction > (crystals > 0).mean() - 0.05


def test_a_site_can_pick_up_to_the_edge() -> None:
    rng = np.random.default_rng(18)
    places = np.array([[RADIUS_PX - 10.0, 500.0], [500.0, RADIUS_PX - 10.0], [500.0, 400.0]])
    picks = pick_particles(micrograph(rng, places, depth=3.0), options=PickOptions(edge_distance=0.0), **SCALE)
    assert cdist(picks.coordinates_px_xy, places).min(axis=0).max() < RADIUS_PX / 2


def test_narrow_particles_are_picked_in_their_middle() -> None:
    rng = np.random.default_rng(19)
    places = np.rint(scattered(rng, 40))
    rods = np.zeros((SIZE_PX, SIZE_PX))
    y, x = np.mgrid[-RADIUS_PX : RADIUS_PX + 1, -RADIUS_PX : RADIUS_PX + 1]
    for column, row in places.astype(int):
        turn = rng.uniform(0, np.pi)
        along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
        rod = np.sqrt(np.clip(1 - (along**2 + 4 * across**2) / RADIUS_PX**2, 0, None))
        rods[row - RADIUS_PX : row + RADIUS_PX + 1, column - RADIUS_PX : column + RADIUS_PX + 1] += rod
    picks = pick_particles(micrograph(rng, [], dirt=rods), pixel_size_ang=2.0, diameter_ang=135.0)
    away = cdist(places, picks.coordinates_px_xy).min(axis=1)
    assert np.median(away) < 0.1 * RADIUS_PX
    assert np.mean(away < RADIUS_PX / 3) > 0.9
