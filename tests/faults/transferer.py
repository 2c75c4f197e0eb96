"""A transferer as a process of its own, to be killed: `python -m tests.faults.transferer URL SOURCE TARGET [--once]`.

Its monotonic clock runs ten times as fast, so that quiet times take tenths of a second.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cryodaq.app.transfer_folder import FolderTransfer, transfer_folder
from cryodaq.database import open_engine
from cryodaq.wiring import utc_now

SPEED = 10.0


def main() -> int:
    url, source, target = sys.argv[1:4]
    folder = FolderTransfer(
        engine=open_engine(url),
        source=Path(source),
        target=Path(target),
        now=utc_now,
        clock=lambda: time.monotonic() * SPEED,
    )
    left = transfer_folder(folder, once="--once" in sys.argv, stop=lambda: False, show=lambda _: None)
    return 1 if left.waiting or left.held else 0


if __name__ == "__main__":
    sys.exit(main())
