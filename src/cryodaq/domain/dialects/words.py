"""What dialects say of a name, and the words that they share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".mrc", ".mrcs", ".eer", ".dm4", ".dm3", ".st"})
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
STACK_SUFFIXES = IMAGE_SUFFIXES - {".dm3", ".dm4", ".st"}
"""Suffixes that a movie can have."""
FRACTIONS = re.compile(r"_(?:fractions|EER)$", re.IGNORECASE)
GAIN_NAME = re.compile(
    r"(?:^|[-_ .])(?:gain|gain[-_ ]?ref(?:erence)?|count ?ref|super ?ref)(?:$|[-_ .\d])", re.IGNORECASE
)
NUMBERED = re.compile(r".*_\d{4,}(?:_.*|-\d{1,2})?", re.ASCII)
"""A name with a running number."""
DERIVED = re.compile(r"_(?:sum|final|aligned|dw|ext ?\d+)$", re.IGNORECASE)
"""Ends of names of what was computed from a movie."""


class FileRole(StrEnum):
    """What a file is for."""

    MOVIE = "movie"
    METADATA = "metadata"
    """Facts about one exposure: image XML, fractions XML, frame mdoc."""
    PREVIEW = "preview"
    SUM = "sum"
    """The acquisition software's own sum of a movie's frames."""
    GAIN = "gain"
    HOLE_PICTURE = "hole_picture"
    ATLAS = "atlas"
    """Overviews: atlas, tiles, grid squares."""
    LIVING = "living"
    """Rewritten all session."""
    IGNORED = "ignored"
    OTHER = "other"


class Software(StrEnum):
    """The program whose habits a name shows."""

    EPU = "epu"
    TOMO = "tomo"
    SERIALEM = "serialem"
    LEGINON = "leginon"


@dataclass(frozen=True, slots=True)
class Name:
    """A file's name, taken apart once."""

    full: str
    stem: str
    """Without the last suffix."""
    suffix: str
    """The last suffix, in lower case with its dot; empty without one."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a dialect says of a name."""

    role: FileRole
    stem: str | None
    """What the names of all files of the exposure share; None for files of no exposure."""


class Dialect(Protocol):
    """One acquisition program's habits: names in, exposures out."""

    @property
    def software(self) -> Software:
        """The program."""
        ...

    def recognise(self, name: Name) -> Recognised | None:
        """Say what a file is, told by its name; None where the name is not of this program."""
        ...

    def stem_of(self, stem: str) -> str | None:
        """Return the part of a name without suffix that all files of its exposure share; None as above."""
        ...

    def run_name(self, stem: str) -> str | None:
        """Return how people call the movie of an exposure's stem; None as above."""
        ...

    def session_depth(self, folders: tuple[str, ...]) -> int | None:
        """Return how many of the folders lead to the session; None where they show no habit of the program."""
        ...


def take_apart(name: str) -> Name:
    """Return a file's name with its stem and suffix, as `pathlib` cuts them."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or not suffix:  # a hidden file, or a dot at the end
        return Name(name, name, "")
    return Name(name, stem, f"{dot}{suffix}".lower())
