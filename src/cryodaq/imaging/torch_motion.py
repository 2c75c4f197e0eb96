"""The search for motion on a GPU: the same patches, weights and derivatives as the compiled loops give.

Imported only where a device was chosen, because torch is optional. What is small stays on the cores: the rough track,
the fit of the smooth field, the smoothing of tracks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from cryodaq.imaging.detector import Detector
from cryodaq.imaging.drift import FrameSpectra, binned_spectra, coarse_factor
from cryodaq.imaging.frame_groups import FrameGroups
from cryodaq.imaging.patches import Patches, PatchPlan
from cryodaq.imaging.torch_frames import Tensor, corrected_frames, on_device

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]


class FramesOnDevice:
    """`BinnedFrames` in a GPU's memory."""

    def __init__(
        self, counts: NDArray[np.generic], detector: Detector, *, groups: FrameGroups, bin_px: int, device: str
    ) -> None:
        self._bin_px, self._device = bin_px, device
        with on_device():
            squares = (_squares(picture, bin_px) for picture in corrected_frames(counts, detector, device))
            grouped = (islice(squares, members.stop - members.start) for members in groups.members())
            self._binned: Tensor = torch.stack([sum(some) for some in grouped])

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Of a binned frame."""
        return self._binned.shape[1], self._binned.shape[2]

    def coarse(self, *, pixel_size_ang: float) -> FrameSpectra:
        """Return what the rough search needs, in this machine's memory."""
        more = coarse_factor(self.shape_yx, bin_px=self._bin_px, pixel_size_ang=pixel_size_ang)
        with on_device():
            small = _squares(self._binned, more).cpu().numpy()
        return binned_spectra(small, bin_px=self._bin_px * more, pixel_size_ang=pixel_size_ang)

    def cut(self, plan: PatchPlan) -> Patches:
        """Cut patches; the binned frames are gone then."""
        height, width = plan.sizes_yx
        frame_count, patch_count = plan.corners.shape[:2]
        with on_device():
            window_y, window_x = (torch.as_tensor(window, device=self._device) for window in plan.windows)
            window = window_y[:, None] * window_x[None, :]
            shape = (patch_count, frame_count, height, width // 2 + 1)
            spectra = torch.empty(shape, dtype=torch.complex64, device=self._device)
            for frame, corners in enumerate(plan.corners):
                binned = self._binned[frame]
                cuts = torch.stack([binned[y : y + height, x : x + width] for y, x in corners])
                spectra[:, frame] = torch.fft.rfft2((cuts - cuts.mean(dim=(1, 2), keepdim=True)) * window)
                for patch, phases in plan.phases_of_short(frame):
                    spectra[patch, frame] *= torch.as_tensor(phases, device=self._device)
        del self._binned
        frequency_y, frequency_x = plan.frequencies
        return DevicePatches(
            spectra=spectra,
            frequency_y=frequency_y,
            frequency_x=frequency_x,
            followed_px_yx=plan.followed_px_yx,
            places_yx=plan.places_yx,
            pixel_size_ang=plan.pixel_size_ang,
        )

    def release(self) -> None:
        """Let other steps use memory that torch keeps for itself."""
        if self._device == "cuda":
            torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePatches(Patches):
    """Patches in a GPU's memory."""

    spectra: Tensor  # (patch, frame, y, x), complex64

    def cropped(self, resolution_ang: float) -> DevicePatches:
        """Only frequencies up to a resolution."""
        visible = self.visible(resolution_ang)
        if visible is None:
            return self
        rows, columns = visible
        with on_device():
            spectra = self.spectra[:, :, torch.as_tensor(rows, device=self.spectra.device), :columns].contiguous()
        return replace(
            self, spectra=spectra, frequency_y=self.frequency_y[rows], frequency_x=self.frequency_x[:columns]
        )

    def thinned(self, every: int) -> DevicePatches:
        """Only the first of so many patches."""
        return replace(self, spectra=self.spectra[::every], places_yx=self.places_yx[::every])

    def products(self, field: Float64, lags: NDArray[np.int64]) -> Float64:
        """Products of frames; see `Patches`."""
        rings = self.rings()
        with on_device():
            moved = self._moved(field)
            power = _likeness(moved, moved)
            total = moved.sum(dim=1)
            pairs = (_likeness(total, total) - power) / 2
            apart = [_likeness(moved[:, :-lag], moved[:, lag:]) for lag in lags.tolist()]
            terms = torch.stack([power, pairs, *apart]).double().flatten(1)
            sums = torch.zeros((len(terms), int(rings.max()) + 1), dtype=torch.float64, device=terms.device)
            sums.index_add_(1, torch.as_tensor(rings.ravel(), device=terms.device), terms)
            return np.asarray(sums.T.cpu().numpy(), dtype=np.float64)

    def derivatives(self, field: Float64, weights: Float) -> Float64:
        """Slope and curvature; see `Patches`."""
        with on_device():
            moved = self._moved(field)
            product = moved * self._others(moved, torch.as_tensor(weights, device=moved.device)).conj()
            fy = torch.as_tensor(self.frequency_y, device=moved.device)[:, None]
            fx = torch.as_tensor(self.frequency_x, device=moved.device)[None, :]
            power = product.real**2 + product.imag**2
            terms = [
                _everywhere(picture * factor)
                for picture, factors in (
                    (-product.imag, (fy, fx)),
                    (product.real, (fy**2, fx**2)),
                    (power, (fy**2, fx**2, fy**4, fx**4)),
                )
                for factor in factors
            ]
            return np.asarray(torch.stack(terms, dim=-1).cpu().numpy(), dtype=np.float64)

    def _moved(self, field: Float64) -> Tensor:
        """All frames of all patches (patch, frame, y, x), moved back."""
        ramps = [self.ramps(displacement) for displacement in field]
        ramp_y, ramp_x = (
            torch.as_tensor(np.stack([ramp[axis] for ramp in ramps]), device=self.spectra.device) for axis in (0, 1)
        )
        return self.spectra * ramp_y[..., :, None] * ramp_x[..., None, :]

    @staticmethod
    def _others(moved: Tensor, weights: Tensor) -> Tensor:
        """For each frame, the others with the weights of their distance."""
        lasting, passing, fading = weights
        others, near = torch.empty_like(moved), torch.zeros_like(moved[:, 0])
        for frame in range(moved.shape[1]):
            others[:, frame] = near
            near = fading * (near + moved[:, frame])
        near = torch.zeros_like(near)
        for frame in range(moved.shape[1] - 1, -1, -1):
            others[:, frame] += near
            near = fading * (near + moved[:, frame])
        return others * passing + (moved.sum(dim=1, keepdim=True) - moved) * lasting


def _squares(pictures: Tensor, size: int) -> Tensor:
    """Add up squares of pixels of (..., y, x); what does not fill a last square is left out."""
    height, width = (length // size for length in pictures.shape[-2:])
    whole = pictures[..., : height * size, : width * size]
    return whole.unflatten(-1, (width, size)).sum(dim=-1).unflatten(-2, (height, size)).sum(dim=-2)


def _likeness(first: Tensor, second: Tensor) -> Tensor:
    """Real part of products of spectra, summed over all but (y, x)."""
    product = first.real * second.real + first.imag * second.imag
    return product.sum(dim=tuple(range(product.dim() - 2)))


def _everywhere(pictures: Tensor) -> Tensor:
    """Sum over (y, x): along x as they are, along y with the precision of many rows."""
    return pictures.sum(dim=-1).double().sum(dim=-1)
