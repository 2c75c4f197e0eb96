"""The facility file's tables about messages to people outside."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cryodaq.config.tables import AbsolutePath, Port, Table

RESERVED = ("elogbook", "collaborators", "log-mail")


class Smtp(Table):
    """The site's mail server."""

    host: str = Field(min_length=1, description="Its name.")
    port: Port = Field(default=587, description="Usual: 587 for starttls, 465 for tls, 25 for none.")
    encryption: Literal["none", "starttls", "tls"] = Field(default="starttls", description="How the way is protected.")
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", description="Address that messages come from.")
    user: str | None = Field(default=None, description="Account there, where it asks for one.")
    password_file: AbsolutePath | None = Field(default=None, description="File with the account's password.")


class ChannelTable(Table):
    """One way to reach some people."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$", description="Named by `on_call` of the microscopes.")
    kind: Literal["email", "webhook", "slack", "teams", "matrix"] = Field(
        description="E-mail, a plain JSON object to an address, or the form of a chat."
    )
    to: tuple[Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")], ...] = Field(
        default=(), description="For email: the addresses."
    )
    url_file: AbsolutePath | None = Field(
        default=None, description="For webhook, slack and teams: file with the address, which is a secret."
    )
    homeserver: str | None = Field(default=None, pattern=r"^https?://", description="For matrix: its address.")
    room: str | None = Field(default=None, pattern=r"^[!#]", description="For matrix: the room's id.")
    token_file: AbsolutePath | None = Field(default=None, description="For matrix: file with an access token.")
    least_severity: Literal["notice", "warning", "error"] = Field(
        default="warning", description="What is less severe is not told."
    )
    says_alive: bool = Field(default=True, description="Whether the daily word comes here, too.")

    @model_validator(mode="after")
    def _complete(self) -> ChannelTable:
        needed = {"email": ("to",), "matrix": ("homeserver", "room", "token_file")}.get(self.kind, ("url_file",))
        missing = [field for field in needed if not getattr(self, field)]
        if missing:
            message = f"channel {self.name}: {self.kind} needs {', '.join(missing)}"
            raise ValueError(message)
        return self


class CollaboratorsTable(Table):
    """How collaborators hear of their experiments; what they may see, the elogbook says."""

    kind: Literal["email", "matrix"] = Field(
        description="An e-mail to each, or a private room for each experiment to which they are invited."
    )
    address: str = Field(
        description="Somebody's address, with {uid} for the user name: {uid}@example.org, or @{uid}:example.org."
    )
    every_h: float = Field(default=4.0, ge=0.25, le=168, description="At most so often while movies come, h.")
    homeserver: str | None = Field(default=None, pattern=r"^https?://", description="For matrix: its address.")
    token_file: AbsolutePath | None = Field(default=None, description="For matrix: file with an access token.")

    @model_validator(mode="after")
    def _complete(self) -> CollaboratorsTable:
        if "{uid}" not in self.address:
            message = "the collaborators' address needs {uid} where the user name goes, such as {uid}@example.org"
            raise ValueError(message)
        if self.kind == "matrix" and (self.homeserver is None or self.token_file is None):
            message = "collaborators by matrix need homeserver and token_file"
            raise ValueError(message)
        return self


class LogEntriesTable(Table):
    """Entries of an experiment's log by e-mail, to who asks for them there; an explgbk sends its own."""

    address: str = Field(
        pattern=r"^[^@\s,]+@[^@\s,]+$",
        description="Somebody's address, with {uid} for the user name: {uid}@example.org.",
    )
    domains: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")], ...] = Field(
        default=(),
        description="Addresses that an entry itself names get it if they are in one of these; default: none.",
    )

    @model_validator(mode="after")
    def _complete(self) -> LogEntriesTable:
        if "{uid}" not in self.address:
            message = "the address needs {uid} where the user name goes, such as {uid}@example.org"
            raise ValueError(message)
        return self


class Notifications(Table):
    """Alarms out of the building; none while there are no channels."""

    channels: tuple[ChannelTable, ...] = Field(default=(), description="One table a channel.")
    smtp: Smtp | None = Field(default=None, description="The mail server; needed for channels of kind email.")
    collaborators: CollaboratorsTable | None = Field(
        default=None, description="Digests with a picture, to the collaborators of each experiment; default: none."
    )
    log_entries: LogEntriesTable | None = Field(
        default=None, description="Entries of experiments' logs, to who asks for them; default: none are sent."
    )
    hold_s: float = Field(
        default=60.0, ge=0, le=3600, description="An alarm is told when it stood, or was gone, for so long, s."
    )
    alive_at: time | None = Field(
        default=None, description="When the daily word comes that somebody watches, such as 08:00:00, the site's time."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Notifications:
        names = [channel.name for channel in self.channels]
        if len(set(names)) < len(names):
            message = "two channels have the same name"
            raise ValueError(message)
        if any(channel.name in RESERVED for channel in self.channels):
            message = f"{' and '.join(RESERVED)} are no names for channels; cryodaq has its own of these names"
            raise ValueError(message)
        kinds = {channel.kind for channel in self.channels}
        kinds |= {self.collaborators.kind} if self.collaborators is not None else set()
        if self.smtp is None and "email" in kinds:
            message = "a channel of kind email needs [notifications.smtp]"
            raise ValueError(message)
        if self.smtp is None and self.log_entries is not None:
            message = "entries by e-mail need [notifications.smtp]"
            raise ValueError(message)
        return self
