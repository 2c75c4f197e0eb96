"""Pictures for people: the 2 x 2 panel of one movie with its numbers, its micrograph, and a thumbnail.

micrograph with its particles | spectrum before alignment
aligned micrograph            | spectrum after alignment
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.domain.quality import drift_summary_ang
from cryodaq.domain.results import AlignmentResult, CtfFit, CtfResult, PickResult
from cryodaq.publish.lettering import INK, WARNING, draw_label, shortened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

TILE_PX = 600
GAP_PX = 6
PANEL_PX = 2 * TILE_PX + GAP_PX
THUMBNAIL_PX = 320
MICROGRAPH_PX = 1440
"""Longer side of the picture of the micrograph alone."""
_PAPER = (16, 20, 26)
_PICK = (88, 224, 164)
_LETTER_PX = 17
_MARGIN_PX = 14
_SCALE_BARS_NM = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelContent:
    """What one panel shows."""

    run_name: str
    micrograph: NDArray[np.uint8]
    """Aligned micrograph, contrast stretched and reduced; (y, x)."""
    reduction: float
    """Pixels of the micrograph in one pixel of `micrograph`."""
    align: AlignmentResult
    ctf: CtfResult
    pick: PickResult | None
    picks_xy: Sequence[tuple[float, float]]
    """Centres of particles in pixels of the micrograph."""
    spectrum: Path | None
    """Half-and-half picture of the aligned sum's spectrum; None where the engine left none."""
    spectrum_unaligned: Path | None


def draw_panel(content: PanelContent) -> Image:
    """Draw the 2 x 2 panel, RGB."""
    from PIL import Image, ImageDraw

    panel = Image.new("RGB", (PANEL_PX, PANEL_PX), _PAPER)
    far = TILE_PX + GAP_PX
    micrograph, scale = _micrograph_tile(content.micrograph)
    with_picks = micrograph.copy()
    _draw_picks(with_picks, content, scale=scale)
    panel.paste(with_picks, (0, 0))
    panel.paste(_spectrum_tile(content.spectrum_unaligned), (far, 0))
    panel.paste(micrograph, (0, far))
    panel.paste(_spectrum_tile(content.spectrum), (far, far))
    draw = ImageDraw.Draw(panel, "RGBA")
    _label_picks(draw, content)
    _label_motion(draw, content, corner=(0, far), scale=scale)
    _label_fit(draw, "before alignment", content.ctf.unaligned, corner=(far, 0))
    _label_fit(draw, "after alignment", content.ctf.aligned, corner=(far, far))
    return panel


def draw_thumbnail(micrograph: NDArray[np.uint8]) -> Image:
    """Draw the small picture of an aligned micrograph, grey."""
    from PIL import Image

    picture = Image.fromarray(micrograph, mode="L")
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    return picture


def draw_micrograph(micrograph: NDArray[np.uint8]) -> Image:
    """Draw the large picture of an aligned micrograph, grey, nothing over it."""
    from PIL import Image

    return Image.fromarray(micrograph, mode="L")


def write_jpeg(path: Path, picture: Image, *, quality: int = 86) -> None:
    """Write a picture beside its final name, then rename it."""
    part = path.with_name(f".{path.name}.part")
    picture.save(part, format="JPEG", quality=quality, optimize=True)
    part.replace(path)


def _micrograph_tile(micrograph: NDArray[np.uint8]) -> tuple[Image, float]:
    """Fit a picture into a tile; return it with the tile's pixels per pixel of the picture."""
    from PIL import Image

    rows, columns = micrograph.shape
    scale = TILE_PX / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    tile = Image.new("RGB", (TILE_PX, TILE_PX), _PAPER)
    picture = Image.fromarray(micrograph, mode="L").resize(size, Image.Resampling.LANCZOS)
    tile.paste(picture.convert("RGB"), (0, 0))
    return tile, scale


def _spectrum_tile(picture: Path | None) -> Image:
    from PIL import Image

    tile = Image.new("RGB", (TILE_PX, TILE_PX), _PAPER)
    if picture is not None and picture.is_file():
        with Image.open(picture) as opened:
            tile.paste(opened.convert("RGB").resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS), (0, 0))
    return tile


def _draw_picks(tile: Image, content: PanelContent, *, scale: float) -> None:
    from PIL import ImageDraw

    if content.pick is None:
        return
    draw = ImageDraw.Draw(tile, "RGBA")
    per_px = scale / content.reduction
    radius = max(3.0, content.pick.diameter_ang / content.align.pixel_size_ang / 2 * per_px)
    for x, y in content.picks_xy:
        at_x, at_y = (x + 0.5) * per_px, (y + 0.5) * per_px
        draw.ellipse((at_x - radius, at_y - radius, at_x + radius, at_y + radius), outline=(*_PICK, 230), width=2)


def _label_picks(draw: ImageDraw, content: PanelContent) -> None:
    name = shortened(content.run_name, size_px=_LETTER_PX, width_px=TILE_PX - 3 * _MARGIN_PX)
    count = "picking switched off" if content.pick is None else f"{content.pick.count:,} particles"
    draw_label(draw, name, xy=(_MARGIN_PX, _MARGIN_PX), size_px=_LETTER_PX)
    _bottom(draw, count, corner=(0, 0))


def _label_motion(draw: ImageDraw, content: PanelContent, *, corner: tuple[int, int], scale: float) -> None:
    align = content.align
    first = drift_summary_ang(align.motion.displacement_px_xy, pixel_size_ang=align.pixel_size_ang)["first1"]
    text = f"drift {align.motion.total_ang:.1f} Å, first step {first:.1f} Å"
    top = f"aligned, {align.frame_count} frames, {align.pixel_size_ang:.3f} Å/px"
    draw_label(draw, top, xy=(corner[0] + _MARGIN_PX, corner[1] + _MARGIN_PX), size_px=_LETTER_PX)
    _bottom(draw, text, corner=corner)
    _scale_bar(draw, align.pixel_size_ang * content.reduction / scale, corner=corner)


def _label_fit(draw: ImageDraw, title: str, fit: CtfFit | None, *, corner: tuple[int, int]) -> None:
    draw_label(draw, title, xy=(corner[0] + _MARGIN_PX, corner[1] + _MARGIN_PX), size_px=_LETTER_PX)
    if fit is None:
        _bottom(draw, "not fitted", corner=corner)
    elif not fit.fitted:
        _bottom(draw, "no fit: no CTF was found", corner=corner, colour=WARNING)
    else:
        defocus = f"defocus {fit.defocus_u_ang:,.0f} / {fit.defocus_v_ang:,.0f} Å at {fit.defocus_angle_deg:.0f}°"
        reach = f"fit to {fit.fit_resolution_ang:.1f} Å, score {fit.score:.2f}"
        _bottom(draw, defocus, corner=corner, line=1)
        _bottom(draw, reach, corner=corner)


def _bottom(
    draw: ImageDraw,
    text: str,
    *,
    corner: tuple[int, int],
    line: int = 0,
    colour: tuple[int, int, int] = INK,
) -> None:
    y = corner[1] + TILE_PX - _MARGIN_PX - _LETTER_PX - line * _LETTER_PX * 1.7
    draw_label(draw, text, xy=(corner[0] + _MARGIN_PX, y), size_px=_LETTER_PX, colour=colour)


def _scale_bar(draw: ImageDraw, pixel_ang: float, *, corner: tuple[int, int]) -> None:
    """Draw a bar of a round length, at most a quarter of the tile; `pixel_ang` is the tile's pixel in Å."""
    fitting = [length for length in _SCALE_BARS_NM if length * 10 / pixel_ang <= TILE_PX / 4]
    length_nm = fitting[-1] if fitting else _SCALE_BARS_NM[0]
    width = length_nm * 10 / pixel_ang
    right, bottom = corner[0] + TILE_PX - _MARGIN_PX, corner[1] + TILE_PX - _MARGIN_PX
    draw_label(draw, f"{length_nm} nm", xy=(right, bottom - 2 * _LETTER_PX), size_px=_LETTER_PX, right=True)
    draw.rectangle((right - width, bottom - 5, right, bottom), fill=INK, outline=(8, 12, 16))
