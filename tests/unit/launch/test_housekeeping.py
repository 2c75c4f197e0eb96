"""Logs that nobody wrote to for long are removed; everything else stays."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from cryodaq.launch.backup import prune_backups
from cryodaq.launch.housekeeping import prune_logs


def log_of(folder: Path, run: str, *, days_old: float) -> Path:
    path = folder / "dag_id=d" / f"run_id={run}" / "task_id=align" / "attempt=1.log"
    path.parent.mkdir(parents=True)
    path.write_text("aligned\n")
    then = time.time() - days_old * 86_400
    os.utime(path, (then, then))
    return path


def test_old_logs_go_with_their_folders_and_new_ones_stay(tmp_path: Path) -> None:
    old, new = log_of(tmp_path, "old", days_old=31), log_of(tmp_path, "new", days_old=29)
    just_made = tmp_path / "dag_id=d" / "run_id=now" / "task_id=align"
    just_made.mkdir(parents=True)
    assert prune_logs(tmp_path, older_than=timedelta(days=30)) == (1, 8)
    assert not (tmp_path / "dag_id=d" / "run_id=old").exists()
    assert not old.exists()
    assert new.exists()
    assert just_made.exists()
    assert prune_logs(tmp_path, older_than=timedelta(days=30)) == (0, 0)


def test_nothing_outside_is_touched_through_a_link(tmp_path: Path) -> None:
    outside = log_of(tmp_path / "data", "precious", days_old=99)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "link").symlink_to(tmp_path / "data")
    (logs / "file").symlink_to(outside)
    assert prune_logs(logs, older_than=timedelta(days=30)) == (0, 0)
    assert outside.exists()
    assert prune_logs(tmp_path / "absent", older_than=timedelta(days=30)) == (0, 0)


def test_the_newest_backups_are_kept(tmp_path: Path) -> None:
    names = [f"cryodaq-backup-202601{day:02}T031700Z.tar" for day in range(1, 8)]
    for name in [*names, "cryodaq-0003-20260101T000000Z.dump", "mine.tar"]:
        (tmp_path / name).write_text("x")
    prune_backups(tmp_path, keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*names[-3:], "cryodaq-0003-20260101T000000Z.dump", "mine.tar"]
    )
