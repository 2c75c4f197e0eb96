"""One movie's curves, particles and patches as numbers that the template draws, from the JSON that publication left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 640.0, 200.0
MOST_BYTES = 8_000_000
"""A larger file is none of ours."""
MOST_CIRCLES = 4000
TICKS_ANG = (20.0, 10.0, 7.0, 5.0, 4.0, 3.5, 3.0, 2.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A resolution on the axis of a curve."""

    x: float
    resolution_ang: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """A spectrum along frequency, in the drawing's coordinates; frequency runs to the right."""

    experimental: str
    """SVG paths."""
    fitted: str
    correlation: str
    ticks: tuple[Tick, ...]
    limit_x: float | None
    """Where the fit ends; None without a fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """Particles over the micrograph, in pixels of the micrograph."""

    width_px: int
    height_px: int
    radius_px: float
    centres_px_xy: tuple[tuple[float, float], ...]
    more: int
    """So many others are not drawn."""


def read_json(path: Path) -> Any:  # Any: JSON
    """Read a product; None where it is missing, too large, or no JSON."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def curves(content: Any, which: str) -> Curves | None:  # Any: JSON
    """Return the curves of one of the sums, `aligned` or `unaligned`; None where there are none."""
    spectrum = content.get(which) if isinstance(content, Mapping) else None
    curve = spectrum.get("curve") if isinstance(spectrum, Mapping) else None
    if not isinstance(spectrum, Mapping) or not isinstance(curve, Mapping):
        return None
    frequency = _numbers(curve.get("frequency_per_ang"))
    known = [value for value in frequency if value is not None]
    if len(known) < 2 or known[-1] <= 0:
        return None
    most = known[-1]
    fit = spectrum.get("fit")
    fit = fit if isinstance(fit, Mapping) else {}
    resolution = fit.get("fit_resolution_ang") if fit.get("fitted") is True else None
    limit = round(WIDTH / resolution / most, 1) if isinstance(resolution, int | float) and resolution > 0 else None
    return Curves(
        experimental=_path(frequency, _numbers(curve.get("experimental")), most=most),
        fitted=_path(frequency, _numbers(curve.get("fitted")), most=most),
        correlation=_path(frequency, _numbers(curve.get("correlation")), most=most),
        ticks=tuple(
            Tick(x=round(WIDTH / ang / most, 1), resolution_ang=ang) for ang in TICKS_ANG if known[0] <= 1 / ang <= most
        ),
        limit_x=limit if limit is None or limit <= WIDTH else WIDTH,
    )


def _numbers(value: object) -> list[float | None]:
    entries = value if isinstance(value, list) else []
    return [float(one) if isinstance(one, int | float) else None for one in entries]


def _path(xs: Sequence[float | None], ys: Sequence[float | None], *, most: float) -> str:
    """Return a line; it breaks where a value is no number."""
    words, drawing = [], False
    for x, y in zip(xs, ys, strict=False):
        if x is None or y is None:
            drawing = False
            continue
        inside = min(max(y, -0.2), 1.2)
        place = f"{x / most * WIDTH:.1f} {HEIGHT - (inside + 0.2) / 1.4 * HEIGHT:.1f}"
        words.append(f"{'L' if drawing else 'M'}{place}")
        drawing = True
    return "".join(words)


def picks(content: Any) -> Picks | None:  # Any: JSON
    """Return the particles to draw; None where there are none."""
    if not isinstance(content, Mapping):
        return None
    shape, centres = content.get("shape_yx"), content.get("coordinates_px_xy")
    pixel, diameter = content.get("pixel_size_ang"), content.get("diameter_ang")
    if not (isinstance(shape, list) and len(shape) == 2 and isinstance(centres, list) and pixel and diameter):
        return None
    pairs = [
        (float(pair[0]) + 0.5, float(pair[1]) + 0.5)
        for pair in centres
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, int | float) for one in pair)
    ]
    return Picks(
        width_px=int(shape[1]),
        height_px=int(shape[0]),
        radius_px=round(float(diameter) / float(pixel) / 2, 1),
        centres_px_xy=tuple(pairs[:MOST_CIRCLES]),
        more=max(0, len(pairs) - MOST_CIRCLES),
    )
