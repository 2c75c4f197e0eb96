"""What is looked for is said as ranges; what is none is refused before anything is asked."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryodaq.cli.commands import app


@pytest.mark.parametrize("given", ["5", "a:b", "1:two", ""])
def test_a_range_that_is_none_is_refused(given: str) -> None:
    done = CliRunner().invoke(app, ["movies", "20261122-CS01", "--stage-x-um", given])
    assert done.exit_code == 2
    assert "FROM:TO" in done.output
