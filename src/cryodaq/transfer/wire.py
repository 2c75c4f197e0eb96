"""What supervisor and worker say to each other: one JSON object a line.

A request is `{"id", "do", ...}`. The worker answers `{"id", "began": true}`, any number of
`{"id", "progress": n}` and `{"id", "part": {...}}`, and at last `{"id", "result": {...}}` or
`{"id", "error": {...}}`. File names that are no text never get here (`scan` reports them apart).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from cryodaq.errors import (
    CopyMismatchError,
    CryodaqError,
    RemovalOpenError,
    ShareMissingError,
    SourceUnstableError,
    SourceVanishedError,
    TargetExistsError,
    TargetFullError,
    TransferError,
)
from cryodaq.transfer.copy import CopyCancelledError

Message = Mapping[str, Any]  # Any: values of JSON

_BUILD: dict[str, Callable[[Message], TransferError]] = {
    "ShareMissingError": lambda f: ShareMissingError(PurePath(f["share"]), why=f["why"]),
    "SourceUnstableError": lambda f: SourceUnstableError(PurePath(f["path"]), change=f["change"]),
    "SourceVanishedError": lambda f: SourceVanishedError(PurePath(f["path"])),
    "CopyMismatchError": lambda f: CopyMismatchError(PurePath(f["path"]), expected=f["expected"], found=f["found"]),
    "TargetExistsError": lambda f: TargetExistsError(PurePath(f["path"])),
    "TargetFullError": lambda f: TargetFullError(PurePath(f["path"]), free_bytes=f["free_bytes"]),
    "RemovalOpenError": lambda f: RemovalOpenError(PurePath(f["path"]), why=f["why"]),
    "CopyCancelledError": lambda f: CopyCancelledError(f["text"]),
}


def encode(message: Message) -> bytes:
    """Return one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read one line. Raises `TransferError` when it is not one of ours."""
    try:
        message = json.loads(line)
    except ValueError as error:
        problem = f"an I/O worker said {line[:80]!r}"
        raise TransferError(problem) from error
    if not isinstance(message, dict):
        problem = f"an I/O worker said {line[:80]!r}"
        raise TransferError(problem)
    return message


def error_to_message(error: CryodaqError) -> Message:
    """Return an error's class, sentence and facts."""
    facts = {
        name: str(value) if isinstance(value, PurePath) else value
        for name in ("share", "path", "change", "expected", "found", "free_bytes", "why")
        if (value := getattr(error, name, None)) is not None
    }
    return {"kind": type(error).__name__, "text": str(error), **facts}


def error_from_message(message: Message) -> TransferError:
    """Return the error that `error_to_message` described."""
    build = _BUILD.get(str(message.get("kind")))
    return TransferError(str(message.get("text"))) if build is None else build(message)
