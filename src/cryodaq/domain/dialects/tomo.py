"""Tomography 5 and 4: `Position_1_001[-12.00]_EER.eer`, `Position_1_002_-12.00_20230502_114334_EER.eer`.

Each tilt is an exposure; its movie is copied and shown.
"""

from __future__ import annotations

import re

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
)

_BRACKETS = re.compile(r"(?P<run>.+\[[+-]?\d+(?:\.\d+)?\])(?P<tail>.*)", re.ASCII)
TILT = re.compile(r"(?P<base>.+_\d{2,})_(?P<angle>[+-]?\d{1,2}\.\d{1,2})(?:_.*)?", re.ASCII)
"""A name with its tilt angle in degrees; SerialEM writes such, too."""
_PREVIEW = "previewdosefraction"


class TomoDialect:
    """Names of Tomography, and of whatever else marks its movies as fractions or EER."""

    software = Software.TOMO

    def recognise(self, name: Name) -> Recognised | None:
        """See `Dialect`."""
        fractions = FRACTIONS.search(name.stem) is not None
        if not (_BRACKETS.fullmatch(name.stem) or (fractions and TILT.fullmatch(name.stem))):
            marked = fractions or name.suffix == ".eer"
            if not marked or NUMBERED.fullmatch(name.stem) or TILT.fullmatch(name.stem):
                return None
        if DERIVED.search(name.stem) or GAIN_NAME.search(name.stem) or _PREVIEW in name.stem.lower():
            return None
        return self._exposure(name, fractions=fractions)

    def _exposure(self, name: Name, *, fractions: bool) -> Recognised | None:
        stem = self.stem_of(name.stem)
        if name.suffix in PICTURE_SUFFIXES:
            return Recognised(FileRole.PREVIEW, stem)
        if name.suffix == ".xml":
            return Recognised(FileRole.METADATA, stem)
        if name.suffix in STACK_SUFFIXES:
            return Recognised(FileRole.SUM if name.suffix == ".mrc" and not fractions else FileRole.MOVIE, stem)
        return None

    def stem_of(self, stem: str) -> str | None:
        """See `Dialect`."""
        return FRACTIONS.sub("", stem) or stem

    def run_name(self, stem: str) -> str | None:
        """See `Dialect`: up to the bracket, or with the angle in one."""
        found = _BRACKETS.fullmatch(stem)
        return None if found is None else found["run"]

    def session_depth(self, folders: tuple[str, ...]) -> int | None:  # noqa: ARG002  # lies flat in its folder
        """See `Dialect`."""
        return None


DIALECT = TomoDialect()
