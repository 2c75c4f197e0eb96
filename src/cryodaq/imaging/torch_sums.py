"""Sums of aligned frames on a GPU: the same steps, tiles and weights as the compiled loops, as torch's array functions.

Imported only where a device was chosen, because torch is optional.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from cryodaq.imaging.detector import Detector
from cryodaq.imaging.sum_plan import FLATTEST_POWER, SumPlan
from cryodaq.imaging.torch_frames import Tensor, corrected_frames, on_device

Float = NDArray[np.float32]


def sum_on_device(
    stacks: Iterable[NDArray[np.generic]],  # (frame, y, x) each, as `countable` returns them
    *,
    detector: Detector,
    plan: SumPlan,
    device: str,
) -> tuple[Float, Float]:
    """Unweighted and dose-weighted sum (y, x) of frames moved back by their displacement.

    Raises
    ------
    ImagingError
        When the device has too little memory.
    """
    with on_device():
        terms = _sum_terms(stacks, detector, plan, device)
        return _combined(terms, plan, device)


def _sum_terms(stacks: Iterable[NDArray[np.generic]], detector: Detector, plan: SumPlan, device: str) -> Tensor:
    sums = torch.zeros((len(plan.weights), *plan.whole_yx), dtype=torch.float32, device=device)
    pictures = (picture for frames in stacks for picture in corrected_frames(frames, detector, device))
    for frame, picture in enumerate(pictures):
        moved = _moved(picture, torch.as_tensor(plan.displacement[frame], device=device), plan)
        for term, weight in zip(sums, plan.weights[:, frame], strict=True):
            term.add_(moved, alpha=float(weight))
    return sums


def _moved(picture: Tensor, displacement: Tensor, plan: SumPlan) -> Tensor:
    """One frame (y, x), each tile moved back by its displacement (tile y, tile x, yx), going round at the ends."""
    (height, width), (rows, columns) = picture.shape, plan.whole_yx

    def everywhere(of_tiles: Tensor) -> Tensor:
        wide = of_tiles.repeat_interleave(plan.tile_yx[1], dim=1)[:, :columns]
        return wide.repeat_interleave(plan.tile_yx[0], dim=0)[:rows]

    whole = torch.floor(displacement)
    taps = [_spline_taps(displacement[..., axis] - whole[..., axis]) for axis in (0, 1)]
    y = torch.arange(rows, device=picture.device)[:, None] + everywhere(whole[..., 0].long())
    x = torch.arange(columns, device=picture.device)[None, :] + everywhere(whole[..., 1].long())
    flat, total = picture.view(-1), picture.new_zeros((rows, columns))
    for row, weight_y in enumerate(taps[0]):
        start = (y + (row - 1)).remainder_(rows).remainder_(height).mul_(width)
        across = torch.zeros_like(total)
        for column, weight_x in enumerate(taps[1]):
            across += everywhere(weight_x) * flat[(x + (column - 1)).remainder_(columns).remainder_(width).add_(start)]
        total += everywhere(weight_y) * across
    return total


def _spline_taps(fraction: Tensor) -> list[Tensor]:
    """Cubic B-spline at the samples -1, 0, 1, 2 around a position `fraction` behind sample 0."""
    rest = 1 - fraction
    taps = (rest**3, 4 - 6 * fraction**2 + 3 * fraction**3, 4 - 6 * rest**2 + 3 * rest**3, fraction**3)
    return [(tap / 6).float() for tap in taps]


def _combined(sums: Tensor, plan: SumPlan, device: str) -> tuple[Float, Float]:
    """Sums of the terms in Fourier space, divided by the root of the noise power, back in real space."""
    frequency_y, frequency_x = (torch.as_tensor(axis, device=device) for axis in plan.axes)
    radius = torch.sqrt(frequency_y[:, None] ** 2 + frequency_x[None, :] ** 2) * plan.per_step
    below = radius.floor().clamp_(max=plan.dose_curves.shape[1] - 2).long()
    part = radius - below

    def read(curve: Float) -> Tensor:
        points = torch.as_tensor(curve, device=device)
        return torch.lerp(points[below], points[below + 1], part)

    rows = torch.as_tensor(plan.kept_rows, device=device)
    plain = torch.zeros(radius.shape, dtype=torch.complex64, device=device)
    weighted = torch.zeros_like(plain)
    for picture, factor, curve in zip(sums, plan.plain_factors, plan.dose_curves, strict=True):
        term = torch.fft.rfft2(picture)[rows, : len(frequency_x)]
        plain.add_(term, alpha=float(factor))
        weighted += term * read(curve)
    even, uneven = torch.zeros_like(radius), torch.zeros_like(radius)
    waves_y, waves_x = (torch.as_tensor(waves, device=device) for waves in plan.waves)
    for amplitudes, share in zip(plan.power, plan.shares, strict=True):
        power = waves_y.T @ torch.as_tensor(amplitudes, device=device) @ waves_x
        even += power * float(share[0])
        uneven += power * read(share)
    pictures = [
        torch.fft.irfft2(spectrum / torch.sqrt(noise.clamp(min=float(FLATTEST_POWER))), s=plan.whole_kept_yx)
        for spectrum, noise in ((plain, even), (weighted, uneven))
    ]
    inside = tuple(slice(size) for size in plan.kept_yx)
    unweighted, dose_weighted = (np.asarray(picture[inside].cpu().numpy(), np.float32) for picture in pictures)
    return unweighted, dose_weighted
