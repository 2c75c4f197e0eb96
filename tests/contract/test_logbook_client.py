"""The client against the embedded elogbook: real HTTP, real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cryodaq.elogbook.settings import ElogbookSettings
from cryodaq.errors import LogbookAccessError
from cryodaq.logbook.client import LogbookClient
from cryodaq.logbook.transport import Credential
from cryodaq.testing.elogbook import PROGRAM, EmbeddedStage, running_elogbook
from cryodaq.testing.logbook_contract import LogbookContract, prepared

__all__ = ["TestClientOfEmbeddedElogbook", "prepared"]


class TestClientOfEmbeddedElogbook(LogbookContract):
    @pytest.fixture
    def stage(self, database_url: str) -> Iterator[EmbeddedStage]:
        with ExitStack() as server:
            base = server.enter_context(running_elogbook(ElogbookSettings(database_url=database_url)))
            stage = EmbeddedStage(base, database_url=database_url, stop=server.close)
            yield stage
            stage.close()

    @pytest.fixture
    def logbook(self, stage: EmbeddedStage) -> Iterator[LogbookClient]:
        with LogbookClient(stage.base, credential=Credential(secret=PROGRAM)) as client:
            yield client

    def test_a_token_is_also_a_basic_password_and_a_prefix_is_kept(self, stage: EmbeddedStage) -> None:
        stage.add_instrument("TEM1")
        credential = Credential(secret=PROGRAM, user=PROGRAM)
        with LogbookClient(f"{stage.base}/cryoem-data/", credential=credential) as client:
            assert [instrument.id for instrument in client.instruments()] == ["TEM1"]

    def test_a_token_is_not_another_users_password(self, stage: EmbeddedStage) -> None:
        credential = Credential(secret=PROGRAM, user="operator")
        with LogbookClient(stage.base, credential=credential) as client, pytest.raises(LogbookAccessError):
            client.instruments()
