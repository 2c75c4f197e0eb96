"""The only room that imports Airflow: DAG factories, DAG files and templates."""
