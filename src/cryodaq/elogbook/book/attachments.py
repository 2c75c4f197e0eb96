"""Files that are attached to entries: of a known kind, of a limited size, and drawn small where they are pictures."""

from __future__ import annotations

import io
import logging
import warnings
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import RowMapping

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book.work import Document, Work
from cryodaq.elogbook.refusals import BadRequestError, NotFoundError, TooLargeError

log = logging.getLogger(__name__)
PREVIEW_SIZE_PX = 128
MAX_PIXELS = 100_000_000
MAX_NAME_LENGTH = 200
_MAGIC = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "image/webp": (b"RIFF",),
    "image/bmp": (b"BM",),
    "application/pdf": (b"%PDF-",),
    "application/zip": (b"PK\x03\x04", b"PK\x05\x06"),
    "application/gzip": (b"\x1f\x8b",),
}
"""Media types that are taken, and how their content begins; besides these, text that is no page or drawing."""
_OFFICE = "application/vnd.openxmlformats-officedocument."
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
_ACTIVE = (b"<!doctype", b"<html", b"<svg", b"<?xml", b"<script", b"#!", b"mz\x90", b"\x7felf")
PLAIN = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file as somebody sent it."""

    name: str
    type: str
    """What the sender says it is."""
    content: bytes


def check(work: Work, upload: Upload) -> Upload:
    """Return an upload with the media type under which it is kept.

    Raises
    ------
    TooLargeError
        It is larger than the site allows.
    BadRequestError
        It is of a kind that is not taken, or not what its type says.
    """
    limit = work.settings.max_attachment_bytes
    if len(upload.content) > limit:
        message = f"The attachment {upload.name!r:.80} is larger than {limit / 1_048_576:.0f} MiB"
        raise TooLargeError(message)
    said = upload.type.partition(";")[0].strip().lower()
    name = upload.name.replace("\\", "/").rpartition("/")[2][:MAX_NAME_LENGTH] or "attachment"
    kind = _kind(upload.content)
    if kind is None:
        message = f"The attachment {name!r} is none of: pictures, PDF, text, ZIP, gzip"
        raise BadRequestError(message)
    said_as_pictured = said in _MAGIC and said != kind
    if said_as_pictured and not work.settings.dialect.trusts_attachment_types:
        message = f"The attachment {name!r} says that it is {said}, but it is {kind}"
        raise BadRequestError(message)
    keeps = said_as_pictured or (kind == PLAIN and said.startswith("text/")) or said.startswith(_OFFICE)
    return Upload(name=name, type=said if keeps else kind, content=upload.content)


def _kind(content: bytes) -> str | None:
    """Return what content is by its beginning; None for what is not taken."""
    for kind, beginnings in _MAGIC.items():
        if content.startswith(beginnings):
            return kind
    if content[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_ACTIVE):
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else PLAIN


def store(work: Work, entry_id: str, uploads: tuple[Upload, ...]) -> None:
    """Attach files to an entry. Raises `BadRequestError` or `TooLargeError`."""
    for upload in [check(work, upload) for upload in uploads]:
        work.connection.execute(
            sa.insert(t.elog_attachment).values(
                id=work.new_id(),
                entry_id=entry_id,
                name=upload.name,
                type=upload.type,
                content=upload.content,
                preview=_draw_small(upload),
            )
        )


def _draw_small(upload: Upload) -> bytes | None:
    """Return a small PNG of a picture; None where it cannot be drawn."""
    if not upload.type.startswith("image/"):
        return None
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(upload.content)) as picture:
            warnings.simplefilter("ignore")  # PIL warns of sizes that are refused here
            if picture.width * picture.height > MAX_PIXELS:
                return None
            picture.draft("RGB", (PREVIEW_SIZE_PX * 2, PREVIEW_SIZE_PX * 2))
            small = picture.convert("RGB")
            small.thumbnail((PREVIEW_SIZE_PX, PREVIEW_SIZE_PX))
            drawn = io.BytesIO()
            small.save(drawn, "PNG")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.info("an attachment cannot be drawn", extra={"type": upload.type, "error": type(error).__name__})
        return None
    return drawn.getvalue()


def documents(work: Work, entry_ids: list[str]) -> dict[str, list[Document]]:
    """Return the contract's documents of attachments, by entry."""
    a = t.elog_attachment.c
    rows = work.connection.execute(
        sa.select(a.id, a.entry_id, a.name, a.type, a.preview.is_not(None).label("drawn"))
        .where(a.entry_id == sa.any_(sa.cast(entry_ids, sa.ARRAY(sa.Text))))
        .order_by(a.id)
    )
    found: dict[str, list[Document]] = {}
    for row in rows:
        url = f"attachment?entry_id={row.entry_id}&attachment_id={row.id}"
        document = {"_id": row.id, "name": row.name, "type": row.type, "url": url}
        drawn = {"preview_url": f"{url}&prefer_preview=true"} if row.drawn else {}
        found.setdefault(row.entry_id, []).append(document | drawn)
    return found


def find(work: Work, experiment: str, *, entry_id: str, attachment_id: str) -> RowMapping:
    """Return an attachment's row. Raises `NotFoundError`."""
    a, e = t.elog_attachment.c, t.elog_entry.c
    row = work.connection.execute(
        sa.select(a.name, a.type, a.content, a.preview)
        .join(t.elog_entry, e.id == a.entry_id)
        .where(e.experiment_name == experiment, e.id == entry_id, a.id == attachment_id)
    )
    found = row.mappings().first()
    if found is None:
        raise NotFoundError("There is no such attachment")
    return found


def is_shown(kind: str) -> bool:
    """Whether a browser may show this media type; it must save all others."""
    return kind in _SHOWN


def copy(work: Work, entry_id: str, *, to: str) -> None:
    """Attach the files of one entry to another one too."""
    a = t.elog_attachment
    for row in work.connection.execute(sa.select(a).where(a.c.entry_id == entry_id).order_by(a.c.id)).mappings():
        work.connection.execute(sa.insert(a).values({**row, "id": work.new_id(), "entry_id": to}))
