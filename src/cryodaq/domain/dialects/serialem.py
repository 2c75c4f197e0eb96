"""SerialEM: names are the operator's; a number of four or more digits, or a tilt angle, marks exposures.

Multishot adds parts behind the number (`grid2_00042_X+1Y-1-2.tif`); navigator, maps and logs are rewritten all session.
A frame mdoc that names a file makes it a movie whatever its name: names are the fallback.
"""

from __future__ import annotations

import re

from cryodaq.domain.dialects.tomo import TILT
from cryodaq.domain.dialects.words import (
    DERIVED,
    FRACTIONS,
    GAIN_NAME,
    NUMBERED,
    PICTURE_SUFFIXES,
    STACK_SUFFIXES,
    FileRole,
    Name,
    Recognised,
    Software,
    take_apart,
)

_FRAME_SUFFIXES = frozenset({".tif", ".tiff", ".eer"})
_SESSION_SUBFOLDER = re.compile(
    r"(?:raw|frames?|movies?|raw[-_ ]?frames?|mdocs?|maps?|data|gain(?:ref)?s?)", re.IGNORECASE
)


class SerialEmDialect:
    """SerialEM's names."""

    software = Software.SERIALEM

    def recognise(self, name: Name) -> Recognised | None:
        """See `Dialect`."""
        if name.suffix == ".mdoc":
            return _mdoc(name)
        if not _is_exposure(name.stem):
            return None
        if name.suffix in PICTURE_SUFFIXES:
            return Recognised(FileRole.PREVIEW, self.stem_of(name.stem))
        if name.suffix == ".xml":
            return Recognised(FileRole.METADATA, self.stem_of(name.stem))
        if name.suffix in STACK_SUFFIXES:
            return Recognised(FileRole.MOVIE, self.stem_of(name.stem))
        return None

    def stem_of(self, stem: str) -> str | None:
        """See `Dialect`: the frames' own name."""
        return FRACTIONS.sub("", stem) or stem

    def run_name(self, stem: str) -> str | None:
        """See `Dialect`: tilts have their angle in brackets."""
        tilt = TILT.fullmatch(stem)
        return None if tilt is None else f"{tilt['base']}[{tilt['angle']}]"

    def session_depth(self, folders: tuple[str, ...]) -> int | None:
        """See `Dialect`: without the usual sub-folders for frames."""
        depth = len(folders)
        while depth and _SESSION_SUBFOLDER.fullmatch(folders[depth - 1]):
            depth -= 1
        return depth


def _is_exposure(stem: str) -> bool:
    """Whether a name without suffix is that of frames."""
    if DERIVED.search(stem) or GAIN_NAME.search(stem) or stem.lower().startswith("defects"):
        return False
    if "previewdosefraction" in stem.lower():
        return False
    return NUMBERED.fullmatch(stem) is not None or TILT.fullmatch(stem) is not None


def _mdoc(name: Name) -> Recognised:
    """Say what an mdoc is: that of a frame file is metadata, that of a stack or a map is living."""
    image = take_apart(name.stem)
    has_suffix = image.suffix in STACK_SUFFIXES | {".st"}
    stem = image.stem if has_suffix else name.stem
    if image.suffix in _FRAME_SUFFIXES or (image.suffix != ".st" and _is_exposure(stem)):
        return Recognised(FileRole.METADATA, FRACTIONS.sub("", stem) or stem)
    return Recognised(FileRole.LIVING, None)


DIALECT = SerialEmDialect()
