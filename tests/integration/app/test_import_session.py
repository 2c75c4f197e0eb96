"""A finished session comes from disk as if it had just been collected."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import tifffile
from sqlalchemy import select
from tests.integration.app.conftest import EXPERIMENT, PARAMS, Bench

from cryodaq.app.account_for_images import account_for_images
from cryodaq.app.follow_logbook import Following
from cryodaq.app.import_session import SessionImport, import_session
from cryodaq.app.trigger_preprocessing import admit_movies
from cryodaq.errors import ConfigError, LogbookError
from cryodaq.ledger import samples, tables
from cryodaq.ledger.custody import Backlog

STEM = "FoilHole_1_Data_2_3_20251122_1200"
DATA = "Images-Disc1/GridSquare_1/Data"


@pytest.fixture
def session(tmp_path: Path, shared_data: Path) -> Path:
    """Two exposures of EPU with their metadata."""
    folder = tmp_path / "disk/Supervisor_1"
    (folder / DATA).mkdir(parents=True)
    xml = next((shared_data / "epu/session_epu3.9.1_k3").rglob("FoilHole_*_Data_*.xml")).read_bytes()
    frames = np.random.default_rng(1).poisson(1.0, (6, 32, 48)).astype(np.uint8)
    for number in (1, 2):
        tifffile.imwrite(folder / DATA / f"{STEM}{number:02d}_fractions.tiff", frames, photometric="minisblack")
        (folder / DATA / f"{STEM}{number:02d}.xml").write_bytes(xml.replace(b">50<", b">6<"))
    (folder / "EpuSession.dm").write_text("<EpuSessionXml/>")
    return folder


def parts(bench: Bench) -> SessionImport:
    """What importing needs, around the bench's elogbook."""

    def now() -> datetime:
        return datetime.now(UTC)

    bench.logbook.add_instrument("TEM1")
    bench.logbook.add_experiment(EXPERIMENT, instrument="TEM1")
    bench.logbook.add_sample(EXPERIMENT, "grid1", params=PARAMS)
    following = Following(
        engine=bench.engine,
        logbook=bench.logbook,
        microscope=bench.microscope,
        experiment_pattern=r"^\d{8}-C\w{3,4}$",
        storage_root=PurePosixPath(bench.storage),
        now=now,
    )
    return SessionImport(
        engine=bench.engine,
        logbook=bench.logbook,
        following=following,
        preparation=bench.preparation,
        now=now,
        scan_pause_s=0.2,
    )


def bring(given: SessionImport, session: Path, *, sample: str = "grid1", experiment: str = EXPERIMENT) -> Backlog:
    _, left = import_session(
        given, session, experiment=experiment, sample=sample, stop=lambda: False, show=lambda _: None
    )
    return left


@pytest.mark.timeout(180)
def test_movies_of_a_finished_session_go_the_usual_way(bench: Bench, session: Path) -> None:
    bench.without_gain()
    given = parts(bench)
    left = bring(given, session)
    assert (left.files, left.verified, left.waiting, left.held) == (5, 5, 0, 0)
    with bench.engine.connect() as connection:
        rows = connection.execute(select(tables.movie).order_by(tables.movie.c.run_name)).all()
        sample = samples.find_sample(connection, rows[0].sample_id)
    assert sample is not None
    assert [row.run_name for row in rows] == [f"{STEM}01", f"{STEM}02"]
    assert (sample.microscope, sample.experiment, sample.name) == ("tem1", EXPERIMENT, "grid1")
    copy = Path(sample.folder) / "raw" / DATA / f"{STEM}01_fractions.tiff"
    assert copy.read_bytes() == (session / DATA / copy.name).read_bytes()
    assert admit_movies(bench.admission) == 2
    with bench.engine.connect() as connection:
        assert set(connection.execute(select(tables.movie.c.state)).scalars()) == {"queued"}
    account = account_for_images(bench.engine, sample)
    assert (account.exposures, account.in_metadata, account.copied) == (2, 2, 2)
    elsewhere = session.parent / "Supervisor_2"
    session.rename(elsewhere)
    with pytest.raises(ConfigError, match="2 movies of these names from elsewhere"):
        bring(given, elsewhere)


def test_a_sample_that_the_elogbook_lacks_and_a_session_in_the_storage_are_refused(bench: Bench, session: Path) -> None:
    given = parts(bench)
    with pytest.raises(LogbookError, match="no samples 'grid2'"):
        bring(given, session, sample="grid2")
    with pytest.raises(ConfigError, match="is not a folder"):
        bring(given, session / "nothing")
    inside = bench.storage / "session"
    inside.mkdir(parents=True)
    with pytest.raises(ConfigError, match="lies in the storage"):
        bring(given, inside)
