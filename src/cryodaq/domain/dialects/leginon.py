"""Leginon: `<session>[_g<grid>]_<n>gr_<n>sq_<n>hl_<n>en`, the kind of picture in the last letters.

Frames end in `.frames.<suffix>`. Kinds are names of presets, which sites choose; those of exposures begin with an e.
"""

from __future__ import annotations

import re

from cryodaq.domain.dialects.words import (
    IMAGE_SUFFIXES,
    PICTURE_SUFFIXES,
    STACK_SUFFIXES,
    FileRole,
    Name,
    Recognised,
    Software,
)

_SESSION = r"[a-z]?\d{2}[a-z]{3}\d{2}[a-z]{1,2}"
_STEM = re.compile(
    rf"(?P<stem>{_SESSION}(?:_g\d+)?(?:_\d{{5}}[a-z]+(?:_v\d{{2}})?)*_\d{{5}}(?P<kind>[a-z]+)(?:_v\d{{2}})?(?:-[a-zA-Z]{{1,2}})?)"
    r"(?P<frames>\.frames)?",
    re.ASCII,
)
_REFERENCE = re.compile(rf"{_SESSION}_\d{{8}}(?:_.*)?", re.ASCII)
_OVERVIEWS, _HOLES = ("gr", "sq"), ("hl",)


class LeginonDialect:
    """Leginon's names."""

    software = Software.LEGINON

    def recognise(self, name: Name) -> Recognised | None:
        """See `Dialect`."""
        found = _STEM.fullmatch(name.stem)
        if found is not None:
            return Recognised(_role(name.suffix, found["kind"], frames=found["frames"] is not None), found["stem"])
        if name.suffix in IMAGE_SUFFIXES and _REFERENCE.fullmatch(name.stem):
            return Recognised(FileRole.GAIN if "norm" in name.stem else FileRole.OTHER, None)
        return None

    def stem_of(self, stem: str) -> str | None:
        """See `Dialect`."""
        found = _STEM.fullmatch(stem)
        return None if found is None else found["stem"]

    def run_name(self, stem: str) -> str | None:
        """See `Dialect`."""
        return self.stem_of(stem)

    def session_depth(self, folders: tuple[str, ...]) -> int | None:
        """See `Dialect`: pictures and frames of a session lie in its `rawdata`."""
        return len(folders) - 1 if folders and folders[-1] == "rawdata" else None


def _role(suffix: str, kind: str, *, frames: bool) -> FileRole:
    if frames and suffix in STACK_SUFFIXES:
        return FileRole.MOVIE
    if suffix in PICTURE_SUFFIXES:
        return FileRole.PREVIEW
    if suffix not in IMAGE_SUFFIXES:
        return FileRole.OTHER
    if kind in _OVERVIEWS:
        return FileRole.ATLAS
    if kind in _HOLES:
        return FileRole.HOLE_PICTURE
    return FileRole.SUM if kind.startswith("e") else FileRole.OTHER


DIALECT = LeginonDialect()
