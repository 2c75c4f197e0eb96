"""Messages over HTTP: a plain JSON object, and the forms of Slack, Microsoft Teams and Matrix.

Addresses of webhooks are secrets: no error repeats them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from cryodaq.domain.notifications import Message
from cryodaq.errors import NotificationError

TIMEOUT_S = 20.0
COLOURS = {"error": "Attention", "warning": "Warning", "notice": "Default"}

Json = dict[str, Any]  # Any: values of JSON


def plain_form(message: Message) -> Json:
    """Return all that is known, for programs of the site's own."""
    return {
        "id": message.id,
        "kind": message.kind.value,
        "severity": message.severity,
        "site": message.site,
        "microscope": message.microscope,
        "key": message.key,
        "title": message.title,
        "text": message.text,
        "at": message.at.isoformat(),
    }


def slack_form(message: Message) -> Json:
    """Return what an incoming webhook of Slack (or Mattermost) takes; its three marks are escaped."""
    escaped = message.title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped}


def teams_form(message: Message) -> Json:
    """Return what a workflow of Teams takes: an adaptive card."""
    body = [
        {"type": "TextBlock", "text": message.title, "weight": "Bolder", "wrap": True, "color": _colour(message)},
        {"type": "TextBlock", "text": message.at.isoformat(timespec="seconds"), "isSubtle": True},
    ]
    card = {"type": "AdaptiveCard", "version": "1.4", "body": body}
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }


def _colour(message: Message) -> str:
    return "Good" if message.kind == "cleared" else COLOURS[message.severity]


FORMS: Mapping[str, Callable[[Message], Json]] = {"webhook": plain_form, "slack": slack_form, "teams": teams_form}


class WebhookNotifier:
    """A `Notifier` that posts to one address in one of the forms."""

    def __init__(self, url: str, form: Callable[[Message], Json], *, transport: httpx.BaseTransport | None = None):
        self._url, self._form, self._transport = url, form, transport

    def __repr__(self) -> str:
        return "WebhookNotifier()"

    def send(self, message: Message) -> None:
        """Post one message. Raises `NotificationError`."""
        with _client(self._transport) as client:
            _send(client, "POST", self._url, body=self._form(message), headers={"Idempotency-Key": message.id})


class MatrixNotifier:
    """A `Notifier` that writes into a room; Matrix itself drops what it has already."""

    def __init__(self, homeserver: str, room: str, *, token: str, transport: httpx.BaseTransport | None = None):
        self._homeserver, self._room, self._token = homeserver.rstrip("/"), room, token
        self._transport = transport

    def __repr__(self) -> str:
        return f"MatrixNotifier({self._homeserver!r}, {self._room!r})"

    def send(self, message: Message) -> None:
        """Write one message. Raises `NotificationError`."""
        room, number = quote(self._room, safe=""), quote(message.id, safe="")
        url = f"{self._homeserver}/_matrix/client/v3/rooms/{room}/send/m.room.message/{number}"
        body = {"msgtype": "m.text", "body": message.title}
        with _client(self._transport) as client:
            _send(client, "PUT", url, body=body, headers={"Authorization": f"Bearer {self._token}"})


def _client(transport: httpx.BaseTransport | None) -> httpx.Client:
    return httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, transport=transport)


def _send(client: httpx.Client, method: str, url: str, *, body: Json, headers: Mapping[str, str]) -> None:
    try:
        answer = client.request(method, url, json=body, headers=dict(headers))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"the address of the channel does not answer ({type(error).__name__})"
        raise NotificationError(text) from None  # the cause would repeat the address
    if not answer.is_success:
        text = f"the channel refused a message with status {answer.status_code}: {answer.text[:200]}"
        raise NotificationError(text)
