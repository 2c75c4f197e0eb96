"""A lost ledger comes back from the storage: nothing is copied or processed twice, nothing is verified unread."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import sqlalchemy as sa
from tests.integration.transfer.conftest import Stage, movie_bytes, running, until

from cryodaq.app.prove_copies import write_sample_manifest
from cryodaq.app.rebuild_ledger import Rebuilding, rebuild_ledger
from cryodaq.ledger.samples import find_sample


def rebuild(stage: Stage) -> Rebuilding:
    return Rebuilding(
        engine=stage.engine,
        microscopes=[stage.microscope],
        storage_root=PurePosixPath(stage.storage),
        now=lambda: datetime.now(UTC),
    )


def all_verified(stage: Stage) -> bool:
    states = stage.states()
    return len(states) >= 4 and set(states.values()) == {"verified"}


def copied_and_lost(stage: Stage) -> tuple[str, dict[str, str]]:
    """Have a session copied and verified, lose the ledger; return the sample and what was known."""
    sample_id = stage.make_current("grid")
    (stage.raw("grid").parents[1] / "grid").symlink_to(sample_id)
    with running(stage.transfer()):
        stage.write("night/grid_00001.tif", movie_bytes(seed=1))
        stage.write("night/grid_00002.tif", movie_bytes(seed=2))
        stage.write("night/grid_00002.jpg", b"\xff\xd8picture\xff\xd9")
        until(lambda: len(stage.movies("grid")) == 2, "no movies")
        stage.write("night/grid_00001.tif", movie_bytes(seed=3))
        until(lambda: "grid_00001@2" in stage.movies("grid"), "no second version")
        until(lambda: all_verified(stage), f"not verified: {stage.states()}")
    with stage.engine.connect() as connection:
        owner = find_sample(connection, sample_id)
    assert owner is not None
    write_sample_manifest(stage.engine, owner)
    before = stage.states()
    with stage.engine.begin() as connection:
        connection.execute(sa.text("truncate ledger.sample, ledger.experiment, ledger.exposure, ledger.file cascade"))
    return sample_id, before


def test_a_lost_ledger_comes_back_from_copies_and_manifests(stage: Stage) -> None:
    sample_id, before = copied_and_lost(stage)

    done = rebuild_ledger(rebuild(stage))

    assert (done.samples, done.files, done.movies, done.hashed, done.left_out) == (1, 4, 3, 0, ())
    assert stage.states() == dict.fromkeys(before, "copied")
    again = rebuild_ledger(rebuild(stage))
    assert (again.files, again.hashed) == (0, 0), "what is known stays, and is not read"
    with stage.engine.connect() as connection:
        restored = find_sample(connection, sample_id)
    assert restored is not None
    assert restored.name == "grid"
    manifest = Path(stage.layout("grid").manifest)
    listed = manifest.read_text()
    write_sample_manifest(stage.engine, restored)
    assert manifest.read_text() == listed, "what is to be proved again is listed nowhere else"
    with running(stage.transfer()) as window:
        until(lambda: all_verified(stage), f"not read again: {stage.states()}")
        stage.wait_for_scans()
        summary = window.end()
    assert summary.copied == 0
    assert {movie.state for movie in stage.movies("grid").values()} == {"kept"}
    assert sorted(stage.movies("grid")) == ["grid_00001@1", "grid_00001@2", "grid_00002@1"]


def test_a_copy_that_no_manifest_lists_is_read_and_a_strange_folder_is_named(stage: Stage) -> None:
    sample_id = stage.make_current("grid")
    (stage.raw("grid") / "a.tif").write_bytes(movie_bytes())
    strange = Path(stage.layout("grid").root).parent.with_name("20260101-CS02_OTHER")
    (strange / sample_id / "raw").mkdir(parents=True)
    done = rebuild_ledger(rebuild(stage))
    assert (done.files, done.hashed) == (1, 1)
    assert len(done.left_out) == 1
    assert "OTHER" in done.left_out[0]
    assert stage.states() == {"a.tif@1": "copied"}
