"""Our own CTF estimation as an engine: what of the parameters reaches the fit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.fft

from cryodaq.domain.parameters import ImagingParameters, Source, Sourced
from cryodaq.engines.native import NativeCtfEstimation
from cryodaq.formats.mrc import write_micrograph
from cryodaq.simulator.optics import Defocus, ImagingConditions, contrast_transfer

PIXEL_ANG, SHIFT_DEG, SIZE_PX, AMPLITUDE_CONTRAST = 1.2, 80.0, 1024, 0.1


def said(value: float) -> Sourced:
    return Sourced(value=value, source=Source.OPERATOR)


@pytest.fixture
def with_phase_plate(tmp_path: Path) -> Path:
    """A micrograph of noise, 9000 Å under focus, taken with a phase plate."""
    y = np.fft.fftfreq(SIZE_PX, PIXEL_ANG).astype(np.float32)[:, None]
    x = np.fft.rfftfreq(SIZE_PX, PIXEL_ANG).astype(np.float32)[None, :]
    # A phase plate does what much more amplitude contrast would do.
    contrast = math.sin(math.asin(AMPLITUDE_CONTRAST) + math.radians(SHIFT_DEG))
    transfer = contrast_transfer(
        y,
        x,
        conditions=ImagingConditions(pixel_size_ang=PIXEL_ANG, amplitude_contrast=contrast),
        defocus=Defocus(u_ang=9000, v_ang=9000, angle_deg=0),
    )
    rng = np.random.default_rng(5)
    specimen = scipy.fft.rfft2(rng.standard_normal((SIZE_PX, SIZE_PX), dtype=np.float32))
    picture = scipy.fft.irfft2(specimen * transfer * np.exp(-20 * (x**2 + y**2)))
    picture += 0.5 * rng.standard_normal(picture.shape)
    write_micrograph(tmp_path / "micrograph.mrc", picture.astype(np.float32), pixel_size_ang=PIXEL_ANG)
    return tmp_path / "micrograph.mrc"


def test_a_phase_shift_is_fitted_where_the_microscope_has_a_phase_plate(with_phase_plate: Path, tmp_path: Path) -> None:
    parameters = ImagingParameters(
        pixel_size_ang=said(PIXEL_ANG),
        voltage_kv=said(300.0),
        cs_mm=said(2.7),
        amplitude_contrast=said(AMPLITUDE_CONTRAST),
        dose_per_frame_e_ang2=said(1.0),
        particle_diameter_ang=said(150.0),
    )
    without, looked_for = (
        NativeCtfEstimation()
        .fit(with_phase_plate, unaligned_sum=None, parameters=replace(parameters, phase_plate=there), folder=tmp_path)
        .aligned
        for there in (False, True)
    )
    assert looked_for.phase_shift_deg == pytest.approx(SHIFT_DEG, abs=4)
    assert looked_for.defocus_mean_ang == pytest.approx(9000, abs=60)
    assert without.phase_shift_deg == 0
    assert abs(without.defocus_mean_ang - 9000) > 200
