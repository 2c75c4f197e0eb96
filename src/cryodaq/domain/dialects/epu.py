"""EPU 1 to 3: `Images-Disc1/GridSquare_<n>/Data/FoilHole_<hole>_Data_<area>_..._<date>_<time>...`.

Movies and metadata may lie under two roots and on several discs; the session's folder (`Supervisor_...` or a name of
the operator's) is the one that holds `Images-Disc<n>`, and what follows it is the same under each root.
"""

from __future__ import annotations

import re

from cryodaq.domain.dialects.words import (
    FRACTIONS,
    GAIN_NAME,
    IMAGE_SUFFIXES,
    PICTURE_SUFFIXES,
    FileRole,
    Name,
    Recognised,
    Software,
)

IMAGES_DISC = re.compile(r"Images-Disc\d+", re.ASCII | re.IGNORECASE)
_STEM = re.compile(r"(?P<stem>FoilHole_\d+_Data_(?:\d+_)+\d{8}_\d{4,6})(?P<tail>.*)", re.ASCII | re.IGNORECASE)
_HOLE_PICTURE = re.compile(r"FoilHole_\d+_\d{8}_\d{4,6}(?:_.*)?", re.ASCII | re.IGNORECASE)
_OVERVIEW = re.compile(r"(?:Atlas|Tile|GridSquare)_\d.*|Atlas", re.ASCII | re.IGNORECASE)
_FRAME_NUMBER = re.compile(r"-(?P<number>\d+)", re.ASCII)
_FOLDER = re.compile(r"Images-Disc\d+|GridSquare_\d+", re.ASCII | re.IGNORECASE)
_ATLAS_FOLDER = re.compile(r"Sample\d+|Atlas|Metadata", re.ASCII)


class EpuDialect:
    """EPU's names."""

    software = Software.EPU

    def recognise(self, name: Name) -> Recognised | None:
        """See `Dialect`."""
        if name.suffix == ".mdoc":
            return None
        found = _STEM.fullmatch(name.stem)
        if found is not None:
            return Recognised(_role(name.suffix, found["tail"]), found["stem"])
        if _HOLE_PICTURE.fullmatch(name.stem):
            return Recognised(FileRole.HOLE_PICTURE, None)
        if _OVERVIEW.fullmatch(name.stem):
            return Recognised(FileRole.ATLAS, None)
        return None

    def stem_of(self, stem: str) -> str | None:
        """See `Dialect`."""
        found = _STEM.fullmatch(stem)
        return None if found is None else found["stem"]

    def run_name(self, stem: str) -> str | None:
        """See `Dialect`."""
        return self.stem_of(stem)

    def session_depth(self, folders: tuple[str, ...]) -> int | None:
        """See `Dialect`: the session holds the discs, the grid squares, or an atlas' samples."""
        for index, folder in enumerate(folders):
            if _FOLDER.fullmatch(folder):
                return index
        if folders and _ATLAS_FOLDER.fullmatch(folders[-1]):
            in_a_sample = len(folders) > 1 and folders[-1] == "Atlas" and _ATLAS_FOLDER.fullmatch(folders[-2])
            return len(folders) - (2 if in_a_sample else 1)
        return None


def _role(suffix: str, tail: str) -> FileRole:
    """Return the role of a file named after an exposure; `tail` follows the exposure's name."""
    if suffix == ".gain" or (tail and GAIN_NAME.search(tail)):
        return FileRole.GAIN
    if suffix == ".xml":
        return FileRole.METADATA
    if suffix in PICTURE_SUFFIXES:
        return FileRole.PREVIEW
    if suffix == ".eer" or (suffix in IMAGE_SUFFIXES and FRACTIONS.fullmatch(tail)):
        return FileRole.MOVIE
    if suffix in IMAGE_SUFFIXES and not tail:
        return FileRole.SUM
    number = _FRAME_NUMBER.fullmatch(tail)
    if suffix == ".mrc" and number is not None and len(number["number"]) == 4:
        return FileRole.MOVIE  # EPU 1.9 writes the K2's stack as -0000.mrc; -1.mrc, -2.mrc are single frames
    return FileRole.OTHER


DIALECT = EpuDialect()
