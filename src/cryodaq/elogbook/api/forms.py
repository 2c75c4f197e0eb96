"""Reading forms with files: each part limited in size, the whole limited in size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from cryodaq.elogbook.api.bodies import check_text
from cryodaq.elogbook.book.attachments import Upload
from cryodaq.elogbook.refusals import BadRequestError, TooLargeError

MAX_FILES = 10
MAX_FIELDS = 100


@dataclass(frozen=True, slots=True)
class Form:
    """A form as somebody sent it."""

    fields: dict[str, str]
    """Of fields that occur several times, the last."""
    files: tuple[Upload, ...]


async def read_form(request: Request) -> Form:
    """Read a form, with files (multipart) or without.

    Raises
    ------
    BadRequestError
        It is no form, or has too many parts.
    TooLargeError
        It is larger than all attachments together may be.
    """
    settings = request.app.state.elogbook.settings
    limit = settings.max_body_bytes
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        limit += MAX_FILES * settings.max_attachment_bytes
    bounded = Request(request.scope, _count(request, limit))
    try:
        async with bounded.form(
            max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=settings.max_body_bytes
        ) as parts:
            files = [
                Upload(name=part.filename or "", type=part.content_type or "", content=await part.read())
                for _, part in parts.multi_items()
                if isinstance(part, UploadFile) and part.filename
            ]
            fields = {name: part for name, part in parts.multi_items() if isinstance(part, str)}
    except HTTPException as refusal:
        raise BadRequestError(str(refusal.detail)) from None
    except (UnicodeError, ValueError, KeyError):
        raise BadRequestError("The form cannot be read") from None
    for text in (*fields, *fields.values(), *(file.name for file in files)):
        check_text(text)
    return Form(fields, tuple(files))


def _count(request: Request, limit_bytes: int) -> Receive:
    """Return the request's pieces, counted. Raises `TooLargeError` in time."""
    size_bytes = 0

    async def receive() -> Message:
        nonlocal size_bytes
        message = await request.receive()
        size_bytes += len(message.get("body", b""))
        if size_bytes > limit_bytes:
            refusal = f"The form is larger than {limit_bytes} bytes; send less at once"
            raise TooLargeError(refusal, headers={"Connection": "close"})
        return message

    return receive


SentForm = Annotated[Form, Depends(read_form)]
