"""Whether a gain reference is of the movie's camera and mode, by what both say; their sizes are compared apart."""

from __future__ import annotations

import re

from cryodaq.domain.acquisition import AcquisitionMetadata

_CAMERA = re.compile(r"\b(K2|K3|Falcon|Ceta|Alpine|OneView|Rio|Apollo|DE-?\d{2})\b", re.IGNORECASE)
_FOR_EVENTS = ".gain"
TOLERATED_KV = 5.0


def other_mode(
    gain_suffix: str, movie_suffix: str, *, gain: AcquisitionMetadata | None, movie: AcquisitionMetadata | None
) -> str | None:
    """Return why a gain reference is of another camera or mode, as the end of a sentence about it; None if it may fit.

    What one of the two does not say is no reason.
    """
    if gain_suffix.lower() == _FOR_EVENTS and movie_suffix.lower() != ".eer":
        return "is for counted electrons (EER), which the movie is not made of"
    if gain is None or movie is None:
        return None
    cameras = _camera(gain.camera), _camera(movie.camera)
    if None not in cameras and cameras[0] != cameras[1]:
        return f"is of a {gain.camera}, the movie of a {movie.camera}"
    voltages = gain.voltage_kv, movie.voltage_kv
    if voltages[0] is not None and voltages[1] is not None and abs(voltages[0] - voltages[1]) > TOLERATED_KV:
        return f"was taken at {voltages[0]:g} kV, the movie at {voltages[1]:g} kV"
    return None


def _camera(name: str | None) -> str | None:
    found = _CAMERA.search(name or "")
    return found[1].upper().replace("-", "") if found else None
