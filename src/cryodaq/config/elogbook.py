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
    alarms: bool = Field(default=True, description="Whether alarms and failures become entries of a log.")

    @model_validator(mode="after")
    def _foreign_needs_url(self) -> Elogbook:
        if self.kind == "explgbk" and not self.url:
            message = "an explgbk needs its url"
            raise ValueError(message)
        return self


class SignOn(Table):
    """The proxy before the pages, where the site has one, and how it says who asks."""

    header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$",
        description="Header in which the proxy names the user, such as X-Forwarded-User; the proxy must overwrite it.",
    )
    proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description="Addresses or networks of the proxy: from there alone the header and X-Forwarded-* count.",
    )

    @model_validator(mode="after")
    def _header_needs_proxies(self) -> SignOn:
        if self.header is not None and not self.proxies:
            message = "a header counts from proxies only; name them"
            raise ValueError(message)
        return self


class DirectoryTable(Table):
    """The site's directory of people and groups, from which `cryodaq user import` reads."""

    url: str | None = Field(
        default=None, pattern=r"^ldaps?://[^\s/]+$", description="LDAP server; ldap:// is protected by StartTLS."
    )
    people_base: str = Field(default="", description="Where people are, such as ou=People,dc=example,dc=org.")
    groups_base: str = Field(default="", description="Where POSIX groups are.")
    people_filter: str = Field(default="(uidNumber=*)", pattern=r"^\(.*\)$", description="Which people.")
    groups_filter: str = Field(default="(gidNumber=*)", pattern=r"^\(.*\)$", description="Which groups.")
    user: str | None = Field(default=None, description="Distinguished name to bind as; none: anonymous.")
    password_file: AbsolutePath | None = Field(default=None, description="File with its password.")
    file: AbsolutePath | None = Field(default=None, description="JSON file in place of a server.")

    @model_validator(mode="after")
    def _one_source(self) -> DirectoryTable:
        if (self.url is None) == (self.file is None):
            message = "a directory has a url or a file"
            raise ValueError(message)
        if self.url is not None and not (self.people_base and self.groups_base):
            message = "an LDAP directory needs people_base and groups_base"
            raise ValueError(message)
        return self
