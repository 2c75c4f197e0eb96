"""The facility file's tables about the elogbook, and about who people are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, IPvAnyNetwork, model_validator

from cryodaq.config.tables import AbsolutePath, Table


class Elogbook(Table):
    """The electronic logbook that is followed."""

    kind: Literal["embedded", "explgbk"] = Field(default="embedded", description="Ours, or one that the site runs.")
    dialect: Literal["cryodaq", "explgbk"] = Field(
        default="cryodaq",
        description="Of the embedded one: ours, or an explgbk's own ways for clients that rely on them.",
    )
    url: str | None = Field(default=None, description="Where /lgbk begins; not needed for the embedded one.")
    user: str = Field(default="cryodaq", description="Account of this program.")
    token_file: AbsolutePath | None = Field(default=None, description="File with its token or password.")
    poll_s: float = Field(default=1.0, gt=0, le=5, description="Seconds between two questions about what is current.")
    alarms: bool = Field(default=True, description="Whether alarms become entries of the experiment's log.")

    @model_validator(mode="after")
    def _foreign_needs_url(self) -> Elogbook:
        if self.kind == "explgbk" and not self.url:
            message = "an explgbk needs its url"
            raise ValueError(message)
        return self


class SignOn(Table):
    """The site's single sign-on, where a proxy before the pages says who asks."""

    header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$",
        description="Header in which the proxy names the user, such as X-Forwarded-User; the proxy must overwrite it.",
    )
    proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(), description="Addresses or networks of the proxy; from anywhere else the header does not count."
    )

    @model_validator(mode="after")
    def _header_needs_proxies(self) -> SignOn:
        if (self.header is None) != (not self.proxies):
            message = "header and proxies belong together"
            raise ValueError(message)
        return self
