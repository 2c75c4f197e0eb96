"""`EpuSession.dm`: what EPU says about a whole session; it is rewritten all the time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from cryodaq.errors import FormatError
from cryodaq.formats.epu_xml import parse_epu_document

_VERSION = re.compile(r"Version=(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpuSession:
    """A session of EPU; None for what the file does not say."""

    name: str | None
    version: str | None
    started_at: str | None
    """As EPU wrote it, with its zone."""
    movie_format: str | None
    """Such as "Tiff Lzw Non-Gain normalized"."""
    needs_gain: bool | None
    """Whether movies are recorded without gain correction, told from the format."""
    movie_folder: str | None
    """Where movies go, as the acquisition computer names it."""
    clustering: str | None
    """How holes are reached: by stage, or by shifting the beam (AFIS)."""


def read_epu_session(data: bytes, *, path: PurePath) -> EpuSession:
    """Return what an `EpuSession.dm` says.

    Raises
    ------
    FormatError
        It is not well-formed, or no session of EPU.
    """
    document = parse_epu_document(data, path=path)
    if document.name not in {"EpuSessionXml", "EpuSession"}:
        raise FormatError(path, problem=f"<{document.name}> is no session of EPU")
    version = _VERSION.search(document.attributes.get("Assembly", ""))
    movies = document.anywhere("DoseFractionsOutputFormat")
    lower = (movies or "").lower()
    return EpuSession(
        name=document.text("Name"),
        version=version[1] if version else None,
        started_at=document.text("StartDateTime") or document.anywhere("StartDateTime"),
        movie_format=movies,
        needs_gain=None if movies is None or "gain" not in lower else "non-gain" in lower,
        movie_folder=document.anywhere("Path"),
        clustering=document.anywhere("ClusteringMode"),
    )
