"""STAR files as plain tables: blocks of columns, as RELION and its kin read and write them.

A block is a mapping of column names to lists of equal length (a `loop_`), or to single values. Numbers come back
as int and float, everything else, and everything quoted, as text. Source: Hall 1991, doi 10.1021/ci00002a020, in
the form that RELION uses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path, PurePath
from typing import TextIO, TypeAlias

from cryodaq.errors import FormatError, TruncatedFileError

Value: TypeAlias = str | int | float
Column: TypeAlias = Sequence[Value]
Block: TypeAlias = Mapping[str, Column | Value]

MAX_STAR_BYTES = 1_000_000_000

_TOKEN = re.compile(r"""(?:'(?P<single>.*?)'|"(?P<double>.*?)"|(?P<bare>[^\s'"#]\S*))(?=\s|$)|(?P<comment>\#.*)""")
_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d*)", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NAME = re.compile(r"[^\s#'\"]+")
_PLAIN = re.compile(r"[^\s#'\"_;$\[\]][^\s'\"#]*")


def write_star(target: Path | TextIO, blocks: Mapping[str, Block]) -> None:
    """Write blocks in their order; a path is written from the first byte on (give a temporary name).

    A table at the end of the file can grow: append lines made by `star_row`.

    Raises
    ------
    FormatError
        A name or a value cannot be said in STAR (line breaks, both kinds of quotes), or columns differ in length.
    """
    if isinstance(target, Path):
        with target.open("w", encoding="utf-8", newline="\n") as handle:
            write_star(handle, blocks)
        return
    for name, block in blocks.items():
        target.write(f"\ndata_{_checked_name(name, allow_empty=True)}\n\n")
        columns = {key: column for key, column in block.items() if not isinstance(column, str | int | float)}
        if not columns:
            for key, value in block.items():
                target.write(f"_{_checked_name(key)} {star_row([value])}")  # type: ignore[list-item]  # no columns
            continue
        lengths = {len(column) for column in columns.values()}
        if len(columns) != len(block) or len(lengths) != 1:
            raise FormatError(PurePath(name), problem="a STAR table needs columns of one length")
        target.write("loop_\n")
        target.writelines(f"_{_checked_name(key)} #{number}\n" for number, key in enumerate(columns, start=1))
        target.writelines(star_row(row) for row in zip(*columns.values(), strict=True))


def star_row(values: Iterable[Value]) -> str:
    """Return one line of a STAR table; raises FormatError for a text that cannot be said."""
    return " ".join(_said(value) for value in values) + "\n"


def read_star(path: Path) -> dict[str, dict[str, list[Value] | Value]]:
    """Return the blocks of a STAR file: tables as lists by column, single values as such.

    Raises
    ------
    FormatError
        It is no STAR file; the message names the line. TruncatedFileError if its last row is not whole.
    """
    if path.stat().st_size > MAX_STAR_BYTES:
        raise FormatError(path, problem=f"it is larger than {MAX_STAR_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(path, problem="it is no text") from error
    return parse_star(text, path=path)


def parse_star(text: str, *, path: PurePath) -> dict[str, dict[str, list[Value] | Value]]:
    """Return the blocks of a STAR text, as `read_star` does; `path` is for messages."""
    parser = _Parser(path)
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        parser.feed(line.strip(), number=number, is_last=number == len(lines))
    return parser.blocks()


class _Parser:
    """Takes a STAR file line by line."""

    def __init__(self, path: PurePath) -> None:
        self._path = path
        self._singles: dict[str, dict[str, Value]] = {}
        self._tables: dict[str, dict[str, list[tuple[str, bool]]]] = {}
        self._block: str | None = None
        self._in_loop = self._has_rows = False

    def feed(self, line: str, *, number: int, is_last: bool) -> None:
        """Take one stripped line."""
        if not line or line.startswith("#"):
            return
        if line.startswith("data_"):
            self._begin_block(line.partition("#")[0][5:].strip(), number=number)
        elif self._block is None:
            raise FormatError(self._path, problem=f"line {number} stands before any data block")
        elif line == "loop_" or line.startswith(("loop_ ", "loop_\t", "loop_#")):
            self._in_loop, self._has_rows = True, False
        elif line.startswith("_") and not self._has_rows:
            self._name(line, number=number)
        elif self._in_loop:
            self._row(line, number=number, is_last=is_last)
        else:
            raise FormatError(self._path, problem=f"line {number} is neither a name nor part of a table")

    def blocks(self) -> dict[str, dict[str, list[Value] | Value]]:
        """Return everything read, columns turned into numbers where all of a column are."""
        return {
            name: {**singles, **{key: _typed(column) for key, column in self._tables[name].items()}}
            for name, singles in self._singles.items()
        }

    def _begin_block(self, name: str, *, number: int) -> None:
        if name in self._singles:
            raise FormatError(self._path, problem=f"line {number} begins block {name!r} a second time")
        self._block, self._in_loop, self._has_rows = name, False, False
        self._singles[name], self._tables[name] = {}, {}

    def _name(self, line: str, *, number: int) -> None:
        name, *values = self._tokens(line, number=number)
        block = self._block or ""
        key = name[0][1:]
        if not key or key in self._tables[block] or key in self._singles[block]:
            raise FormatError(self._path, problem=f"line {number} has a name that is empty or was used before")
        if self._in_loop and not values:
            self._tables[block][key] = []
        elif not self._in_loop and len(values) == 1:
            self._singles[block][key] = _typed(values)[0]
        else:
            raise FormatError(self._path, problem=f"line {number} has {len(values)} values for one name")

    def _row(self, line: str, *, number: int, is_last: bool) -> None:
        columns = self._tables[self._block or ""]
        values = self._tokens(line, number=number)
        if len(values) != len(columns):
            problem = f"line {number} has {len(values)} values for {len(columns)} columns"
            raise (TruncatedFileError if is_last else FormatError)(self._path, problem=problem)
        self._has_rows = True
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)

    def _tokens(self, line: str, *, number: int) -> list[tuple[str, bool]]:
        """Return (text, was quoted) of the words of a line."""
        words: list[tuple[str, bool]] = []
        at = 0
        while at < len(line):
            found = _TOKEN.match(line, at)
            if found is None:
                raise FormatError(self._path, problem=f"line {number} has an open quote")
            if found["comment"] is not None:
                break
            quoted = found["single"] if found["single"] is not None else found["double"]
            words.append((quoted, True) if quoted is not None else (found["bare"], False))
            at = found.end()
            while at < len(line) and line[at].isspace():
                at += 1
        return words


def _typed(column: Sequence[tuple[str, bool]]) -> list[Value]:
    texts = [text for text, _ in column]
    if any(quoted for _, quoted in column) or not texts:
        return list(texts)
    if all(map(_INTEGER.fullmatch, texts)) and max(map(len, texts)) <= 18:
        return [int(text) for text in texts]
    if all(map(_FLOAT.fullmatch, texts)):
        return [float(text) for text in texts]
    return list(texts)


def _said(value: Value) -> str:
    """Return a value as STAR says it; text that could be taken for something else is quoted."""
    if isinstance(value, Integral):  # an array's numbers too
        return str(int(value))
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise FormatError(PurePath("STAR"), problem=f"{value} cannot be said in a STAR file")
        return repr(float(value))
    text = str(value)
    reserved = text.lower().startswith(("data_", "loop_", "save_", "global_", "stop_"))
    if _PLAIN.fullmatch(text) and not reserved and not _FLOAT.fullmatch(text):
        return text
    for quote in ('"', "'"):
        if quote not in text and not re.search(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text):
            return f"{quote}{text}{quote}"
    raise FormatError(PurePath("STAR"), problem=f"{text[:60]!r} cannot be said in a STAR file")


def _checked_name(name: str, *, allow_empty: bool = False) -> str:
    if _NAME.fullmatch(name) or (allow_empty and not name):
        return name
    raise FormatError(PurePath("STAR"), problem=f"{name[:60]!r} is no name for a STAR block or column")
