"""Small plots as numbers that the templates draw in SVG; no drawing library, no script."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryodaq.ledger.gallery import Measurements, RecentMovie

WIDTH, HEIGHT, MARGIN = 240.0, 56.0, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One movie in a strip, in the strip's coordinates."""

    x: float
    y: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One quantity of a sample's newest movies, in the order of their making."""

    title: str
    unit: str
    digits: int
    median: float | None
    low: float
    high: float
    """The strip spans from `low` to `high`; movies beyond lie on its edges."""
    points: tuple[Point, ...]
    median_y: float


_QUANTITIES: tuple[tuple[str, str, int, Callable[[Measurements], float | None]], ...] = (
    ("Fit resolution", "Å", 1, lambda m: m.fit_resolution_ang),
    ("Defocus", "µm", 2, lambda m: None if m.defocus_mean_ang is None else m.defocus_mean_ang / 1e4),
    ("Drift", "Å", 1, lambda m: m.motion_total_ang),
    ("Particles", "", 0, lambda m: m.particle_count),
)


def strips(movies: Sequence[RecentMovie]) -> list[Strip]:
    """Return the strips of a sample's newest movies; a quantity that none has is left out."""
    made = [_strip(movies, title=t, unit=u, digits=d, read=read) for t, u, d, read in _QUANTITIES]
    return [strip for strip in made if strip.points]


def _strip(
    movies: Sequence[RecentMovie],
    *,
    title: str,
    unit: str,
    digits: int,
    read: Callable[[Measurements], float | None],
) -> Strip:
    found = [(index, entry, value) for index, entry in enumerate(movies) if (value := read(entry.measured)) is not None]
    values = sorted(value for _, _, value in found)
    if not values:
        return Strip(title=title, unit=unit, digits=digits, median=None, low=0, high=0, points=(), median_y=0)
    median = statistics.median(values)
    low, high = _span(values)

    def height(value: float) -> float:
        inside = min(max(value, low), high)
        return round(HEIGHT - MARGIN - (inside - low) / (high - low) * (HEIGHT - 2 * MARGIN), 1)

    step = (WIDTH - 2 * MARGIN) / max(1, len(movies) - 1)
    points = tuple(
        Point(
            x=round(MARGIN + index * step, 1),
            y=height(value),
            title=f"{entry.run_name}: {value:.{digits}f} {unit}".rstrip(),
        )
        for index, entry, value in found
    )
    return Strip(
        title=title,
        unit=unit,
        digits=digits,
        median=median,
        low=low,
        high=high,
        points=points,
        median_y=height(median),
    )


def _span(ordered: Sequence[float]) -> tuple[float, float]:
    """Return the range of all but the outermost 2 % of the values, widened where they are all alike."""
    cut = len(ordered) // 50
    low, high = ordered[cut], ordered[-1 - cut]
    pad = (high - low) * 0.08 or max(abs(high) * 0.1, 0.5)
    return (max(0.0, low - pad) if low >= 0 else low - pad), high + pad


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The specimen's way during one exposure, in the coordinates of a square of 200 units."""

    points: tuple[tuple[float, float], ...]
    bar_units: float
    """Length of the scale bar."""
    bar_ang: float


def track(displacement_px_xy: Sequence[tuple[float, float]], *, pixel_size_ang: float) -> Track | None:
    """Return the drift as a line, y downwards as the rows are stored; None for fewer than two frames."""
    if len(displacement_px_xy) < 2:
        return None
    xs = [x * pixel_size_ang for x, _ in displacement_px_xy]
    ys = [y * pixel_size_ang for _, y in displacement_px_xy]
    span = max(max(xs) - min(xs), max(ys) - min(ys), 0.5)
    scale = 168 / span
    mid_x, mid_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    points = tuple(
        (round(100 + (x - mid_x) * scale, 1), round(100 + (y - mid_y) * scale, 1)) for x, y in zip(xs, ys, strict=True)
    )
    bar = next(length for length in (50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1) if length * scale <= 84)
    return Track(points=points, bar_units=round(bar * scale, 1), bar_ang=bar)
