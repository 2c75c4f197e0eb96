"""Folders of experiments and samples, and the link that carries a sample's name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cryodaq.errors import StoreError

FOLDER_MODE = 0o750


def make_folders(folders: Sequence[Path]) -> None:
    """Make folders with mode 0750; those that exist are left alone. Raises `StoreError`."""
    for folder in folders:
        missing = [part for part in (folder, *folder.parents) if not part.exists()]
        try:
            for part in reversed(missing):
                part.mkdir(exist_ok=True)
                part.chmod(FOLDER_MODE)
        except OSError as error:
            message = f"{folder} cannot be made: {error.strerror}; check the large file system and its rights"
            raise StoreError(message) from error
        if not folder.is_dir():
            message = f"{folder} is not a folder; move away what lies there"
            raise StoreError(message)


def make_link(link: Path, folder: Path) -> None:
    """Point the sample's name to its folder, relatively.

    Raises
    ------
    StoreError
        The name is taken by a file, a folder or another sample; nothing is replaced.
    """
    wanted = os.path.relpath(folder, link.parent)
    try:
        link.symlink_to(wanted, target_is_directory=True)
    except FileExistsError:
        found = str(link.readlink()) if link.is_symlink() else None
        if found != wanted:
            what = f"points to {found}" if found is not None else "is no link"
            message = f"{link} {what}, so the sample's name cannot lead to {wanted}; give the sample another name"
            raise StoreError(message) from None
    except OSError as error:
        message = f"{link} cannot be made: {error.strerror}"
        raise StoreError(message) from error
