"""Reading what clients send: JSON that fits into the database, of a size that fits into memory."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from cryodaq.elogbook.refusals import BadRequestError, MediaTypeError, TooLargeError

MAX_DEPTH = 50
LARGE_BYTES = 20_000
_NO_BODY = b""


async def read_bytes(request: Request) -> bytes:
    """Return the body. Raises `TooLargeError` as soon as it is longer than the site allows."""
    limit: int = request.app.state.elogbook.settings.max_body_bytes
    pieces, size_bytes = [], 0
    async for piece in request.stream():
        size_bytes += len(piece)
        if size_bytes > limit:
            message = f"The body is larger than {limit} bytes; send less at once"
            raise TooLargeError(message, headers={"Connection": "close"})
        pieces.append(piece)
    return b"".join(pieces)


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def parse_json(body: bytes) -> Any:  # Any: a JSON value
    """Parse JSON; NaN and infinities become text, which JSON and the database can hold.

    Raises
    ------
    BadRequestError
        It is not JSON, too deep, or holds characters that no database keeps.
    """
    try:
        value = json.loads(body, parse_constant=str, parse_float=_parse_float)
    except (ValueError, RecursionError):
        raise BadRequestError("The body is not valid JSON") from None
    _check(value, depth=0)
    return value


def _parse_float(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else ("-Infinity" if value < 0 else "Infinity")


def _check(value: Any, *, depth: int) -> None:  # Any: a JSON value
    if depth > MAX_DEPTH:
        message = f"The JSON is nested deeper than {MAX_DEPTH} levels"
        raise BadRequestError(message)
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            _check(item, depth=depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth=depth + 1)


def check_text(text: str) -> None:
    """Refuse characters that no database keeps: NUL and lone surrogates. Raises `BadRequestError`."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadRequestError("The request holds a NUL character or half a surrogate pair")


async def require_json(request: Request) -> Any:  # Any: a JSON value
    """Return the JSON body. Raises `MediaTypeError` for any other content."""
    if not _is_json(request):
        raise MediaTypeError("The Content-Type must be application/json")
    return await _parse(await read_bytes(request))


async def _parse(body: bytes) -> Any:  # Any: a JSON value
    """Parse JSON; a large body in another thread, so that nobody else waits for it."""
    return parse_json(body) if len(body) < LARGE_BYTES else await run_in_threadpool(parse_json, body)


async def optional_json(request: Request) -> Any:  # Any: a JSON value
    """Return the JSON body, or None when there is none."""
    if not _is_json(request):
        return None
    body = await read_bytes(request)
    return None if body == _NO_BODY else await _parse(body)


async def json_or_form(request: Request) -> dict[str, Any]:  # Any: JSON values
    """Return the fields of a JSON object or of a page's form."""
    if _is_json(request):
        value = await _parse(await read_bytes(request))
        if not isinstance(value, dict):
            raise BadRequestError("The body must be a JSON object")
        return value
    try:
        fields = dict(parse_qsl((await read_bytes(request)).decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError:
        raise BadRequestError("The form cannot be read") from None
    for text in (*fields, *fields.values()):
        check_text(text)
    return fields


RequiredJson = Annotated[Any, Depends(require_json)]  # Any: a JSON value
OptionalJson = Annotated[Any, Depends(optional_json)]  # Any: a JSON value
Fields = Annotated[dict[str, Any], Depends(json_or_form)]  # Any: JSON values
