"""Digests to an experiment's collaborators: by e-mail, or in a private Matrix room of the experiment's own.

Matrix client-server API v1.11: rooms by alias, invitations, media.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from cryodaq.domain.digest import addresses
from cryodaq.domain.notifications import Message
from cryodaq.errors import NotificationError
from cryodaq.publish.channels.email import EmailNotifier, SmtpServer
from cryodaq.publish.channels.pictures import Picture, picture_of
from cryodaq.publish.channels.webhook import TIMEOUT_S

NOT_FOUND = 404


class CollaboratorEmail:
    """A `CollaboratorChannel` that writes to each collaborator's address."""

    def __init__(self, server: SmtpServer, pattern: str) -> None:
        self._server, self._pattern = server, pattern

    def send(self, message: Message, people: Sequence[str], *, gone: Sequence[str]) -> None:
        """Send one e-mail to all; who is `gone` is not among them. Raises `NotificationError`."""
        del gone
        recipients = addresses(people, self._pattern)
        if recipients:
            EmailNotifier(self._server, recipients).send(message)


class MatrixRooms:
    """A `CollaboratorChannel` that keeps one private room an experiment, with its collaborators invited."""

    def __init__(
        self, homeserver: str, *, token: str, pattern: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._homeserver, self._token, self._pattern = homeserver.rstrip("/"), token, pattern
        self._transport = transport

    def __repr__(self) -> str:
        return f"MatrixRooms({self._homeserver!r})"

    def send(self, message: Message, people: Sequence[str], *, gone: Sequence[str]) -> None:
        """Write into the experiment's room, and its picture after it. Raises `NotificationError`."""
        with httpx.Client(
            base_url=f"{self._homeserver}/_matrix",
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=TIMEOUT_S,
            follow_redirects=False,
            transport=self._transport,
        ) as client:
            room = self._room(client, str(message.experiment), people)
            self._keep_members(client, room, people, gone)
            self._write(client, room, message.id, {"msgtype": "m.text", "body": message.text})
            picture = picture_of(message)
            if picture is not None:
                self._write(client, room, f"{message.id}-picture", self._uploaded(client, picture))

    def _room(self, client: httpx.Client, experiment: str, people: Sequence[str]) -> str:
        """Return the id of the experiment's room, which is made when there is none."""
        local = "cryodaq-" + re.sub(r"[^a-z0-9._=-]", "-", experiment.lower())
        server = str(_answer(client.get, "/client/v3/account/whoami")["user_id"]).partition(":")[2]
        alias = quote(f"#{local}:{server}", safe="")
        known = _request(client.get, f"/client/v3/directory/room/{alias}")
        if known.status_code != NOT_FOUND:
            return str(_content(known)["room_id"])
        body = {
            "name": experiment,
            "topic": f"How the collection of {experiment} goes",
            "preset": "private_chat",
            "visibility": "private",
            "room_alias_name": local,
            "invite": addresses(people, self._pattern),
        }
        return str(_answer(client.post, "/client/v3/createRoom", json=body)["room_id"])

    def _keep_members(self, client: httpx.Client, room: str, people: Sequence[str], gone: Sequence[str]) -> None:
        """Invite who is not in the room yet; who left by themselves is not asked again."""
        events = _answer(client.get, f"/client/v3/rooms/{quote(room, safe='')}/members")["chunk"]
        standing = {event["state_key"]: event["content"]["membership"] for event in events}
        for person in addresses(people, self._pattern):
            if person not in standing:
                self._change(client, room, "invite", person)
        for person in addresses(gone, self._pattern):
            if standing.get(person) in {"join", "invite"}:
                self._change(client, room, "kick", person)

    def _change(self, client: httpx.Client, room: str, call: str, person: str) -> None:
        _answer(client.post, f"/client/v3/rooms/{quote(room, safe='')}/{call}", json={"user_id": person})

    def _write(self, client: httpx.Client, room: str, number: str, body: Mapping[str, Any]) -> None:
        place = f"/client/v3/rooms/{quote(room, safe='')}/send/m.room.message/{quote(number, safe='')}"
        _answer(client.put, place, json=dict(body))

    def _uploaded(self, client: httpx.Client, picture: Picture) -> dict[str, Any]:
        kind = {"Content-Type": "image/jpeg"}
        params = {"filename": picture.name}
        found = _answer(client.post, "/media/v3/upload", content=picture.content, headers=kind, params=params)
        info = {"mimetype": "image/jpeg", "size": len(picture.content)}
        return {"msgtype": "m.image", "body": picture.name, "url": found["content_uri"], "info": info}


def _request(call: Any, path: str, **about: Any) -> httpx.Response:  # Any: httpx's own signatures
    try:
        answer: httpx.Response = call(path, **about)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"the Matrix server does not answer ({type(error).__name__})"
        raise NotificationError(text) from error
    return answer


def _answer(call: Any, path: str, **about: Any) -> dict[str, Any]:  # Any: httpx's own signatures, JSON
    return _content(_request(call, path, **about))


def _content(answer: httpx.Response) -> dict[str, Any]:  # Any: JSON
    if not answer.is_success:
        text = f"the Matrix server refused {answer.request.url.path} with status {answer.status_code}: "
        raise NotificationError(text + answer.text[:200])
    found: dict[str, Any] = answer.json()
    return found
