"""The simulated movies obey the physics that their truth states; every formula here is written out anew."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from cryodaq.simulator.detector import Detector, count_electrons, draw_poisson, make_detector, make_gain
from cryodaq.simulator.exposure import Exposure, draw_drift, draw_exposure, expose
from cryodaq.simulator.optics import (
    Defocus,
    ImagingConditions,
    electron_wavelength_ang,
    interaction_constant_rad_per_volt_ang,
)
from cryodaq.simulator.specimen import build_protein, protein_survival

SEED = 20261122


@pytest.fixture(params=[SEED], ids=lambda seed: f"seed={seed}")
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    return np.random.default_rng(request.param)


def perfect_detector(shape_yx: tuple[int, int]) -> Detector:
    return Detector(
        gain=np.ones(shape_yx, dtype=np.float32),
        hot_flat_indices=np.array([], dtype=np.int64),
        hot_counts_per_frame=np.array([], dtype=np.float64),
    )


def take(
    rng: np.random.Generator,
    *,
    defocus: Defocus,
    shape_yx: tuple[int, int],
    displacement_px_xy: list[tuple[float, float]],
    dose_per_frame_e_ang2: float,
) -> tuple[Exposure, NDArray[np.uint8]]:
    exposure = draw_exposure(
        build_protein(150.0, rng=rng),
        conditions=ImagingConditions(dose_per_frame_e_ang2=dose_per_frame_e_ang2),
        shape_yx=shape_yx,
        frame_count=len(displacement_px_xy),
        defocus=defocus,
        rng=rng,
    )
    exposure = dataclasses.replace(exposure, displacement_px_xy=np.array(displacement_px_xy))
    return exposure, np.stack(list(expose(exposure, detector=perfect_detector(shape_yx), rng=rng)))


@pytest.mark.parametrize(("voltage_kv", "wavelength_ang"), [(300, 0.019687), (200, 0.025079), (120, 0.033492)])
def test_the_wavelength_is_the_relativistic_one(voltage_kv: float, wavelength_ang: float) -> None:
    assert electron_wavelength_ang(voltage_kv) == pytest.approx(wavelength_ang, rel=2e-4)


def test_the_interaction_constant_is_the_published_one() -> None:
    assert interaction_constant_rad_per_volt_ang(300) == pytest.approx(6.53e-4, rel=2e-3)
    assert interaction_constant_rad_per_volt_ang(200) == pytest.approx(7.29e-4, rel=2e-3)


@pytest.mark.parametrize("mean", [0.2, 1.25, 6.0, 30.0])
def test_counts_are_poisson(rng: np.random.Generator, mean: float) -> None:
    counts = draw_poisson(np.full((400, 300), mean, dtype=np.float32), rng)
    total = counts.size
    assert counts.mean() == pytest.approx(mean, abs=5 * math.sqrt(mean / total))
    assert counts.var() == pytest.approx(mean, rel=0.03)
    for value in range(int(mean) + 3):
        expected = math.exp(-mean) * mean**value / math.factorial(value) * total
        found = int((counts == value).sum())
        assert found == pytest.approx(expected, abs=5 * math.sqrt(expected) + 1)


def test_raw_counts_times_the_gain_are_flat(rng: np.random.Generator) -> None:
    shape, frames, electrons = (128, 256), 300, 1.25
    gain = make_gain(shape, rng)
    detector = dataclasses.replace(perfect_detector(shape), gain=gain)
    beam = np.full(shape, electrons, dtype=np.float32)
    mean = np.mean([count_electrons(beam, detector=detector, rng=rng) for _ in range(frames)], axis=0)
    shot_noise = math.sqrt(electrons / frames)
    assert gain.std() == pytest.approx(0.04, abs=0.006)
    assert (mean * gain).mean() == pytest.approx(electrons, rel=2e-3)
    assert (mean * gain).std() == pytest.approx(shot_noise, rel=0.03)
    assert np.corrcoef(mean.ravel(), gain.ravel())[0, 1] < -0.4
    assert abs(np.corrcoef((mean * gain).ravel(), gain.ravel())[0, 1]) < 0.03


def test_hot_pixels_count_far_too_much_in_every_frame(rng: np.random.Generator) -> None:
    detector = make_detector(np.ones((256, 256), dtype=np.float32), rng)
    beam = np.ones((256, 256), dtype=np.float32)
    total = sum(count_electrons(beam, detector=detector, rng=rng).astype(int) for _ in range(10))
    assert set(np.flatnonzero(np.asarray(total) > 40)) == set(detector.hot_flat_indices.tolist())


def test_radiation_destroys_fine_detail_first() -> None:
    k2 = np.array([1 / 20**2, 1 / 3**2], dtype=np.float32)
    coarse, fine = protein_survival(k2, 20.0, voltage_kv=300)
    assert coarse > 0.7
    assert fine < 0.2


def test_drift_is_fast_at_first_and_slows_down(rng: np.random.Generator) -> None:
    tracks = [draw_drift(20, pixel_size_ang=1.0, rng=rng) for _ in range(50)]
    steps = np.array([np.hypot(*np.diff(track, axis=0).T) for track in tracks])
    assert all((track[0] == 0).all() for track in tracks)
    assert np.median(steps[:, 0]) > 3 * np.median(steps[:, -5:])


def cross_correlation_peak(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Shift (x, y) that the content of `second` shows against `first`, by a parabola through the peak."""
    ky, kx = np.fft.fftfreq(first.shape[0])[:, None], np.fft.fftfreq(first.shape[1])[None, :]
    band = np.exp(-40 * (ky**2 + kx**2)) * (np.hypot(ky, kx) > 0.02)
    window = np.outer(np.hanning(first.shape[0]), np.hanning(first.shape[1]))
    spectra = [np.fft.fft2((image - image.mean()) * window) for image in (first, second)]
    map_yx = np.fft.fftshift(np.fft.ifft2(spectra[1] * spectra[0].conj() * band).real)
    y, x = np.unravel_index(np.argmax(map_yx), map_yx.shape)
    top = map_yx[y, x]
    dx = (map_yx[y, x + 1] - map_yx[y, x - 1]) / (4 * top - 2 * map_yx[y, x + 1] - 2 * map_yx[y, x - 1])
    dy = (map_yx[y + 1, x] - map_yx[y - 1, x]) / (4 * top - 2 * map_yx[y + 1, x] - 2 * map_yx[y - 1, x])
    return x + dx - first.shape[1] // 2, y + dy - first.shape[0] // 2


@pytest.mark.parametrize("shift", [(6.0, 0.0), (0.0, -4.5), (-3.25, 7.5)])
def test_the_specimen_moves_as_the_truth_says_and_it_can_be_seen(
    rng: np.random.Generator, shift: tuple[float, float]
) -> None:
    """Frames of a usual dose, alternately here and there, so that both halves suffer the same damage."""
    _, frames = take(
        rng,
        defocus=Defocus(u_ang=15000, v_ang=14800, angle_deg=30),
        shape_yx=(448, 640),
        displacement_px_xy=[(0.0, 0.0), shift] * 8,
        dose_per_frame_e_ang2=1.5,
    )
    here, there = frames[::2].sum(axis=0, dtype=float), frames[1::2].sum(axis=0, dtype=float)
    # Two noisy sums allow no better; a wrong sign or axis would be several pixels off.
    assert cross_correlation_peak(here, there) == pytest.approx(shift, abs=0.6)


def aligned_sum(frames: NDArray[np.uint8], track: NDArray[np.float64]) -> NDArray[np.float64]:
    ky = np.fft.fftfreq(frames.shape[1])[:, None]
    kx = np.fft.fftfreq(frames.shape[2])[None, :]
    spectrum = sum(
        np.fft.fft2(frame.astype(float)) * np.exp(2j * np.pi * (kx * x + ky * y))
        for frame, (x, y) in zip(frames, track, strict=True)
    )
    return np.fft.ifft2(spectrum).real


def power_spectrum(image: NDArray[np.float64], tile_px: int) -> NDArray[np.float64]:
    window = np.outer(np.hanning(tile_px), np.hanning(tile_px))
    steps = range(0, image.shape[0] - tile_px + 1, tile_px // 2)
    tiles = [image[y : y + tile_px, x : x + tile_px] for y in steps for x in steps]
    return np.mean([np.abs(np.fft.fft2((tile - tile.mean()) * window)) ** 2 for tile in tiles], axis=0)


def squared_ctf(tile_px: int, *, u_ang: float, v_ang: float, angle_deg: float) -> NDArray[np.float64]:
    """Written from the definition: x runs along the rows, y along the columns, 300 kV, Cs 2.7 mm, AC 0.1."""
    ky, kx = np.meshgrid(np.fft.fftfreq(tile_px), np.fft.fftfreq(tile_px), indexing="ij")
    k2, azimuth, wavelength = kx**2 + ky**2, np.arctan2(ky, kx), 0.0196875
    defocus = 0.5 * (u_ang + v_ang + (u_ang - v_ang) * np.cos(2 * (azimuth - np.radians(angle_deg))))
    chi = np.pi * wavelength * defocus * k2 - 0.5 * np.pi * 2.7e7 * wavelength**3 * k2**2
    return np.asarray(np.sin(chi + np.arctan2(0.1, np.sqrt(1 - 0.01))) ** 2)


def ring_agreement(power: NDArray[np.float64], ctf2: NDArray[np.float64]) -> float:
    """Correlation with the rings between 12 and 5.5 Å, every radius freed of its mean trend."""
    size = power.shape[0]
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    chosen = (k > 1 / 12) & (k < 1 / 5.5)
    trend = np.polyfit(k[chosen], power[chosen], 3)
    return float(np.corrcoef(power[chosen] - np.polyval(trend, k[chosen]), ctf2[chosen] - 0.5)[0, 1])


@pytest.fixture(scope="module", params=[SEED], ids=lambda seed: f"seed={seed}")
def astigmatic_spectrum(request: pytest.FixtureRequest) -> NDArray[np.float64]:
    rng = np.random.default_rng(request.param)
    exposure, frames = take(
        rng,
        defocus=Defocus(u_ang=16000, v_ang=13500, angle_deg=25),
        shape_yx=(768, 768),
        displacement_px_xy=[(1.2 * frame, -0.7 * frame) for frame in range(4)],
        dose_per_frame_e_ang2=6.0,
    )
    return power_spectrum(aligned_sum(frames, exposure.displacement_px_xy), 256)


def test_thon_rings_lie_where_defocus_and_astigmatism_put_them(
    astigmatic_spectrum: NDArray[np.float64],
) -> None:
    def agreement(u_ang: float, v_ang: float, angle_deg: float) -> float:
        ctf2 = squared_ctf(256, u_ang=u_ang, v_ang=v_ang, angle_deg=angle_deg)
        return ring_agreement(astigmatic_spectrum, ctf2)

    true = agreement(16000, 13500, 25)
    assert true > 0.15
    assert true > 2 * agreement(16000, 13500, -25), "the angle runs from x towards +y of stored rows"
    assert true > 2 * agreement(13500, 16000, 25), "U is the larger defocus, at the angle"
    best = max(range(-800, 801, 100), key=lambda change: agreement(16000 + change, 13500 + change, 25))
    assert abs(best) <= 100


def test_power_vanishes_at_the_zeros_of_the_transfer(astigmatic_spectrum: NDArray[np.float64]) -> None:
    ctf2 = squared_ctf(256, u_ang=16000, v_ang=13500, angle_deg=25)
    k = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None, :])
    white = np.median(astigmatic_spectrum[k > 0.45])
    for low_ang, high_ang in ((16, 11), (11, 8), (8, 6)):
        ring = (k > 1 / low_ang) & (k < 1 / high_ang)
        dark = np.mean(astigmatic_spectrum[ring & (ctf2 < 0.06)]) / white
        bright = np.mean(astigmatic_spectrum[ring & (ctf2 > 0.9)]) / white
        assert bright > dark + 0.1
        assert dark < 1.4, "nothing but shot noise where nothing is transferred"
    assert 1.0 < np.mean(astigmatic_spectrum[(k > 1 / 6) & (k < 1 / 5)]) / white < 2.0, "no unphysical contrast"


def test_particles_are_dark_where_the_truth_puts_them(rng: np.random.Generator) -> None:
    exposure, frames = take(
        rng,
        defocus=Defocus(u_ang=20000, v_ang=19800, angle_deg=0),
        shape_yx=(512, 768),
        displacement_px_xy=[(0.0, 0.0), (8.0, -5.0)],
        dose_per_frame_e_ang2=10.0,
    )
    image = aligned_sum(frames, exposure.displacement_px_xy)
    rows, columns = np.mgrid[:512, :768]
    particles = exposure.field.particles_px_xy
    nearest = np.min([np.hypot(columns - x, rows - y) for x, y in particles], axis=0)
    edges = (rows > 80) & (rows < 432) & (columns > 80) & (columns < 688)
    inside, outside = image[edges & (nearest < 40)], image[edges & (nearest > 110)]
    assert len(particles) >= 4
    contrast = 1 - inside.mean() / outside.mean()
    assert 0.02 < contrast < 0.3
