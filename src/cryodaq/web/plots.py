"""Plots as numbers that the templates draw in SVG; no drawing library, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryodaq.ledger.measurements import QUANTITIES, Quantity
from cryodaq.ledger.selection import Distribution

WIDTH, HEIGHT, MARGIN = 320.0, 90.0, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bin of a histogram: movies that are in, and on top those that are out."""

    x: float
    width: float
    in_y: float
    in_height: float
    out_y: float
    out_height: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One quantity: its trend over the session, and its histogram. Coordinates are those of the drawings."""

    quantity: Quantity
    median: float
    """In the shown unit, as `low` and `high`."""
    low: float
    high: float
    dots_in: str
    """Movies that are in, as an SVG path of dots; time runs to the right, the value upwards."""
    dots_out: str
    bars: tuple[Bar, ...]
    limit_y: tuple[float, ...]
    """Heights of the limits in the trend."""
    limit_x: tuple[float, ...]
    """Places of the limits in the histogram."""
    most: int
    """Movies in the fullest bin."""


def panels(found: Sequence[Distribution], *, limits: dict[str, tuple[float | None, float | None]]) -> list[Panel]:
    """Return the panels of a sample."""
    return [_panel(one, limits=limits.get(one.key, (None, None))) for one in found]


def _panel(found: Distribution, *, limits: tuple[float | None, float | None]) -> Panel:
    quantity, span = QUANTITIES[found.key], found.high - found.low

    def share(value: float) -> float:
        return (min(max(value, found.low), found.high) - found.low) / span

    def height(value: float) -> float:
        return round(HEIGHT - MARGIN - share(value) * (HEIGHT - 2 * MARGIN), 1)

    dots = {True: [""], False: [""]}
    for probe in found.probes:
        x = round(MARGIN + probe.place * (WIDTH - 2 * MARGIN), 1)
        dots[probe.is_in].append(f"M{x:g} {height(probe.value):g}h0")
    inside = [limit for limit in limits if limit is not None and found.low <= limit <= found.high]
    return Panel(
        quantity=quantity,
        median=found.median * quantity.scale,
        low=found.low * quantity.scale,
        high=found.high * quantity.scale,
        dots_in="".join(dots[True]),
        dots_out="".join(dots[False]),
        bars=_bars(found, quantity),
        limit_y=tuple(height(limit) for limit in inside),
        limit_x=tuple(round(share(limit) * WIDTH, 1) for limit in inside),
        most=max(map(sum, zip(found.inside, found.outside, strict=True))),
    )


def _bars(found: Distribution, quantity: Quantity) -> tuple[Bar, ...]:
    most = max(1, *map(sum, zip(found.inside, found.outside, strict=True)))
    step = (found.high - found.low) / len(found.inside)
    width = WIDTH / len(found.inside)
    bars = []
    for index, (inside, outside) in enumerate(zip(found.inside, found.outside, strict=True)):
        low = (found.low + index * step) * quantity.scale
        high = (found.low + (index + 1) * step) * quantity.scale
        in_height, out_height = inside / most * HEIGHT, outside / most * HEIGHT
        bars.append(
            Bar(
                x=round(index * width, 2),
                width=round(width * 0.9, 2),
                in_y=round(HEIGHT - in_height, 2),
                in_height=round(in_height, 2),
                out_y=round(HEIGHT - in_height - out_height, 2),
                out_height=round(out_height, 2),
                title=f"{low:.{quantity.digits}f} to {high:.{quantity.digits}f} {quantity.unit}".rstrip()
                + f": {inside} in, {outside} out",
            )
        )
    return tuple(bars)


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
