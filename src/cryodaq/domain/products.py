"""Which files motion correction leaves beside both sums of the aligned frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentProducts:
    """What a site wants to keep. Only cryodaq's own motion correction makes halves, spectra and 16-bit files."""

    unaligned_sum: bool = False
    """Keep the sum of the frames as recorded after CTF and preview have used it."""
    halves: bool = False
    """Write dose-weighted sums of the even and of the odd frames."""
    power_spectrum: bool = False
    """Write the mean amplitudes of the aligned sum's Fourier transform."""
    patch_tracks: bool = True
    """Write the tracks of single patches."""
    half_precision: bool = False
    """Write sums as 16-bit floating point where that loses nothing that can be seen."""
