"""Pre-processing of one sample's movies by single-particle practice: one Airflow DAG run for every movie.

Copied byte for byte to <experiment>_<sample id>.py when the sample is first used; the DAG takes both from the
file's name. Edit the site's template (templates/ in the system's home) for samples to come, or one sample's file.
Every stage takes Airflow's task options: align(queue="gpu", pool="gpu", retries=1).
"""

from cryodaq.orchestration.samples import align, ctf, pick, publish, sample_dag

with sample_dag(__file__) as dag:
    align() >> ctf() >> pick() >> publish()
