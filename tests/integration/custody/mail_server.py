"""A small SMTP server on a loopback port that keeps what it is given; it speaks AUTH PLAIN where asked to."""

from __future__ import annotations

import base64
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class Mailbox:
    """What the server was given."""

    port: int = 0
    user: str | None = None
    password: str = ""
    refuses: bool = False
    unknown: str = ""
    """An address that it knows not to exist."""
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self._said, self._to = self.server.mailbox, []  # type: ignore[attr-defined]  # set by `mail_server`
        self._logged_in = self._said.user is None
        self._answer("220 mail.example")
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            answer = getattr(self, f"_{word.lower()}", self._unknown)(rest)
            if answer is None:
                return
            self._answer(answer)

    def _answer(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def _unknown(self, _: str) -> str:
        return "500 what?"

    def _ehlo(self, _: str) -> str:
        return "250-mail.example\r\n250 AUTH PLAIN" if self._said.user else "250 mail.example"

    def _auth(self, rest: str) -> str:
        _, user, password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
        self._logged_in = (user, password) == (self._said.user, self._said.password)
        return "235 welcome" if self._logged_in else "535 no"

    def _mail(self, _: str) -> str:
        return "250 ok" if self._logged_in else "530 who are you?"

    def _rcpt(self, rest: str) -> str:
        address = rest.partition("<")[2].partition(">")[0]
        if address == self._said.unknown:
            return "550 no such mailbox"
        self._to.append(address)
        return "451 later" if self._said.refuses else "250 ok"

    def _data(self, _: str) -> str:
        self._answer("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        self._said.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))
        self._said.recipients.append(self._to)
        return "250 taken"

    def _rset(self, _: str) -> str:
        self._to = []
        return "250 ok"

    def _quit(self, _: str) -> None:
        self._answer("221 bye")


@contextmanager
def mail_server(**about: str) -> Iterator[Mailbox]:
    """Run a server while the block runs."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Conversation) as server:
        mailbox = Mailbox(port=server.server_address[1], **about)  # type: ignore[arg-type]  # user and password
        server.mailbox = mailbox  # type: ignore[attr-defined]  # handed to the conversations
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield mailbox
        server.shutdown()
        thread.join(5)
