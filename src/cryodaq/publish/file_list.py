"""The list of a sample's files for an archive such as EMPIAR: movies, gain references and what lies beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MANIFEST = "manifest.xxh128"
HEADING = "path\tsize_bytes\txxh3_128\tformat\tkind\n"
AT_ONCE = 1 << 22
_FORMATS = {
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".mrc": "MRC",
    ".mrcs": "MRCS",
    ".eer": "EER",
    ".dm4": "DM4",
    ".dm3": "DM3",
    ".gain": "EER gain",
    ".xml": "XML",
    ".mdoc": "MDOC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """One file of the list."""

    path: str
    """Below the sample's folder; whole where another system made the copy."""
    size_bytes: int | None
    """None: it is not there any more."""
    checksum: str | None
    """XXH3-128 in hexadecimal digits; None where nobody ever knew it and the file is gone."""
    computed: bool
    """Whether it was read for the list: no manifest names it (yet)."""
    kind: str

    @property
    def line(self) -> str:
        """The list's line; `-` stands for what is unknown."""
        form = _FORMATS.get(PurePosixPath(self.path).suffix.lower(), "-")
        size = "-" if self.size_bytes is None else str(self.size_bytes)
        return f"{self.path}\t{size}\t{self.checksum or '-'}\t{form}\t{self.kind}\n"


def list_files(
    folder: Path, rows: Iterable[Mapping[str, str]], *, without: Collection[str] = ()
) -> Iterator[ListedFile]:
    """Return the movies of a table's rows, the gain references that they need, and all files of the manifest.

    The manifest's checksums are those of copies that were read again and agreed; files that it does not name are read.

    Parameters
    ----------
    rows
        Of the table of everything: `movie` and `gain`, below `folder`.
    without
        Paths of the manifest that are to be left out.

    Raises
    ------
    OSError
        A file that is there cannot be read.
    """
    known = _manifest(folder / MANIFEST)
    kinds = dict.fromkeys(known, "other")
    for row in rows:
        kinds |= {path: kind for path, kind in ((row.get("gain"), "gain reference"), (row["movie"], "movie")) if path}
    for path in sorted(kinds.keys() - set(without)):
        file = folder / path
        size = file.stat().st_size if file.is_file() else None
        computed = path not in known and size is not None
        yield ListedFile(
            path=path,
            size_bytes=size,
            checksum=_checksum(file) if computed else known.get(path),
            computed=computed,
            kind=kinds[path],
        )


def _manifest(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.split("  ", 1) for line in path.read_text(encoding="utf-8").split("\n"))
    return {words[1]: words[0] for words in lines if len(words) == 2}


def _checksum(path: Path) -> str:
    import xxhash

    digest = xxhash.xxh3_128()
    with path.open("rb") as handle:
        while piece := handle.read(AT_ONCE):
            digest.update(piece)
    return digest.hexdigest()
