"""What `cryodaq where` prints, and what it says when there is nobody to ask."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cryodaq import config
from cryodaq.cli.asking import _described
from cryodaq.cli.places import answering_system
from cryodaq.errors import LedgerError
from cryodaq.ledger.movies import Whereabouts

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def described(*, state: str | None, problem: str | None, file_problem: str | None = None) -> list[str]:
    found = Whereabouts(
        microscope="tem1",
        share="/share",
        path="session/a_00001.tif",
        version=1,
        role="movie",
        file_state="verified",
        file_problem=file_problem,
        decision="current",
        sample_id="0" * 24,
        sample_name="grid",
        experiment="20261122-CS01",
        target="/storage/a_00001.tif",
        seen_at=NOON,
        complete_at=NOON,
        copied_at=NOON,
        verified_at=NOON,
        removed_at=None,
        movie_id=1,
        movie_state=state,
        movie_problem=problem,
        triggered_at=None,
        published_at=None,
    )
    return [" ".join(line.split()) for line in _described(found, ZoneInfo("UTC")).splitlines()]


def test_a_failed_movie_is_not_said_to_wait() -> None:
    lines = described(state="failed", problem="align: frame 5 is damaged")
    assert lines[-1] == "failed align: frame 5 is damaged"


def test_a_waiting_movie_says_what_for() -> None:
    assert described(state="waiting", problem="nothing says apix")[-1] == "waits for nothing says apix"
    gain = described(state="waiting", problem="waits for a gain reference: none was found")
    assert gain[-1] == "waits for a gain reference: none was found"


def test_what_is_wrong_with_the_file_stands_beside_it() -> None:
    lines = described(state=None, problem=None, file_problem="a_00001.tif is short: it has 6 frames of 8")
    assert lines[-1] == "problem a_00001.tif is short: it has 6 frames of 8"


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facility = tmp_path / "facility.toml"
    for name in ("share", "storage"):
        (tmp_path / name).mkdir()
    facility.write_text(
        f'[site]\nname = "test"\nzone = "UTC"\n[storage]\nroot = "{tmp_path}/storage"\n'
        f'[[microscopes]]\nname = "tem1"\ninstrument = "TEM1"\nshares = [{{ root = "{tmp_path}/share" }}]\n'
        'voltage_kv = 300\ncs_mm = 2.7\namplitude_contrast = 0.1\ndetector = "K3"\n'
    )
    config.activate(facility, home=tmp_path)
    monkeypatch.setenv("CRYODAQ_DATABASE_URL", f"postgresql+psycopg://nobody@/none?host={tmp_path}/nothing")
    with pytest.raises(LedgerError, match=r"the database does not answer \(.*\); is the system running\?"):
        answering_system(tmp_path)
