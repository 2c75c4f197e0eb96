"""One command per verb."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a known error is one sentence and status 1, never a traceback."""
    from cryodaq.cli.commands import app
    from cryodaq.errors import CryodaqError

    try:
        app()
    except CryodaqError as error:
        print(f"cryodaq: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
