"""CTF fits of real micrographs and spectra."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from PIL import Image

from cryodaq.imaging.ctf import fit_ctf, fit_ctf_of_spectrum

MICROGRAPHS = Path(__file__).parents[4] / "shared/data/micrographs"
SPECTRA = MICROGRAPHS / "bgal_powerspectra"
FALCON = MICROGRAPHS / "falcon3_epu2.9/epu2.9_example.mrc"
UNITS_PER_ELECTRON = 307
TITAN_OPTICS = {"voltage_kv": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.1}

pytestmark = pytest.mark.skipif(
    not MICROGRAPHS.exists(), reason="the real micrographs lie in ../shared/data, which is not here"
)


def published_fits() -> dict[str, tuple[float, float, float]]:
    """Defocus U, V and angle by micrograph, from the star file beside the spectra."""
    table = SPECTRA / "reference_em-testdata_micrographs_ctf.star"
    rows = [line.split() for line in table.read_text().splitlines()]
    named = [row for row in rows if row and row[0].startswith("MotionCorr/")]
    return {Path(row[0]).stem: (float(row[3]), float(row[4]), float(row[6])) for row in named}


def test_spectra_of_beta_galactosidase_fit_as_published() -> None:
    found = sorted(SPECTRA.glob("*_PS.mrc"))
    assert len(found) == 12
    for path in found:
        u, v, angle = published_fits()[path.stem.removesuffix("_PS")]
        fit = fit_ctf_of_spectrum(
            mrcfile.read(path).squeeze(), pixel_size_ang=1.39955, voltage_kv=200.0, cs_mm=1.4, amplitude_contrast=0.1
        ).fit
        assert fit.fitted
        assert fit.defocus_mean_ang == pytest.approx((u + v) / 2, rel=0.01)
        ours = fit.astigmatism_ang * np.exp(2j * np.deg2rad(fit.defocus_angle_deg))
        assert abs(ours - (u - v) * np.exp(2j * np.deg2rad(angle))) < 150


@pytest.fixture(scope="module")
def falcon_frame() -> np.ndarray:
    return mrcfile.read(FALCON).astype(np.float32)


def test_a_falcon_frame_fits_as_other_programs_say(falcon_frame) -> None:
    fit = fit_ctf(falcon_frame, pixel_size_ang=0.66655, **TITAN_OPTICS).fit
    assert fit.fitted
    assert fit.defocus_mean_ang == pytest.approx(27170, rel=0.01)
    assert fit.fit_resolution_ang < 4.0
    assert fit.ice_ring_ratio == pytest.approx(1.0, abs=0.2)


def test_aligning_a_moved_exposure_shows_finer_rings(falcon_frame) -> None:
    """Electrons of the frame dealt to 8 frames that move by whole pixels, as a drifting specimen would."""
    rng = np.random.default_rng(1)
    left = np.rint(falcon_frame / UNITS_PER_ELECTRON).astype(np.int64)
    still, moved = np.zeros(left.shape, np.float32), np.zeros(left.shape, np.float32)
    for frame in range(8):
        dealt = rng.binomial(left, 1 / (8 - frame))
        left -= dealt
        drift_px = round(10 * (1 - np.exp(-frame / 3)))
        still += dealt
        moved += np.roll(dealt, (drift_px, drift_px // 2), axis=(0, 1))
    aligned, unaligned = (fit_ctf(sum_, pixel_size_ang=0.66655, **TITAN_OPTICS).fit for sum_ in (still, moved))
    assert aligned.fit_resolution_ang < 4.0 < unaligned.fit_resolution_ang
    assert aligned.score > unaligned.score
    for fit in (aligned, unaligned):
        assert fit.defocus_mean_ang == pytest.approx(27170, rel=0.01)


def test_aligned_exposures_rank_above_single_frames_of_theirs() -> None:
    """Apoferritin on a K2 (EMPIAR-10146): what quality control sees of an exposure before and after alignment."""
    folder = MICROGRAPHS / "apoferritin_empiar10146"
    frames = sorted((folder / "single_frame").glob("*.bin.png"))
    assert len(frames) >= 4
    for frame in frames:
        aligned = folder / "avg" / frame.name.replace(".bin.png", ".bin_avg.png")
        before, after = (
            fit_ctf(np.asarray(Image.open(path), dtype=np.float32), pixel_size_ang=1.5, **TITAN_OPTICS).fit
            for path in (frame, aligned)
        )
        assert after.fitted
        assert after.fit_resolution_ang < 6.0
        assert after.score > 2 * before.score
        assert not before.fitted or before.fit_resolution_ang > after.fit_resolution_ang
