"""CTF fits against rings of known defocus."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryodaq.errors import ImagingError
from cryodaq.imaging.ctf import CtfOptions, fit_ctf, fit_ctf_of_spectrum
from cryodaq.imaging.power_spectrum import mean_power_of_size

OPTICS = {"voltage_kv": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.07}


@pytest.fixture(scope="module")
def make_micrograph(make_rings):
    """Amorphous ice seen through a lens: white matter, rings, an envelope, and counting noise."""

    def make(*, seed, defocus, half_astigmatism=0.0, angle_deg=0.0, pixel_size_ang=1.2, noise=1.5, size=1024, **optics):
        rng = np.random.default_rng(seed)
        y, x = np.meshgrid(*(np.fft.fftfreq(size, pixel_size_ang),) * 2, indexing="ij")
        along = defocus + half_astigmatism * np.cos(2 * (np.arctan2(y, x) - np.deg2rad(angle_deg)))
        rings = make_rings((size, size), pixel_size_ang=pixel_size_ang, defocus_ang=along, **{**OPTICS, **optics})
        envelope = np.exp(-30 * (x**2 + y**2) / 4)
        matter = np.fft.fft2(rng.normal(size=(size, size)))
        slow = np.fft.fft2(rng.normal(size=(size, size))) * 3 / (1 + (60 * np.hypot(x, y)) ** 2)
        seen = np.fft.ifft2(matter * rings * envelope + slow).real
        return (10 + seen + rng.normal(0, noise, seen.shape)).astype(np.float32)

    return make


@pytest.mark.parametrize("defocus", [6000.0, 12000.0, 21000.0, 38000.0])
def test_a_known_defocus_comes_back_within_50_angstrom(make_micrograph, defocus) -> None:
    measured = fit_ctf(make_micrograph(seed=int(defocus), defocus=defocus), pixel_size_ang=1.2, **OPTICS)
    assert measured.fit.fitted
    assert measured.fit.defocus_mean_ang == pytest.approx(defocus, abs=50)
    assert measured.fit.astigmatism_ang < 150


@pytest.mark.parametrize("angle_deg", [10.0, 60.0, 105.0, 170.0])
def test_astigmatism_points_from_x_towards_the_stored_rows(make_micrograph, angle_deg) -> None:
    picture = make_micrograph(seed=3, defocus=18000, half_astigmatism=600, angle_deg=angle_deg)
    fit = fit_ctf(picture, pixel_size_ang=1.2, **OPTICS).fit
    assert fit.defocus_u_ang == pytest.approx(18600, abs=60)
    assert fit.defocus_v_ang == pytest.approx(17400, abs=60)
    assert abs((fit.defocus_angle_deg - angle_deg + 90) % 180 - 90) < 3
    assert 0 <= fit.defocus_angle_deg < 180


@pytest.mark.parametrize("optics", [{"voltage_kv": 200.0, "cs_mm": 1.4, "amplitude_contrast": 0.1}, {"cs_mm": 0.01}])
def test_the_lens_of_the_microscope_is_used(make_micrograph, optics) -> None:
    picture = make_micrograph(seed=4, defocus=15000, **optics)
    fit = fit_ctf(picture, pixel_size_ang=1.2, **{**OPTICS, **optics}).fit
    assert fit.defocus_mean_ang == pytest.approx(15000, abs=50)


@pytest.mark.parametrize(("pixel_size_ang", "size"), [(0.5, 1500), (2.3, 600)])
def test_fine_and_coarse_pixels_give_the_same_defocus(make_micrograph, pixel_size_ang, size) -> None:
    picture = make_micrograph(seed=5, defocus=20000, pixel_size_ang=pixel_size_ang, size=size)
    fit = fit_ctf(picture, pixel_size_ang=pixel_size_ang, **OPTICS).fit
    assert fit.fitted
    assert fit.defocus_mean_ang == pytest.approx(20000, abs=100)


def test_more_noise_ends_the_rings_earlier(make_micrograph) -> None:
    fits = [
        fit_ctf(make_micrograph(seed=6, defocus=15000, noise=noise), pixel_size_ang=1.2, **OPTICS).fit
        for noise in (0.5, 4.0)
    ]
    assert fits[0].fit_resolution_ang < fits[1].fit_resolution_ang
    assert fits[0].score > fits[1].score


def empty_pictures():
    rng = np.random.default_rng(8)
    white = rng.normal(size=(1024, 1024)).astype(np.float32)
    y, x = np.mgrid[:1024, :1024] / 1024
    smooth = np.fft.irfft2(np.fft.rfft2(white) / (1 + 3e5 * (np.fft.fftfreq(1024)[:, None] ** 2)))
    return {
        "noise": white,
        "vacuum": rng.poisson(2.0, white.shape),
        "slope": white + 50 * y,
        "edge": white + 30 * (x > 0.4),
        "clouds": white + 20 * smooth,
    }


@pytest.mark.parametrize("kind", ["noise", "vacuum", "slope", "edge", "clouds"])
def test_no_fit_is_an_answer(kind) -> None:
    measured = fit_ctf(empty_pictures()[kind], pixel_size_ang=1.2, **OPTICS)
    assert not measured.fit.fitted
    assert np.isfinite(measured.fit.fit_resolution_ang)


def test_the_curve_and_the_pictures_show_the_fit(make_micrograph) -> None:
    measured = fit_ctf(make_micrograph(seed=9, defocus=15000, noise=0.5), pixel_size_ang=1.2, **OPTICS)
    assert measured.spectrum.shape == measured.model.shape
    middle, reach = len(measured.model) // 2, int(1 / 3 / measured.step_per_ang)
    part = slice(middle - reach, middle + reach)
    assert middle > reach > 100
    seen = gaussian_filter(measured.spectrum, 1.5)[part, part]
    assert np.corrcoef(seen.ravel(), measured.model[part, part].ravel())[0, 1] > 0.5
    assert measured.frequency_per_ang.shape == measured.experimental.shape == measured.fitted.shape
    followed = measured.frequency_per_ang < 1 / 5
    assert np.corrcoef(measured.experimental[followed], measured.fitted[followed])[0, 1] > 0.8
    assert np.abs(measured.correlation).max() <= 1 + 1e-9


@pytest.mark.parametrize("power", [1, 2])
def test_a_spectrum_fits_like_its_micrograph(make_micrograph, power) -> None:
    picture = make_micrograph(seed=10, defocus=16000, half_astigmatism=300, angle_deg=40, size=512)
    spectrum = np.fft.fftshift(np.abs(np.fft.fft2(picture - picture.mean()))) ** power
    fit = fit_ctf_of_spectrum(spectrum, pixel_size_ang=1.2, **OPTICS).fit
    assert fit.fitted
    assert fit.defocus_mean_ang == pytest.approx(16000, abs=80)
    assert fit.defocus_angle_deg == pytest.approx(40, abs=12)


@pytest.mark.parametrize(
    ("spectrum", "sentence"),
    [
        (np.ones((512, 400)), "square"),
        (np.ones((4096, 4096)), "2048 pixels"),
        (np.zeros((512, 512)), "empty or holds NaN"),
        (np.full((512, 512), np.nan), "empty or holds NaN"),
        (np.random.default_rng(2).normal(5, 1, (512, 512)), "is it a micrograph"),
    ],
)
def test_what_is_no_spectrum_is_refused(spectrum, sentence) -> None:
    with pytest.raises(ImagingError, match=sentence):
        fit_ctf_of_spectrum(spectrum, pixel_size_ang=1.0, **OPTICS)


@pytest.mark.parametrize(
    ("field", "value"),
    [("pixel_size_ang", 0.0), ("voltage_kv", 3.0), ("cs_mm", -1.0), ("amplitude_contrast", 7.0)],
)
def test_impossible_optics_are_refused(field, value) -> None:
    with pytest.raises(ImagingError, match="make sense"):
        fit_ctf(np.ones((512, 512)), **{"pixel_size_ang": 1.0, **OPTICS, field: value})


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (np.eye(64), "too small"),
        (np.ones((512, 512)), "every pixel is 1"),
        (np.zeros((512, 512)), "every pixel is 0"),
        (np.full((512, 512), np.nan), "262,144 of the micrograph's 262,144 pixels are NaN"),
        (np.where(np.eye(512) > 0, np.inf, 1), "512 of the micrograph's"),
        (np.where(np.eye(512) > 0, 1e30, 1), "align it again"),
        (np.ones(512), "axes"),
    ],
)
def test_a_picture_without_a_spectrum_is_refused(picture, sentence) -> None:
    with pytest.raises(ImagingError, match=sentence):
        fit_ctf(picture, pixel_size_ang=1.0, **OPTICS)


def test_a_range_without_rings_is_refused() -> None:
    with pytest.raises(ImagingError, match="larger box or finer pixels"):
        fit_ctf(np.random.default_rng(1).normal(size=(256, 256)), pixel_size_ang=20.0, **OPTICS)
    with pytest.raises(ImagingError, match="range of the CTF fit"):
        fit_ctf(
            np.random.default_rng(1).normal(size=(256, 256)),
            pixel_size_ang=1.0,
            options=CtfOptions(min_defocus_ang=5000, max_defocus_ang=4000),
            **OPTICS,
        )


@pytest.mark.parametrize("shift_deg", [45.0, 90.0, 135.0])
def test_the_shift_of_a_phase_plate_is_found_when_asked_for(make_micrograph, shift_deg) -> None:
    picture = make_micrograph(seed=11, defocus=12000, half_astigmatism=200, angle_deg=30, phase_shift_deg=shift_deg)
    fit = fit_ctf(picture, pixel_size_ang=1.2, options=CtfOptions(search_phase_shift=True), **OPTICS).fit
    assert fit.fitted
    assert fit.phase_shift_deg == pytest.approx(shift_deg, abs=4)
    assert fit.defocus_mean_ang == pytest.approx(12000, abs=80)


def test_noise_has_no_phase_shift_either() -> None:
    picture = empty_pictures()["clouds"]
    assert not fit_ctf(picture, pixel_size_ang=1.2, options=CtfOptions(search_phase_shift=True), **OPTICS).fit.fitted


@pytest.mark.parametrize("crystals", [0.0, 0.6])
def test_rings_of_ice_are_told_from_rings_of_the_lens(make_micrograph, crystals) -> None:
    picture = make_micrograph(seed=12, defocus=14000)
    y, x = np.meshgrid(*(np.fft.fftfreq(n, 1.2) for n in picture.shape), indexing="ij")
    ring = np.exp(-(((np.hypot(x, y) - 1 / 3.68) / 0.002) ** 2))
    grains = np.fft.ifft2(np.fft.fft2(np.random.default_rng(13).normal(size=picture.shape)) * ring).real
    fit = fit_ctf(picture + np.float32(crystals) * grains / grains.std(), pixel_size_ang=1.2, **OPTICS).fit
    assert fit.ice_ring_ratio is not None
    assert (fit.ice_ring_ratio > 1.5) == (crystals > 0)
    assert fit.ice_ring_ratio > 0.9
    assert fit.defocus_mean_ang == pytest.approx(14000, abs=60)


def test_coarse_pixels_cannot_show_rings_of_ice(make_micrograph) -> None:
    picture = make_micrograph(seed=5, defocus=20000, pixel_size_ang=2.3, size=600)
    assert fit_ctf(picture, pixel_size_ang=2.3, **OPTICS).fit.ice_ring_ratio is None


def test_a_fit_follows_the_micrograph_not_its_units_or_its_frame(make_micrograph) -> None:
    picture = make_micrograph(seed=14, defocus=17000, half_astigmatism=500, angle_deg=25)
    fits = [
        fit_ctf(changed, pixel_size_ang=1.2, **OPTICS).fit
        for changed in (picture, 1e-4 * picture + 5, np.rot90(picture), picture[::-1])
    ]
    for fit in fits:
        assert fit.defocus_mean_ang == pytest.approx(17000, abs=40)
        assert fit.astigmatism_ang == pytest.approx(1000, abs=100)
    # Rows are stored downwards: a quarter turn adds 90°, a flip of the rows turns the sense of the angle.
    for fit, angle_deg in zip(fits, (25, 25, 115, 155), strict=True):
        assert abs((fit.defocus_angle_deg - angle_deg + 90) % 180 - 90) < 3


def test_rings_too_narrow_for_a_small_spectrum_are_found_in_noise(make_micrograph) -> None:
    picture = make_micrograph(seed=15, defocus=39000, noise=3.0, size=1280)
    fit = fit_ctf(picture, pixel_size_ang=1.2, **OPTICS).fit
    assert fit.fitted
    assert fit.defocus_mean_ang == pytest.approx(39000, abs=60)


@pytest.mark.parametrize("drift_deg", [20.0, 110.0])
def test_motion_within_a_frame_does_not_pass_for_astigmatism(make_micrograph, drift_deg) -> None:
    still = make_micrograph(seed=16, defocus=18000, noise=0.0)
    y, x = np.meshgrid(*(np.fft.fftfreq(n, 1.2) for n in still.shape), indexing="ij")
    along = np.cos(np.deg2rad(drift_deg)) * x + np.sin(np.deg2rad(drift_deg)) * y
    moved = np.fft.ifft2(np.fft.fft2(still) * np.sinc(12.0 * along)).real
    noise = np.random.default_rng(17).normal(0, 0.5, still.shape)
    fit = fit_ctf((moved + noise).astype(np.float32), pixel_size_ang=1.2, **OPTICS).fit
    assert fit.fitted
    assert fit.defocus_mean_ang == pytest.approx(18000, abs=150)
    assert fit.astigmatism_ang < 300


@pytest.mark.parametrize(("defocus", "strength"), [(8400.0, 4.0), (9800.0, 8.0), (18000.0, 5.0)])
def test_motion_within_a_frame_moves_no_ring(make_rings, defocus, strength) -> None:
    """What the power is without chance: along a drift of 12 Å only a few strong, falling rings are left."""
    size, pixel_size_ang, drift_deg = 1200, 1.2, 25.0
    y, x = np.meshgrid(*(np.fft.fftfreq(size, pixel_size_ang),) * 2, indexing="ij")
    along = np.cos(np.deg2rad(drift_deg)) * x + np.sin(np.deg2rad(drift_deg)) * y
    square = x**2 + y**2
    rings = make_rings((size, size), pixel_size_ang=pixel_size_ang, defocus_ang=defocus, **OPTICS) ** 2
    height = strength * (1 + 15 * np.exp(-(60.0**2) * square) + 1.5 / (1 + 30.0**2 * square)) * np.exp(-58 * square)
    power = np.fft.fftshift(1 + height * np.sinc(12.0 * along) ** 2 * rings)
    fit = fit_ctf_of_spectrum(power.astype(np.float32), pixel_size_ang=pixel_size_ang, **OPTICS).fit
    assert fit.fitted
    assert fit.defocus_mean_ang == pytest.approx(defocus, abs=15)
    assert fit.astigmatism_ang < 30


def test_a_spectrum_of_a_given_size_fits_like_its_micrograph(make_micrograph) -> None:
    picture = make_micrograph(seed=18, defocus=15500, pixel_size_ang=0.8, size=1400)
    spectrum = mean_power_of_size(picture, pixel_size_ang=0.8, size_px=512, finest_ang=4.0)
    assert spectrum.power.shape == (512, 512)
    pixel_size_ang = 1 / (512 * spectrum.step_per_ang)
    fit = fit_ctf_of_spectrum(np.sqrt(spectrum.power), pixel_size_ang=pixel_size_ang, **OPTICS).fit
    assert fit.fitted
    assert fit.defocus_mean_ang == pytest.approx(15500, abs=60)


def test_a_micrograph_of_even_patches_has_no_spectrum() -> None:
    with pytest.raises(ImagingError, match="no detail"):
        fit_ctf(np.kron(np.arange(4.0).reshape(2, 2), np.ones((900, 900))), pixel_size_ang=1.0, **OPTICS)
