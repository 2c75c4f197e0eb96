"""A movie that is short for good is copied once a person says so, and only as it was then."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from tests.integration.transfer.conftest import Stage, movie_bytes, running, until

from cryodaq.app.accept_movie import accept_movie, find_held
from cryodaq.errors import LedgerError

NAME = "session/grid_00001.tif"


def word(stage: Stage, reason: str = "the beam was lost") -> int:
    held = find_held(stage.engine, "grid_00001.tif")
    return accept_movie(stage.engine, held, reason=reason, by="operator", at=datetime.now(UTC))


def test_a_short_movie_is_copied_once_a_person_accepts_it(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write(NAME, movie_bytes(3))
        until(lambda: stage.states().get(f"{NAME}@1") == "held", "not held")
        with pytest.raises(LedgerError, match="say why"):
            word(stage, reason=" ")
        assert word(stage) == 3
        until(lambda: len(stage.movies("grid")) == 1, "not copied")
        stage.write("session/grid_00002.tif", movie_bytes(3))  # the word was for the other one
        until(lambda: stage.states().get("session/grid_00002.tif@1") == "held", "not held")
    assert (stage.raw("grid") / NAME).read_bytes() == movie_bytes(3)
    with pytest.raises(LedgerError, match="no movie called"):
        find_held(stage.engine, "grid_00001.tif")
    with stage.engine.connect() as connection:
        facts = connection.execute(sa.text("select facts from ledger.event where kind = 'short_movie_accepted'"))
        assert facts.scalar_one() == {"path": NAME, "frames": 3, "reason": "the beam was lost", "by": "operator"}


def test_a_torn_movie_cannot_be_accepted(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write(NAME, movie_bytes()[:-100])
        until(lambda: stage.states().get(f"{NAME}@1") == "held", "not held")
    with pytest.raises(LedgerError, match="nobody could read it"):
        word(stage)
