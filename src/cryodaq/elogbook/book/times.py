"""Times as the contract writes them: UTC, milliseconds, no fraction when it is zero."""

from __future__ import annotations

from datetime import UTC, datetime

from cryodaq.elogbook.refusals import BadRequestError

WITH_FRACTION = "%Y-%m-%dT%H:%M:%S.%fZ"
WITHOUT_FRACTION = "%Y-%m-%dT%H:%M:%SZ"


def to_milliseconds(moment: datetime) -> datetime:
    """Return the moment in UTC, cut to milliseconds as the contract keeps it."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def write_time(moment: datetime | None) -> str | None:
    """Return the contract's text for a moment."""
    return None if moment is None else to_milliseconds(moment).isoformat()


def read_time(text: object, *, what: str, strict_format: str | None) -> datetime:
    """Read a time that a client sent.

    Parameters
    ----------
    text
        ISO 8601, with or without fraction; without an offset it is UTC.
    what
        Its name in the refusal.
    strict_format
        The only format that is accepted, for clients that rely on an explgbk's refusals; None accepts all.

    Raises
    ------
    BadRequestError
        When it is not a time.
    """
    if not isinstance(text, str):
        message = f"{what} must be a time such as 2026-11-22T08:00:00.000Z, not {text!r:.80}"
        raise BadRequestError(message)
    try:
        if strict_format is not None:
            return datetime.strptime(text, strict_format).replace(tzinfo=UTC)
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return to_milliseconds(moment)
    except (ValueError, OverflowError):
        message = f"{what} must be a time such as 2026-11-22T08:00:00.000Z, not {text!r:.80}"
        raise BadRequestError(message) from None
