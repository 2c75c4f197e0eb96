"""Where nothing can be picked: carbon, ice crystals, and other dirt.

Works on the shrunken micrograph. What a particle looks like is learned from the micrograph itself, because
how dark carbon or a crystal is, compared with the noise, says nothing; compared with a particle it does.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter, median

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Kind = TypeVar("Kind", Mask, Float)

TWO_CLASSES = 4.5
"""Distance of two classes of brightness, in their own width, above which they are two materials; an even
slope reaches 3.5."""
SPOT, REGION = 0.25, 0.55
"""Sizes at which darkness is judged, widths of Gaussians in diameters: dirt is smaller or larger than particles."""
TOO_DARK = 2.5
"""Darkness, in what particles usually have at the same size, above which it is dirt."""
OUTLYING = 5.0
"""Darkness in standard deviations of the ice, particles included, that dirt has at least."""
EDGE = 0.4
"""Share of the darkness of a lump, where it is darkest within a diameter, at which it ends."""
CERTAIN_SCORE = 4.5
"""Score, in standard deviations of the noise, at which hardly a place is noise."""
ENOUGH_PARTICLES = 10
"""Below this number nobody knows how dark particles are."""
LARGE_RADIUS = 0.7
"""Radius of the disc, in diameters, that a lump holds which is dirt whatever particles are like."""
RIM, SHARP = 0.5, 0.22
"""Width of an edge in diameters, and the share of its darkness that dirt gains over it on either side."""
MAJORITY = 1.3
"""How many times more pixels must agree with the brighter half, before it alone is taken for ice."""
ENOUGH_PX = 70
"""Edge of the picture to which the brightness of even ice is fitted, about."""
COARSER = 3
"""Step between the pixels that are looked at where all is smooth."""


def find_unusable(
    small: Float,  # (y, x)
    answer: Float,  # (y, x)
    *,
    diameter: float,
) -> Mask:  # (y, x)
    """Mask carbon and dirt, with half a diameter around.

    Parameters
    ----------
    answer
        How much each place looks like a particle, in standard deviations of the noise.
    diameter
        Of a particle, in the shrunken micrograph.
    """
    # All that follows is smooth, and needs only some of the pixels.
    spots = gaussian_filter(small, SPOT * diameter)[::COARSER, ::COARSER]
    diameter /= COARSER
    carbon = _darker_material(spots, diameter)
    if carbon.all():
        return _enlarged(carbon, small.shape)
    # Fringes and blur of the carbon's edge are no dirt.
    beside = _grown(carbon, diameter / 2)
    ice = ~beside if not beside.all() else ~carbon
    brightness, even = _even_ice(spots, ice)
    darkness = np.where(ice, brightness - spots, 0).astype(np.float32)
    regions = gaussian_filter(darkness, float(np.sqrt(REGION**2 - SPOT**2) * diameter))
    # What is dirt by its size teaches nothing of particles. Finely seen, a crowd of particles still has gaps.
    dirt = _lumps(darkness, None, ice, even, smooth=regions, diameter=diameter)
    y, x = _certain_particles(answer, ice & ~_grown(dirt, diameter / 2), diameter=COARSER * diameter)
    if len(y) >= ENOUGH_PARTICLES:
        for darkened in (darkness, regions):
            particles = float(np.median(darkened[y, x]))
            dirt |= _lumps(darkened, particles, ice, even, smooth=regions, diameter=diameter)
    return _enlarged(_grown(carbon | dirt, diameter / 2), small.shape)


def painted_over(small: Float, mask: Mask, *, diameter: float) -> Float:  # (y, x)
    """Put what is around masked areas in their place, smoothly."""
    if not mask.any():
        return small
    known = (~mask[::COARSER, ::COARSER]).astype(np.float32)
    middle = np.float32(small[~mask].mean() if known.any() else small.mean())
    around = gaussian_filter((small[::COARSER, ::COARSER] - middle) * known, diameter / COARSER)
    around /= gaussian_filter(known, diameter / COARSER) + np.float32(1e-3)
    return np.where(mask, middle + _enlarged(around, small.shape), small)


def _certain_particles(answer: Float, free: Mask, *, diameter: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns, of every `COARSER`-th pixel, of places that are hardly noise; `free` has these pixels."""
    every_other = answer[::2, ::2]
    y, x = np.nonzero((every_other > CERTAIN_SCORE) & (every_other == maximum_filter(every_other, int(diameter / 2))))
    y, x = 2 * y // COARSER, 2 * x // COARSER
    kept = free[y, x]
    return y[kept], x[kept]


def _enlarged(coarse: Kind, shape: tuple[int, ...]) -> Kind:
    """Repeat every `COARSER`-th pixel."""
    whole = np.repeat(np.repeat(coarse, COARSER, axis=0), COARSER, axis=1)
    return whole[: shape[0], : shape[1]]


def _lumps(darkness: Float, particles: float | None, ice: Mask, even: Mask, *, smooth: Float, diameter: float) -> Mask:
    """What is much darker than particles are and than `even` ice varies, each lump to its own edge.

    Where nobody knows how dark particles are, a lump must hold a disc that is larger than one. `smooth` is the
    darkness in which single particles hardly show: there a lump must have an edge.
    """
    values = darkness[even]
    middle = float(np.median(values))
    least = middle + OUTLYING * _bright_spread(values, middle)
    if particles is not None:
        least = max(least, TOO_DARK * particles)
    cores, count = label(darkness > max(least, 0))
    if not count:
        return np.zeros(darkness.shape, np.bool_)
    # Parts of a lump may be much darker than others: what is darkest nearby counts.
    darkest = maximum_filter(np.where(cores > 0, darkness, 0), 2 * int(diameter) + 1)
    lumps = (darkness > EDGE * darkest) & (darkest > 0)
    parts, count = label(lumps)
    dirt = np.zeros(count + 1, np.bool_)
    dirt[parts[cores > 0]] = True
    if particles is None:
        large = distance_transform_edt(lumps) > LARGE_RADIUS * diameter
        dirt &= np.isin(np.arange(count + 1), parts[large])
    dirt &= _edge_steps(smooth, parts, ice, width=RIM * diameter) > SHARP
    dirt[0] = False
    return np.asarray(dirt[parts])


def _edge_steps(darkness: Float, parts: NDArray[np.integer], ice: Mask, *, width: float) -> Float64:  # (part,)
    """How much darker each part is just within its edge than just outside, over what it is inside; part 0 is none.

    Dirt has an edge. Ice that is thicker here than there has none, and the particles in it can be picked.
    """
    outside, (y, x) = distance_transform_edt(parts == 0, return_indices=True)
    within = distance_transform_edt(parts > 0) <= width
    nearest, numbers = parts[y, x], np.arange(parts.max() + 1)
    rim = np.where(within & ice, parts, 0)
    beyond = np.where((outside > 0) & (outside <= width) & ice, nearest, 0)
    inner, outer = (np.nan_to_num(median(darkness, labels, numbers)) for labels in (rim, beyond))
    return np.asarray((inner - outer) / np.maximum(median(darkness, parts, numbers), 1e-9))


def _bright_spread(values: Float, middle: float) -> float:
    """Standard deviation by the brighter half: particles and dirt are in the darker one."""
    return 1.4826 * float(np.median(middle - values[values <= middle]))


def _even_ice(spots: Float, ice: Mask) -> tuple[Float, Mask]:
    """Brightness (y, x) of ice without particles, and what is ice rather than dirt as far as is known so far.

    A parabola through the brighter part of the micrograph: slow changes of thickness follow it; islands of dirt
    do not bend it, as they are left out on the way. Where dirt covers more than the ice does, a parabola that starts
    from the brighter half finds more that is as bright as it says.
    """
    step = max(1, min(spots.shape) // ENOUGH_PX)
    few, few_ice = spots[::step, ::step], ice[::step, ::step]
    if not few_ice.any():
        return np.full(spots.shape, np.median(spots[ice]), np.float32), ice
    terms = _parabola(few.shape)
    brighter = few_ice & (few > np.median(few[few_ice]))
    (usual, wide), (other, narrow) = (_bright_parabola(few, terms, few_ice, kept=kept) for kept in (few_ice, brighter))
    band = 2 * min(wide, narrow)
    near, near_other = (np.abs(few - np.einsum("i,iyx->yx", fit, terms))[few_ice] < band for fit in (usual, other))
    if np.count_nonzero(near_other) <= MAJORITY * np.count_nonzero(near):
        return _bright(usual, spots.shape), ice
    even = _bright(other, spots.shape)
    return even, ice & (np.abs(spots - even) < 2 * narrow)


def _bright(coefficients: Float, shape: tuple[int, ...]) -> Float:  # (y, x)
    return np.asarray(np.einsum("i,iyx->yx", coefficients, _parabola(shape)), dtype=np.float32)


def _bright_parabola(spots: Float, terms: Float, ice: Mask, *, kept: Mask) -> tuple[Float, float]:
    """Coefficients, and the standard deviation about the parabola, which starts from the pixels that are `kept`."""
    coefficients = np.array([np.median(spots[ice])] + [0] * (len(terms) - 1), np.float32)
    spread = float(spots[ice].std())
    for _ in range(4):
        if np.count_nonzero(kept) < 10 * len(terms):
            break
        few = terms[:, kept]
        # Normal equations of six smooth terms are well behaved, and need no threads of linear algebra.
        products = np.einsum("ip,jp->ij", few, few, dtype=np.float64) + 1e-9 * few.shape[1] * np.eye(len(few))
        wanted = np.einsum("ip,p->i", few, spots[kept], dtype=np.float64)
        coefficients = np.linalg.solve(products, wanted).astype(np.float32)
        rest = spots - np.einsum("i,iyx->yx", coefficients, terms)
        # Particles are dark: they are let go sooner than bright places.
        spread = 1.4826 * float(np.median(np.abs(rest[kept])))
        kept = ice & (rest > -1.5 * spread) & (rest < 3 * spread)
    return coefficients, spread


def _parabola(shape: tuple[int, ...]) -> Float:  # (term, y, x)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    return np.stack([np.ones_like(y), y, x, y * y, x * y, x * x])


def _darker_material(spots: Float, diameter: float) -> Mask:
    """The darker of two clearly separate brightnesses, or nothing (N. Otsu's threshold, and a test of it)."""
    smooth = gaussian_filter(spots, float(np.sqrt(1 - SPOT**2)) * diameter)
    values = np.sort(smooth, axis=None).astype(np.float64)
    count = np.arange(1, len(values))
    lower = np.cumsum(values)[:-1] / count
    upper = (values.sum() - lower * count) / (len(values) - count)
    between = count * (len(values) - count) * (upper - lower) ** 2
    cut = int(np.argmax(between))
    width = np.sqrt(
        (values[: cut + 1].var() * (cut + 1) + values[cut + 1 :].var() * (len(values) - cut - 1)) / len(values)
    )
    if upper[cut] - lower[cut] < TWO_CLASSES * width:
        return np.zeros(spots.shape, np.bool_)
    return np.asarray(smooth < (upper[cut] + lower[cut]) / 2)


def _grown(mask: Mask, distance: float) -> Mask:
    if not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= distance)
