"""One question, one answer: HTTP with short timeouts, a bounded answer, and no cookies."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from cryodaq.errors import LogbookAccessError, LogbookError, LogbookUnreachableError

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 5.0
WHOLE_ANSWER_S = 30.0
MAX_ANSWER_BYTES = 64_000_000
WEB_HEADER, CLIENT_HEADER = "X-Cryodaq-Web", "X-Cryodaq-Client"
client_address: ContextVar[str | None] = ContextVar("client_address", default=None)
"""Address of the browser that the pages' server is answering, for the embedded elogbook's log and brakes."""
_OUTAGES = frozenset({502, 503, 504, 429})
_NO_ACCESS = frozenset({401, 403, 407})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """An account; with a user the secret is sent as Basic, without one as Bearer."""

    secret: str
    user: str | None = None

    def __repr__(self) -> str:
        return f"Credential(user={self.user!r})"

    def auth(self) -> httpx.Auth:
        """Return what httpx adds to each request."""
        return _Bearer(self.secret) if self.user is None else httpx.BasicAuth(self.user, self.secret)


class _Bearer(httpx.Auth):
    def __init__(self, secret: str) -> None:
        self._header = f"Bearer {secret}"

    def auth_flow(self, request: httpx.Request) -> Any:  # Any: httpx's generator type
        request.headers["Authorization"] = self._header
        yield request


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFile:
    """A file that is sent with a form."""

    name: str
    type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    cookies: tuple[str, ...] = ()
    """The Set-Cookie headers; they are given on and never kept."""

    media_type: str = ""
    """What the body is, as the server says."""

    @property
    def words(self) -> str:
        """The beginning of a text body, for messages; a page of HTML says nothing."""
        text = self.body[:300].decode(errors="replace").strip()
        return "an error page" if text.startswith("<") else text or "nothing"

    def json(self) -> Any:  # Any: a JSON value of a foreign server
        """Parse the body; NaN and infinities become text. Raises `LogbookError`."""
        try:
            return json.loads(self.body, parse_constant=str)
        except (ValueError, RecursionError):
            message = f"the elogbook's answer is not JSON: {self.words}"
            raise LogbookError(message) from None


class Transport:
    """Sends requests to one elogbook."""

    def __init__(
        self,
        url: str,
        *,
        credential: Credential | None = None,
        server_error_is_outage: bool = True,
        web_secret: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is sent.

        Parameters
        ----------
        url
            Where `/lgbk` begins.
        web_secret
            Of the pages' own server, which says with it for which browser's address it asks.
        server_error_is_outage
            Whether status 500 means that the server is broken, rather than a refusal.
        transport
            Replaces the network in tests.
        """
        self._server_error_is_outage = server_error_is_outage
        self._web_secret = web_secret
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            auth=None if credential is None else credential.auth(),
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        form: Mapping[str, str] | None = None,
        files: Sequence[FormFile] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request and return any answer that is not an outage.

        Raises
        ------
        LogbookUnreachableError
            No answer in time, or the server says that it is out of order.
        LogbookError
            The request cannot be sent, or the answer is too large.
        """
        content = None if body is None else json.dumps(body, allow_nan=False)
        parts = [("files", (file.name, file.content, file.type)) for file in files] or None
        sent = {**(headers or {}), **({} if content is None else {"Content-Type": "application/json"})}
        if self._web_secret is not None:
            sent |= {WEB_HEADER: self._web_secret, CLIENT_HEADER: client_address.get() or "unknown"}
        try:
            with self._client.stream(
                method, path, params=query, content=content, data=form, files=parts, headers=sent
            ) as answer:
                cookies = tuple(answer.headers.get_list("set-cookie"))
                kind = answer.headers.get("content-type", "")
                reply = Reply(status=answer.status_code, body=_read(answer), cookies=cookies, media_type=kind)
        except (httpx.TransportError, httpx.DecodingError) as error:
            message = f"the elogbook does not answer ({type(error).__name__}: {error})"
            raise LogbookUnreachableError(message) from error
        except (httpx.InvalidURL, UnicodeError) as error:
            message = f"a name cannot be sent to the elogbook: {error}"
            raise LogbookError(message) from error
        if reply.status in _OUTAGES or (reply.status >= 500 and self._server_error_is_outage):
            message = f"the elogbook is out of order (status {reply.status}: {reply.words})"
            raise LogbookUnreachableError(message)
        return reply


def _read(answer: httpx.Response) -> bytes:
    deadline = time.monotonic() + WHOLE_ANSWER_S
    pieces, size_bytes = [], 0
    for piece in answer.iter_bytes():
        size_bytes += len(piece)
        if size_bytes > MAX_ANSWER_BYTES:
            message = f"the elogbook's answer is larger than {MAX_ANSWER_BYTES // 1_000_000} MB"
            raise LogbookError(message)
        if time.monotonic() > deadline:
            message = f"the elogbook's answer was not complete after {WHOLE_ANSWER_S:.0f} s"
            raise LogbookUnreachableError(message)
        pieces.append(piece)
    return b"".join(pieces)


def check(reply: Reply) -> None:
    """Raise what a status says: `LogbookAccessError` or `LogbookError`; 200 passes."""
    if reply.status in _NO_ACCESS:
        message = f"the elogbook does not let this account do it: {reply.words}"
        raise LogbookAccessError(message)
    if not 200 <= reply.status < 300:
        message = f"the elogbook refused with status {reply.status}: {reply.words}"
        raise LogbookError(message)


def value_of(reply: Reply) -> Any:  # Any: a JSON value of a foreign server
    """Return the `value` of a successful answer: first the status, then the JSON, then `success`.

    Raises `LogbookAccessError` or `LogbookError`.
    """
    check(reply)
    answer = reply.json()
    if not isinstance(answer, dict):
        message = f"the elogbook's answer is not an object: {reply.words}"
        raise LogbookError(message)
    if answer.get("success") is not True:
        reason = answer.get("errormsg") or answer.get("message") or "it does not say why"
        message = f"the elogbook refused: {str(reason)[:300]}"
        raise LogbookError(message)
    return answer.get("value")
