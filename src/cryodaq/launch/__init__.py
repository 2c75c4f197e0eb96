"""Starts and supervises PostgreSQL, Airflow, the elogbook and the pages as child processes."""
