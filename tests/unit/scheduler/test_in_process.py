"""The scheduler of this process keeps the contract, and keeps errors for who asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cryodaq.errors import ImagingError
from cryodaq.scheduler.in_process import InProcessScheduler
from cryodaq.testing.scheduler_contract import SchedulerContract

TEXT = "# an Airflow DAG\n"


class TestInProcessScheduler(SchedulerContract):
    """The contract."""

    @pytest.fixture
    def dag_folder(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    def dag_text(self) -> str:
        return TEXT

    @pytest.fixture
    def scheduler(self, dag_folder: Path) -> Iterator[InProcessScheduler]:
        with InProcessScheduler(lambda *_: None, dag_folder=dag_folder) as scheduler:
            yield scheduler


def test_runs_happen_once_in_order_and_their_errors_are_kept(tmp_path: Path) -> None:
    seen: list[tuple[str, object]] = []

    def run(_: str, run_id: str, conf: Mapping[str, object]) -> None:
        seen.append((run_id, conf["movie_id"]))
        if run_id == "m2":
            message = "no frames"
            raise ImagingError(message)

    (tmp_path / "dag.py").write_text(TEXT)
    with InProcessScheduler(run, dag_folder=tmp_path) as scheduler:
        for number in (1, 2, 3, 1):
            scheduler.trigger("dag", f"m{number}", conf={"movie_id": number, "branch_id": 1})
        assert scheduler.wait_until_idle(timeout_s=10)
        assert seen == [("m1", 1), ("m2", 2), ("m3", 3)]
        assert {key: str(error) for key, error in scheduler.failures().items()} == {("dag", "m2"): "no frames"}
