"""What files say of an exposure comes together, and each value keeps who said it."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import pytest

from cryodaq.domain.acquisition import LONGEST_TEXT, AcquisitionMetadata, believable, completed, with_zone


def test_a_later_file_completes_but_never_contradicts() -> None:
    image = AcquisitionMetadata(source="a.xml", voltage_kv=300.0)
    fractions = AcquisitionMetadata(source="a_Fractions.xml", voltage_kv=200.0, frame_count=40)
    header = AcquisitionMetadata(source="a.mrc", pixel_size_ang=0.8, frame_count=39)
    both = completed(completed(image, fractions), header)
    assert both is not None
    assert (both.voltage_kv, both.frame_count, both.pixel_size_ang) == (300.0, 40, 0.8)
    assert both.source == "a.xml"
    assert both.said_by == {"frame_count": "a_Fractions.xml", "pixel_size_ang": "a.mrc"}


def test_one_witness_alone_speaks_for_itself() -> None:
    image = AcquisitionMetadata(source="a.xml", voltage_kv=300.0)
    assert completed(None, image) is completed(image, None) is image
    assert completed(None, None) is None


def test_what_cannot_be_counts_as_not_said() -> None:
    said = AcquisitionMetadata(
        source="a\nb.xml",
        pixel_size_ang=-0.8,
        voltage_kv=math.inf,
        frame_count=0,
        stage_x_um=-12.0,
        beam_shift_xy=(0.1, math.nan),
        super_resolution=False,
        movie_file_name="a\x00b.tif",
        camera="K" * 10_000,
    )
    kept = believable(said)
    assert (kept.pixel_size_ang, kept.voltage_kv, kept.frame_count, kept.beam_shift_xy) == (None, None, None, None)
    assert (kept.stage_x_um, kept.super_resolution) == (-12.0, False)
    assert (kept.source, kept.movie_file_name, len(kept.camera or "")) == ("a?b.xml", "a?b.tif", LONGEST_TEXT)
    assert believable(kept) is kept


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2026-01-25T14:13:26", "2026-01-25T14:13:26+01:00"),
        ("2026-07-25T14:13:26", "2026-07-25T14:13:26+02:00"),
        ("2026-07-25T14:13:26.500000+00:00", "2026-07-25T14:13:26.500000+00:00"),
        ("some day", "some day"),
        (None, None),
    ],
)
def test_a_time_gets_the_sites_offset_where_it_has_none(written: str | None, kept: str | None) -> None:
    said = AcquisitionMetadata(source="a.mdoc", acquired_at=written)
    assert with_zone(said, ZoneInfo("Europe/Berlin")).acquired_at == kept
