"""Links and tables in a person's own folder."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from cryodaq.errors import ExportError
from cryodaq.formats.star import Block, write_star
from cryodaq.publish.growing import write_anew


def make_link(link: Path, target: Path) -> None:
    """Make a link; one that points elsewhere is turned to the target.

    Raises `ExportError` where something that is no link has the name.
    """
    if link.is_symlink():
        if link.readlink() == target:
            return
        link.unlink()
    elif link.exists():
        message = f"{link} exists and is no link of an earlier export; give an empty folder"
        raise ExportError(message)
    link.symlink_to(target)


def write_tables(path: Path, blocks: Mapping[str, Block]) -> None:
    """Write a STAR file whole."""
    text = StringIO()
    write_star(text, blocks)
    write_anew(path, [text.getvalue()])
