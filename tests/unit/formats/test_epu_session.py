"""What EPU says about a whole session."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from cryodaq.errors import FormatError
from cryodaq.formats.epu_session import read_epu_session


def test_a_real_session_tells_how_its_movies_are_written(shared_data: Path) -> None:
    path = shared_data / "epu/session_epu3.9.1_k3/EpuSession.dm"
    session = read_epu_session(path.read_bytes(), path=path)
    assert session.name == "Supervisor_20250108_101446_62_cm40593-1_EPU"
    assert (session.version, session.started_at) == ("3.9.1.8206", "2025-01-08T15:10:39.4807272Z")
    assert (session.movie_format, session.needs_gain) == ("Tiff Lzw Non-Gain normalized", True)
    assert session.movie_folder == "Z:\\DoseFractions\\cm40593-1"
    assert session.clustering == "ClusteringWithImageBeamShift"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<EpuSessionXml>",
        b"<Other/>",
        b'<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><EpuSessionXml>&c;</EpuSessionXml>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><EpuSessionXml/>',
    ],
)
def test_what_is_no_session_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_epu_session(data, path=PurePath("EpuSession.dm"))
