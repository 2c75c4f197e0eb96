"""The facility file's tables about messages to people outside."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cryodaq.config.tables import AbsolutePath, Port, Table


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


class Notifications(Table):
    """Alarms out of the building; none while there are no channels."""

    channels: tuple[ChannelTable, ...] = Field(default=(), description="One table a channel.")
    smtp: Smtp | None = Field(default=None, description="The mail server; needed for channels of kind email.")
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
        if self.smtp is None and any(channel.kind == "email" for channel in self.channels):
            message = "a channel of kind email needs [notifications.smtp]"
            raise ValueError(message)
        return self
