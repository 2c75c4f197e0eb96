"""SerialEM's mdoc files: what it says about each set of frames and each tilt.

A light reader: the usual library brings pandas with it, which a scan of every few seconds cannot afford.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.domain.names import base_name_of_foreign_path
from cryodaq.errors import FormatError
from cryodaq.formats.times import iso_time

MAX_MDOC_CHARACTERS = 64_000_000

_SECTION = re.compile(r"\[(?P<kind>[A-Za-z]\w*)\s*=\s*(?P<value>.*?)\s*\]")
_MODES = {"0": "linear", "1": "counting", "2": "super-resolution"}


def read_frame_mdoc(text: str, *, source: str = "mdoc") -> tuple[AcquisitionMetadata, ...]:
    """Return what an mdoc says about each frame set, and each tilt of a series, in the order of the file.

    The pixel size of a tilt is left out: there the file gives that of the binned stack, not of the frames.

    Parameters
    ----------
    source
        Name of the file, for the answers and for messages.

    Raises
    ------
    FormatError
        A number in it is none, or it is unreasonably large.
    """
    path = PurePosixPath(source)
    if len(text) > MAX_MDOC_CHARACTERS:
        raise FormatError(path, problem=f"it is longer than {MAX_MDOC_CHARACTERS} characters")
    shared: dict[str, str] = {}
    sections: list[tuple[str, dict[str, str]]] = []
    for line in text.splitlines():
        header = _SECTION.fullmatch(line.strip())
        if header is not None:
            if header["kind"] != "T":
                sections.append((header["kind"], {}))
            continue
        key, separator, value = line.partition("=")
        if separator:
            target = sections[-1][1] if sections else shared
            target[key.strip()] = value.strip()
    return tuple(
        _metadata(_Facts({**shared, **facts}, path), is_frame_set=kind == "FrameSet")
        for kind, facts in sections
        if kind in {"FrameSet", "ZValue"}
    )


class _Facts:
    """Values of one section by SerialEM's keys."""

    def __init__(self, values: Mapping[str, str], path: PurePath) -> None:
        self._values, self.path = values, path

    def text(self, key: str) -> str | None:
        return self._values.get(key) or None

    def numbers(self, key: str) -> tuple[float | None, ...]:
        """Return the numbers of a key, None for those that are not finite (SerialEM and Tomography write NaN)."""
        words = (self._values.get(key) or "").split()
        try:
            numbers = [float(word) for word in words]
        except ValueError as error:
            raise FormatError(self.path, problem=f"{key} = {' '.join(words)[:60]!r} is no number") from error
        return tuple(number if math.isfinite(number) else None for number in numbers)

    def number(self, key: str) -> float | None:
        """Return the first number of a key."""
        numbers = self.numbers(key)
        return numbers[0] if numbers else None

    def pair(self, key: str) -> tuple[float, float] | None:
        """Return the two numbers of a key."""
        match self.numbers(key):
            case (float() as first, float() as second, *_):
                return first, second
            case _:
                return None


def _metadata(facts: _Facts, *, is_frame_set: bool) -> AcquisitionMetadata:
    stage = facts.pair("StagePosition")
    frame_count, total_dose = _frames_and_dose(facts)
    binning = facts.number("Binning")
    defocus_um = facts.number("TargetDefocus")
    movie, gain, defects = (facts.text(key) for key in ("SubFramePath", "GainReference", "DefectFile"))
    super_resolution = None if binning is None else binning == 0.5
    mode = _MODES.get(facts.text("OperatingMode") or "")
    return AcquisitionMetadata(
        source=facts.path.name,
        pixel_size_ang=facts.number("PixelSpacing") if is_frame_set else None,
        voltage_kv=facts.number("Voltage"),
        dose_per_frame_e_ang2=total_dose / frame_count if total_dose and frame_count else None,
        total_dose_e_ang2=total_dose,
        exposure_time_s=facts.number("ExposureTime"),
        frame_count=frame_count,
        applied_defocus_ang=None if defocus_um is None else -defocus_um * 1e4,
        stage_x_um=stage[0] if stage else None,
        stage_y_um=stage[1] if stage else None,
        stage_z_um=facts.number("StageZ"),
        tilt_deg=facts.number("TiltAngle"),
        beam_shift_xy=facts.pair("ImageShift"),
        detector_mode="super-resolution" if super_resolution else mode,
        binning=binning,
        super_resolution=super_resolution,
        acquired_at=iso_time(facts.text("DateTime")),
        magnification=facts.number("Magnification"),
        movie_file_name=base_name_of_foreign_path(movie) if movie else None,
        gain_file_name=base_name_of_foreign_path(gain) if gain else None,
        software="SerialEM",
        beam_tilt_xy=facts.pair("BeamTilt"),
        defect_file_name=base_name_of_foreign_path(defects) if defects else None,
    )


def _frames_and_dose(facts: _Facts) -> tuple[int | None, float | None]:
    """Return the number of frames and the total dose in e⁻/Å².

    `FrameDosesAndNumber` lists pairs of dose per frame and number of frames; a total of 0 means uncalibrated.
    """
    pairs = [number or 0.0 for number in facts.numbers("FrameDosesAndNumber")]
    doses, counts = pairs[::2], pairs[1::2]
    frames = facts.number("NumSubFrames") or sum(counts)
    if len(doses) == len(counts) and sum(counts) == frames:
        dose = sum(dose * count for dose, count in zip(doses, counts, strict=True))
    else:
        dose = 0.0
    return (int(frames) if 0 < frames < 1e9 else None), (dose or facts.number("ExposureDose") or None)
