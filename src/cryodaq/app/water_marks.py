"""How much may be removed from each share by its water marks: begun at the upper one, ended at the lower one.

That removal has begun is a notice in the ledger, so that the next run goes on until the lower mark is reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cryodaq.domain.microscope import Microscope
from cryodaq.domain.retention import bytes_to_free
from cryodaq.domain.wording import say_size
from cryodaq.ledger import events, shares
from cryodaq.ledger.events import Subject
from cryodaq.ledger.removals import RemovableFile

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(slots=True)
class WaterMarks:
    """What is left to be removed from each share."""

    engine: Engine
    microscope: Microscope
    now: Callable[[], datetime]
    _left_bytes: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look at the shares as their last scans found them."""
        with self.engine.connect() as connection:
            rooms = shares.room_of_shares(connection, self.microscope.name)
            for share in (str(one.root) for one in self.microscope.shares):
                free_bytes, total_bytes = rooms.get(share, (0, 0))
                self._left_bytes[share] = bytes_to_free(
                    self.microscope.retention,
                    free_bytes=free_bytes,
                    total_bytes=total_bytes,
                    going_on=events.is_raised(connection, self._key(share)),
                )

    def _key(self, share: str) -> str:
        return f"making-room:{self.microscope.name}:{share}"

    def allow(self, source: RemovableFile) -> bool:
        """Whether its share is still too full."""
        return self._left_bytes.get(source.share, 0.0) > 0

    def count(self, source: RemovableFile) -> None:
        """Count what went."""
        self._left_bytes[source.share] = self._left_bytes.get(source.share, 0.0) - source.size_bytes

    def tell(self) -> None:
        """Keep the notices about shares on which room is being made."""
        for share, left in self._left_bytes.items():
            with self.engine.begin() as connection:
                if not 0 < left < math.inf:
                    events.clear_alarm(connection, self._key(share), at=self.now())
                    continue
                name = self.microscope.name
                message = (
                    f"{name.upper()}: verified movies go from {share} until it is no more than "
                    f"{self.microscope.retention.until_below:.0%} full; {say_size(left)} are left to go"
                )
                subject = Subject(microscope=name)
                events.raise_alarm(
                    connection, self._key(share), severity="notice", message=message, at=self.now(), subject=subject
                )
