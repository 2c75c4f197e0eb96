"""A gain reference of another camera, mode or voltage is told from what both files say; silence is no reason."""

from __future__ import annotations

import pytest

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.domain.gain_fit import other_mode


def said(camera: str | None, voltage_kv: float | None) -> AcquisitionMetadata:
    return AcquisitionMetadata(source="a", camera=camera, voltage_kv=voltage_kv)


@pytest.mark.parametrize(
    ("gain", "movie", "why"),
    [
        (said("K3", 300.0), said("BioQuantum K3", 300.0), None),
        (said("K2 Summit", 300.0), said("BioQuantum K3", 300.0), "is of a K2 Summit, the movie of a BioQuantum K3"),
        (said("K3", 200.0), said("K3", 300.0), "was taken at 200 kV, the movie at 300 kV"),
        (said(None, None), said("K3", 300.0), None),
        (said("camera 1", 299.9), said("camera 2", 300.0), None),
        (None, said("K3", 300.0), None),
        (said("K3", 300.0), None, None),
    ],
)
def test_cameras_and_voltages_that_differ_are_a_reason(
    gain: AcquisitionMetadata | None, movie: AcquisitionMetadata | None, why: str | None
) -> None:
    assert other_mode(".dm4", ".tif", gain=gain, movie=movie) == why


def test_a_gain_of_counted_electrons_is_for_eer_movies_only() -> None:
    assert other_mode(".gain", ".eer", gain=None, movie=None) is None
    assert "EER" in (other_mode(".gain", ".tiff", gain=None, movie=None) or "")
