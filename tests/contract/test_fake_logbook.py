"""The logbook in memory keeps the contract that the real ones keep."""

from __future__ import annotations

import pytest

from cryodaq.testing.fake_logbook import FakeLogbook
from cryodaq.testing.logbook_contract import LogbookContract, prepared

__all__ = ["TestFakeLogbook", "prepared"]


class TestFakeLogbook(LogbookContract):
    @pytest.fixture
    def logbook(self) -> FakeLogbook:
        return FakeLogbook()

    @pytest.fixture
    def stage(self, logbook: FakeLogbook) -> FakeLogbook:
        return logbook
