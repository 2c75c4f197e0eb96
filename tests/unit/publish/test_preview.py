"""The pictures for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cryodaq.domain.results import AlignmentResult, CtfResult, MotionStatistics, PickResult
from cryodaq.publish.lettering import shortened, text_width_px
from cryodaq.publish.preview import PANEL_PX, TILE_PX, PanelContent, draw_panel, draw_thumbnail, write_jpeg
from cryodaq.testing.seeded_ledger import example_fit

GREEN = (88, 224, 164)


@pytest.fixture
def content() -> PanelContent:
    """A grey micrograph of 1200 x 900 px, reduced to 300 x 225, with one particle."""
    return PanelContent(
        run_name="movie_0001",
        micrograph=np.full((225, 300), 120, np.uint8),
        reduction=4.0,
        align=AlignmentResult(
            micrograph="/x",
            micrograph_dose_weighted="/x",
            unaligned_sum="/x",
            pixel_size_ang=2.0,
            frame_count=3,
            shape_yx=(900, 1200),
            motion=MotionStatistics(
                displacement_px_xy=((0, 0), (1, 0), (2, 0)), total_ang=4.0, early_ang=2.0, late_ang=2.0
            ),
            hot_pixels=0,
            mean_counts_per_px_frame=1.0,
            gain_applied=True,
            seconds=1.0,
            engine="native",
        ),
        ctf=CtfResult(
            aligned=example_fit(),
            unaligned=example_fit(),
            spectrum="",
            spectrum_unaligned=None,
            seconds=1.0,
            engine="native",
        ),
        pick=PickResult(coordinates="", count=1, masked_fraction=0.0, diameter_ang=200.0, seconds=1.0, engine="native"),
        picks_xy=[(600.0, 450.0)],
        spectrum=None,
        spectrum_unaligned=None,
    )


def greens(panel: Image.Image) -> np.ndarray:
    """Return (y, x) of the pixels in the colour of picks."""
    pixels = np.asarray(panel).astype(int)
    return np.argwhere(np.abs(pixels - np.array(GREEN)).sum(axis=2) < 60)


def test_a_pick_is_drawn_around_its_place_at_its_size(content: PanelContent) -> None:
    found = greens(draw_panel(content))
    scale = TILE_PX / 1200
    centre = (found.max(axis=0) + found.min(axis=0)) / 2
    assert centre == pytest.approx([450 * scale, 600 * scale], abs=2)
    assert np.ptp(found[:, 1]) == pytest.approx(200 / 2.0 * scale, abs=4)


def test_picks_are_only_in_the_upper_left_tile(content: PanelContent) -> None:
    found = greens(draw_panel(content))
    assert len(found) > 20
    assert (found < TILE_PX).all()


def test_spectra_fill_the_right_half(content: PanelContent, tmp_path: Path) -> None:
    Image.new("L", (64, 64), 200).save(tmp_path / "after.png")
    Image.new("L", (64, 64), 90).save(tmp_path / "before.png")
    panel = draw_panel(replace(content, spectrum=tmp_path / "after.png", spectrum_unaligned=tmp_path / "before.png"))
    middle_x = PANEL_PX - TILE_PX // 2
    assert panel.getpixel((middle_x, TILE_PX // 2)) == (90, 90, 90)
    assert panel.getpixel((middle_x, PANEL_PX - TILE_PX // 2)) == (200, 200, 200)


def test_a_movie_without_a_fit_says_so_in_another_colour(content: PanelContent) -> None:
    fitted = np.asarray(draw_panel(content))
    unfitted = draw_panel(replace(content, ctf=replace(content.ctf, aligned=example_fit(fitted=False))))
    warm = np.asarray(unfitted).astype(int)
    corner = (slice(PANEL_PX - 60, PANEL_PX), slice(TILE_PX, PANEL_PX))
    assert ((warm[corner][..., 0] - warm[corner][..., 2]) > 90).sum() > 50
    assert ((fitted[corner].astype(int)[..., 0] - fitted[corner].astype(int)[..., 2]) > 90).sum() == 0


def test_a_movie_without_picking_has_no_circles(content: PanelContent) -> None:
    assert len(greens(draw_panel(replace(content, pick=None, picks_xy=())))) == 0


def test_a_long_name_keeps_both_ends_and_fits() -> None:
    name = "FoilHole_5330585_Data_5338216_5338218_20261122_170045" * 3
    short = shortened(name, size_px=17, width_px=400)
    assert text_width_px(short, size_px=17) <= 400
    assert short.startswith("FoilHole_")
    assert short.endswith("170045")


def test_thumbnail_and_panel_are_written_whole(content: PanelContent, tmp_path: Path) -> None:
    write_jpeg(tmp_path / "p.jpg", draw_panel(content))
    write_jpeg(tmp_path / "t.jpg", draw_thumbnail(content.micrograph))
    with Image.open(tmp_path / "p.jpg") as panel, Image.open(tmp_path / "t.jpg") as small:
        assert panel.size == (PANEL_PX, PANEL_PX)
        assert max(small.size) <= 320
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jpg", "t.jpg"]
