"""What the system is connected to: its facility file, ledger, elogbook, directory and scheduler."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.domain.home import AIRFLOW_USER, Home
from cryodaq.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from cryodaq.config import Facility
    from cryodaq.logbook.access import TokenAccess
    from cryodaq.logbook.client import LogbookClient
    from cryodaq.logbook.desk import Desk
    from cryodaq.logbook.entry_mail import EntryMail
    from cryodaq.ports import AccessControl, Directory
    from cryodaq.scheduler.airflow import AirflowScheduler

DATABASE_VARIABLE = "CRYODAQ_DATABASE_URL"


@dataclass
class Connections:
    """The adapters to everything outside; each is built when it is first needed."""

    home: Home

    @cached_property
    def facility(self) -> Facility:
        """The facility file that passed the check last. Raises `ConfigError`."""
        from cryodaq.config import load_active

        return load_active(self.home.root)

    @property
    def database_url(self) -> str:
        """The ledger's database, from its file or the environment. Raises `ConfigError`."""
        from cryodaq.config import read_secret

        if self.facility.database.url_file is not None:
            return read_secret(self.facility.database.url_file).get_secret_value()
        named = os.environ.get(DATABASE_VARIABLE)
        if not named:
            message = f"no database is named; set {DATABASE_VARIABLE} or [database] url_file"
            raise ConfigError(message)
        return named

    @cached_property
    def engine(self) -> Engine:
        """Connections to the ledger."""
        from cryodaq.database import open_engine

        return open_engine(self.database_url)

    @property
    def elogbook_url(self) -> str:
        """Where the elogbook is."""
        return self.facility.elogbook.url or f"http://127.0.0.1:{self.facility.ports.elogbook}"

    @property
    def _token(self) -> str:
        """This program's secret at the elogbook. Raises `ConfigError`."""
        from cryodaq.config import read_secret

        return read_secret(self.facility.elogbook.token_file or self.home.elogbook_token).get_secret_value()

    @property
    def _web_token(self) -> str | None:
        """By what the embedded elogbook knows the pages' server; None where it was not made, then by nothing."""
        from cryodaq.config import read_secret

        place = self.home.web_token
        return read_secret(place).get_secret_value() if place.is_file() else None

    @cached_property
    def logbook(self) -> LogbookClient:
        """The elogbook. Raises `ConfigError` when its token cannot be read."""
        from cryodaq.logbook.client import LogbookClient
        from cryodaq.logbook.quirks import QUIRKS
        from cryodaq.logbook.transport import Credential

        credential = Credential(user=self.facility.elogbook.user, secret=self._token)
        return LogbookClient(self.elogbook_url, credential=credential, quirks=QUIRKS[self.facility.elogbook.kind])

    @cached_property
    def entry_mail(self) -> EntryMail | None:
        """What says which entries go by e-mail; None where the site's own elogbook sends them."""
        from cryodaq.logbook.entry_mail import EntryMail
        from cryodaq.logbook.transport import Credential

        if self.facility.elogbook.kind != "embedded":
            return None
        return EntryMail(self.elogbook_url, credential=Credential(user=self.facility.elogbook.user, secret=self._token))

    @cached_property
    def access_control(self) -> AccessControl:
        """Who people are and what they may see. Raises `ConfigError` when this program's token cannot be read."""
        from cryodaq.logbook.access import SessionAccess
        from cryodaq.logbook.foreign_access import ForeignAccess
        from cryodaq.logbook.transport import Credential

        table = self.facility.elogbook
        if table.kind == "embedded":
            return SessionAccess(self.elogbook_url, web_secret=self._web_token)
        return ForeignAccess(self.elogbook_url, Credential(user=table.user, secret=self._token))

    def token_access(self, token_file: Path) -> TokenAccess | None:
        """Return what an account may do, by its token; None where a foreign elogbook does not tell.

        Raises `ConfigError` when the token cannot be read.
        """
        from cryodaq.config import read_secret
        from cryodaq.logbook.access import TokenAccess
        from cryodaq.logbook.transport import Credential

        if self.facility.elogbook.kind != "embedded":
            return None
        return TokenAccess(self.elogbook_url, Credential(secret=read_secret(token_file).get_secret_value()))

    def directory(self, file: Path | None = None) -> Directory | None:
        """Return the site's directory of people, or a file of them. Raises `ConfigError` for a missing password."""
        from cryodaq.config import read_secret
        from cryodaq.directory.file import FileDirectory
        from cryodaq.directory.ldap import LdapDirectory, LdapServer

        table = self.facility.directory
        path = file or (None if table is None else table.file)
        if path is not None:
            return FileDirectory(path)
        if table is None:
            return None
        fields = table.model_dump(exclude={"password_file", "file"})
        password = read_secret(table.password_file).get_secret_value() if table.password_file else None
        server = LdapServer(**fields, password=password)
        return LdapDirectory(server, server.connect)

    @cached_property
    def desk(self) -> Desk | None:
        """Where operators' decisions go; None where the site runs its own elogbook with its own pages."""
        from cryodaq.logbook.desk import Desk

        embedded = self.facility.elogbook.kind == "embedded"
        return Desk(self.elogbook_url, web_secret=self._web_token) if embedded else None

    @cached_property
    def scheduler(self) -> AirflowScheduler:
        """Airflow."""
        from cryodaq.scheduler.airflow import AirflowScheduler

        table = self.facility.airflow
        return AirflowScheduler(
            table.url or f"http://127.0.0.1:{self.facility.ports.airflow}",
            user=table.user if table.url else AIRFLOW_USER,
            password_file=table.password_file or self.home.airflow_password(AIRFLOW_USER),
        )
