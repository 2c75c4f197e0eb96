"""Words on pictures, in the font that Pillow carries with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

INK = (236, 240, 244)
WARNING = (255, 196, 110)
_SHADE = (8, 12, 16, 176)


def font(size_px: int) -> FreeTypeFont | ImageFont:
    """Return the font at a height in pixels."""
    from PIL.ImageFont import load_default

    return load_default(size_px)


def text_width_px(text: str, *, size_px: int) -> float:
    """Return how wide a text is."""
    return font(size_px).getlength(text.replace("Å", "A"))


def shortened(text: str, *, size_px: int, width_px: float) -> str:
    """Return a text that fits, with its middle left out where it is too long: both ends of a name matter."""
    if text_width_px(text, size_px=size_px) <= width_px:
        return text
    keep = len(text)
    while keep > 4:
        keep -= 1
        head = (keep + 1) // 2
        candidate = f"{text[:head]}…{text[len(text) - (keep - head) :]}"
        if text_width_px(candidate, size_px=size_px) <= width_px:
            return candidate
    return text[:4]


def draw_label(
    draw: ImageDraw,
    text: str,
    *,
    xy: tuple[float, float],
    size_px: int,
    colour: tuple[int, int, int] = INK,
    right: bool = False,
) -> None:
    """Draw a line of text on a shade; `xy` is its upper left corner, or its upper right one."""
    width = text_width_px(text, size_px=size_px)
    x, y = (xy[0] - width if right else xy[0]), xy[1]
    pad = size_px * 0.35
    draw.rounded_rectangle((x - pad, y - pad, x + width + pad, y + size_px + pad), radius=pad, fill=_SHADE)
    draw_text(draw, text, xy=(x, y), size_px=size_px, colour=colour)


def draw_text(
    draw: ImageDraw, text: str, *, xy: tuple[float, float], size_px: int, colour: tuple[int, int, int] = INK
) -> None:
    """Draw a line of text; the font has no Å, so its ring is drawn above an A."""
    x, y = xy
    face = font(size_px)
    for index, part in enumerate(text.split("Å")):
        if index:
            width = face.getlength("A")
            draw.text((x, y), "A", font=face, fill=colour)
            radius, centre = size_px * 0.105, x + width / 2
            ring = (centre - radius, y - size_px * 0.02, centre + radius, y - size_px * 0.02 + 2 * radius)
            draw.ellipse(ring, outline=colour, width=max(1, round(size_px * 0.055)))
            x += width
        draw.text((x, y), part, font=face, fill=colour)
        x += face.getlength(part)
