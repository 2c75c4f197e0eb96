"""Templates of every earlier release, which samples' DAG files are copies of, still import and say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.orchestration.test_dags import DAG, load

from cryodaq.app.sample_dag import install_sample_dag, packaged_templates

RELEASES = Path(__file__).resolve().parents[2] / "data" / "releases"
TEMPLATES = sorted(RELEASES.glob("*/pipeline_*_pre-processing.py"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_a_sample_of_an_earlier_release_still_has_its_dag(template: Path, tmp_path: Path) -> None:
    dag = load(install_sample_dag(template, tmp_path, dag_id=DAG)).dag
    assert dag.dag_id == DAG
    edges = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}
    assert edges == {"align": ["ctf"], "ctf": ["pick"], "pick": ["publish"], "publish": []}


def test_the_templates_of_this_release_are_kept_for_later_ones() -> None:
    kept = {path.read_bytes() for path in TEMPLATES}
    for path in packaged_templates().glob("*.py"):
        assert path.read_bytes() in kept, f"copy {path.name} to {RELEASES}/<version>/ before the release"
