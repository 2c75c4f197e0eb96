"""The first day at a microscope in use: watched only, what was there is left alone, equal copies of others count."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.integration.transfer.conftest import EXPERIMENT, Stage, movie_bytes, running, until

from cryodaq.app.adopt_share import Adopting, adopt_share, believe_copies
from cryodaq.app.prove_copies import write_sample_manifest
from cryodaq.app.transfer_movies import Transfer
from cryodaq.errors import LedgerError
from cryodaq.ledger import custody
from cryodaq.ledger.baselines import Intended, baseline_folders, intended


def utc_now() -> datetime:
    return datetime.now(UTC)


def in_shadow(stage: Stage) -> Transfer:
    following = stage.transfer().following
    return stage.transfer(following=replace(following, microscope=replace(stage.microscope, shadow=True)))


def adopting(stage: Stage, *, shadow: bool = True) -> Adopting:
    return Adopting(engine=stage.engine, microscope=replace(stage.microscope, shadow=shadow), now=utc_now)


def would(stage: Stage) -> list[Intended]:
    with stage.engine.connect() as connection:
        return intended(connection, "tem1")


def write_manifests_of(stage: Stage) -> list[str]:
    with stage.engine.begin() as connection:
        (owner,) = custody.samples_called(connection, EXPERIMENT)
    path = write_sample_manifest(stage.engine, owner)
    return [path.read_text()] if path else []


def old_session(stage: Stage) -> None:
    for n in (1, 2):
        stage.write(f"Old/grid_0000{n}.tif", movie_bytes(seed=n))


def test_in_shadow_mode_nothing_is_copied_and_it_is_said_what_would_be(stage: Stage) -> None:
    stage.make_current("grid", prepared=False)
    with running(in_shadow(stage)):
        stage.wait_for_scans()
        stage.write("New/grid_00001.tif", movie_bytes())
        stage.write("New/grid_00002.tif", movie_bytes(3))
        until(lambda: sorted(stage.states().values()) == ["complete", "held"], "not judged")
        stage.wait_for_scans(2)
    (one,) = would(stage)
    assert (one.sample_name, one.files, one.movies, one.held) == ("grid", 1, 1, 1)
    assert one.folder == str(stage.layout("grid").root)
    assert list(stage.storage.rglob("*.tif")) == []


def test_what_was_there_before_is_listed_and_never_copied(stage: Stage) -> None:
    old_session(stage)
    stage.make_current("grid")
    with pytest.raises(LedgerError, match="not scanned"):
        adopt_share(adopting(stage))
    with running(in_shadow(stage)):
        stage.wait_for_scans()
        until(lambda: len(stage.states()) == 2, "not seen")
    with pytest.raises(LedgerError, match="shadow"):
        adopt_share(adopting(stage, shadow=False))
    (folder,) = adopt_share(adopting(stage))
    assert (folder.folder, folder.files, folder.movies) == ("Old", 2, 2)
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("New/grid_00003.tif", movie_bytes(seed=3))
        until(lambda: len(stage.movies("grid")) == 1, "new movies are not copied")
        stage.write("Old/grid_00002.tif", movie_bytes(seed=9))  # it changes after all: a person must say whose it is
        until((stage.quarantine / "Old/grid_00002.tif").exists, "not in quarantine")
    assert stage.states()["Old/grid_00001.tif@1"] == "baseline"
    assert stage.decisions()["Old/grid_00002"] == "quarantine"
    assert set(stage.movies("grid")) == {"grid_00003@1"}


def test_another_systems_equal_copies_count_as_verified(stage: Stage, tmp_path: Path) -> None:
    old_session(stage)
    sample_id = stage.make_current("grid")
    with running(in_shadow(stage)):
        stage.wait_for_scans()
        until(lambda: len(stage.states()) == 2, "not seen")
    adopt_share(adopting(stage))
    copies = tmp_path / "other-system" / "grid-of-then"
    copies.mkdir(parents=True)
    (copies / "grid_00001.tif").write_bytes(movie_bytes(seed=1))
    (copies / "grid_00002.tif").write_bytes(movie_bytes(seed=1)[: len(movie_bytes(seed=2))])
    assert believe_copies(adopting(stage), copies).missing == 2, "its path is another one without the folder"
    found = believe_copies(adopting(stage), copies, folder="Old", sample_id=sample_id)
    assert (found.equal, found.missing) == (1, 0)
    assert found.different == ("Old/grid_00002.tif",)
    query = sa.text("select state, target, verified_at is not null from ledger.file where path = 'Old/grid_00001.tif'")
    with stage.engine.connect() as connection:
        row = connection.execute(query).one()
        (folder,) = baseline_folders(connection, "tem1")
    assert tuple(row) == ("verified", str(copies / "grid_00001.tif"), True)
    assert (folder.files, folder.with_copy) == (2, 1)
    assert stage.movies("grid") == {}, "another system processed them"
    (manifest,) = write_manifests_of(stage)
    assert str(copies / "grid_00001.tif") in manifest
