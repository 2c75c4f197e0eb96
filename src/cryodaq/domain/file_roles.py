"""What a file on a microscope's share is, told by its path: the dialects of the programs, then rules for all of them.

Patterns are the fallback: a frame mdoc that names a file makes that file a movie whatever its name (`as_movie`,
`as_frame_mdoc`). Sources: sessions of these programs, and the naming rules of the centre whose practice this follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePosixPath

from cryodaq.domain.dialects import DIALECTS
from cryodaq.domain.dialects.epu import IMAGES_DISC
from cryodaq.domain.dialects.words import (
    GAIN_NAME,
    IMAGE_SUFFIXES,
    PICTURE_SUFFIXES,
    FileRole,
    Name,
    Recognised,
    Software,
    take_apart,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "LARGE_IMAGE_BYTES",
    "ClassifiedFile",
    "FileRole",
    "Software",
    "acquisition_folder",
    "as_frame_mdoc",
    "as_movie",
    "base_name_of_foreign_path",
    "classify",
    "exposure_stem",
    "run_name",
]

LARGE_IMAGE_BYTES = 5_000_000
"""An image of this size that no rule knows is counted and shown: it may be a movie under a new name."""

_JUNK_FOLDERS = frozenset(
    {"$recycle.bin", "recycler", "system volume information", "found.000", ".trashes", "@eadir", "lost+found"}
)
_JUNK_NAMES = (
    *("*.bin", "*.downloading", "cifs48*", "thumbs.db", "desktop.ini", "~$*", "pagefile.sys", "hiberfil.sys"),
    *(".online*", ".ds_store", "._*", ".smb*", ".nfs*", ".cryodaq-*", "*.part", "*.tmp"),
)
_LIVING_SUFFIXES = frozenset({".dm", ".nav", ".log", ".navbak"})
_LIVING_BACKUPS = (".nav~", ".mdoc~", ".log~")
_LOOSE_SUFFIXES = IMAGE_SUFFIXES | PICTURE_SUFFIXES | {".xml", ".gain"}


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


@dataclass(frozen=True, slots=True)
class _Folder:
    """What the folders of a file say; the same for all files in them."""

    session: PurePosixPath
    key: str
    """What stands before the stem in an exposure's key; empty for the root."""
    software: Software | None
    is_junk: bool


def classify(path: PurePosixPath, *, size_bytes: int | None = None) -> ClassifiedFile:
    """Say what a file is.

    Parameters
    ----------
    path
        Relative to the share's root.
    size_bytes
        Where known, a large image that no rule knows is flagged.
    """
    folder = _folder(path.parts[:-1])
    name = take_apart(path.name)
    if folder.is_junk or _is_junk(name.full.lower()):
        return _classified(folder, Recognised(FileRole.IGNORED, None), None)
    if name.suffix in _LIVING_SUFFIXES or name.full.lower().endswith(_LIVING_BACKUPS):
        software = Software.EPU if name.full == "EpuSession.dm" else None
        return _classified(folder, Recognised(FileRole.LIVING, None), software)
    for dialect in DIALECTS:
        found = dialect.recognise(name)
        if found is not None:
            unknown = found.role is FileRole.OTHER and _is_large_image(name, size_bytes)
            return _classified(folder, found, dialect.software, unrecognised_image=unknown)
    unknown = _is_large_image(name, size_bytes)
    found = _by_general_rules(name)
    return _classified(folder, found, None, unrecognised_image=unknown and found.role is FileRole.OTHER)


def as_movie(path: PurePosixPath) -> ClassifiedFile:
    """Say the same of a file that a frame mdoc names: it is a movie whatever its name."""
    software = classify(path).software or Software.SERIALEM
    found = Recognised(FileRole.MOVIE, exposure_stem(path.name))
    return _classified(_folder(path.parts[:-1]), found, software)


def as_frame_mdoc(path: PurePosixPath, *, movie_file_name: str) -> ClassifiedFile:
    """Say what a frame mdoc is: metadata of the exposure whose movie it names, in its own folder."""
    found = Recognised(FileRole.METADATA, exposure_stem(movie_file_name))
    return _classified(_folder(path.parts[:-1]), found, Software.SERIALEM)


def exposure_stem(file_name: str) -> str:
    """Return the part of a file name that all files of one exposure share."""
    name = take_apart(file_name)
    if name.suffix == ".mdoc":
        name = take_apart(name.stem)
    stem = name.stem if name.suffix in _LOOSE_SUFFIXES else name.full
    for dialect in DIALECTS:
        found = dialect.stem_of(stem)
        if found is not None:
            return found
    return stem


def run_name(path: PurePosixPath) -> str:
    """Return the name under which people know a movie: the base name, shortened by the programs' rules.

    `FoilHole_1_Data_2_3_20250108_154918_fractions.tiff` is `FoilHole_1_Data_2_3_20250108_154918`; tomography
    is named by tilt: `Position_1_001[-12.00]_EER.eer` runs up to `]`, SerialEM's `base_00001_001_-12.0_x.tif`
    becomes `base_00001_001[-12.0]`.
    """
    stem = exposure_stem(path.name)
    for dialect in DIALECTS:
        found = dialect.run_name(stem)
        if found is not None:
            return found
    return stem


def base_name_of_foreign_path(text: str) -> str:
    r"""Return the file name of a path written on Windows or elsewhere (`X:\raw\a.tif` gives `a.tif`)."""
    return text.replace("\\", "/").rstrip("/ ").rsplit("/", 1)[-1].strip()


def acquisition_folder(path: PurePosixPath) -> PurePosixPath:
    """Return the folder that holds the session of a file, relative to the share's root.

    For EPU that is the folder with `Images-Disc1` (or with the grid squares, or an atlas' samples); elsewhere
    the file's folder without the usual sub-folders for frames.
    """
    return _folder(path.parts[:-1]).session


@lru_cache(maxsize=4096)
def _folder(folders: tuple[str, ...]) -> _Folder:
    depths = ((dialect, dialect.session_depth(folders)) for dialect in DIALECTS)
    speaker, depth = next(((dialect, found) for dialect, found in depths if found is not None), (None, len(folders)))
    of_epu = speaker is not None and speaker.software is Software.EPU
    # Roots differ, what begins with the session's own folder does not: movies and metadata find each other.
    below = folders[max(0, depth - 1) :] if of_epu else folders
    return _Folder(
        session=PurePosixPath(*folders[:depth]),
        key="/".join(folder for folder in below if not IMAGES_DISC.fullmatch(folder)),
        software=Software.EPU if of_epu else None,
        is_junk=any(folder.lower() in _JUNK_FOLDERS or folder.startswith(".cryodaq-") for folder in folders),
    )


def _is_junk(lower_name: str) -> bool:
    return any(fnmatchcase(lower_name, pattern) for pattern in _JUNK_NAMES)


def _by_general_rules(name: Name) -> Recognised:
    """Say what a file is that no dialect recognises."""
    if name.suffix == ".gain" or (name.suffix in IMAGE_SUFFIXES and GAIN_NAME.search(name.stem)):
        return Recognised(FileRole.GAIN, None)
    if name.suffix in PICTURE_SUFFIXES:
        return Recognised(FileRole.PREVIEW, None)
    if name.suffix in IMAGE_SUFFIXES and "previewdosefraction" in name.stem.lower():
        return Recognised(FileRole.PREVIEW, None)
    return Recognised(FileRole.OTHER, None)


def _is_large_image(name: Name, size_bytes: int | None) -> bool:
    return name.suffix in IMAGE_SUFFIXES and (size_bytes or 0) > LARGE_IMAGE_BYTES


def _classified(
    folder: _Folder, found: Recognised, software: Software | None, *, unrecognised_image: bool = False
) -> ClassifiedFile:
    exposure = None
    if found.stem is not None:
        exposure = f"{folder.key}/{found.stem}" if folder.key else found.stem
    return ClassifiedFile(
        role=found.role,
        exposure=exposure,
        acquisition_folder=folder.session,
        software=software or folder.software,
        unrecognised_image=unrecognised_image,
    )
