"""What a file on a microscope's share is, told by its path.

Names of EPU 1 to 3, Tomography 4 and 5, and SerialEM. Patterns are the fallback: a frame mdoc that names a
file makes that file a movie whatever its name (`as_movie`, `as_frame_mdoc`). Sources: sessions of these
programs, and the naming rules of the centre whose practice this follows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

LARGE_IMAGE_BYTES = 5_000_000
"""An image of this size that no rule knows is counted and shown: it may be a movie under a new name."""

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".mrc", ".mrcs", ".eer", ".dm4", ".dm3", ".st"})
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedFile:
    """What the path of a file says."""

    role: FileRole
    exposure: str | None
    """Key that the movie, metadata, preview, sum and gain of one exposure have in common."""
    acquisition_folder: PurePosixPath
    """Folder of the session, relative to the share's root; '.' where files lie in the root itself."""
    software: Software | None
    unrecognised_image: bool = False
    """A large image that no rule knows: counted and shown to people."""


_JUNK_FOLDERS = frozenset(
    {"$recycle.bin", "recycler", "system volume information", "found.000", ".trashes", "@eadir", "lost+found"}
)
_JUNK_NAMES = (
    *("*.bin", "*.downloading", "cifs48*", "thumbs.db", "desktop.ini", "~$*", "pagefile.sys", "hiberfil.sys"),
    *(".online", ".ds_store", "._*", ".smb*", ".nfs*", ".cryodaq-*", "*.part", "*.tmp"),
)
_EPU_STEM = re.compile(r"(?P<stem>FoilHole_\d+_Data_(?:\d+_)+\d{8}_\d{4,6})(?P<tail>.*)", re.ASCII | re.IGNORECASE)
_HOLE_PICTURE = re.compile(r"FoilHole_\d+_\d{8}_\d{4,6}(?:_.*)?", re.ASCII | re.IGNORECASE)
_OVERVIEW = re.compile(r"(?:Atlas|Tile|GridSquare)_\d.*|Atlas", re.ASCII | re.IGNORECASE)
_FRACTIONS = re.compile(r"_(?:fractions|EER)$", re.IGNORECASE)
_EPU_FRAME_NUMBER = re.compile(r"-(?P<number>\d+)", re.ASCII)
_GAIN_NAME = re.compile(
    r"(?:^|[-_ .])(?:gain|gain[-_ ]?ref(?:erence)?|count ?ref|super ?ref)(?:$|[-_ .\d])", re.IGNORECASE
)
_NOT_A_MOVIE = re.compile(r"_(?:sum|final|aligned|dw|ext ?\d+)$", re.IGNORECASE)
_TOMO_BRACKETS = re.compile(r"(?P<run>.+\[[+-]?\d+(?:\.\d+)?\])(?P<tail>.*)", re.ASCII)
_TILT = re.compile(r"(?P<base>.+_\d{2,})_(?P<angle>[+-]?\d{1,2}\.\d{1,2})(?:_.*)?", re.ASCII)
_NUMBERED = re.compile(r".*_\d{4,}(?:_.*)?", re.ASCII)
_SESSION_SUBFOLDER = re.compile(
    r"(?:raw|frames?|movies?|raw[-_ ]?frames?|mdocs?|maps?|data|gain(?:ref)?s?)", re.IGNORECASE
)
_IMAGES_DISC = re.compile(r"Images-Disc\d+", re.ASCII | re.IGNORECASE)
_EPU_FOLDER = re.compile(r"Images-Disc\d+|GridSquare_\d+", re.ASCII | re.IGNORECASE)
_ATLAS_FOLDER = re.compile(r"Sample\d+|Atlas|Metadata", re.ASCII)


def classify(path: PurePosixPath, *, size_bytes: int | None = None) -> ClassifiedFile:
    """Say what a file is.

    Parameters
    ----------
    path
        Relative to the share's root.
    size_bytes
        Where known, a large image that no rule knows is flagged.
    """
    if _is_junk(path):
        return _classified(path, FileRole.IGNORED)
    suffix = path.suffix.lower()
    if suffix == ".mdoc":
        return _classify_mdoc(path)
    if suffix in {".dm", ".nav", ".log", ".navbak"} or path.name.lower().endswith((".nav~", ".mdoc~", ".log~")):
        return _classified(path, FileRole.LIVING)
    epu = _EPU_STEM.fullmatch(path.stem)
    if epu is not None:
        return _classify_epu(path, epu, size_bytes=size_bytes)
    if _HOLE_PICTURE.fullmatch(path.stem):
        return _classified(path, FileRole.HOLE_PICTURE, software=Software.EPU)
    if _OVERVIEW.fullmatch(path.stem):
        return _classified(path, FileRole.ATLAS, software=Software.EPU)
    if suffix == ".gain" or (suffix in IMAGE_SUFFIXES and _GAIN_NAME.search(path.stem)):
        return _classified(path, FileRole.GAIN)
    return _classify_by_stem(path, size_bytes=size_bytes)


def as_movie(path: PurePosixPath) -> ClassifiedFile:
    """Say the same of a file that a frame mdoc names: it is a movie whatever its name."""
    known = classify(path)
    software = known.software or Software.SERIALEM
    return _classified(path, FileRole.MOVIE, stem=exposure_stem(path.name), software=software)


def as_frame_mdoc(path: PurePosixPath, *, movie_file_name: str) -> ClassifiedFile:
    """Say what a frame mdoc is: metadata of the exposure whose movie it names, in its own folder."""
    stem = exposure_stem(movie_file_name)
    return _classified(path, FileRole.METADATA, stem=stem, software=Software.SERIALEM)


def exposure_stem(file_name: str) -> str:
    """Return the part of a file name that all files of one exposure share."""
    name = PurePosixPath(file_name)
    if name.suffix.lower() == ".mdoc":
        name = name.with_suffix("")
    stem = name.stem if name.suffix.lower() in IMAGE_SUFFIXES | PICTURE_SUFFIXES | {".xml", ".gain"} else name.name
    epu = _EPU_STEM.fullmatch(stem)
    return epu["stem"] if epu is not None else _FRACTIONS.sub("", stem) or stem


def run_name(path: PurePosixPath) -> str:
    """Return the name under which people know a movie: the base name, shortened by the programs' rules.

    `FoilHole_1_Data_2_3_20250108_154918_fractions.tiff` is `FoilHole_1_Data_2_3_20250108_154918`; tomography
    is named by tilt: `Position_1_001[-12.00]_EER.eer` runs up to `]`, SerialEM's `base_00001_001_-12.0_x.tif`
    becomes `base_00001_001[-12.0]`.
    """
    stem = exposure_stem(path.name)
    brackets = _TOMO_BRACKETS.fullmatch(stem)
    if brackets is not None:
        return brackets["run"]
    tilt = None if _EPU_STEM.fullmatch(stem) else _TILT.fullmatch(stem)
    return f"{tilt['base']}[{tilt['angle']}]" if tilt is not None else stem


def base_name_of_foreign_path(text: str) -> str:
    r"""Return the file name of a path written on Windows or elsewhere (`X:\raw\a.tif` gives `a.tif`)."""
    return text.replace("\\", "/").rstrip("/ ").rsplit("/", 1)[-1].strip()


def acquisition_folder(path: PurePosixPath) -> PurePosixPath:
    """Return the folder that holds the session of a file, relative to the share's root.

    For EPU that is the folder with `Images-Disc1` (or with the grid squares, or an atlas' samples); elsewhere
    the file's folder without the usual sub-folders for frames.
    """
    folders = path.parent.parts
    for index, name in enumerate(folders):
        if _EPU_FOLDER.fullmatch(name):
            return PurePosixPath(*folders[:index])
    if folders and _ATLAS_FOLDER.fullmatch(folders[-1]):
        above = folders[:-1]
        is_sample = bool(above) and folders[-1] == "Atlas" and _ATLAS_FOLDER.fullmatch(above[-1])
        return PurePosixPath(*(above[:-1] if is_sample else above))
    while folders and _SESSION_SUBFOLDER.fullmatch(folders[-1]):
        folders = folders[:-1]
    return PurePosixPath(*folders)


def _is_junk(path: PurePosixPath) -> bool:
    name = path.name.lower()
    if any(folder.lower() in _JUNK_FOLDERS or folder.startswith(".cryodaq-") for folder in path.parts):
        return True
    return any(fnmatchcase(name, pattern) for pattern in _JUNK_NAMES)


def _classify_epu(path: PurePosixPath, name: re.Match[str], *, size_bytes: int | None) -> ClassifiedFile:
    """Classify a file named after an exposure of EPU; `tail` follows the exposure's name."""
    suffix, tail, stem = path.suffix.lower(), name["tail"], name["stem"]
    role = FileRole.OTHER
    if suffix == ".gain" or _GAIN_NAME.search(tail):
        role = FileRole.GAIN
    elif suffix == ".xml":
        role = FileRole.METADATA
    elif suffix in PICTURE_SUFFIXES:
        role = FileRole.PREVIEW
    elif suffix == ".eer" or (suffix in IMAGE_SUFFIXES and _FRACTIONS.fullmatch(tail)):
        role = FileRole.MOVIE
    elif suffix in IMAGE_SUFFIXES and not tail:
        role = FileRole.SUM
    elif suffix == ".mrc" and (number := _EPU_FRAME_NUMBER.fullmatch(tail)) and len(number["number"]) == 4:
        role = FileRole.MOVIE  # EPU 1.9 writes the K2's stack as -0000.mrc; -1.mrc, -2.mrc are single frames
    unrecognised = role is FileRole.OTHER and _is_large_image(path, size_bytes)
    return _classified(path, role, stem=stem, software=Software.EPU, unrecognised_image=unrecognised)


def _classify_mdoc(path: PurePosixPath) -> ClassifiedFile:
    """Classify an mdoc by name: that of a frame file is metadata, that of a stack or a map is living."""
    image = PurePosixPath(path.name).with_suffix("")
    named_after_frames = image.suffix.lower() in {".tif", ".tiff", ".eer"}
    by_pattern = image.suffix.lower() != ".st" and _movie_software(image.with_suffix(".tif").name) is not None
    if named_after_frames or by_pattern:
        stem = exposure_stem(path.name)
        return _classified(path, FileRole.METADATA, stem=stem, software=_movie_software(image.name))
    return _classified(path, FileRole.LIVING)


def _classify_by_stem(path: PurePosixPath, *, size_bytes: int | None) -> ClassifiedFile:
    """Classify a file of Tomography or SerialEM, or one that nobody knows."""
    suffix = path.suffix.lower()
    software = _movie_software(path.name)
    stem = exposure_stem(path.name)
    if suffix in PICTURE_SUFFIXES:
        return _classified(path, FileRole.PREVIEW, stem=stem if software else None, software=software)
    if suffix == ".xml" and software is not None:
        return _classified(path, FileRole.METADATA, stem=stem, software=software)
    if suffix in IMAGE_SUFFIXES and "previewdosefraction" in path.stem.lower():
        return _classified(path, FileRole.PREVIEW)
    if software is not None and suffix in IMAGE_SUFFIXES - {".dm3", ".dm4", ".st"}:
        is_sum = suffix == ".mrc" and software is Software.TOMO and not _FRACTIONS.search(path.stem)
        role = FileRole.SUM if is_sum else FileRole.MOVIE
        return _classified(path, role, stem=stem, software=software)
    return _classified(path, FileRole.OTHER, unrecognised_image=_is_large_image(path, size_bytes))


def _movie_software(file_name: str) -> Software | None:
    """Return the program by whose pattern this names the files of an exposure, None where none fits."""
    stem = exposure_stem(file_name)
    lower = file_name.lower()
    if _EPU_STEM.fullmatch(stem):
        return Software.EPU
    if _HOLE_PICTURE.fullmatch(stem) or _OVERVIEW.fullmatch(stem) or _NOT_A_MOVIE.search(stem):
        return None
    if _GAIN_NAME.search(stem) or "previewdosefraction" in lower or lower.startswith("defects"):
        return None
    if _TOMO_BRACKETS.fullmatch(stem) or (_TILT.fullmatch(stem) and _FRACTIONS.search(PurePosixPath(lower).stem)):
        return Software.TOMO
    if _TILT.fullmatch(stem) or _NUMBERED.fullmatch(stem):
        return Software.SERIALEM
    return Software.TOMO if lower.endswith(".eer") or _FRACTIONS.search(PurePosixPath(lower).stem) else None


def _is_large_image(path: PurePosixPath, size_bytes: int | None) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and (size_bytes or 0) > LARGE_IMAGE_BYTES


def _classified(
    path: PurePosixPath,
    role: FileRole,
    *,
    stem: str | None = None,
    software: Software | None = None,
    unrecognised_image: bool = False,
) -> ClassifiedFile:
    if software is None and (path.name == "EpuSession.dm" or any(map(_EPU_FOLDER.fullmatch, path.parts))):
        software = Software.EPU
    return ClassifiedFile(
        role=role,
        exposure=None if stem is None else str(_without_disc(path.parent) / stem),
        acquisition_folder=acquisition_folder(path),
        software=software,
        unrecognised_image=unrecognised_image,
    )


def _without_disc(folder: PurePosixPath) -> PurePosixPath:
    """Drop `Images-Disc1`: movies and metadata of one exposure may lie on different discs or roots."""
    return PurePosixPath(*(name for name in folder.parts if not _IMAGES_DISC.fullmatch(name)))
