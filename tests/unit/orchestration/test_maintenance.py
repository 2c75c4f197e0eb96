"""What is done once a day: in which order, and that one step's failure keeps no other from being done."""

from __future__ import annotations

from tests.unit.orchestration.test_dags import MICROSCOPES, load


def test_each_step_comes_after_the_one_before_whatever_became_of_it() -> None:
    dag = load(MICROSCOPES.with_name("cryodaq_maintenance.py")).dag
    edges = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}
    assert edges == {"airflow": ["logs"], "logs": ["backup"], "backup": ["access"], "access": ["copies"], "copies": []}
    assert {task.trigger_rule.value for task in dag.tasks} == {"all_done"}
    assert dag.max_active_runs == 1
    assert not dag.catchup
