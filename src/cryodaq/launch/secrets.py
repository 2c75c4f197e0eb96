"""Secrets of the embedded system: generated once, kept in files that only their owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_private(path: Path, content: str) -> None:
    """Write a file with mode 0600 from its first byte, replacing an older one at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def secret(path: Path, *, byte_count: int = 32) -> str:
    """Return the secret kept in `path`, made at the first call; 43 letters for 32 bytes."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(byte_count))
    return path.read_text().strip()
