"""How the elogbook says no: plain sentences for programs, in the contract's shapes."""

from __future__ import annotations

from collections.abc import Mapping


class RefusalError(Exception):
    """A request that is refused with an HTTP status and a sentence."""

    status = 400

    def __init__(self, sentence: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.headers = dict(headers or {})


class BadRequestError(RefusalError):
    """Something in the request is missing or makes no sense."""


class ForbiddenError(RefusalError):
    """Nobody we know, or somebody who may not."""

    status = 403


class NotFoundError(RefusalError):
    """The thing named in the address does not exist."""

    status = 404


class ConflictError(RefusalError):
    """It exists already."""

    status = 409


class TooLargeError(RefusalError):
    """The body is larger than the site allows."""

    status = 413


class MediaTypeError(RefusalError):
    """The body is not JSON."""

    status = 415


class LockedError(RefusalError):
    """The experiment is locked."""

    status = 423


class TooManyTriesError(RefusalError):
    """Too many failed log-ins; the header says how long to wait."""

    status = 429


class RuleError(Exception):
    """A business rule refuses; the contract answers 200 with `success` false.

    Parameters
    ----------
    sentence
        What the rule says.
    key
        The name under which the contract puts it: `errormsg`, or `message` in collaborator calls.
    """

    def __init__(self, sentence: str, *, key: str = "errormsg") -> None:
        super().__init__(sentence)
        self.sentence, self.key = sentence, key
