"""CTF of a micrograph: defocus, astigmatism, score and resolution, or the answer that there is none.

The logarithm of the mean power is sampled in polar coordinates. From each direction's profile, and from each
model of rings, all that a few smooth curves can describe is taken away, so the background needs no model and
no guess of how wide the rings are.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cryodaq.domain.results import CtfFit
from cryodaq.errors import ImagingError
from cryodaq.imaging.ctf_model import Defocus, Lens

if TYPE_CHECKING:
    from cryodaq.imaging.ctf_curve import RingCurve
    from cryodaq.imaging.power_spectrum import PolarSpectrum, PowerSpectrum
    from cryodaq.imaging.ring_profiles import RingModel

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

SIGNIFICANT = 8.0
"""Score, in standard deviations of the score of pure noise, below which nothing was found."""
FEWEST_RINGS_FOLLOWED = 2.0
COARSEST_RESOLUTION_ANG = 12.0
"""A fit that ends before this says more about the specimen's shape than about the lens."""
LARGEST_ASTIGMATISM = 0.5
"""U - V over the mean defocus; more than any microscope that still makes pictures."""
BACKGROUND_CURVES = 14
WHOLE_RANGE_CURVES = 10
PICTURE_PX = 512
"""Edge of the pictures of spectrum and fit, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtfOptions:
    """What a site may choose about the CTF fit."""

    box_size_px: int = 768
    """About the edge of the power spectrum: rings of a large defocus need many pixels, or they fade between them."""
    min_resolution_ang: float = 30.0
    max_resolution_ang: float = 4.0
    """Range that is fitted, Å; rings may be followed further."""
    min_defocus_ang: float = 1000.0
    max_defocus_ang: float = 50000.0
    search_phase_shift: bool = False
    """For a phase plate; without one, a phase shift is found only where defocus is uncertain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtfMeasurement:
    """A fit, and what people look at to believe it."""

    fit: CtfFit
    spectrum: Float
    """Centred (y, x), logarithm of the power, background taken away, in standard deviations."""
    model: Float
    """Centred (y, x), squared CTF of the fit, 0 to 1."""
    step_per_ang: float
    """Frequency from one pixel of both to the next, 1/Å."""
    frequency_per_ang: Float64
    """(frequency,), of the curves below."""
    experimental: Float64
    """Average at equal phase, background taken away, 0 to 1 where the rings follow the fit."""
    fitted: Float64
    """Squared CTF at the mean defocus."""
    correlation: Float64
    """Of both curves within a few rings, -1 to 1."""


def fit_ctf(
    micrograph: NDArray[np.floating],  # (y, x)
    *,
    pixel_size_ang: float,
    voltage_kv: float,
    cs_mm: float,
    amplitude_contrast: float,
    options: CtfOptions | None = None,
) -> CtfMeasurement:
    """Fit the CTF of a micrograph.

    Parameters
    ----------
    pixel_size_ang
        Å/px.
    cs_mm
        Spherical aberration.
    amplitude_contrast
        Fraction, 0 to 1.

    Returns
    -------
    A measurement whose fit says `fitted=False` where the micrograph shows no rings: vacuum, crystal, nothing.

    Raises
    ------
    ImagingError
        When the micrograph or the numbers make no sense; the message says what to change.
    """
    from cryodaq.imaging.power_spectrum import mean_power

    options = options or CtfOptions()
    lens = _checked_lens(pixel_size_ang, voltage_kv, cs_mm, amplitude_contrast)
    spectrum = mean_power(
        micrograph,
        pixel_size_ang=pixel_size_ang,
        box_size_px=options.box_size_px,
        finest_ang=options.max_resolution_ang,
    )
    return _measure(spectrum, lens, options)


def fit_ctf_of_spectrum(
    spectrum: NDArray[np.floating],  # (y, x)
    *,
    pixel_size_ang: float,
    voltage_kv: float,
    cs_mm: float,
    amplitude_contrast: float,
    options: CtfOptions | None = None,
) -> CtfMeasurement:
    """Fit the CTF of a centred amplitude or power spectrum, as other programs write them.

    `pixel_size_ang` is that of the picture which would have this spectrum: its edge is at 1/(2 pixels).
    See `fit_ctf`.
    """
    from cryodaq.imaging.power_spectrum import given_power

    lens = _checked_lens(pixel_size_ang, voltage_kv, cs_mm, amplitude_contrast)
    return _measure(given_power(spectrum, pixel_size_ang=pixel_size_ang), lens, options or CtfOptions())


def _checked_lens(pixel_size_ang: float, voltage_kv: float, cs_mm: float, amplitude_contrast: float) -> Lens:
    known = (
        ("pixel size", pixel_size_ang, "Å", 0.05, 30.0),
        ("voltage", voltage_kv, "kV", 60.0, 1300.0),
        ("spherical aberration", cs_mm, "mm", 0.0, 20.0),
        ("amplitude contrast", amplitude_contrast, "(a fraction)", 0.0, 1.0),
    )
    for name, value, unit, least, most in known:
        if not least <= value <= most:
            problem = (
                f"the {name} is {value:g} {unit}, but only {least:g} to {most:g} make sense; "
                f"correct the {name} of the sample or the microscope"
            )
            raise ImagingError(problem)
    return Lens.at(voltage_kv, cs_mm=cs_mm, amplitude_contrast=amplitude_contrast)


def _measure(spectrum: PowerSpectrum, lens: Lens, options: CtfOptions) -> CtfMeasurement:
    from cryodaq.imaging.ctf_curve import measure_curve
    from cryodaq.imaging.defocus_search import ANY_PHASE_SHIFT, NO_PHASE_PLATE, find_rings
    from cryodaq.imaging.ice_rings import measure_ice_ring
    from cryodaq.imaging.power_spectrum import polar, reduced
    from cryodaq.imaging.ring_profiles import Rings

    if not options.min_defocus_ang < options.max_defocus_ang:
        raise ImagingError("the smallest defocus is not below the largest; correct the range of the CTF fit")
    phase_shifts = ANY_PHASE_SHIFT if options.search_phase_shift else NO_PHASE_PLATE
    whole_range = polar(spectrum, coarsest_ang=options.min_resolution_ang)
    rings = Rings(whole_range.until(options.max_resolution_ang).in_sectors(), lens)
    found = find_rings(
        rings, least_ang=options.min_defocus_ang, most_ang=options.max_defocus_ang, phase_shifts=phase_shifts
    )
    found = _refined_on(whole_range, found, lens=lens, free_phase=options.search_phase_shift)
    score = rings.score(found)
    curve = measure_curve(whole_range, model=found, lens=lens)
    fitted = rings.significance(score) > SIGNIFICANT and _credible(found.defocus, curve, options)
    defocus, plate = found.defocus, lens.with_phase_shift(found.phase_shift)
    shown = reduced(spectrum, size_px=PICTURE_PX)
    return CtfMeasurement(
        fit=CtfFit(
            fitted=fitted,
            defocus_u_ang=defocus.u_ang,
            defocus_v_ang=defocus.v_ang,
            defocus_angle_deg=defocus.angle_deg,
            phase_shift_deg=float(np.rad2deg(found.phase_shift)) % 180 if options.search_phase_shift else 0.0,
            score=min(1.0, max(0.0, score)),
            fit_resolution_ang=curve.resolution_ang,
            ice_ring_ratio=measure_ice_ring(whole_range),
        ),
        spectrum=_flattened(shown, coarsest_ang=options.min_resolution_ang),
        model=_model(shown, defocus, plate),
        step_per_ang=shown.step_per_ang,
        frequency_per_ang=curve.frequency,
        experimental=curve.experimental,
        fitted=curve.fitted,
        correlation=curve.correlation,
    )


def _refined_on(spectrum: PolarSpectrum, start: RingModel, *, lens: Lens, free_phase: bool) -> RingModel:
    """Refine on all frequencies there are, but those where ice has rings of its own."""
    from cryodaq.imaging.defocus_search import measure_envelope, refine_rings
    from cryodaq.imaging.ice_rings import AROUND_RING_ANG, within
    from cryodaq.imaging.ring_power import refine_on_power
    from cryodaq.imaging.ring_profiles import Rings

    sectors = spectrum.in_sectors()
    ice = within(sectors.frequency, AROUND_RING_ANG)
    rings = Rings(sectors, lens, curves=WHOLE_RANGE_CURVES, ignored=ice)
    found = dataclasses.replace(start, envelope=measure_envelope(rings, start))
    found = refine_rings(rings, found, free_phase=free_phase)
    return refine_on_power(rings, found, free_phase=free_phase)


def _credible(defocus: Defocus, curve: RingCurve, options: CtfOptions) -> bool:
    """What looks like rings has to look like those of a microscope, and more than one of them."""
    return (
        options.min_defocus_ang <= defocus.mean_ang <= options.max_defocus_ang
        and defocus.u_ang - defocus.v_ang <= LARGEST_ASTIGMATISM * defocus.mean_ang
        and curve.rings_followed >= FEWEST_RINGS_FOLLOWED
        and curve.resolution_ang <= COARSEST_RESOLUTION_ANG
    )


def _flattened(spectrum: PowerSpectrum, *, coarsest_ang: float) -> Float:
    """Logarithm of the power less its average at each frequency, smoothed; 0 at low frequencies."""
    from cryodaq.imaging.power_spectrum import logarithm_of
    from cryodaq.imaging.ring_profiles import background_curves

    along = np.square(_pixels_from_middle(spectrum))
    logarithm = logarithm_of(spectrum.power)
    first = max(1, int(1 / (coarsest_ang * spectrum.step_per_ang)))
    rings = np.rint(np.sqrt(along[:, None] + along[None, :])).astype(np.int64)
    mean = np.bincount(rings.ravel(), logarithm.ravel()) / np.maximum(np.bincount(rings.ravel()), 1)
    curves = background_curves(len(mean) - first, BACKGROUND_CURVES)
    coefficients, *_ = np.linalg.lstsq(curves, mean[first:], rcond=None)
    background = np.concatenate([mean[:first], curves @ coefficients]).astype(np.float32)
    flat = np.where(rings < first, np.float32(0), logarithm - background[rings])
    return np.asarray(flat / max(float(flat.std()), 1e-12), dtype=np.float32)


def _pixels_from_middle(spectrum: PowerSpectrum) -> Float:  # (size,)
    size = len(spectrum.power)
    return np.arange(-(size // 2), size - size // 2, dtype=np.float32)


def _model(spectrum: PowerSpectrum, defocus: Defocus, lens: Lens) -> Float:
    """Squared CTF (y, x) on the pixels of the spectrum."""
    along = _pixels_from_middle(spectrum) * np.float32(spectrum.step_per_ang)
    return np.asarray(np.square(np.sin(lens.phase_at(along[:, None], along[None, :], defocus))), dtype=np.float32)
