"""CTFFIND's results as text: `<diagnostic>.txt`, `<diagnostic>_avrot.txt`, and one line of its log.

Versions 4.0 to 5 (A. Rohou and N. Grigorieff 2015, doi 10.1016/j.jsb.2015.08.008; J. Elferich et al. 2024,
doi 10.7554/eLife.97227): seven columns, from version 5 three more.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Self

from cryodaq.errors import FormatError, TruncatedFileError

_N = r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)"
_VERSION = re.compile(r"CTFFind version (\d+(?:\.\d+)*)", re.IGNORECASE)
_OPTICS = re.compile(
    rf"Pixel size: {_N} Angstroms ; acceleration voltage: {_N} keV ; spherical aberration: {_N} mm ; "
    rf"amplitude contrast: {_N}"
)
_SEARCH = re.compile(
    rf"Box size: (\d+) pixels ; min\. res\.: {_N} Angstroms ; max\. res\.: {_N} Angstroms ; "
    rf"min\. def\.: {_N} um; max\. def\. {_N} um"
)
_ALIASED = re.compile(rf"CTF aliasing apparent from\s*: {_N} Angstroms")
_AVROT_LINES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CtffindSettings:
    """What the head of a result repeats of the question."""

    version: str
    pixel_size_ang: float
    voltage_kv: float
    cs_mm: float
    amplitude_contrast: float
    box_px: int
    resolution_ang: tuple[float, float]
    """Coarsest and finest that were fitted, Å."""
    defocus_ang: tuple[float, float]
    """Smallest and largest that were tried, Å (the file says um and means Å)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtffindRow:
    """One micrograph, in CTFFIND's own units and order; numbers may be infinite or no numbers."""

    defocus_1_ang: float
    defocus_2_ang: float
    azimuth_deg: float
    phase_shift_rad: float
    score: float
    fit_resolution_ang: float

    @classmethod
    def from_degrees(
        cls,
        *,
        defocus_1_ang: float,
        defocus_2_ang: float,
        azimuth_deg: float,
        phase_shift_deg: float,
        score: float,
        fit_resolution_ang: float,
    ) -> Self:
        """Return the row of a fit whose phase shift is given in degrees."""
        return cls(
            defocus_1_ang=defocus_1_ang,
            defocus_2_ang=defocus_2_ang,
            azimuth_deg=azimuth_deg,
            phase_shift_rad=math.radians(phase_shift_deg),
            score=score,
            fit_resolution_ang=fit_resolution_ang,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CtffindCurves:
    """One micrograph's spectrum along the frequency, all of one length."""

    frequency_per_ang: tuple[float, ...]
    spectrum: tuple[float, ...]
    """Rotational average, without regard to astigmatism."""
    spectrum_along_rings: tuple[float, ...]
    """Average along lines of equal CTF."""
    fit: tuple[float, ...]
    """CTF fit, 0 to 1."""
    quality: tuple[float, ...]
    """Cross-correlation of both, -1 to 1."""
    quality_of_noise: tuple[float, ...]
    """Twice the standard deviation that noise would have."""


def ctffind_text(
    row: CtffindRow,
    *,
    micrograph: str,
    program: str,
    pixel_size_ang: float,
    voltage_kv: float,
    cs_mm: float,
    amplitude_contrast: float,
) -> str:
    """Return one micrograph's result in the form of CTFFIND 4.1: five lines of words, seven columns.

    Parameters
    ----------
    micrograph
        Path of what was fitted.
    program
        What fitted it.
    """
    name = re.sub(r"[\x00-\x1f\x7f]", "?", micrograph)
    values = (row.defocus_1_ang, row.defocus_2_ang, row.azimuth_deg, row.phase_shift_rad, row.score)
    numbers = " ".join(f"{value:.6f}" for value in (1.0, *values, row.fit_resolution_ang))
    return (
        f"# In the form of CTFFind version 4.1; fitted by {program} (cryodaq)\n"
        f"# Input file: {name} ; Number of micrographs: 1\n"
        f"# Pixel size: {pixel_size_ang:.3f} Angstroms ; acceleration voltage: {voltage_kv:.1f} keV ; "
        f"spherical aberration: {cs_mm:.2f} mm ; amplitude contrast: {amplitude_contrast:.2f}\n"
        "# Spectrum and search are the fitting program's own; the log of the movie has them\n"
        "# Columns: #1 - micrograph number; #2 - defocus 1 [Angstroms]; #3 - defocus 2; "
        "#4 - azimuth of astigmatism; #5 - additional phase shift [radians]; #6 - cross correlation; "
        "#7 - spacing (in Angstroms) up to which CTF rings were fit successfully\n"
        f"{numbers}\n"
    )


def parse_ctffind(text: str, *, path: PurePath) -> tuple[CtffindSettings, tuple[CtffindRow, ...]]:
    """Return settings and results, one row a micrograph; `path` is for messages.

    Raises
    ------
    TruncatedFileError
        There is no result.
    FormatError
        It is no CTFFIND result, or a row has too few or strange values.
    """
    settings = _settings(text, path=path)
    rows: list[CtffindRow] = []
    for values in _data(text, path=path):
        if len(values) < 7:
            raise FormatError(path, problem=f"a result has {len(values)} values, 7 are expected")
        if values[0] != len(rows) + 1:
            raise FormatError(path, problem="its lines do not number the micrographs: it holds no results")
        rows.append(
            CtffindRow(
                defocus_1_ang=values[1],
                defocus_2_ang=values[2],
                azimuth_deg=values[3],
                phase_shift_rad=values[4],
                score=values[5],
                fit_resolution_ang=values[6],
            )
        )
    if not rows:
        raise TruncatedFileError(path, problem="it holds no result")
    return settings, tuple(rows)


def parse_ctffind_curves(text: str, *, path: PurePath) -> tuple[CtffindCurves, ...]:
    """Return the curves of `_avrot.txt`, one set a micrograph.

    Raises
    ------
    TruncatedFileError
        The last set is not whole.
    FormatError
        It is no such file, or its lines differ in length.
    """
    _settings(text, path=path)
    lines = _data(text, path=path)
    if not lines or len(lines) % _AVROT_LINES:
        raise TruncatedFileError(path, problem=f"it has {len(lines)} lines of numbers, 6 a micrograph are expected")
    curves = []
    for first in range(0, len(lines), _AVROT_LINES):
        six = lines[first : first + _AVROT_LINES]
        if len({len(line) for line in six}) != 1:
            raise FormatError(path, problem="the six lines of a micrograph differ in length")
        curves.append(
            CtffindCurves(
                frequency_per_ang=six[0],
                spectrum=six[1],
                spectrum_along_rings=six[2],
                fit=six[3],
                quality=six[4],
                quality_of_noise=six[5],
            )
        )
    return tuple(curves)


def aliasing_from_ang(log: str) -> float | None:
    """Return the resolution, Å, beyond which the box is too small to show the rings; None: all the way."""
    found = _ALIASED.search(log)
    return None if found is None else float(found[1])


def _settings(text: str, *, path: PurePath) -> CtffindSettings:
    version, optics, search = (pattern.search(text) for pattern in (_VERSION, _OPTICS, _SEARCH))
    if version is None or optics is None or search is None:
        raise FormatError(path, problem="it does not begin like a result of CTFFIND 4 or 5")
    try:
        pixel, voltage, cs, contrast = (float(value) for value in optics.groups())
        box, coarse, fine, low, high = (float(value) for value in search.groups())
    except ValueError as error:
        raise FormatError(path, problem=f"its head holds something that is no number: {error}") from error
    if not all(map(math.isfinite, (pixel, voltage, cs, contrast, box, coarse, fine, low, high))):
        raise FormatError(path, problem="its head holds a number that is not finite")
    return CtffindSettings(
        version=version[1],
        pixel_size_ang=pixel,
        voltage_kv=voltage,
        cs_mm=cs,
        amplitude_contrast=contrast,
        box_px=int(box),
        resolution_ang=(coarse, fine),
        defocus_ang=(low, high),
    )


def _data(text: str, *, path: PurePath) -> list[tuple[float, ...]]:
    lines = (line.split() for line in text.split("\n") if line.strip() and not line.startswith("#"))
    try:
        return [tuple(float(word) for word in words) for words in lines]
    except ValueError as error:
        raise FormatError(path, problem=f"it holds something that is no number: {error}") from error
