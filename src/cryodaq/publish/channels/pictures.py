"""The picture that goes along with a message."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.notifications import Message

LARGEST_BYTES = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A JPEG."""

    name: str
    content: bytes


def picture_of(message: Message) -> Picture | None:
    """Read a message's picture; None where there is none, it is gone meanwhile, or it is too large to send."""
    if message.picture is None:
        return None
    path = Path(message.picture)
    if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        return None
    return Picture(name=path.name, content=path.read_bytes())
