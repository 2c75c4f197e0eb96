"""Short private folders for the Unix sockets of embedded servers: a socket's path may have 107 bytes, a home's more."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def socket_folder(home: Path, *, suffix: str = "") -> Path:
    """Return the folder of a server's sockets, the same for a home whenever it is asked for."""
    name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"cryodaq-{name}{suffix}"


def remove_socket_folder(folder: Path) -> None:
    """Remove a folder whose server has ended; one in which a socket lies is another server's and stays."""
    with suppress(OSError):
        folder.rmdir()
