"""What leaves a microscope's share: within its water marks, whole sessions after their days, nobody's by name only."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest
import sqlalchemy as sa
from tests.integration.custody.conftest import GRID1, Custody, InThreadWorker

from cryodaq.app.clear_microscope import Clearing, clear_microscope, preview_clearing
from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.ledger import shares
from cryodaq.ledger.shares import ScanRecord


@pytest.fixture
def share(custody: Custody, tmp_path: Path) -> Path:
    """Three movies with small files, all verified an hour ago, on a share."""
    root = tmp_path / "share"
    (root / "session" / "Data").mkdir(parents=True)
    (root / ".online").touch()
    sample = custody.add_sample(GRID1, "grid1")
    for run in ("m1", "m2", "m3"):
        custody.seeder.add_file(sample, run)
        custody.seeder.add_file(sample, run, role="metadata")
    custody.write_copies(sample)
    with custody.engine.begin() as connection:
        for row in connection.execute(sa.text("select id, path, target from ledger.file")).all():
            source = root / row.path
            source.write_bytes(Path(row.target).read_bytes())
            found = source.stat()
            connection.execute(
                sa.text("update ledger.file set share = :s, mtime_ns = :m, inode = :i, size_bytes = :n where id = :id"),
                {"s": str(root), "m": found.st_mtime_ns, "i": found.st_ino, "n": found.st_size, "id": row.id},
            )
        connection.execute(sa.text("update ledger.exposure set share = :s"), {"s": str(root)})
    custody.now += timedelta(hours=1)
    return root


def clearing(custody: Custody, share: Path, **rule: object) -> Clearing:
    given = {"enabled": True, "older_than_h": 0.5, "larger_than_mb": 0.0, "patterns": ("*.tiff",), **rule}
    microscope = Microscope(
        name="tem1",
        instrument="TEM1",
        station=0,
        shares=(Share(root=PurePosixPath(share)),),
        gain_root=None,
        detector="",
        defaults=InstrumentDefaults(voltage_kv=300, cs_mm=2.7, amplitude_contrast=0.1),
        retention=RetentionRule(**given),  # type: ignore[arg-type]  # test helper
        queue="tem1",
    )
    return Clearing(
        engine=custody.engine,
        microscope=microscope,
        storage_root=PurePosixPath(custody.storage),
        now=custody.clock,
        open_worker=InThreadWorker,
    )


def fill(custody: Custody, share: Path, *, free_bytes: int, total_bytes: int = 100) -> None:
    now = custody.now
    with custody.engine.begin() as connection:
        scan = ScanRecord(
            began_at=now,
            ended_at=now,
            scan_s=0.1,
            file_count=6,
            free_bytes=free_bytes,
            total_bytes=total_bytes,
            mount="m",
            unrecognised_images=0,
        )
        shares.record_scan(connection, "tem1", str(share), scan=scan)


def left(share: Path) -> list[str]:
    return sorted(
        str(path.relative_to(share)) for path in share.rglob("*") if path.is_file() and path.name != ".online"
    )


def test_removal_begins_when_the_share_is_full_and_ends_at_the_lower_mark(custody: Custody, share: Path) -> None:
    size = (share / "session/m1.tiff").stat().st_size
    rule = {"begin_above": 0.8, "until_below": 0.5}
    total = 10 * size
    fill(custody, share, free_bytes=3 * size, total_bytes=total)
    assert clear_microscope(clearing(custody, share, **rule)).removed == ()
    fill(custody, share, free_bytes=2 * size, total_bytes=total)
    work = clearing(custody, share, **rule)
    assert len(preview_clearing(work).removed) == 3
    fill(custody, share, free_bytes=4 * size, total_bytes=total)
    assert clear_microscope(work).removed == (), "it had not begun"
    fill(custody, share, free_bytes=2 * size, total_bytes=total)
    stopping = iter([False, True])
    assert len(clear_microscope(work, stop=lambda: next(stopping)).removed) == 1
    (notice,) = (row["text"] for row in custody.rows("alarm") if row["cleared_at"] is None)
    assert notice.startswith("TEM1: verified movies go")
    fill(custody, share, free_bytes=4 * size, total_bytes=total)  # between the marks, and it goes on
    assert len(clear_microscope(work).removed) == 1
    assert all(row["cleared_at"] for row in custody.rows("alarm"))
    fill(custody, share, free_bytes=5 * size, total_bytes=total)
    assert clear_microscope(work).removed == ()


def test_a_session_goes_whole_after_its_days_with_its_folders(custody: Custody, share: Path) -> None:
    (share / "session" / "note.txt").write_text("not known to the ledger")
    work = clearing(custody, share, session_after_days=7)
    assert len(clear_microscope(work).removed) == 3
    assert [path for path in left(share) if path.endswith(".metadata")] == [f"session/m{n}.metadata" for n in (1, 2, 3)]
    custody.now += timedelta(days=7)
    assert len(clear_microscope(work).removed) == 3
    assert left(share) == ["session/note.txt"], "what nobody copied stays, and its folder"
    assert not (share / "session" / "Data").exists()


def test_a_session_with_one_file_that_is_not_proved_stays(custody: Custody, share: Path) -> None:
    with custody.engine.begin() as connection:
        connection.execute(sa.text("update ledger.file set state = 'held' where path like '%m3.metadata'"))
    custody.now += timedelta(days=30)
    assert len(clear_microscope(clearing(custody, share, session_after_days=7)).removed) == 3
    assert len(left(share)) == 3


def test_what_nobody_owns_goes_by_its_folders_name_only(custody: Custody, share: Path) -> None:
    with custody.engine.begin() as connection:
        connection.execute(sa.text("update ledger.exposure set sample_id = null, decision = 'quarantine'"))
    work = clearing(custody, share)
    assert clear_microscope(work).removed == ()
    assert preview_clearing(work, unowned_folder="other").removed == ()
    assert len(preview_clearing(work, unowned_folder="session").removed) == 3
    assert len(clear_microscope(work, unowned_folder="session").removed) == 3


def test_the_recycle_bin_is_emptied_by_the_shares_own_clock(custody: Custody, share: Path) -> None:
    bin_ = share / "$RECYCLE.BIN" / "S-1-5"
    bin_.mkdir(parents=True)
    (bin_ / "young.tiff").write_text("x")
    old = bin_ / "old.tiff"
    old.write_text("x")
    os.utime(old, (time.time() - 40 * 86_400,) * 2)
    outside = share.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (share / "RECYCLER").symlink_to(outside)
    clear_microscope(clearing(custody, share, recycle_bin_after_days=30))
    assert old.exists(), "it came into the bin only now, whatever its own time says"
    clear_microscope(clearing(custody, share, recycle_bin_after_days=0))
    assert [path.name for path in bin_.iterdir()] == []
    assert (outside / "precious").exists()
