"""An entry of an experiment's log as an e-mail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

LONGEST_TEXT = 20_000
"""Characters of an entry that are sent; all of them stand in the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailedEntry:
    """An entry that somebody gets."""

    id: str
    experiment: str
    author: str
    written_at: datetime
    title: str
    """Empty where it has none."""
    content: str
    sample: str
    """Empty where none was current."""
    files: tuple[str, ...]
    """Names of what is attached."""
    recipients: tuple[str, ...]
    """E-mail addresses."""


def entry_text(entry: MailedEntry, *, page: str | None) -> str:
    """Return what the e-mail says; its first line becomes the subject, `page` is the log's address."""
    lines = [f"{entry.experiment}: {entry.title or first_line(entry.content)}", "", entry.content[:LONGEST_TEXT], ""]
    if len(entry.content) > LONGEST_TEXT:
        lines.append("(shortened; the log has the rest)")
    lines.append(f"Written by {entry.author}" + (f", while sample {entry.sample} was current" if entry.sample else ""))
    if entry.files:
        lines.append(f"Attached there: {', '.join(entry.files)}")
    if page is not None:
        lines.append(f"The log, where you can answer or end these e-mails: {page}")
    return "\n".join(lines)


def first_line(text: str) -> str:
    """Return the first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
