"""An elogbook on a restored database is the one that was backed up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from cryodaq.domain.home import Home
from cryodaq.elogbook.settings import ElogbookSettings
from cryodaq.launch.backup import BackupPlace, make_backup, restore_backup
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.testing.elogbook import running_elogbook

from .conftest import Site

AT = datetime(2026, 11, 22, 3, 17, tzinfo=UTC)
BOOK = "/lgbk/20261122-CS01/ws"
READS = ("info", "samples", "runs", "files", "elog", "collaborators", "run_tables", "sample_activations", "audit")


def test_entries_attachments_rights_and_the_audit_log_come_back(
    session_of_two_samples: Site,
    postgres: EmbeddedPostgres,
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    def place(name: str, url: str) -> BackupPlace:
        return BackupPlace(home=Home(tmp_path / name), url=url, dag_folder=tmp_path / name / "dags", postgres=postgres)

    def everything(client: httpx.Client) -> list[Any]:
        return [client.get(f"{BOOK}/{part}").json()["value"] for part in READS]

    content = bytes(range(32, 127)) * 2000
    with session_of_two_samples.as_program("operator1") as operator:
        operator.post(f"{BOOK}/make_sample_current", params={"sample_name": "grid1"})
        operator.post("/run_control/20261122-CS01/ws/start_run", params={"run_num": "FoilHole_1"}, json={"x": 1.5})
        operator.post(f"{BOOK}/register_file", json={"path": "raw/a.tif", "run_num": "FoilHole_1"})
        operator.post(f"{BOOK}/create_update_user_run_table_def", json={"name": "Mine", "coldefs": []})
        files = [("files", ("log.txt", content, "text/plain"))]
        entry = operator.post(f"{BOOK}/new_elog_entry", data={"log_text": "Pump"}, files=files).json()["value"]
        before = everything(operator)
    made = make_backup(place("here", session_of_two_samples.database_url), tmp_path / "backups", at=AT)
    restore_backup(place("there", empty_database_url), made, at=AT)
    with (
        running_elogbook(ElogbookSettings(database_url=empty_database_url)) as base,
        Site(base, empty_database_url).as_program("operator1") as operator,
    ):
        assert everything(operator) == before
        assert operator.get(f"{BOOK}/{entry['attachments'][0]['url']}").content == content
        operator.post("/lgbk/ws/lock_unlock_experiment", params={"experiment_name": "20261122-CS01"})
        newest, *older = operator.get(f"{BOOK}/audit").json()["value"]
        assert (newest["after"], older) == ({"is_locked": True}, before[-1])
