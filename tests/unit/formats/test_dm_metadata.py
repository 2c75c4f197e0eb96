"""What DigitalMicrograph writes about an image becomes facts about its exposure."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fuzz import samples

from cryodaq.formats.metadata import read_metadata


@pytest.mark.parametrize("version", [3, 4])
def test_digital_micrographs_tags_say_how_an_image_was_taken(tmp_path: Path, version: int) -> None:
    path = tmp_path / f"gain.dm{version}"
    path.write_bytes(samples.dm(samples.dm_image(), version=version))
    (said,) = read_metadata(path)
    assert (said.pixel_size_ang, said.voltage_kv, said.cs_mm) == pytest.approx((0.83, 300.0, 2.7))
    assert (said.stage_x_um, said.stage_y_um, said.stage_z_um, said.tilt_deg) == (-47.2, 28.4, 103.1, -0.5)
    assert (said.camera, said.exposure_time_s, said.magnification) == ("K3", 2.5, 105_000.0)
    assert (said.instrument, said.software) == ("Titan", "DigitalMicrograph 3.50.3584.0")
    assert said.acquired_at == "2025-01-08T15:49:15"


def test_a_real_dm4_says_its_pixel(shared_data: Path) -> None:
    (path,) = (shared_data / "movies/dm4_format").glob("*.dm4")
    (said,) = read_metadata(path)
    assert (said.pixel_size_ang, said.software) == (10.0, "DigitalMicrograph 3.20.1314.0")
