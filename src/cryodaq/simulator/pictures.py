"""Low-magnification pictures and the files that Windows leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PICTURE_PX = 384


def draw_grid_square(rng: np.random.Generator) -> NDArray[np.float32]:  # (y, x)
    """Draw a grid square: bright film with a lattice of holes inside dark bars."""
    rows, columns = np.mgrid[:PICTURE_PX, :PICTURE_PX].astype(np.float32)
    inside = np.maximum(np.abs(rows - PICTURE_PX / 2), np.abs(columns - PICTURE_PX / 2)) < PICTURE_PX * 0.42
    angle = rng.uniform(0, np.pi / 2)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    holes = np.hypot(along % 24 - 12, across % 24 - 12) < 6
    picture = np.where(inside, 100 + 60 * holes, 5) + rng.normal(0, 6, rows.shape)
    return np.asarray(picture, dtype=np.float32)


def draw_foil_hole(rng: np.random.Generator) -> NDArray[np.float32]:  # (y, x)
    """Draw a foil hole: bright ice in grey carbon, a little off the centre."""
    rows, columns = np.mgrid[:PICTURE_PX, :PICTURE_PX].astype(np.float32)
    centre_y, centre_x = PICTURE_PX / 2 + rng.uniform(-15, 15, 2)
    radius = PICTURE_PX * 0.28
    hole = np.hypot(rows - centre_y, columns - centre_x) < radius
    picture = np.where(hole, 170, 90) + rng.normal(0, 12, rows.shape)
    return np.asarray(picture, dtype=np.float32)


def leave_windows_files(share: Path, session_folder: Path) -> None:
    """Leave what a Windows share is full of: recycle bin, volume information, thumbnails, a broken download."""
    owner = share / "$RECYCLE.BIN" / "S-1-5-21-1004336348-1177238915-682003330-1001"
    volume = share / "System Volume Information"
    for folder in (owner, volume):
        folder.mkdir(parents=True, exist_ok=True)
    (owner / "desktop.ini").write_bytes(b"[.ShellClassInfo]\r\nCLSID={645FF040-5081-101B-9F08-00AA002F954E}\r\n")
    (volume / "IndexerVolumeGuid").write_bytes("{8E1A2D5C-93B4-4F55-A1F0-2C60E7D1B9A3}".encode("utf-16-le"))
    compound_file_magic = bytes.fromhex("d0cf11e0a1b11ae1")
    (session_folder / "Thumbs.db").write_bytes(compound_file_magic.ljust(4096, b"\0"))
    (session_folder / "20260101_overview.mrc.downloading").write_bytes(b"\0" * 2048)
