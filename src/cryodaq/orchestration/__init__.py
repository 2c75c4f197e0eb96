"""The DAGs: the only room that imports Airflow. DAG files declare stages and edges and hold no logic."""
