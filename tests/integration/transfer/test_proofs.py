"""Manifests, reading everything again, and certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.integration.transfer.conftest import EXPERIMENT, Stage, movie_bytes, running, until

from cryodaq.app.prove_copies import certify, verify_sample, write_manifests
from cryodaq.errors import LedgerError
from cryodaq.ledger.custody import samples_called
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.copy import hash_of


def utc_now() -> datetime:
    return datetime.now(UTC)


def sample(stage: Stage, name: str) -> SampleRecord:
    with stage.engine.connect() as connection:
        (found,) = samples_called(connection, EXPERIMENT, name)
    return found


@pytest.fixture
def drained(stage: Stage) -> Stage:
    """A sample with two verified files and a short movie, and another one that is current."""
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("one/grid_00001.tif", movie_bytes())
        stage.write("one/grid_00001.jpg", b"\xff\xd8\xff\xd9")
        stage.write("one/grid_00002.tif", movie_bytes(2))
        until(lambda: sorted(stage.states().values()) == ["held", "verified", "verified"], "not verified")
        stage.make_current("next")
        stage.polled()
        stage.polled()
    return stage


def test_a_drained_sample_gets_a_manifest_of_what_is_verified(drained: Stage) -> None:
    folder = Path(drained.layout("grid").root)
    assert write_manifests(drained.engine, "tem1") == [folder / "manifest.xxh128"]
    lines = (folder / "manifest.xxh128").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["raw/one/grid_00001.jpg", "raw/one/grid_00001.tif"]
    for line in lines:
        digest, path = line.split("  ")
        assert hash_of(folder / path) == digest
    assert write_manifests(drained.engine, "tem1") == []


def test_reading_again_finds_what_was_damaged_and_takes_its_proof_away(drained: Stage) -> None:
    found = verify_sample(drained.engine, sample(drained, "grid"), now=utc_now)
    assert [finding.outcome for finding in found] == ["equal", "equal"]
    copy = drained.raw("grid") / "one/grid_00001.tif"
    with copy.open("r+b") as handle:
        handle.write(b"!!")
    (drained.raw("grid") / "one/grid_00001.jpg").unlink()
    found = verify_sample(drained.engine, sample(drained, "grid"), now=utc_now)
    assert [(finding.file.path, finding.outcome) for finding in found] == [
        ("one/grid_00001.jpg", "unreadable"),
        ("one/grid_00001.tif", "damaged"),
    ]
    assert drained.states()["one/grid_00001.tif@1"] == "copied"
    with running(drained.transfer()):
        until(lambda: drained.states()["one/grid_00001.tif@1"] == "verified", "not copied again")
    assert copy.read_bytes() == movie_bytes()


def test_a_certificate_says_what_may_go_and_why_the_rest_may_not(drained: Stage) -> None:
    made = certify(drained.engine, sample(drained, "grid"), now=utc_now)
    assert [one.path for one in made.safe] == ["one/grid_00001.jpg", "one/grid_00001.tif"]
    ((stays, why),) = made.unsafe
    assert stays.path == "one/grid_00002.tif"
    assert why.startswith("a person must look at it: grid_00002.tif is short: it has 2 frames where 4 are expected")
    assert made.gone == ()


def test_a_sample_that_never_was_is_said(drained: Stage) -> None:
    with drained.engine.connect() as connection, pytest.raises(LedgerError, match="no sample nothing of"):
        samples_called(connection, EXPERIMENT, "nothing")
